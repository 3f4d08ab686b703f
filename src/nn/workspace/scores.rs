//! What the rows of the last forward pass came to: their losses, and which were answered right.

use crate::nn::loss::Output;
use crate::nn::{Loss, Network, Scalar, Workspace};

impl<T: Scalar> Workspace<T> {
    /// Σ Cₙ over the rows.
    pub(crate) fn loss(&self, network: &Network<T>, loss: Loss, rows: usize) -> f64 {
        let last = self.activations.len() - 1;
        let output = Output {
            units: network.outputs(),
            z: self.weighted_inputs[last].slice(rows),
            a: self.activations[last].slice(rows),
            y: self.targets.slice(rows),
        };
        loss.sum(network.last().activation, output)
    }

    /// Σ wₙ Cₙ over the rows, row after row. A row of weight 0 adds nothing, whatever its loss.
    pub(crate) fn weighted_loss(
        &self,
        network: &Network<T>,
        loss: Loss,
        rows: usize,
        weight: impl Fn(usize) -> f64,
    ) -> f64 {
        let last = self.activations.len() - 1;
        let units = network.outputs();
        let (z, a, y) = (
            &self.weighted_inputs[last],
            &self.activations[last],
            &self.targets,
        );
        let mut sum = 0.0;
        for index in 0..rows {
            let weight = weight(index);
            if weight == 0.0 {
                continue;
            }
            let output = Output {
                units,
                z: &z.values[index * units..][..units],
                a: &a.values[index * units..][..units],
                y: &y.values[index * units..][..units],
            };
            sum += weight * loss.sum(network.last().activation, output);
        }
        sum
    }

    /// How many rows were answered right.
    pub(crate) fn correct(&self, rows: usize) -> u64 {
        self.answered_right(rows).filter(|right| *right).count() as u64
    }

    /// The same, each row counted by its weight.
    pub(crate) fn weighted_correct(&self, rows: usize, weight: impl Fn(usize) -> f64) -> f64 {
        let rows = self.answered_right(rows).enumerate();
        let mut sum = 0.0;
        for (row, _) in rows.filter(|(_, right)| *right) {
            sum += weight(row);
        }
        sum
    }

    fn answered_right(&self, rows: usize) -> impl Iterator<Item = bool> {
        let (a, y) = (
            self.activations.last().expect("a network has a layer"),
            &self.targets,
        );
        a.slice(rows)
            .chunks_exact(a.width)
            .zip(y.slice(rows).chunks_exact(y.width))
            .map(|(a, y)| self.rightness.holds(a, y))
    }
}
