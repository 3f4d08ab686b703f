//! Bodies of JSON, by cargo-fuzz.
#![no_main]

use gradientd_fuzz::{plant, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant("bodies"), |bytes: &[u8]| read("bodies", bytes));
