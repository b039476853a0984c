//! The program as its users start it.

mod codes;
mod demonstration;
mod decide;
mod help;
mod import;
mod ledger;
mod lists;
mod local;
mod look_ahead;
mod own_postgres;
mod simulator;
mod support;
