//! The alerter on real PostgreSQL, real Kafka and a real HTTP receiver.

mod alerter;
mod binary;
mod ledger;
mod outbox;
mod people;
mod support;
mod webhook;
