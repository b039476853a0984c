//! The stores, on the real servers.

mod embedded;
mod influxdb;
mod ledger;
mod metrics;
mod postgres;
mod power;
mod quality;
