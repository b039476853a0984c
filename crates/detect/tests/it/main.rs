//! The detector's public face: quiet at its budget, awake to faults, and exact when it is continued.

mod ensemble;
mod life;
mod noise;
mod properties;
mod quiet;
