//! The reference pipeline: the same pure parts as the services, in one thread, over a log in which nothing goes wrong.
//!
//! It reads `system_metrics` in the order of its offsets and says what every topic and every store must hold. Whatever
//! crashes, moves and repetitions the services go through, they must arrive at this. It shares their code, so it shows
//! that they are exact, not that they are right: that is what the comparisons with pandas and with known truths are for.

mod pipeline;
mod replay;
mod roots;

pub use forewarn_alerter::{Decision, Transition};
pub use pipeline::{Outcome, Pipeline};
pub use replay::{Replay, replay};
pub use roots::{Roots, read_topic, record_of};
