//! The program as its users start it.

mod own_postgres;
mod simulator;
