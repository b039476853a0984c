//! The predictor on the real parts. Left out where there are none.

mod projector;
