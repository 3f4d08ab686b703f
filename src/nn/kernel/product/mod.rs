//! The three products of backpropagation, over vectors of L numbers, in tiles whose sums stay in registers.
//!
//! Weights and their gradient are (inputs × units) in memory: the numbers of one input for all units stand together, and
//! a vector holds numbers of L units. z = b + x·w reads them row by row, and so does ∂C/∂w = xᵀ·δ, which is added up
//! over samples; only Σ δ w, which goes back through the weights, reads them across, and turns them over in passing
//! (`panel.rs`). Where a layer has one unit, there would be one number in a vector: its inputs stand side by side instead.
//!
//! Every element is one sum in a fixed order: over inputs or units one after another, over samples in the tree of
//! `nn::reduce`. How a product is cut into tiles, panels or parts for threads changes no bit.

#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]

mod backward;
mod forward;
mod gradient;
mod panel;
mod tile;

pub(super) use backward::Backward;
pub(super) use forward::Forward;
pub(super) use gradient::{BiasGradient, Destination, Panels, WeightGradient};
pub(super) use panel::Panel;

use crate::nn::Scalar;
use crate::nn::kernel::Product;
use crate::nn::kernel::vector::Vector;

/// Rows of a panel, at most: longer sums are made in as many parts.
const PANEL_ROWS: usize = 2048;

/// Rows of a product from which on it is worth copying a panel of the other factor.
const WORTH_A_PANEL: usize = if cfg!(miri) { 4 } else { 32 };

/// Rows, or columns of x, that are computed without a pause: whole tiles of the highest of each set.
const TOGETHER: usize = 96;

/// Where the next pause may be of rows from the first to the end: no low tile is left behind it.
const fn without_pause(first: usize, end: usize) -> usize {
    if end - first < TOGETHER + TOGETHER / 8 {
        end
    } else {
        first + TOGETHER
    }
}

/// Rows that take as long as a single one, which waits for its weights to come from memory.
const SINGLE: usize = 8;

/// Whether rows of so many numbers lie so far apart that reading a few columns of many of them misses the caches.
pub(crate) const fn is_far_apart<T: Scalar>(width: usize) -> bool {
    width * size_of::<T>() >= FAR_APART
}

/// Bytes of a row from which on rows lie far apart.
pub(crate) const FAR_APART: usize = if cfg!(miri) { 64 } else { 4096 };

impl<T: Scalar> Product<'_, T> {
    /// Computes it in vectors of type `V`, in tiles of at most `MOST` rows of two of them.
    #[inline(always)]
    pub(super) fn compute<V: Vector<T, L>, const L: usize, const MOST: usize>(
        &mut self,
        panel: &mut Panel,
    ) {
        match self {
            Self::Forward(product) => forward::forward::<T, V, L, MOST>(product, panel),
            Self::Backward(product) => backward::backward::<T, V, L, MOST>(product, panel),
            Self::WeightGradient(product) => {
                gradient::weight_gradient::<T, V, L, MOST>(product, panel);
            }
            Self::Panels(product) => gradient::panels::<T, V, L>(product),
            Self::BiasGradient(product) => gradient::bias_gradient::<T, V, L>(product),
        }
    }
}
