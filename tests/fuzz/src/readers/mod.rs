//! What hostile bytes are read by: the readers of tables, bodies and artifacts, with the seeds that mutations begin with.
//!
//! Cargo-fuzz runs them for minutes (`fuzz_targets`), the integration tests a few thousand times (`tests/it/hostile.rs`).

mod artifacts;
mod bodies;
mod example;
mod tables;

/// A reader of bytes from outside.
pub struct Reader {
    /// What the target of cargo-fuzz is called.
    pub name: &'static str,
    /// Reads bytes, whatever they are. Panics where it does other than it should.
    pub read: fn(&[u8]),
    /// Bytes that are read to their end.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes that it may hold at the same time: a number, and so many for each that it is given.
    pub most_bytes: (u64, u64),
}

/// All of them.
pub const READERS: [Reader; 5] = [
    Reader {
        name: "csv",
        read: tables::csv,
        seeds: tables::csv_seeds,
        most_bytes: (1 << 20, 40),
    },
    Reader {
        name: "ndjson",
        read: tables::ndjson,
        seeds: tables::ndjson_seeds,
        most_bytes: (1 << 20, 40),
    },
    Reader {
        name: "parquet",
        read: tables::parquet,
        seeds: tables::parquet_seeds,
        // A page unpacked, and a dictionary made of it.
        most_bytes: (256 << 20, 40),
    },
    Reader {
        name: "bodies",
        read: bodies::read,
        seeds: bodies::seeds,
        most_bytes: (1 << 20, 40),
    },
    Reader {
        name: "artifacts",
        read: artifacts::read,
        seeds: artifacts::seeds,
        most_bytes: (1 << 20, 20),
    },
];

/// A reader by its name.
///
/// Panics: there is none.
pub fn reader(name: &str) -> &'static Reader {
    let found = READERS.iter().find(|reader| reader.name == name);
    found.expect("a reader of that name")
}
