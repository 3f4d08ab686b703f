//! What hostile bytes are read by, for cargo-fuzz.

pub mod readers;

use std::path::Path;
use std::{env, fs};

/// Writes the seeds of a reader into the folder that a variable of the environment names, where there is one: the programs of
/// cargo-fuzz begin with the files of a folder.
///
/// Panics: they cannot be written.
pub fn plant(name: &str) {
    let Some(folder) = env::var_os("GRADIENTD_FUZZ_SEEDS") else {
        return;
    };
    for (number, seed) in (readers::reader(name).seeds)().into_iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        fs::write(path, seed).expect("a folder for seeds");
    }
}

/// Lets a reader read bytes.
pub fn read(name: &str, bytes: &[u8]) {
    (readers::reader(name).read)(bytes);
}
