//! What the rows of the last forward pass came to: their losses, and which were answered right.

use std::ops::Range;

use crate::nn::loss::Output;
use crate::nn::{Loss, Network, Scalar, Workspace};

impl<T: Scalar> Workspace<T> {
    /// Σ Cₙ over the rows.
    pub(crate) fn loss(&self, network: &Network<T>, loss: Loss, rows: Range<usize>) -> f64 {
        loss.sum(network.last().activation, self.output(rows))
    }

    /// What the last layer has made of some rows, and what it should have.
    fn output(&self, rows: Range<usize>) -> Output<'_, T> {
        let last = self.activations.len() - 1;
        Output {
            units: self.targets.width,
            z: self.weighted_inputs[last].part(rows.clone()),
            a: self.activations[last].part(rows.clone()),
            y: self.targets.part(rows),
        }
    }

    /// Σ wₙ Cₙ over the rows, row after row, with `weight` of their place among them. A row of weight 0 adds nothing, whatever its loss.
    pub(crate) fn weighted_loss(
        &self,
        network: &Network<T>,
        loss: Loss,
        rows: Range<usize>,
        weight: impl Fn(usize) -> f64,
    ) -> f64 {
        let mut sum = 0.0;
        for (index, row) in rows.enumerate() {
            let weight = weight(index);
            if weight == 0.0 {
                continue;
            }
            let output = self.output(row..row + 1);
            sum += weight * loss.sum(network.last().activation, output);
        }
        sum
    }

    /// How many rows were answered right.
    pub(crate) fn correct(&self, rows: Range<usize>) -> u64 {
        let a = self.activations.last().expect("a network has a layer");
        let y = self.targets.part(rows.clone());
        self.rightness.count(a.width, a.part(rows), y)
    }

    /// The same, each row counted by its weight.
    pub(crate) fn weighted_correct(
        &self,
        rows: Range<usize>,
        weight: impl Fn(usize) -> f64,
    ) -> f64 {
        let rows = self.answered_right(rows).enumerate();
        let mut sum = 0.0;
        for (row, _) in rows.filter(|(_, right)| *right) {
            sum += weight(row);
        }
        sum
    }

    fn answered_right(&self, rows: Range<usize>) -> impl Iterator<Item = bool> {
        let (a, y) = (
            self.activations.last().expect("a network has a layer"),
            &self.targets,
        );
        a.part(rows.clone())
            .chunks_exact(a.width)
            .zip(y.part(rows).chunks_exact(y.width))
            .map(|(a, y)| self.rightness.holds(a, y))
    }
}
