//! Rules as people write them, and the conditions that need one resource only.
