//! A version in memory, with the bytes that are reserved for it for as long as anybody uses it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::Reservation;
use crate::model::columns::ColumnSpec;
use crate::model::{Model, Targets};

/// What a version takes beside its numbers and words.
const BESIDE: u64 = 16 << 10;
/// What a word takes beside its letters: where it is, in a list and in an index.
const WORD: u64 = 64;

/// A version in memory.
#[derive(Debug)]
pub struct Loaded {
    model: Arc<Model>,
    room: Reservation,
    /// When it was asked for last.
    asked: AtomicU64,
}

impl Loaded {
    /// A model whose bytes are reserved.
    pub(crate) fn new(model: Arc<Model>, room: Reservation) -> Self {
        let asked = AtomicU64::new(0);
        Self { model, room, asked }
    }

    /// Notes when it was asked for.
    pub(crate) fn asked(&self, moment: u64) {
        self.asked.store(moment, Ordering::Relaxed);
    }

    /// When it was asked for last.
    pub(crate) fn last_asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Bytes that it has reserved.
    pub(crate) fn bytes(&self) -> u64 {
        self.room.bytes()
    }
}

impl Deref for Loaded {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

/// Bytes that a model takes in memory: those of its numbers and words, and 16 KiB.
pub(crate) fn bytes_of(model: &Model) -> u64 {
    let numbers = model.network.parameter_count() as u64;
    let numbers = numbers.saturating_mul(model.network.dtype().bytes() as u64);
    let of_targets = match &model.targets {
        Targets::Classes { classes, .. } => classes.as_slice(),
        Targets::Values { names } | Targets::Labels { names } => {
            names.as_deref().unwrap_or_default()
        }
    };
    let columns = model.preprocessing.columns();
    let specs = columns.map_or(&[][..], |columns| columns.specs());
    let words = specs.iter().flat_map(ColumnSpec::categories);
    let words = words.chain(of_targets).map(|word| WORD + word.len() as u64);
    numbers.saturating_add(words.sum()).saturating_add(BESIDE)
}
