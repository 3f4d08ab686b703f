//! Backpropagation laid open: every z, a, δ and gradient of a batch.

use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use ndarray::{Array1, Array2, ArrayView2, s};

use crate::nn::{Backpropagation, Batch, Loss, Network, Workspace, flush_denormals};

/// What backpropagation computes on one layer, for N samples.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInspection {
    /// z, (N × J).
    pub weighted_inputs: Array2<f64>,
    /// a, (N × J).
    pub activations: Array2<f64>,
    /// δ = ∂Cₙ/∂z, (N × J): row n is that of sample n's own loss.
    pub deltas: Array2<f64>,
    /// (1/N) Σₙ ∂Cₙ/∂w, (J × K).
    pub weight_gradient: Array2<f64>,
    /// (1/N) Σₙ ∂Cₙ/∂b, (J).
    pub bias_gradient: Array1<f64>,
    /// (1/N) Σₙ ∂Cₙ/∂γ, (J), where the layer is normalized; else empty. Batch normalization goes by its running mean and
    /// variance here, as in a prediction.
    pub scale_gradient: Array1<f64>,
}

/// What backpropagation computes of one embedding, for N samples.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingInspection {
    /// The column whose categories have the vectors.
    pub column: String,
    /// (1/N) Σₙ ∂Cₙ/∂E, (categories × dimensions).
    pub weight_gradient: Array2<f64>,
}

/// What backpropagation computes for N samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// C = (1/N) Σₙ Cₙ; 0 of no samples.
    pub loss: f64,
    /// Layers 1..L.
    pub layers: Vec<LayerInspection>,
    /// The embeddings, in the order of their inputs.
    pub embeddings: Vec<EmbeddingInspection>,
    /// ∂Cₙ/∂x of what layer 1 reads, (N × K): row n is that of sample n's own loss. In the place of a category stands its
    /// vector.
    pub input_gradient: Array2<f64>,
}

impl Inspection {
    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let finite = |numbers: &Array2<f64>| numbers.iter().all(|number| number.is_finite());
        let layer = |layer: &LayerInspection| {
            finite(&layer.weighted_inputs)
                && finite(&layer.activations)
                && finite(&layer.deltas)
                && finite(&layer.weight_gradient)
                && (layer.bias_gradient.iter())
                    .chain(&layer.scale_gradient)
                    .all(|number| number.is_finite())
        };
        self.loss.is_finite()
            && finite(&self.input_gradient)
            && (self.embeddings.iter()).all(|embedding| finite(&embedding.weight_gradient))
            && self.layers.iter().all(layer)
    }
}

/// Runs the forward and backward passes of training and keeps what they compute.
///
/// Shapes: `inputs` (N × K), `targets` (N × J). Panics: where they are not, or the loss does not accept the last
/// activation, the caller's bug. Source: Arango, all four equations.
pub fn inspect(
    network: &Network<f64>,
    loss: Loss,
    inputs: ArrayView2<f64>,
    targets: ArrayView2<f64>,
) -> Inspection {
    let _flushing = flush_denormals();
    let samples = inputs.nrows();
    let mut inspection = empty(network, samples);
    let mut backpropagation = Backpropagation::predicting(network, samples);
    let sums = backpropagation.run_observed(
        network,
        loss,
        Batch::new(inputs, targets),
        false,
        || ControlFlow::<Infallible>::Continue(()),
        |rows, workspace| inspection.keep(network, rows, workspace),
    );
    let sums = match sums {
        ControlFlow::Continue(sums) => sums,
        ControlFlow::Break(never) => match never {},
    };
    inspection.loss = sums.mean_loss();
    let count = samples.max(1) as f64;
    for (layer, gradient) in inspection.layers.iter_mut().zip(&sums.gradient.layers) {
        layer.weight_gradient = &gradient.weights / count;
        layer.bias_gradient = &gradient.biases / count;
        layer.scale_gradient = &gradient.scales / count;
    }
    let tables = sums.gradient.layers.iter().skip(network.layers().len());
    let embeddings = network.embeddings().iter().zip(tables);
    let embeddings = embeddings.map(|(embedding, table)| EmbeddingInspection {
        column: embedding.column.clone(),
        weight_gradient: &table.weights.t() / count,
    });
    inspection.embeddings = embeddings.collect();
    inspection
}

impl Inspection {
    /// Copies z, a and δ of one block, and computes its ∂Cₙ/∂x.
    fn keep(&mut self, network: &Network<f64>, rows: Range<usize>, workspace: &Workspace<f64>) {
        let count = rows.len();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let range = s![rows.clone(), ..];
            layer
                .weighted_inputs
                .slice_mut(range)
                .assign(&workspace.weighted_inputs(index, 0..count));
            layer
                .activations
                .slice_mut(range)
                .assign(&workspace.activations(index, 0..count));
            layer
                .deltas
                .slice_mut(range)
                .assign(&workspace.deltas(index, 0..count));
        }
        let mut rows = self.input_gradient.slice_mut(s![rows, ..]);
        let rows = rows
            .as_slice_mut()
            .expect("whole rows of a row-major array");
        workspace.input_gradient(network, count, rows);
    }
}

fn empty(network: &Network<f64>, samples: usize) -> Inspection {
    let layers = network.layers().iter().map(|layer| {
        let rows = Array2::zeros((samples, layer.units()));
        LayerInspection {
            weighted_inputs: rows.clone(),
            activations: rows.clone(),
            deltas: rows,
            weight_gradient: Array2::zeros(layer.weights.raw_dim()),
            bias_gradient: Array1::zeros(layer.units()),
            scale_gradient: Array1::zeros(0),
        }
    });
    Inspection {
        loss: 0.0,
        layers: layers.collect(),
        embeddings: Vec::new(),
        input_gradient: Array2::zeros((samples, network.reads())),
    }
}
