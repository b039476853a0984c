//! The whole system on the real servers: a world of real binaries, senders that do not give up, eyes on log and stores,
//! and the driver that kills.
//!
//! What a service says of itself proves nothing here; what counts is in the log, in the stores, and in the ledger of
//! acknowledged batches that no fault touches.

pub mod binaries;
pub mod disk;
pub mod exactness;
pub mod probe;
mod process;
pub mod push;
pub mod receiver;
pub mod sender;
pub mod verdict;
mod world;

pub use binaries::Service;
pub use process::Process;
pub use world::{PARTITIONS, STOP_LIMIT, World};
