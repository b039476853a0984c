//! The judge by itself.

mod judge;
