//! Placeholder until the service is built.
fn main() {}
