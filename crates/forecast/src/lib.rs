//! Time to failure: when a limit will be reached, as a distribution, or that nothing says it will.
//!
//! In three steps, each in its own file, all pure and deterministic:
//!
//! 1. [`history`]: the level of one limited thing at several resolutions, so that a filesystem that fills within two
//!    minutes and a leak over days are both seen, in bounded memory.
//! 2. [`outlook`]: a robust trend, the tests that it must pass (still climbing, no plateau, no restart), and the
//!    distribution of the moment at which it crosses the limit. Where the tests fail it abstains, with the reason.
//! 3. [`watch`]: the life of a prediction: open, updated, confirmed, withdrawn, expired.

pub mod history;
pub mod outlook;
pub mod watch;

pub use history::History;
pub use outlook::{Abstain, Outlook, outlook};
pub use watch::{Claim, Reading, Settings, Watch};

/// Changes with everything that changes what is predicted; part of the model set's digest.
pub const VERSION: &str = "robust-trend/1";
