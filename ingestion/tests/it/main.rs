//! Ingestion and the recorder on the real log and store. Left out where there are none (`FOREWARN_TEST_KAFKA` …).

mod process;
mod pushes;
mod recorder;
mod world;
