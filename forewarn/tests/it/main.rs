//! The program as its users start it.

mod codes;
mod help;
mod ledger;
mod local;
mod look_ahead;
mod own_postgres;
mod simulator;
mod support;
