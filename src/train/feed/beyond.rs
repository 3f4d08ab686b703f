//! A table that is not in memory: its rows in blocks, and the order in which an epoch takes them.

use std::ops::Range;
use std::sync::Arc;

use crate::data::{CHUNK_ROWS, SHUFFLE_BLOCKS};
use crate::model::{Preprocessing, Targets};
use crate::nn::{BLOCK, Team};
use crate::train::RawSamples;
use crate::train::feed::arrange;
use crate::train::samples::Reader;
use crate::train::weighing::Weights;

/// Blocks of a window, at least, where they are not smaller than [`LEAST_BLOCK`]: rows that are shuffled among each other come
/// from so many places of the table.
const BLOCKS: usize = 8;
/// Rows of a block, at least.
const LEAST_BLOCK: usize = 64;

/// A table that is not in memory, and how its rows come there.
///
/// Its rows are read in blocks of consecutive ones. An epoch takes the blocks in a random order, so many at a time as a window
/// has, and the rows of a window in a random order. Both orders are keyed by the seed and the epoch, that of the rows also by
/// the window's number, so that a run can be taken up anywhere.
///
/// Source: Xu et al. (2022), "Stochastic gradient descent without full data shuffle" (CorgiPile), for the two levels and for why
/// a random order of blocks is not enough by itself.
#[derive(Debug)]
pub(in crate::train) struct Beyond {
    pub(super) raw: RawSamples,
    preprocessing: Arc<Preprocessing>,
    meaning: Targets,
    outputs: usize,
    team: Team,
    /// The split's rows in the table, which rise.
    pub(super) rows: Vec<u32>,
    /// What they weigh.
    pub(super) weights: Weights,
    /// Which of `rows` are in each block that has any.
    blocks: Vec<Range<usize>>,
    /// Blocks of a window.
    together: usize,
    /// Rows of a window and those that may be carried into it.
    most: usize,
    /// The blocks as the epoch takes them.
    order: Vec<u32>,
    /// The window that is read next.
    pub(super) next: usize,
}

impl Beyond {
    /// Of some rows of a table, which rise, of which `window` may be in memory at a time beside a batch.
    pub(in crate::train) fn new(
        (raw, rows): (&RawSamples, Vec<u32>),
        reader: (Arc<Preprocessing>, Targets, usize, Team),
        weights: Weights,
        (window, batch): (usize, usize),
    ) -> Self {
        let (preprocessing, meaning, outputs, team) = reader;
        let block_rows = block_rows(window);
        let mut blocks = Vec::new();
        let mut start = 0;
        while let Some(&row) = rows.get(start) {
            let block = row as usize / block_rows;
            let of_block = |row: &u32| *row as usize / block_rows == block;
            let end = start + rows[start..].partition_point(of_block);
            blocks.push(start..end);
            start = end;
        }
        Self {
            raw: raw.clone(),
            preprocessing,
            meaning,
            outputs,
            team,
            rows,
            weights,
            order: (0..blocks.len() as u32).collect(),
            blocks,
            together: (window / block_rows).max(1),
            most: window.max(block_rows) + batch.max(BLOCK),
            next: 0,
        }
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            preprocessing: &self.preprocessing,
            meaning: &self.meaning,
            outputs: self.outputs,
            team: &self.team,
        }
    }

    /// Rows that there must be room for, at most.
    pub(super) fn room(&self) -> usize {
        self.most.min(self.rows.len())
    }

    pub(super) fn arrange(&mut self, shuffled: Option<(u64, u64)>) {
        self.next = 0;
        arrange(&mut self.order, self.blocks.len(), SHUFFLE_BLOCKS, shuffled);
    }

    /// The blocks of the epoch's `number`th window, in the order of the table.
    fn window(&self, number: usize) -> Vec<Range<usize>> {
        let blocks = self.order.chunks(self.together).nth(number);
        let mut blocks = blocks.unwrap_or_default().to_vec();
        blocks.sort_unstable();
        let blocks = blocks.into_iter();
        blocks
            .map(|block| self.blocks[block as usize].clone())
            .collect()
    }

    pub(super) fn next_window(&mut self) -> Vec<Range<usize>> {
        self.next += 1;
        self.window(self.next - 1)
    }

    /// Goes to the window that has a sample; how many samples of the epoch come before it.
    pub(super) fn seek(&mut self, sample: usize) -> usize {
        let mut before = 0;
        for (number, window) in self.order.chunks(self.together).enumerate() {
            let blocks = window
                .iter()
                .map(|&block| self.blocks[block as usize].len());
            let rows: usize = blocks.sum();
            self.next = number;
            if sample < before + rows {
                break;
            }
            before += rows;
        }
        before
    }
}

/// Rows of a block: the largest power of two of which a window has enough, up to those of a stored chunk.
pub(in crate::train) fn block_rows(window: usize) -> usize {
    let most = (window / BLOCKS).max(1);
    (1 << most.ilog2()).clamp(LEAST_BLOCK, CHUNK_ROWS)
}
