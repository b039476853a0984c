//! The stores, on the real servers.

mod influxdb;
mod ledger;
mod postgres;
mod quality;
