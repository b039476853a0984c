//! The API in front of the real PostgreSQL and InfluxDB.

mod binary;
mod commands;
mod endpoints;
mod page;
mod schema;
mod series;
mod support;
