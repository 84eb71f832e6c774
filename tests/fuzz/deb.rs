//! A whole .deb.

#![no_main]

#[path = "../../builder/tree/tests/packages/bad_input.rs"]
#[allow(dead_code, reason = "each target uses a part of it")]
mod bad_input;

use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = &FOLDER;
    let _refused = bad_input::read_deb(bytes, folder.path());
});
