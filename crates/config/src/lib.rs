//! Settings: defaults < file < environment < flags, every mistake reported with its path, secrets masked.
