//! Rules as people write them, and the part of them that one resource alone can decide.
//!
//! A rule says what deserves an alert. Whether a bare comparison holds at a step is decided where the step is judged
//! ([`Conditions`], run by the predictor) and told as *changes*; how long it has to hold, what it is called and whom
//! it wakes is decided by the alerter. Both read the same [`RuleSet`].
//!
//! Nothing here knows a log, a database or a clock.

mod conditions;
mod config;
mod glob;
mod set;
mod template;

pub use conditions::{ABSENT_STEPS, Conditions, RECOVERED};
pub use config::{
    AnomalyRule, FailurePredictionRule, Operator, RuleConfig, SilenceRule, ThresholdRule, TimeLeft,
};
pub use set::{Rule, RuleError, RuleSet, failure_of};
pub use template::{Placeholder, Template};
