//! Settings: defaults < file < environment < flags, every mistake reported with its path, secrets masked.
//!
//! Each owner keeps a plain `Config` struct in its own crate; this crate finds the values for it ([`Settings`]),
//! says where each came from ([`Origin`]), and collects the mistakes of all sections before anyone starts
//! ([`ConfigErrors`]). It is the only crate that reads the environment.
//!
//! It stands on `toml` and `serde` alone. A layering crate keeps no spans, and stops at the first mistake; here the
//! file is parsed once with spans into a tree whose every node knows its origin, and structs are read out of that.

mod blame;
mod defaults;
pub mod duration;
mod environment;
mod errors;
mod layers;
mod origin;
mod read;
mod secret;
mod settings;
pub mod size;
mod tree;

pub use defaults::{DEFAULTS, Documented, documented_defaults};
pub use environment::{Environment, FAMILIAR_NAMES};
pub use errors::{ConfigError, ConfigErrors, nearest};
pub use origin::{KeyPath, Origin, Step};
pub use secret::Secret;
pub use settings::{SECTIONS, Settings};
