//! The trainer on the real parts, left out where there are none.

mod orders;
mod passes;
mod world;
