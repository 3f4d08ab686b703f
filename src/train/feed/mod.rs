//! The feed of a split: its samples in the order in which an epoch takes them, all in memory, or, of a table that is larger, a
//! window of them at a time.

mod beyond;

use std::ops::{ControlFlow, Range};

use ndarray::{ArrayView2, Axis, s};

use crate::data::{SHUFFLE, permutation, permutation_of_part};
use crate::model::columns::Affine;
use crate::nn::{
    BLOCK, Batch, Evaluation, EvaluationPass, Loss, Network, Rightness, RowWeight, Scalar, Team,
};
use crate::train::Error;
pub(super) use crate::train::feed::beyond::{Beyond, block_rows};
use crate::train::samples::Samples;

/// The samples of a split.
#[derive(Debug)]
pub(crate) struct Feed<T> {
    /// Those in memory.
    held: Samples<T>,
    /// Their places there, in the order in which they are taken.
    order: Vec<u32>,
    /// How many samples of the epoch come before those.
    first: usize,
    /// The seed and the epoch whose order it is; none of the order of the table.
    shuffled: Option<(u64, u64)>,
    /// Where the others come from, of a table that is not in memory.
    beyond: Option<Box<Beyond>>,
}

impl<T: Scalar> Feed<T> {
    /// Of samples that are all in memory.
    pub(crate) fn held(samples: Samples<T>) -> Self {
        Self {
            held: samples,
            order: Vec::new(),
            first: 0,
            shuffled: None,
            beyond: None,
        }
    }

    /// Of a table that is read in windows.
    pub(super) fn windowed(beyond: Beyond) -> Self {
        Self {
            held: beyond.reader().room(&beyond.raw, 0),
            order: Vec::new(),
            first: 0,
            shuffled: None,
            beyond: Some(Box::new(beyond)),
        }
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        let beyond = self.beyond.as_ref();
        beyond.map_or(self.held.inputs.nrows(), |beyond| beyond.rows.len())
    }

    /// Whether all are in memory.
    pub(super) fn is_held(&self) -> bool {
        self.beyond.is_none()
    }

    /// How each target was scaled; empty where none was.
    pub(super) fn target_scaling(&self) -> &[Affine] {
        &self.held.target_scaling
    }

    /// What all samples weigh in figures; none, where all weigh the same.
    pub(super) fn figure_weights(&self) -> Option<&[f64]> {
        let beyond = self.beyond.as_ref();
        let weights = beyond.map_or(&self.held.weights, |beyond| &beyond.weights);
        weights.figures.as_deref()
    }

    /// Begins an epoch, whose order is keyed by a seed and its number, or is that of the table.
    pub(super) fn arrange(&mut self, shuffled: Option<(u64, u64)>) {
        (self.first, self.shuffled) = (0, shuffled);
        if let Some(beyond) = &mut self.beyond {
            self.order.clear();
            return beyond.arrange(shuffled);
        }
        arrange(&mut self.order, self.held.inputs.nrows(), SHUFFLE, shuffled);
    }

    /// Reads what is needed for some samples of the epoch to be in memory, perhaps at the expense of those before them.
    ///
    /// `poll` is asked again and again while rows are read; its `Break` ends it, and then it is to be begun anew.
    ///
    /// Errors: rows cannot be read; a value does not fit.
    pub(super) fn bring(
        &mut self,
        samples: Range<usize>,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        while self.beyond.is_some() && samples.end > self.first + self.order.len() {
            let carried = samples.start.checked_sub(self.first);
            let carried = carried.filter(|&from| from < self.order.len());
            if self.read_window(carried, samples.start, poll)?.is_break() {
                self.order.clear();
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Samples of the epoch that are in memory, as a batch, and what they weigh; nothing, where all weigh the same.
    ///
    /// Panics: they are not in memory, the caller's bug.
    pub(super) fn batch(
        &self,
        samples: Range<usize>,
    ) -> (Batch<'_, T>, impl Iterator<Item = RowWeight>) {
        let places = samples.start - self.first..samples.end - self.first;
        let in_own_order = self.shuffled.is_none().then_some(places.start);
        let rows = &self.order[places];
        let batch = self.held.batch(rows, in_own_order);
        (batch, self.held.weights.of(rows))
    }

    /// The figures of a network that are sums over all samples, in the order of the table, showing `observe(rows, a, y)` outputs
    /// and targets of all, some at a time. The next epoch is to be arranged anew where not all are in memory.
    ///
    /// `poll` and errors: as [`Feed::bring`]; it is also asked as often as there are chunks.
    pub(super) fn evaluate(
        &mut self,
        by: (&Network<T>, &Team),
        judged: (Loss, Rightness),
        poll: &mut impl FnMut() -> ControlFlow<()>,
        mut observe: impl FnMut(Range<usize>, ArrayView2<T>, ArrayView2<T>),
    ) -> Result<ControlFlow<(), Evaluation>, Error> {
        let samples = self.len();
        let mut pass = EvaluationPass::new(by, judged, samples);
        if !self.is_held() {
            self.arrange(None);
        }
        let mut done = 0;
        loop {
            if self
                .bring(done..samples.min(done + BLOCK), poll)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            let places = done - self.first..self.evaluable(done) - self.first;
            let rows = s![places.clone(), ..];
            let held = &self.held;
            let (inputs, targets) = (held.inputs.slice(rows), held.targets.slice(rows));
            let weights = held.weights.figures.as_deref();
            let passed = pass.add(
                Batch::new(inputs, targets),
                weights.map(|weights| &weights[places.clone()]),
                &mut *poll,
                |rows, outputs| {
                    let of_part = rows.start - done..rows.end - done;
                    observe(rows, outputs, targets.slice(s![of_part, ..]));
                },
            );
            if passed.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            done += places.len();
            if done == samples {
                return Ok(ControlFlow::Continue(pass.finish()));
            }
        }
    }

    /// Up to which sample an evaluation can go on from one of them: to the last that is in memory, or the last whole block.
    fn evaluable(&self, from: usize) -> usize {
        let Some(beyond) = &self.beyond else {
            return self.held.inputs.nrows();
        };
        let end = self.first + self.order.len();
        if end == beyond.rows.len() {
            return end;
        }
        from + (end - from) / BLOCK * BLOCK
    }

    /// Reads the next window behind the samples from place `carried` of the order on, or that which has `sample` where there are
    /// none of those.
    fn read_window(
        &mut self,
        carried: Option<usize>,
        sample: usize,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let Self {
            held,
            order,
            first,
            shuffled,
            beyond: Some(beyond),
        } = self
        else {
            return Ok(ControlFlow::Continue(()));
        };
        *first = if let Some(from) = carried {
            order.drain(..from);
            *first + from
        } else {
            order.clear();
            beyond.seek(sample)
        };
        let kept = order.len();
        let number = beyond.next as u64 + 1;
        let window = beyond.next_window();
        let rows: usize = window.iter().map(Range::len).sum();
        let room = beyond.room();
        let places: Vec<usize> = order.iter().map(|&place| place as usize).collect();
        let carried = (
            held.inputs.select(Axis(0), &places),
            held.targets.select(Axis(0), &places),
        );
        let split_rows = window.iter().cloned().flatten();
        let weights = beyond.weights.after((&held.weights, order), &split_rows);
        let reader = beyond.reader();
        if held.inputs.nrows() < room {
            *held = reader.room(&beyond.raw, room);
        }
        held.weights = weights;
        held.inputs.slice_mut(s![..kept, ..]).assign(&carried.0);
        held.targets.slice_mut(s![..kept, ..]).assign(&carried.1);
        // In the order of the table, so that a chunk is read once for all of its blocks.
        let of_table: Vec<u32> = split_rows.map(|row| beyond.rows[row]).collect();
        let written = reader.write(&beyond.raw, &of_table, (held, kept), poll)?;
        if written.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        order.clear();
        match shuffled {
            Some((seed, epoch)) => {
                permutation_of_part(*seed, SHUFFLE, (*epoch, number), rows, order);
                for place in &mut *order {
                    *place += kept as u32;
                }
                order.splice(0..0, 0..kept as u32);
            }
            None => order.extend(0..(kept + rows) as u32),
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// 0..n in the order of an epoch: shuffled for a purpose, or as they are.
fn arrange(order: &mut Vec<u32>, n: usize, purpose: u64, shuffled: Option<(u64, u64)>) {
    if let Some((seed, epoch)) = shuffled {
        permutation(seed, purpose, epoch, n, order);
    } else {
        order.clear();
        order.extend(0..n as u32);
    }
}
