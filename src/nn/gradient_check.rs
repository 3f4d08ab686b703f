//! The gradient against central differences: does backpropagation compute what it claims to?

use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use crate::nn::gradient_sample::chosen;
use crate::nn::{Batch, FixedTree, Loss, Network, Team, Workspace, flush_denormals, inspect};

/// How much is checked, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckOptions {
    /// ε, how far a parameter is moved to either side; 1e-5 is near the best for f64, about ∛(machine epsilon).
    pub epsilon: f64,
    /// How many parameters are looked at, drawn without replacement; all, where there are no more. Where there are embeddings,
    /// half of them are of layers and half of vectors of categories that samples have, or more where the others are fewer.
    pub sample: usize,
    /// Fixes which.
    pub seed: u64,
    /// The largest relative error that passes.
    pub tolerance: f64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            sample: 200,
            seed: 0,
            tolerance: 1e-6,
        }
    }
}

/// What a gradient check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GradientCheck {
    /// Whether no relative error is above the tolerance; true also where everything was skipped.
    pub passed: bool,
    /// That of the options.
    pub tolerance: f64,
    /// How many parameters were compared.
    pub checked: usize,
    /// How many were not, since between p − ε and p + ε a unit crosses a kink of its activation, or an output one of the loss, where the
    /// first or second derivative jumps.
    pub skipped: usize,
    /// The largest relative error |a − n| / max(|a|, |n|, 10⁻³ max|∇C|).
    pub max_relative_error: f64,
    /// The parameter that has it; none where nothing was compared.
    pub worst: Option<WorstParameter>,
    /// Layers 1..L.
    pub layers: Vec<LayerCheck>,
    /// The embeddings, in the order of their inputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingCheck>,
}

impl GradientCheck {
    /// Whether every derivative that was compared is finite.
    pub fn is_finite(&self) -> bool {
        let worst = self.worst.iter();
        self.max_relative_error.is_finite()
            && worst
                .flat_map(|worst| [worst.analytic, worst.numeric])
                .all(f64::is_finite)
    }
}

/// One parameter and its two derivatives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstParameter {
    /// The layer's number, 1..L; none for a number of a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The column whose embedding it is of; none for a parameter of a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// `"weight"`, `"bias"` or `"scale"`.
    pub parameter: &'static str,
    /// Its unit, or its category, from 0.
    pub row: usize,
    /// Its input, or its dimension, from 0; none for a bias or a scale.
    pub column: Option<usize>,
    /// What backpropagation says.
    pub analytic: f64,
    /// (C(p + ε) − C(p − ε)) / 2ε.
    pub numeric: f64,
}

/// What a gradient check found in one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCheck {
    /// The layer's number, 1..L.
    pub layer: usize,
    /// What was found of its parameters.
    #[serde(flatten)]
    pub found: PartCheck,
}

/// What a gradient check found in one embedding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmbeddingCheck {
    /// The column whose categories have the vectors.
    pub column: String,
    /// What was found of their numbers.
    #[serde(flatten)]
    pub found: PartCheck,
}

/// What a gradient check found in a part of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PartCheck {
    /// How many of its parameters were compared.
    pub checked: usize,
    /// How many were skipped.
    pub skipped: usize,
    /// The largest relative error among them.
    pub max_relative_error: f64,
}

/// Compares ∂C/∂p with (C(p + ε) − C(p − ε)) / 2ε, over all parameters or a seeded sample of them.
///
/// `poll` is asked before every parameter; its `Break` ends the check.
///
/// Shapes: `inputs` (N × K), `targets` (N × J). Panics: where they are not, or the loss does not accept the last
/// activation, the caller's bug.
pub fn check_gradients<B>(
    network: &Network<f64>,
    loss: Loss,
    inputs: ArrayView2<f64>,
    targets: ArrayView2<f64>,
    options: &CheckOptions,
    mut poll: impl FnMut() -> ControlFlow<B>,
) -> ControlFlow<B, GradientCheck> {
    let _flushing = flush_denormals();
    let inspection = inspect(network, loss, inputs, targets);
    let gradients = inspection.layers.iter().flat_map(|layer| {
        let weights = layer.weight_gradient.iter();
        weights
            .chain(&layer.bias_gradient)
            .chain(&layer.scale_gradient)
    });
    let gradients = gradients.chain(
        inspection
            .embeddings
            .iter()
            .flat_map(|embedding| &embedding.weight_gradient),
    );
    let floor = 1e-3 * gradients.fold(0.0, |largest: f64, g| largest.max(g.abs()));
    let mut losses = Losses::new(network, loss, inputs, targets);
    let mut check = GradientCheck::new(network, options.tolerance);
    for number in chosen(network, inputs, options) {
        poll()?;
        let place = Place::of(network, number);
        let (above, sides_above) = losses.moved(place, options.epsilon);
        let (below, sides_below) = losses.moved(place, -options.epsilon);
        if sides_above == sides_below {
            let analytic = match (inspection.layers.get(place.layer), place.part) {
                (Some(layer), Part::Weight { column }) => {
                    layer.weight_gradient[[place.row, column]]
                }
                (Some(layer), Part::Bias) => layer.bias_gradient[place.row],
                (Some(layer), Part::Scale) => layer.scale_gradient[place.row],
                (None, _) => {
                    let embedding = place.layer - inspection.layers.len();
                    place.number_of(&inspection.embeddings[embedding].weight_gradient)
                }
            };
            let numeric = (above - below) / (2.0 * options.epsilon);
            check.compare(place, analytic, numeric, floor);
        } else {
            check.skip(place);
        }
    }
    ControlFlow::Continue(check)
}

/// Where a parameter stands; the layer is counted from 0, and behind the last layer come the tables of the embeddings.
#[derive(Clone, Copy, Debug)]
struct Place {
    layer: usize,
    row: usize,
    part: Part,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Weight { column: usize },
    Bias,
    Scale,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Weight { .. } => "weight",
            Self::Bias => "bias",
            Self::Scale => "scale",
        }
    }
}

impl Place {
    /// The place of a parameter by its number: layer by layer, the weights row by row, then the biases, then the scales; then
    /// the tables.
    fn of(network: &Network<f64>, mut number: usize) -> Self {
        for (index, layer) in network.parts().iter().enumerate() {
            if number < layer.weights.len() {
                let (row, column) = (number / layer.inputs(), number % layer.inputs());
                return Self {
                    layer: index,
                    row,
                    part: Part::Weight { column },
                };
            }
            number -= layer.weights.len();
            let scaled = layer.normalization.is_some();
            for part in [Part::Bias, Part::Scale]
                .into_iter()
                .take(1 + usize::from(scaled))
            {
                if number < layer.biases.len() {
                    return Self {
                        layer: index,
                        row: number,
                        part,
                    };
                }
                number -= layer.biases.len();
            }
        }
        unreachable!("numbers below the parameter count have a place")
    }

    /// The entry of a table of (categories × dimensions).
    fn number_of(self, table: &Array2<f64>) -> f64 {
        match self.part {
            Part::Weight { column } => table[[column, self.row]],
            Part::Bias | Part::Scale => unreachable!("a table has weights alone"),
        }
    }

    fn parameter(self, network: &mut Network<f64>) -> &mut f64 {
        let layer = &mut network.parts_mut()[self.layer];
        match self.part {
            Part::Weight { column } => &mut layer.weights[[self.row, column]],
            Part::Bias => &mut layer.biases[self.row],
            Part::Scale => &mut layer.scales_mut()[self.row],
        }
    }
}

/// The loss of the batch as a function of one parameter.
struct Losses<'a> {
    network: Network<f64>,
    loss: Loss,
    inputs: ArrayView2<'a, f64>,
    targets: ArrayView2<'a, f64>,
    workspace: Workspace<f64>,
    tree: FixedTree<f64>,
}

impl<'a> Losses<'a> {
    fn new(
        network: &Network<f64>,
        loss: Loss,
        inputs: ArrayView2<'a, f64>,
        targets: ArrayView2<'a, f64>,
    ) -> Self {
        Self {
            network: network.clone(),
            loss,
            inputs,
            targets,
            workspace: Workspace::for_rows(network, inputs.nrows()),
            tree: FixedTree::new(inputs.nrows(), || 0.0),
        }
    }

    /// C with the parameter moved by `step`, and on which side of the kinks every unit and output then is, for every
    /// sample.
    fn moved(&mut self, place: Place, step: f64) -> (f64, Vec<u8>) {
        let parameter = place.parameter(&mut self.network);
        let original = *parameter;
        *parameter = original + step;
        let result = self.mean();
        *place.parameter(&mut self.network) = original;
        result
    }

    fn mean(&mut self) -> (f64, Vec<u8>) {
        let Self {
            network, workspace, ..
        } = self;
        let samples = self.inputs.nrows();
        let batch = Batch::new(self.inputs, self.targets);
        let loss_kinks = self.loss.kinks();
        let mut sides = Vec::new();
        let sum = self.tree.sum(samples, |rows, sum| {
            let count = rows.len();
            let part = batch.slice(rows);
            workspace.take_targets(part.targets());
            workspace.forward(network, part.inputs(), None, &Team::alone());
            *sum = workspace.loss(network, self.loss, 0..count);
            for (index, layer) in network.layers().iter().enumerate() {
                let kinks = layer.activation.kinks();
                if !kinks.is_empty() {
                    let z = workspace.weighted_inputs(index, 0..count);
                    sides.extend(z.iter().map(|&z| side(kinks, z)));
                }
            }
            if !loss_kinks.is_empty() {
                let a = workspace.activations(network.layers().len() - 1, 0..count);
                let pairs = a.iter().zip(workspace.targets(0..count));
                sides.extend(pairs.map(|(a, y)| side(&loss_kinks, a - y)));
            }
            ControlFlow::<std::convert::Infallible>::Continue(())
        });
        match sum {
            ControlFlow::Continue(sum) => (sum / samples.max(1) as f64, sides),
            ControlFlow::Break(never) => match never {},
        }
    }
}

/// How many of the kinks lie below.
fn side(kinks: &[f64], at: f64) -> u8 {
    kinks.iter().filter(|&&kink| at > kink).count() as u8
}

impl GradientCheck {
    fn new(network: &Network<f64>, tolerance: f64) -> Self {
        let layers = (1..=network.layers().len()).map(|layer| LayerCheck {
            layer,
            found: PartCheck::default(),
        });
        let embeddings = network.embeddings().iter().map(|embedding| EmbeddingCheck {
            column: embedding.column.clone(),
            found: PartCheck::default(),
        });
        Self {
            passed: true,
            tolerance,
            checked: 0,
            skipped: 0,
            max_relative_error: 0.0,
            worst: None,
            layers: layers.collect(),
            embeddings: embeddings.collect(),
        }
    }

    /// What has been found of the part that a parameter is of.
    fn found(&mut self, place: Place) -> &mut PartCheck {
        match place.layer.checked_sub(self.layers.len()) {
            Some(embedding) => &mut self.embeddings[embedding].found,
            None => &mut self.layers[place.layer].found,
        }
    }

    fn skip(&mut self, place: Place) {
        self.skipped += 1;
        self.found(place).skipped += 1;
    }

    fn compare(&mut self, place: Place, analytic: f64, numeric: f64, floor: f64) {
        let scale = analytic.abs().max(numeric.abs()).max(floor);
        let difference = (analytic - numeric).abs();
        // Two zeros agree. A NaN on either side is as wrong as can be, and JSON could not say it.
        let error = if difference == 0.0 {
            0.0
        } else if (difference / scale).is_finite() {
            difference / scale
        } else {
            f64::MAX
        };
        let found = self.found(place);
        found.checked += 1;
        found.max_relative_error = found.max_relative_error.max(error);
        self.checked += 1;
        self.passed &= error <= self.tolerance;
        if self.worst.is_none() || error > self.max_relative_error {
            self.max_relative_error = error;
            let embedding = place.layer.checked_sub(self.layers.len());
            let column = match place.part {
                Part::Weight { column } => Some(column),
                Part::Bias | Part::Scale => None,
            };
            // A table has its categories for inputs, and is shown with a row for each.
            let (row, column) = match (embedding, column) {
                (Some(_), Some(category)) => (category, Some(place.row)),
                _ => (place.row, column),
            };
            self.worst = Some(WorstParameter {
                layer: embedding.is_none().then_some(place.layer + 1),
                embedding: embedding.map(|index| self.embeddings[index].column.clone()),
                parameter: place.part.name(),
                row,
                column,
                analytic,
                numeric,
            });
        }
    }
}
