//! The predictor: its judge by itself, and its projector on the real parts, left out where there are none.

mod judge;
mod projector;
