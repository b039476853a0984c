//! End-to-end throughput and latency; micro-benchmarks live beside their crates.
