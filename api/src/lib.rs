//! The ledger over HTTP: JSON under `/api/v1/`, its OpenAPI document and viewer, and one page for people.
//!
//! Nothing here decides anything. Every answer is one look at PostgreSQL (a snapshot, in a read-only transaction) or at
//! InfluxDB, bounded in rows, bytes and time; a service that is asked too much says so rather than slowing the writers.
//! What an endpoint takes and gives is written once, as types: handlers, the check of query parameters and the OpenAPI
//! document all come from them.
//!
//! What people decide about alerts is put into the log and nowhere else (`commands`); the alerter carries it out. Looking
//! needs no log.
//!
//! There is no sign-in yet, so the service answers this machine only unless it is told otherwise ([`Config::listen`]),
//! and takes no command from a foreign page.

mod alerts;
mod anomalies;
mod app;
mod by_id;
mod commands;
mod config;
mod door;
mod guard;
mod health;
mod ledger;
mod models;
mod openapi;
mod page;
mod params;
mod predictions;
mod problem;
mod quality;
mod resources;
mod run;
mod series;
pub mod service;
mod status;
mod words;

pub use app::App;
pub use config::Config;
pub use ledger::{Ledger, lacking};
pub use run::run;
