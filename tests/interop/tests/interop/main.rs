//! Other programs read and write what we write and read, and the same bytes come out everywhere.

mod carrier;
mod full_disk;
mod images;
mod packages;
mod platforms;
mod recipes;
mod refusals;
mod reproducibility;
mod signature;
mod sources;
mod tampering;

/// Where these tests keep what is too large or too slow to make anew.
fn scratch() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
}
