//! Judges every step and predicts failures: processed_metrics becomes anomaly_predictions; the projector fills PostgreSQL.
pub mod projector;
