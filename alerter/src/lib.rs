//! Turns predictions and conditions into alerts with a life, and tells people about them.
pub mod machine;
pub use machine::{Finding, Machine, MachineConfig, Transition};
