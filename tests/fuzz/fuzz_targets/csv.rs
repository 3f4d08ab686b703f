//! CSV, by cargo-fuzz.
#![no_main]

use gradientd_fuzz::{plant, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant("csv"), |bytes: &[u8]| read("csv", bytes));
