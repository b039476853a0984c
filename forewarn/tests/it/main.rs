//! The program as its users start it.

mod codes;
mod decide;
mod demonstration;
mod help;
mod import;
mod ledger;
mod lists;
mod local;
mod look_ahead;
mod own_postgres;
mod simulator;
mod support;
