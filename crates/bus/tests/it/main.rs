//! The log's promises on real Kafka.
