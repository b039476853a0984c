//! The projector on the real parts, left out where there are none.

mod projector;
