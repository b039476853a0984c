//! The door: what every sample from outside has to pass before it may enter the log.
//!
//! Pure and without a clock. A sample that is refused is named with the field, the reason and the remedy, and costs
//! only itself: the others of its request are kept. Accepted and refused always add up to what was offered.

mod json;
mod limits;
mod refusal;
mod series;
mod split;
mod units;
mod validate;

pub(crate) use json::SOURCE;
pub use json::{Malformed, Offer, read};
pub(crate) use limits::step_length;
pub use limits::{Limits, PushConfig};
pub use refusal::{Reason, Refusal, Refusals};
pub use series::ActiveSeries;
pub use split::{RECORD_BYTES_MAX, split};
pub use validate::Problem;
