//! The promise to everyone who reads the topics: examples of every released version keep decoding,
//! and headers and bodies come back as they were written.

mod examples;
mod hostile;
