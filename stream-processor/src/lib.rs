//! Closes steps and computes features: system_metrics becomes processed_metrics.
