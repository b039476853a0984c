//! InfluxDB and PostgreSQL; the only crate that names their clients.
