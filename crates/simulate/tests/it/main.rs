//! What the generator promises to those who use it.

mod unchanged;
