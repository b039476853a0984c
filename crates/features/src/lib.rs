//! Samples of one resource become feature vectors, step by step; pure functions of what arrived.
