//! The migrations are compiled in: a changed one has to build this crate again.

#[allow(
    clippy::print_stdout,
    reason = "the only way in which a build script speaks to cargo"
)]
fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
