//! An index of packages.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _refused = builder_inputs::strangers::read_index(text);
});
