//! The stage from outside: silence, replay, order, and the standard vector of a generated host.

mod kafka;
mod order;
mod silence;
mod standard;
mod world;
