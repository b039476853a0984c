//! Turns predictions and conditions into alerts with a life, and tells people about them.
