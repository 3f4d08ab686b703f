//! Σ δ w, from the deltas of a layer to ∂C/∂a of the one before it.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]

use crate::nn::Scalar;
use crate::nn::kernel::Matrix;
use crate::nn::kernel::product::Panel;
use crate::nn::kernel::product::forward::{Forward, Source, columns};
use crate::nn::kernel::vector::Vector;

/// g (m × k) = δ (m × n) · wᵀ, w (k × n).
pub struct Backward<'a, T> {
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) w: &'a [T],
    pub(in crate::nn::kernel) inputs: usize,
    pub(in crate::nn::kernel) gradient: &'a mut [T],
    /// Where these (m × k) are at most 0, the gradient is 0.
    pub(in crate::nn::kernel) rectified: Option<&'a [T]>,
}

#[inline(always)]
pub(super) fn backward<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &mut Backward<'_, T>,
    panel: &mut Panel,
) {
    let Backward {
        deltas,
        w,
        inputs,
        gradient,
        rectified,
    } = product;
    let (n, k) = (deltas.width(), *inputs);
    // As a product forward: of rows of n terms, with k columns, and w (k × n) for its transpose. With n = 1 they are one.
    let mut forward = Forward::new(*deltas, w, None, k, gradient);
    if let Some(a) = *rectified {
        forward = forward.where_positive(a);
    }
    let source = if n == 1 {
        Source::Rows
    } else {
        Source::Columns
    };
    columns::<T, V, L, MOST>(&forward, source, panel);
}
