//! The shell that every service shares: arguments, telemetry, health pages, drain and exit codes.
//!
//! A service's `main.rs` names itself ([`Service`]), says which sections it reads, and gives the function that builds
//! and runs it; everything around that is the same for all of them and lives here:
//!
//! ```no_run
//! # #[derive(Default, serde::Deserialize)] struct AlerterConfig {}
//! # async fn alerter(_: forewarn_service::Context, _: AlerterConfig) -> anyhow::Result<()> { Ok(()) }
//! fn main() -> std::process::ExitCode {
//!     forewarn_service::Service::new("alerter", 8004, "Turns predictions into alerts, and tells people about them.")
//!         .main(|settings| settings.section::<AlerterConfig>("alerter"), async |cx, config| alerter(cx, config).await)
//! }
//! ```
//!
//! A process either works or ends: a component that fails, panics or stalls stops all others in an orderly way, and
//! whoever supervises the process starts it again.

mod args;
mod components;
mod config;
mod context;
mod pages;
mod problem;
mod process;
mod progress;
mod ready;
mod server;
mod shell;
pub mod site;
mod stop;
mod telemetry;
mod watchdog;

pub use args::{AFTER_HELP, Args, assignment};
pub use config::{LogFormat, ServiceConfig};
pub use context::{Context, Watch};
pub use problem::Problem;
pub use progress::Progress;
pub use ready::Condition;
pub use server::Server;
pub use shell::{EXIT_CONFIG, EXIT_INTERNAL, EXIT_INTERRUPTED, Service};
