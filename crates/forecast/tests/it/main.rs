//! Time to failure on seeded episodes: is the interval honest, are the decoys quiet, is every input survived?

mod coverage;
mod decoys;
mod life;
mod series;
mod survival;
