//! What the samples of a batch weigh.
//!
//! C = Σₙ wₙ Cₙ / Σₙ wₙ, with wₙ ≥ 0: a sample of weight 2 counts as two alike, one of weight 0 as none. Where there are no
//! weights, each is 1, and nothing is multiplied by it. The mean and variance of batch normalization are of all samples alike,
//! whatever they weigh.

use crate::nn::Scalar;

/// What a sample weighs: at least 0, finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowWeight {
    /// wₙ, in the loss and its gradient.
    pub loss: f64,
    /// In figures: the share of right answers is Σ vₙ right(n) / Σ vₙ.
    pub figures: f64,
}

/// δₙ ← wₙ δₙ of every row of the last layer; all that backpropagation makes of it is linear in δ.
///
/// A row of weight 0 has no δ, however far it is off: 0 · ∞ would be NaN. Shapes: `deltas` (rows × units), row-major.
pub(super) fn weigh_deltas<T: Scalar>(deltas: &mut [T], units: usize, weights: &[RowWeight]) {
    for (deltas, weight) in deltas.chunks_exact_mut(units).zip(weights) {
        if weight.loss == 0.0 {
            deltas.fill(T::zero());
            continue;
        }
        let weight = T::from_f64(weight.loss);
        for delta in deltas {
            *delta *= weight;
        }
    }
}
