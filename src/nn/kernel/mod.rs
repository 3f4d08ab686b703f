//! The matrix products of backpropagation, for the instruction sets that the machine may have.
//!
//! Advice for those who change this: every element of a product is one sum, whose order depends on the number of its
//! terms, the scalar and the instruction set, never on the element's place or on how many rows are computed with it. That
//! is what gives a row the same prediction alone as in any batch, and a step the same bits by any number of threads. The
//! arithmetic (`product/`) is written once, over the vectors (`vector.rs`) of an instruction set, and inlined into a
//! function compiled for that set. Measure in release: debug assertions cost a factor of five.

mod denormals;
mod fold;
mod functions;
mod matrix;
mod pages;
mod pauses;
mod product;
mod sync;
mod team;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod transpose;
mod vector;
mod vectorize;

use std::cell::RefCell;
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU8, Ordering};

use crate::nn::Scalar;
pub(crate) use crate::nn::kernel::denormals::flush_denormals;
pub(crate) use crate::nn::kernel::fold::{add_up, add_up_in_blocks, largest, total};
pub(crate) use crate::nn::kernel::functions::Elementary;
pub(crate) use crate::nn::kernel::functions::{
    exp_nonpositive, expm1_nonpositive, ln, ln_1p_to_one, select, sigmoid, tanh,
};
pub(crate) use crate::nn::kernel::matrix::Matrix;
pub use crate::nn::kernel::pages::return_freed_memory;
pub(crate) use crate::nn::kernel::pages::{Filled, prefer_large_pages};
pub(crate) use crate::nn::kernel::pauses::worked;
pub use crate::nn::kernel::pauses::{pause_by, paused_by};
use crate::nn::kernel::product::{
    Backward, BiasGradient, Destination, Forward, Panel, Panels, WeightGradient,
};
pub(crate) use crate::nn::kernel::product::{FAR_APART, is_far_apart};
pub use crate::nn::kernel::team::{Leading, Team};
use crate::nn::kernel::vector::Plain;
pub(crate) use crate::nn::kernel::vectorize::{Arithmetic, Loops, vectorize};

/// The instruction sets that the products are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// What every machine of the target has; multiplies and adds are rounded apart.
    Portable,
    /// Vectors of 32 bytes and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Vectors of 64 bytes and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The widest that this machine has, found out once: small products ask often.
    #[inline]
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            static BEST: AtomicU8 = AtomicU8::new(0);
            match BEST.load(Ordering::Relaxed) {
                0 => {}
                1 => return Self::Portable,
                2 => return Self::Avx2,
                _ => return Self::Avx512,
            }
            let (best, code) = match (Self::has_avx512(), Self::has_avx2()) {
                (true, _) => (Self::Avx512, 3),
                (false, true) => (Self::Avx2, 2),
                (false, false) => (Self::Portable, 1),
            };
            BEST.store(code, Ordering::Relaxed);
            best
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }

    /// Every one that this machine has.
    #[cfg(test)]
    pub(in crate::nn) fn available() -> Vec<Self> {
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if Self::has_avx2() {
                sets.push(Self::Avx2);
            }
            if Self::has_avx512() {
                sets.push(Self::Avx512);
            }
        }
        sets
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// AVX-512 with all the parts that came with it on servers.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn has_avx512() -> bool {
        Self::has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }
}

/// z = b + x·w, or x·w where there are no biases.
///
/// Shapes: x (m × k), w (k × n: inputs × units), biases (n), z (m × n). Panics: where they are not, the caller's bug.
pub(crate) fn forward<T: Scalar>(x: Matrix<'_, T>, w: &[T], biases: Option<&[T]>, z: &mut [T]) {
    let units = z.len().checked_div(x.len()).unwrap_or_default();
    if x.len() > 0 {
        let product = Forward::new(x, w, biases, units, z);
        T::multiply(InstructionSet::best(), &mut Product::Forward(product));
    }
}

/// The same z, and a = max(z, 0) of it, in which a NaN stays one: to the same bits as relu by itself. z is not kept where
/// there is no place for it.
///
/// Shapes: as [`forward`]; a as z. Panics: where they are not, the caller's bug.
pub(crate) fn forward_rectified<T: Scalar>(
    x: Matrix<'_, T>,
    w: &[T],
    biases: &[T],
    (z, a): (Option<&mut [T]>, &mut [T]),
) {
    let units = a.len().checked_div(x.len()).unwrap_or_default();
    if x.len() > 0 {
        let product = match z {
            Some(z) => Forward::new(x, w, Some(biases), units, z).rectified_into(a),
            None => Forward::new(x, w, Some(biases), units, a).rectified(),
        };
        T::multiply(InstructionSet::best(), &mut Product::Forward(product));
    }
}

/// g = Σ δ w over the units: ∂C/∂a of what the layer takes; times relu′, which is 0 where a is at most 0, else 1, where it
/// takes `rectified` a.
///
/// Shapes: δ (m × n), w (k × n: inputs × units), g and a (m × k). Panics: where they are not, the caller's bug.
pub(crate) fn backward<T: Scalar>(
    deltas: Matrix<'_, T>,
    w: &[T],
    gradient: &mut [T],
    rectified: Option<&[T]>,
) {
    if deltas.len() > 0 {
        let product = Backward {
            deltas,
            w,
            inputs: gradient.len() / deltas.len(),
            gradient,
            rectified,
        };
        T::multiply(InstructionSet::best(), &mut Product::Backward(product));
    }
}

/// ∂C/∂w = Σ a δ over at most `BLOCK` samples, for some of the inputs a = x. Where there are many units, it is quicker with
/// δ also as [`panels`].
///
/// Shapes: x (m × k), δ (m × n), g (columns × n: inputs × units). Panics: where they are not, the caller's bug.
pub(crate) fn weight_gradient<T: Scalar>(
    x: Matrix<'_, T>,
    columns: Range<usize>,
    (deltas, panels): (Matrix<'_, T>, Option<&[T]>),
    gradient: &mut [T],
) {
    let product = WeightGradient {
        x,
        columns,
        deltas,
        panels,
        into: Destination::Gradient(gradient),
    };
    T::multiply(
        InstructionSet::best(),
        &mut Product::WeightGradient(product),
    );
}

/// w ← w − η Σ a δ, of the weights of some inputs, to the same bits as by [`weight_gradient`]; whether all of them are
/// finite then.
///
/// Shapes and panics: as `weight_gradient`.
pub(crate) fn descend<T: Scalar>(
    x: Matrix<'_, T>,
    columns: Range<usize>,
    (deltas, panels): (Matrix<'_, T>, Option<&[T]>),
    weights: &mut [T],
    rate: T,
) -> bool {
    let mut finite = true;
    let product = WeightGradient {
        x,
        columns,
        deltas,
        panels,
        into: Destination::Weights(weights, rate, &mut finite),
    };
    T::multiply(
        InstructionSet::best(),
        &mut Product::WeightGradient(product),
    );
    finite
}

/// δ of some units in the order in which [`weight_gradient`] reads it, which is worth it where it `is_far_apart`. The first
/// of the units is a multiple of `PANEL_UNITS`; the panels of all of them may so be made in parts.
///
/// Shapes: δ (m × n); panels at least m · (units, rounded up to a multiple of `PANEL_UNITS`). Panics: where they are not,
/// the caller's bug.
pub(crate) fn panels<T: Scalar>(deltas: Matrix<'_, T>, units: Range<usize>, panels: &mut [T]) {
    let product = Panels {
        deltas,
        columns: units,
        into: panels,
    };
    T::multiply(InstructionSet::best(), &mut Product::Panels(product));
}

/// Units of a panel, of the widest vectors.
pub(crate) const PANEL_UNITS: usize = 32;

/// ∂C/∂b = Σ δ over at most `BLOCK` samples, for some of the units.
///
/// Shapes: δ (m × n), sums (units). Panics: where they are not, the caller's bug.
pub(crate) fn bias_gradient<T: Scalar>(deltas: Matrix<'_, T>, units: Range<usize>, sums: &mut [T]) {
    let product = BiasGradient {
        deltas,
        columns: units,
        sums,
    };
    T::multiply(InstructionSet::best(), &mut Product::BiasGradient(product));
}

/// A product to be computed.
pub enum Product<'a, T> {
    /// See [`forward`].
    Forward(Forward<'a, T>),
    /// See [`backward`].
    Backward(Backward<'a, T>),
    /// See [`weight_gradient`].
    WeightGradient(WeightGradient<'a, T>),
    /// See [`panels`].
    Panels(Panels<'a, T>),
    /// See [`bias_gradient`].
    BiasGradient(BiasGradient<'a, T>),
}

/// A scalar that has products. Being out of reach, it seals `Scalar`.
pub trait Multiply: Sized {
    /// The product with the instructions of a set, which this machine must have. It is borrowed, because a small product takes
    /// not much longer than to move what describes it.
    ///
    /// Panics: where the operands are not of the shape, the caller's bug.
    fn multiply(set: InstructionSet, product: &mut Product<'_, Self>);
}

macro_rules! implement {
    ($scalar:ty, $plain:literal, $avx2:ident of $avx2_lanes:literal, $avx512:ident of $avx512_lanes:literal) => {
        impl Multiply for $scalar {
            #[cfg_attr(
                target_arch = "x86_64",
                expect(
                    unsafe_code,
                    reason = "functions compiled for more than the target's instructions"
                )
            )]
            fn multiply(set: InstructionSet, product: &mut Product<'_, Self>) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2(product: &mut Product<'_, $scalar>, panel: &mut Panel) {
                    product.compute::<vector::$avx2, $avx2_lanes, 6>(panel);
                }

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                fn avx512(product: &mut Product<'_, $scalar>, panel: &mut Panel) {
                    product.compute::<vector::$avx512, $avx512_lanes, 12>(panel);
                }

                PANEL.with_borrow_mut(|panel| match set {
                    InstructionSet::Portable => {
                        product.compute::<Plain<$scalar, $plain>, $plain, 4>(panel);
                    }
                    // SAFETY: `best` alone makes this value outside of tests, after the processor has said that it has
                    // AVX2 and FMA; tests ask in the same way.
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => unsafe { avx2(product, panel) },
                    // SAFETY: as above, with AVX-512, AVX2 and FMA.
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => unsafe { avx512(product, panel) },
                });
            }
        }
    };
}

implement!(f32, 4, Avx2F32 of 8, Avx512F32 of 16);
implement!(f64, 2, Avx2F64 of 4, Avx512F64 of 8);

thread_local! {
    /// The panel of each thread that multiplies.
    static PANEL: RefCell<Panel> = const { RefCell::new(Panel::new()) };
}
