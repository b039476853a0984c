//! The trainer on the real parts, left out where there are none.
