//! Detectors and the calibration that gives every score one meaning.
