//! The public face of the features: sets, step closing as timelines, properties, and the pandas oracle.

mod oracle;
mod properties;
mod sets;
mod timelines;
mod world;
