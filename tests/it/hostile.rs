//! Hostile bytes: what readers of tables, bodies and artifacts do with seeds that were changed a few thousand times.
//!
//! The short form of `tests/torture/fuzz.py`, for a machine without cargo-fuzz: from a fixed seed, and blind to what was reached.
//! HOSTILE_ROUNDS and HOSTILE_SEED say otherwise.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use allocation_counter::measure;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::readers::{Reader, reader};

/// Changed seeds that each reader is given, and the seed of the changes, where the environment does not say.
const ROUNDS: u64 = 3000;
const SEED: u64 = 1;

/// What stands in formats where something else is expected.
const TOKENS: [&[u8]; 24] = [
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"0.1",
    b"NaN",
    b"null",
    b"true",
    b"\"",
    b"\"\"",
    b"'",
    b",",
    b"\n",
    b"\r",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[",
    b"{",
    b"}",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
];

/// Draws changes.
struct Changes(ChaCha8Rng);

impl Changes {
    /// A number below `most`, which is at least 1.
    fn below(&mut self, most: usize) -> usize {
        self.0.next_u32() as usize % most
    }

    /// Changes bytes once; `other` lends some of its own.
    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        if bytes.is_empty() {
            bytes.extend_from_slice(other);
            return;
        }
        let at = self.below(bytes.len());
        let length = self.below(bytes.len() - at) + 1;
        match self.below(7) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.0.next_u32() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length.min(16))),
            4 => {
                let again = bytes[at..at + length.min(256)].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let from = self.below(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                let replaced = self.below(2) * token.len().min(bytes.len() - at);
                bytes.splice(at..at + replaced, token.iter().copied());
            }
        }
    }

    /// One of the seeds with up to eight changes.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        let other = &seeds[self.below(seeds.len())];
        for _ in 0..=self.below(8) {
            self.change(&mut bytes, other);
        }
        bytes
    }
}

/// Reads bytes: whether it came back, and how many bytes it held at most.
fn outcome(reader: &Reader, bytes: &[u8]) -> (bool, u64) {
    let mut came_back = false;
    let measured = measure(|| {
        came_back = catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes))).is_ok();
    });
    (came_back, measured.bytes_max)
}

/// Checks what a reader does with bytes: how many it held.
#[track_caller]
fn holds(reader: &Reader, bytes: &[u8], what: &str) -> u64 {
    let (came_back, held) = outcome(reader, bytes);
    let name = reader.name;
    assert!(
        came_back,
        "{name}, {what}: a panic at {}",
        bytes.escape_ascii()
    );
    let (least, for_each) = reader.most_bytes;
    let most = least + for_each * bytes.len() as u64;
    assert!(
        held <= most,
        "{name}, {what}: {held} bytes held, {most} allowed, for {} at {}",
        bytes.len(),
        bytes.escape_ascii()
    );
    held
}

/// A number that the environment says, or the usual one.
fn told(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |number| number.parse().expect("a whole number"))
}

/// Reads the seeds of the reader of that name, then what comes of them by changes.
#[track_caller]
fn hold_against_changes(name: &str) {
    let reader = reader(name);
    let seeds = (reader.seeds)();
    // What is made once is not counted to the first.
    (reader.read)(&seeds[0]);
    let mut most = 0;
    for (number, seed) in seeds.iter().enumerate() {
        most = most.max(holds(reader, seed, &format!("seed {number}")));
    }
    let (rounds, seed) = (told("HOSTILE_ROUNDS", ROUNDS), told("HOSTILE_SEED", SEED));
    let mut changes = Changes(ChaCha8Rng::seed_from_u64(seed));
    for round in 0..rounds {
        let bytes = changes.changed(&seeds);
        most = most.max(holds(reader, &bytes, &format!("round {round}")));
    }
    println!("{name}: {rounds} rounds, at most {most} bytes held");
}

#[test]
fn csv_that_was_changed_is_read_or_refused_within_its_memory() {
    hold_against_changes("csv");
}

#[test]
fn lines_of_json_that_were_changed_are_read_or_refused_within_their_memory() {
    hold_against_changes("ndjson");
}

#[test]
fn parquet_that_was_changed_is_read_or_refused_within_its_memory() {
    hold_against_changes("parquet");
}

#[test]
fn bodies_that_were_changed_are_read_or_refused_within_their_memory() {
    hold_against_changes("bodies");
}

#[test]
fn artifacts_that_were_changed_are_read_or_refused_within_their_memory() {
    hold_against_changes("artifacts");
}
