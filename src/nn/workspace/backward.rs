//! The backward pass: from the loss to δ of every layer, and from δ to the gradient.

use std::ops::Range;

use crate::nn::kernel::{self, Matrix};
use crate::nn::loss::Output;
use crate::nn::normalization::NormalizedRows;
use crate::nn::weights::weigh_deltas;
use crate::nn::workspace::{ROWS_TOGETHER, Rows, read, taken};
use crate::nn::{Activation, Loss, Network, RowWeight, Scalar, Team, Workspace};

/// δ of a layer, and the same as panels, where they were laid out.
type Deltas<'a, T> = (Matrix<'a, T>, Option<&'a [T]>);

/// Multiply-adds that take as long as to fetch a number of another matrix.
const COPY: usize = 8;

impl<T: Scalar> Workspace<T> {
    /// δᴸ of the last layer, each row that of its own sample's loss Cₙ, times wₙ where there are weights: and with it every δ.
    ///
    /// Source: Arango, δᴸ = (aᴸ − y) σ′(zᴸ).
    pub(crate) fn output_deltas(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        rows: usize,
        weights: Option<&[RowWeight]>,
    ) {
        self.panels_of = None;
        let last = network.layers().len() - 1;
        let layer = network.last();
        let output = Output {
            units: layer.units(),
            z: self.weighted_inputs[last].slice(rows),
            a: self.activations[last].slice(rows),
            y: self.targets.slice(rows),
        };
        let deltas = self.deltas[last].slice_mut(rows);
        loss.output_deltas(layer.activation, output, deltas);
        if let Some(weights) = weights {
            weigh_deltas(deltas, layer.units(), weights);
        }
    }

    /// ∂C/∂(w·a) of a normalized layer from its δ; `sums` as in [`NormalizedRows::lead_back`].
    pub(in crate::nn) fn lead_back(
        &mut self,
        network: &Network<T>,
        index: usize,
        rows: usize,
        sums: Option<(&[f64], &[f64], usize)>,
    ) {
        let layer = network.layers()[index].normalization.as_ref();
        if let (Some(normalized), Some(layer)) = (&mut self.normalized[index], layer) {
            normalized.lead_back(layer, self.deltas[index].slice(rows), sums);
        }
    }

    /// δ of the layer before this one, where there is one, or ∂C/∂x of the vectors that layer 1 has read.
    ///
    /// Where the forward pass left units out, their part of ∂C/∂a is m / (1 − p) times the sum, before σ′, which is that of
    /// the whole a. Source: Arango, δˡ = σ′(zˡ) Σ δˡ⁺¹ wˡ⁺¹.
    pub(crate) fn pass_back(
        &mut self,
        network: &Network<T>,
        index: usize,
        rows: usize,
        team: &Team,
    ) {
        if index == 0 {
            return self.pass_back_to_vectors(network, rows, team);
        }
        let (before, after) = self.deltas.split_at_mut(index);
        let led = led_back(&after[0], self.normalized[index].as_ref(), rows);
        let (layer, w) = (
            &network.layers()[index - 1],
            network.layers()[index].weights_slice(),
        );
        let units = layer.units();
        let z = &self.weighted_inputs[index - 1];
        let a = &self.activations[index - 1];
        let factors = self.dropped[index - 1].as_ref();
        let arrays = [(before[index - 1].slice_mut(rows), units)];
        let work = rows.saturating_mul(w.len());
        team.split(rows, ROWS_TOGETHER, work, arrays, |part, [deltas]| {
            let led = led.slice(part.clone());
            if layer.activation == Activation::Relu && factors.is_none() {
                return kernel::backward(led, w, deltas, Some(a.part(part)));
            }
            kernel::backward(led, w, deltas, None);
            if let Some(dropped) = factors {
                let factors = dropped.factors.part(part.clone());
                for (delta, &factor) in deltas.iter_mut().zip(factors) {
                    *delta *= factor;
                }
            }
            let (z, a) = (z.part(part.clone()), a.part(part));
            layer.activation.backward(units, z, a, deltas);
        });
    }

    /// ∂Cₙ/∂x = δ¹ w¹ of all that layer 1 reads, which training has no use for. Shapes: `gradient` (rows × K), row-major.
    pub(crate) fn input_gradient(&self, network: &Network<T>, rows: usize, gradient: &mut [T]) {
        let deltas = led_back(&self.deltas[0], self.normalized[0].as_ref(), rows);
        kernel::backward(deltas, network.layers()[0].weights_slice(), gradient, None);
    }

    /// ∂C/∂w = δᵀ a, ∂C/∂b = Σ δ and ∂C/∂γ = Σ δ ⊙ n(w·a) of one layer, added up over the rows, into weights (J × K,
    /// column by column in memory), biases (J) and scales (J, or none). In a normalized layer ∂C/∂w has ∂C/∂(w·a) for δ.
    ///
    /// From the last layer on, counted from 0, the embeddings follow, whose weights are their tables.
    ///
    /// Source: Arango, ∂C/∂w = δ a and ∂C/∂b = δ.
    pub(crate) fn gradient(&self, index: usize, x: Matrix<'_, T>, into: [&mut [T]; 3]) {
        let [weights, biases, scales] = into;
        if let Some(embedding) = index.checked_sub(self.activations.len()) {
            return self.table_gradient(embedding, x, weights);
        }
        self.weight_gradient(index, x, None, weights);
        self.bias_gradient(index, x.len(), (biases, scales), &Team::alone());
    }

    /// ∂C/∂w of one layer, of some of its inputs or of all.
    pub(in crate::nn) fn weight_gradient(
        &self,
        index: usize,
        x: Matrix<'_, T>,
        inputs: Option<Range<usize>>,
        weights: &mut [T],
    ) {
        let (x, deltas) = self.factors(index, x);
        kernel::weight_gradient(x, inputs.unwrap_or(0..x.width()), deltas, weights);
    }

    /// w ← w − η Σ δ a of one layer, of some of its inputs; whether all are finite then.
    pub(in crate::nn) fn descend(
        &self,
        index: usize,
        x: Matrix<'_, T>,
        inputs: Range<usize>,
        (weights, rate): (&mut [T], T),
    ) -> bool {
        let (x, deltas) = self.factors(index, x);
        kernel::descend(x, inputs, deltas, weights, rate)
    }

    /// What a layer takes, and its δ, also as panels where they were laid out.
    fn factors<'a>(&'a self, index: usize, x: Matrix<'a, T>) -> (Matrix<'a, T>, Deltas<'a, T>) {
        let (before, dropped) = (&self.activations[..index], &self.dropped[..index]);
        let normalized = self.normalized[index].as_ref();
        let led = led_back(&self.deltas[index], normalized, x.len());
        let panels = (self.panels_of == Some(index)).then_some(self.panels.as_slice());
        let inputs = read(self.inputs.as_ref(), self.embedded.as_ref());
        let x = taken(inputs, before, dropped, x);
        (x, (led, panels))
    }

    /// Prepares δ of a layer of many units for [`Workspace::weight_gradient`], of which many parts are to be computed.
    pub(in crate::nn) fn lay_out_deltas(&mut self, index: usize, rows: usize, team: &Team) {
        self.panels_of = None;
        let units = self.deltas[index].width;
        if kernel::is_far_apart::<T>(units) && rows >= ROWS_TOGETHER {
            let led = led_back(&self.deltas[index], self.normalized[index].as_ref(), rows);
            let places = units.next_multiple_of(kernel::PANEL_UNITS);
            let arrays = [(&mut self.panels[..places * rows], rows)];
            let work = COPY * rows * units;
            team.split(
                places,
                kernel::PANEL_UNITS,
                work,
                arrays,
                |part, [panels]| {
                    kernel::panels(led, part.start..part.end.min(units), panels);
                },
            );
            self.panels_of = Some(index);
        }
    }

    /// ∂C/∂b and ∂C/∂γ of one layer.
    pub(in crate::nn) fn bias_gradient(
        &self,
        index: usize,
        rows: usize,
        (biases, scales): (&mut [T], &mut [T]),
        team: &Team,
    ) {
        let deltas = &self.deltas[index];
        let work = COPY * rows * deltas.width;
        let sums = [(biases, 1)];
        team.split(
            deltas.width,
            kernel::PANEL_UNITS,
            work,
            sums,
            |units, [sums]| {
                kernel::bias_gradient(deltas.matrix(rows), units, sums);
            },
        );
        if let Some(normalized) = &self.normalized[index] {
            scales.fill(T::zero());
            let values = normalized.values.chunks_exact(normalized.units);
            for (deltas, values) in deltas.slice(rows).chunks_exact(deltas.width).zip(values) {
                for ((sum, &delta), &value) in scales.iter_mut().zip(deltas).zip(values) {
                    *sum += delta * value;
                }
            }
        }
    }
}

/// ∂C/∂(w·a) of a layer: δ, where it is not normalized.
pub(super) fn led_back<'a, T: Scalar>(
    deltas: &'a Rows<T>,
    normalized: Option<&'a NormalizedRows<T>>,
    rows: usize,
) -> Matrix<'a, T> {
    match normalized {
        Some(normalized) => Matrix::new(&normalized.deltas[..rows * deltas.width], deltas.width),
        None => deltas.matrix(rows),
    }
}
