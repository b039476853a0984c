//! Turns predictions and conditions into alerts with a life, and tells people about them.
pub mod machine;
pub mod merge;
pub use machine::{Finding, Machine, MachineConfig, Transition};
pub use merge::{Decision, Merge, MergeError, Message};
