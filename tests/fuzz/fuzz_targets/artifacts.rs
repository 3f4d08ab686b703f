//! Artifacts, checkpoints and stored rows, by cargo-fuzz.
#![no_main]

use gradientd_fuzz::{plant, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant("artifacts"), |bytes: &[u8]| read("artifacts", bytes));
