//! The matrix products of a layer by themselves, for those who measure them: `benches/kernels.rs`.

use crate::nn::Scalar;
use crate::nn::kernel::{self, Matrix};
use crate::nn::optimizer::inputs_at_once;

/// z = b + x·w.
///
/// Shapes: `x` (n × K), `weights` (K × J: column by column of w), `biases` (J), `z` (n × J). Panics: where they are not.
pub fn forward<T: Scalar>(x: &[T], weights: &[T], biases: &[T], z: &mut [T]) {
    let x = Matrix::new(x, weights.len() / biases.len());
    kernel::forward(x, weights, Some(biases), z);
}

/// ∂C/∂a = Σ δ w, before σ′.
///
/// Shapes: `deltas` (n × J), `units` J, `weights` (K × J: column by column of w), `gradient` (n × K). Panics: where they are
/// not.
pub fn backward<T: Scalar>((deltas, units): (&[T], usize), weights: &[T], gradient: &mut [T]) {
    kernel::backward(Matrix::new(deltas, units), weights, gradient, None);
}

/// ∂C/∂w = δ a, added up over at most 512 samples.
///
/// Shapes: `x` (n × K), `inputs` K, `deltas` (n × J), `units` J, `panels` (n × J, rounded up to a multiple of 32), `gradient`
/// (K × J: column by column of ∂C/∂w). Panics: where they are not.
pub fn weight_gradient<T: Scalar>(
    (x, inputs): (&[T], usize),
    (deltas, units): (&[T], usize),
    panels: &mut [T],
    gradient: &mut [T],
) {
    let (x, deltas) = (Matrix::new(x, inputs), Matrix::new(deltas, units));
    let is_wide = kernel::is_far_apart::<T>(units);
    if is_wide {
        kernel::panels(deltas, 0..units, panels);
    }
    let panels = is_wide.then_some(&*panels);
    // As in a step.
    let at_once = inputs_at_once::<T>(units);
    for (index, gradient) in gradient.chunks_mut(at_once * units).enumerate() {
        let first = index * at_once;
        let columns = first..first + gradient.len() / units;
        kernel::weight_gradient(x, columns, (deltas, panels), gradient);
    }
}
