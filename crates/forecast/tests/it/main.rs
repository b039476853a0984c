//! Time to failure on seeded episodes: is the interval honest, are the decoys quiet, is every input survived?

#![allow(
    clippy::print_stdout,
    reason = "the figures are wanted beside the verdict"
)]

mod coverage;
mod decoys;
mod life;
mod series;
mod survival;
