//! Σ δ w, from the deltas of a layer to ∂C/∂a of the one before it.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use crate::nn::Scalar;
use crate::nn::kernel::Matrix;
use crate::nn::kernel::product::forward::{Forward, Terms, all_rows};
use crate::nn::kernel::product::{PANEL_ROWS, Panel};
use crate::nn::kernel::vector::Vector;

/// g (m × k) = δ (m × n) · wᵀ, w (k × n).
pub struct Backward<'a, T> {
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) w: &'a [T],
    pub(in crate::nn::kernel) inputs: usize,
    pub(in crate::nn::kernel) gradient: &'a mut [T],
}

#[inline(always)]
pub(super) fn backward<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: Backward<'_, T>,
    panel: &mut Panel,
) {
    let (m, n, k) = (product.deltas.len(), product.deltas.width(), product.inputs);
    // As a product forward: of m rows of n terms, with k columns.
    let mut forward = Forward {
        x: product.deltas,
        w: product.w,
        biases: None,
        units: k,
        z: product.gradient,
    };
    forward.check();
    if m == 0 {
        return;
    }
    let mut column = 0;
    while column < k {
        let width = (k - column).min(2 * L);
        let mut first = 0;
        while first < n {
            let len = (n - first).min(PANEL_ROWS);
            let from = product.w[column * n + first..].as_ptr();
            // SAFETY: w has k rows of n numbers; of these, `width` rows from `column` on are turned over, `len` numbers of
            // each, into as many rows of the panel. With n = 1 they stand as in a row of it.
            unsafe {
                let from = if n == 1 {
                    from
                } else {
                    panel.turn_over::<T, V, L>((from, n), width, len)
                };
                let terms = Terms {
                    column,
                    width,
                    first,
                    len,
                    from,
                    step: 2 * L,
                };
                all_rows::<T, V, L, MOST>(&mut forward, terms);
            }
            first += len;
        }
        column += width;
    }
}
