//! The shell that every service shares: arguments, telemetry, health pages, drain and exit codes.
