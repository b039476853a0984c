//! Ingestion on the real log. Left out where there is none (`FOREWARN_TEST_KAFKA`).

mod process;
mod pushes;
mod world;
