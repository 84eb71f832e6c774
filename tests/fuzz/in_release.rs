//! A signed document, and what a Release says.

#![no_main]

use builder_inputs::strangers;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _refused = (strangers::read_signed(text), strangers::read_release(text));
});
