//! The workloads W1–W5: five networks with their data, batches and optimizers, and made-up samples of their shapes.

use gradientd::model::{Model, Preprocess, Preprocessing, Targets};
use gradientd::nn::{Activation, Layer, Loss, Network, OptimizerSpec};
use gradientd::train::{CheckedSpec, RawSamples, Source};
use ndarray::{Array1, Array2};

/// What is trained, and how.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Samples.
    pub(crate) rows: usize,
    /// Inputs, and the units of each layer.
    pub(crate) widths: &'static [usize],
    /// Samples of a batch.
    pub(crate) batch: usize,
    hidden: Activation,
    last: Activation,
    loss: Loss,
    optimizer: OptimizerSpec,
}

const DESCENT: OptimizerSpec = descent(0.5, 0.0);
const ADAM: OptimizerSpec = OptimizerSpec::Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.0,
};
const CROSS_ENTROPY: Loss = Loss::CrossEntropy {
    label_smoothing: 0.0,
};

/// From a table as small as iris to matrices that fill a core.
pub(crate) const ALL: [Workload; 5] = [
    Workload {
        name: "W1",
        rows: 150,
        widths: &[4, 8, 3],
        batch: 150,
        hidden: Activation::Sigmoid,
        last: Activation::Sigmoid,
        loss: Loss::Quadratic,
        optimizer: DESCENT,
    },
    Workload {
        name: "W2",
        rows: 50_000,
        widths: &[784, 30, 10],
        batch: 10,
        hidden: Activation::Sigmoid,
        last: Activation::Sigmoid,
        loss: Loss::Quadratic,
        optimizer: DESCENT,
    },
    Workload {
        name: "W3",
        rows: 100_000,
        widths: &[32, 64, 64, 1],
        batch: 64,
        hidden: Activation::Relu,
        last: Activation::Identity,
        loss: Loss::MeanSquaredError,
        optimizer: ADAM,
    },
    Workload {
        name: "W4",
        rows: 60_000,
        widths: &[784, 512, 512, 10],
        batch: 128,
        hidden: Activation::Relu,
        last: Activation::Softmax,
        loss: CROSS_ENTROPY,
        optimizer: ADAM,
    },
    Workload {
        name: "W5",
        rows: 20_000,
        widths: &[1024, 2048, 2048, 10],
        batch: 512,
        hidden: Activation::Relu,
        last: Activation::Softmax,
        loss: CROSS_ENTROPY,
        optimizer: descent(0.01, 0.9),
    },
];

const fn descent(learning_rate: f64, momentum: f64) -> OptimizerSpec {
    OptimizerSpec::GradientDescent {
        learning_rate,
        momentum,
        nesterov: false,
    }
}

impl Workload {
    /// Numbers in an input row, and in a row of outputs.
    pub(crate) fn ends(&self) -> (usize, usize) {
        (self.widths[0], self.widths[self.widths.len() - 1])
    }

    /// Weights and biases together.
    pub(crate) fn parameters(&self) -> usize {
        let layers = self.widths.windows(2);
        layers.map(|pair| (pair[0] + 1) * pair[1]).sum()
    }

    /// The model whose parameters are the next ones, layer by layer: weights row by row (units × inputs), then biases. Each
    /// is asked for with the layer's number of inputs.
    pub(crate) fn model(&self, mut next: impl FnMut(usize) -> f32) -> Model {
        let last = self.widths.len() - 2;
        let layers = self.widths.windows(2).enumerate();
        let layers = layers.map(|(index, pair)| Layer {
            weights: Array2::from_shape_simple_fn((pair[1], pair[0]), || next(pair[0])),
            biases: Array1::from_shape_simple_fn(pair[1], || next(pair[0])),
            activation: if index == last {
                self.last
            } else {
                self.hidden
            },
            normalization: None,
        });
        let network = Network::new(layers.collect()).expect("the widths of a workload fit");
        Model {
            network: network.into(),
            loss: self.loss,
            preprocessing: Preprocessing::unfitted(Preprocess::None, &[]),
            targets: Targets::Values { names: None },
            golden: None,
        }
    }

    /// A job of so many epochs on so many rows, as its check would leave it.
    pub(crate) fn spec(&self, rows: usize, epochs: u64, shuffle: bool) -> CheckedSpec {
        let (inputs, outputs) = self.ends();
        let spec = serde_json::json!({
            "model": self.name,
            "from": {"version": 1},
            "data": {"rows": rows, "inputs": inputs, "targets": outputs, "digest": ""},
            "validation": null,
            "optimizer": self.optimizer,
            "schedule": "constant",
            "epochs": epochs,
            "batch_size": self.batch,
            "shuffle": shuffle,
            "seed": 1,
            "metrics": ["loss"],
            "refit": false,
            "train_rows": rows,
            "targets": {"kind": "values", "names": null},
        });
        serde_json::from_value(spec).expect("a checked spec reads back")
    }

    /// A model and so many samples that need no file, as if drawn at random: inputs between −1.7 and 1.7, weights as large as
    /// He's, and as targets one 1 in each row.
    pub(crate) fn made_up(&self, rows: usize) -> (Model, Source) {
        let (inputs, outputs) = self.ends();
        let mut drawn = 0;
        let model = self.model(|inputs| {
            drawn += 1;
            (number(drawn) * (6.0 / inputs as f64).sqrt()) as f32
        });
        let x = Array2::from_shape_fn((rows, inputs), |(row, column)| {
            number(row * inputs + column) * 3.0_f64.sqrt()
        });
        let y = Array2::from_shape_fn((rows, outputs), |(row, output)| {
            f64::from(u8::from(output == row % outputs))
        });
        (model, source(x, y))
    }
}

/// A number in [−1, 1) that looks random: the index times the odd number nearest to 2³² over the golden ratio, which is
/// Knuth's multiplicative hash, mixed once more.
fn number(index: usize) -> f64 {
    let hash = (index as u32).wrapping_mul(0x9E37_79B1);
    let mixed = (hash ^ (hash >> 15)).wrapping_mul(0x9E37_79B1);
    f64::from(mixed) / f64::from(1_u32 << 31) - 1.0
}

/// Rows to train on, all of the same weight.
pub(crate) fn source(inputs: Array2<f64>, targets: Array2<f64>) -> Source {
    Source::of(RawSamples::Inline {
        inputs,
        targets,
        weights: None,
    })
}
