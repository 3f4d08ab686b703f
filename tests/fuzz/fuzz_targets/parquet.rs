//! Parquet, by cargo-fuzz.
#![no_main]

use gradientd_fuzz::{plant, read};
use libfuzzer_sys::fuzz_target;

/// Without the hook of libfuzzer-sys, which would abort at panics of the crate that reads Parquet: the product catches
/// them. Those that it does not catch end the program all the same.
fn begin() {
    std::panic::set_hook(Box::new(|_| {}));
    plant("parquet");
}

fuzz_target!(init: begin(), |bytes: &[u8]| read("parquet", bytes));
