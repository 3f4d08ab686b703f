//! A model's spec: the network and preprocessing a user declares, checked all at once, and the first parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::columns::{
    ColumnSpec, EmbeddingParameters, EmbeddingShape, check_vectors, embeddings, meaning,
};
use crate::model::name::check_name;
use crate::model::parameters::check_parameters;
use crate::model::{
    AnyNetwork, InputRows, LayerParameters, Model, Preprocess, Preprocessing, Rows, Targets,
    Violation, Violations, choice,
};
use crate::nn::{
    Activation, Dtype, Initializer, Layer, Loss, Network, Normalization, Normalized, Scalar, random,
};

/// The largest networks that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Layers of a network, at most.
    pub layers: u64,
    /// Units of a layer, at most.
    pub units: u64,
    /// Inputs of a network, at most.
    pub inputs: u64,
    /// Weights, biases and scales of a network together, at most.
    pub parameters: u64,
}

/// A layer as declared: `{"units":3,"activation":"sigmoid"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// Neurons in the layer.
    pub units: u64,
    /// The layer's activation function.
    #[serde(with = "choice")]
    pub activation: Activation,
    /// How its weighted inputs are normalized; left out, they are not.
    #[serde(
        default,
        with = "choice::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub normalization: Option<Normalization>,
    /// The layer's own initializer; left out, the model's.
    #[serde(
        default,
        with = "choice::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub initializer: Option<Initializer>,
}

impl LayerSpec {
    /// A layer of which only units and activation are said.
    pub fn of(units: u64, activation: Activation) -> Self {
        Self {
            units,
            activation,
            normalization: None,
            initializer: None,
        }
    }
}

/// A model by its inputs and layers. What was left out is filled in by [`ModelSpec::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The model's name.
    pub name: String,
    /// Numbers in an input row.
    pub inputs: u64,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// The loss C.
    #[serde(default = "quadratic", with = "choice")]
    pub loss: Loss,
    /// The initializer of every layer that has none of its own; left out, each layer's goes by its activation.
    #[serde(default, with = "choice::optional")]
    pub initializer: Option<Initializer>,
    /// The type of the parameters and of all arithmetic but inspection.
    #[serde(default = "float32")]
    pub dtype: Dtype,
    /// Fixes the drawing of the first parameters.
    #[serde(default)]
    pub seed: u64,
    /// What is done to the inputs before the first layer.
    #[serde(default)]
    pub preprocess: Preprocess,
    /// The dataset whose columns the model was declared from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The columns that the model reads and predicts, where it was declared from a table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnSpec>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The user's own labels.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The first parameters, given instead of drawn.
    #[serde(default, skip_serializing)]
    pub parameters: Option<Vec<LayerParameters>>,
    /// The first vectors of the columns that are embedded, given with the parameters.
    #[serde(default, skip_serializing)]
    pub embeddings: Option<Vec<EmbeddingParameters>>,
}

/// A spec that has passed every check, with every default filled in: the proof that a model can be made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedModelSpec {
    spec: ModelSpec,
    parameters: Option<Vec<LayerParameters>>,
    embeddings: Option<Vec<EmbeddingParameters>>,
}

fn quadratic() -> Loss {
    Loss::Quadratic
}

fn float32() -> Dtype {
    Dtype::Float32
}

/// Multiplications that orthogonal weights may take, at most: a layer of 1290 × 1290, about 2 s.
const MOST_MULTIPLICATIONS: u64 = 1 << 31;
/// Bytes in a description at most.
const LONGEST_DESCRIPTION: usize = 4096;
/// Entries of `metadata` at most.
const MOST_METADATA: usize = 64;
/// Bytes in a key or value of `metadata` at most.
const LONGEST_METADATA: usize = 512;

/// The key of the generator that draws the parameters of layer l: (seed, [`random::INITIALIZE`], l, 0).
fn layer_generator(seed: u64, layer: usize) -> impl rand_core::Rng {
    random::keyed(seed, random::INITIALIZE, layer as u64, 0)
}

impl ModelSpec {
    /// Numbers that layer 1 reads: the inputs, with a vector in the place of each category that is embedded. `None` where they
    /// overflow.
    pub fn reads(&self) -> Option<u64> {
        let more = |shape: &EmbeddingShape| shape.dimensions as u64 - 1;
        let shapes = embeddings(&self.columns);
        let mut more = shapes.iter().map(more);
        more.try_fold(self.inputs, u64::checked_add)
    }

    /// Number of weights, biases, scales and numbers of vectors: Σ_l units_l · (units_{l−1} + 1, or + 2 where the layer is
    /// normalized) + Σ categories · dimensions. `None` where it overflows.
    pub fn parameter_count(&self) -> Option<u64> {
        let mut inputs = self.reads()?;
        let mut count = 0u64;
        for shape in embeddings(&self.columns) {
            count = count.checked_add(shape.numbers()?)?;
        }
        for layer in &self.layers {
            let beside = 1 + u64::from(layer.normalization.is_some());
            count = count.checked_add(layer.units.checked_mul(inputs.checked_add(beside)?)?)?;
            inputs = layer.units;
        }
        Some(count)
    }

    /// Checks every range and every rule between fields, and fills in the defaults.
    ///
    /// Errors: all violations, each with its pointer.
    pub fn check(mut self, limits: &ModelLimits) -> Result<CheckedModelSpec, Vec<Violation>> {
        let mut violations = Violations::default();
        check_name(&mut violations, "/name", &self.name);
        let shape = violations.len();
        self.check_shape(&mut violations, limits);
        let in_shape = violations.len() == shape;
        self.check_loss(&mut violations);
        self.check_drawing(&mut violations);
        check_labels(&mut violations, &self.description, &self.metadata);
        let (parameters, vectors) = (self.parameters.take(), self.embeddings.take());
        match &parameters {
            Some(parameters) if in_shape => {
                check_parameters(&self, parameters, &mut violations);
                let shapes = embeddings(&self.columns);
                check_vectors(&shapes, vectors.as_deref(), self.dtype, &mut violations);
            }
            None if vectors.is_some() => {
                let detail = "must be left out where no parameters are given: all are drawn";
                violations.add("/embeddings", detail);
            }
            Some(_) | None => {}
        }
        violations.finish()?;
        if parameters.is_none() {
            let model_wide = self.initializer;
            for layer in &mut self.layers {
                let drawn_by = layer.initializer.or(model_wide);
                layer.initializer =
                    Some(drawn_by.unwrap_or_else(|| Initializer::default_for(layer.activation)));
            }
        }
        Ok(CheckedModelSpec {
            spec: self,
            parameters,
            embeddings: vectors,
        })
    }

    fn check_shape(&self, violations: &mut Violations, limits: &ModelLimits) {
        let before = violations.len();
        violations.range("/inputs", self.inputs, 1, limits.inputs);
        let reads = self.reads().unwrap_or(u64::MAX);
        if self.inputs <= limits.inputs && reads > limits.inputs {
            let most = limits.inputs;
            let detail = format!(
                "must have embeddings with which layer 1 reads at most {most} numbers, got {reads}"
            );
            violations.add("/columns", detail);
        }
        let layers = self.layers.len() as u64;
        if layers == 0 || layers > limits.layers {
            violations.add(
                "/layers",
                format!("must have 1 to {} layers, got {layers}", limits.layers),
            );
        }
        let looked_at = self.layers.iter().take(limits.layers as usize);
        for (index, layer) in looked_at.enumerate() {
            violations.range(
                format!("/layers/{index}/units"),
                layer.units,
                1,
                limits.units,
            );
            let pointer = format!("/layers/{index}/activation");
            violations.parameters(&pointer, layer.activation.violations());
            if let Some(normalization) = layer.normalization {
                let pointer = format!("/layers/{index}/normalization");
                violations.parameters(&pointer, normalization.violations());
                if !normalization.is_of_batch() && layer.units == 1 {
                    violations.add(
                        format!("/layers/{index}/units"),
                        "must be at least 2 for layer normalization, to which one unit is always the same, got 1",
                    );
                }
            }
            if let Some(initializer) = layer.initializer {
                let pointer = format!("/layers/{index}/initializer");
                violations.parameters(&pointer, initializer.violations());
            }
        }
        if let Some(initializer) = self.initializer {
            violations.parameters("/initializer", initializer.violations());
        }
        if violations.len() == before
            && self
                .parameter_count()
                .is_none_or(|count| count > limits.parameters)
        {
            let count = self
                .parameter_count()
                .map_or_else(|| "over 2^64".to_owned(), |count| count.to_string());
            let bytes = self.dtype.bytes() as u64;
            let needed = self
                .parameter_count()
                .and_then(|count| count.checked_mul(bytes));
            let needed = needed.map_or_else(|| "over 2^64".to_owned(), |needed| needed.to_string());
            let allowed = limits.parameters * bytes;
            violations.add(
                "/layers",
                format!(
                    "must have at most {} parameters ({allowed} bytes), got {count} ({needed} bytes)",
                    limits.parameters
                ),
            );
        }
    }

    fn check_loss(&self, violations: &mut Violations) {
        violations.parameters("/loss", self.loss.violations());
        if let Some(last) = self.layers.last().map(|layer| layer.activation)
            && let Some(accepted) = self.loss.last_activations()
            && !self.loss.accepts(last)
        {
            violations.add(
                format!("/layers/{}/activation", self.layers.len() - 1),
                format!(
                    "must be {} in the last layer for loss {}, got {}",
                    one_of(accepted),
                    self.loss.name(),
                    last.name()
                ),
            );
        }
    }

    fn check_drawing(&self, violations: &mut Violations) {
        let mut inputs = self.reads().unwrap_or(u64::MAX);
        let mut multiplications = 0u64;
        for layer in &self.layers {
            let drawn_by = layer.initializer.or(self.initializer);
            let needed = drawn_by.map_or(0, |by| by.multiplications(layer.units, inputs));
            multiplications = multiplications.saturating_add(needed);
            inputs = layer.units;
        }
        if multiplications > MOST_MULTIPLICATIONS {
            violations.add(
                "/layers",
                format!(
                    "must have orthogonal weights of at most {MOST_MULTIPLICATIONS} multiplications (the square of the lesser of units and inputs times the greater), got {multiplications}"
                ),
            );
        }
    }
}

/// Two rows of −1, 0 and 1.
fn made_up(inputs: usize) -> Rows {
    let values = (0..2 * inputs).map(|place| (place % 3) as f64 - 1.0);
    Rows::new(inputs, values.collect()).expect("two rows of one width")
}

/// Names of activations as alternatives: `softplus, relu or sigmoid`.
fn one_of(activations: &[Activation]) -> String {
    let names: Vec<_> = activations.iter().map(|one| one.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Notes what is wrong with a description and with metadata, of models and of jobs alike.
pub fn check_labels(
    violations: &mut Violations,
    description: &str,
    metadata: &BTreeMap<String, String>,
) {
    if description.len() > LONGEST_DESCRIPTION {
        let got = description.len();
        violations.add(
            "/description",
            format!("must have at most {LONGEST_DESCRIPTION} bytes, got {got}"),
        );
    }
    if metadata.len() > MOST_METADATA {
        violations.add(
            "/metadata",
            format!(
                "must have at most {MOST_METADATA} entries, got {}",
                metadata.len()
            ),
        );
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() > LONGEST_METADATA || value.len() > LONGEST_METADATA {
            let shown: String = key.chars().take(32).collect();
            let detail = format!(
                "must have keys and values of 1 to {LONGEST_METADATA} bytes, got another at {shown:?}"
            );
            violations.add("/metadata", detail);
        }
    }
}

impl CheckedModelSpec {
    /// The spec with every default filled in.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Number of weights, biases, scales and numbers of vectors.
    pub fn parameter_count(&self) -> u64 {
        self.spec
            .parameter_count()
            .expect("a checked spec has a count within the limit")
    }

    /// Bytes of those.
    pub fn bytes(&self) -> u64 {
        let width = self.spec.dtype.bytes() as u64;
        self.parameter_count().saturating_mul(width)
    }

    /// The model of version 1: parameters as given, or drawn from the seed; preprocessing not fitted yet.
    pub fn build(&self) -> Model {
        let network = match self.spec.dtype {
            Dtype::Float32 => AnyNetwork::Float32(self.network()),
            Dtype::Float64 => AnyNetwork::Float64(self.network()),
        };
        let model = Model {
            network,
            loss: self.spec.loss,
            preprocessing: Preprocessing::unfitted(self.spec.preprocess, &self.spec.columns),
            targets: self.targets(),
            golden: None,
        };
        let rows = made_up(self.spec.inputs as usize);
        model.with_golden(InputRows::Inputs(rows))
    }

    /// What the outputs mean before any job: of columns what they say, else numbers.
    fn targets(&self) -> Targets {
        if self.spec.columns.is_empty() {
            return Targets::Values { names: None };
        }
        meaning(&self.spec.columns).expect("columns were resolved with targets that go together")
    }

    fn network<T: Scalar>(&self) -> Network<T> {
        let reads = self.spec.reads();
        let mut inputs = reads.expect("a checked spec has inputs within the limit") as usize;
        let mut layers = Vec::with_capacity(self.spec.layers.len());
        for (index, layer) in self.spec.layers.iter().enumerate() {
            let made = match &self.parameters {
                Some(parameters) => parameters[index].layer(layer),
                None => self.drawn_layer(index, inputs),
            };
            layers.push(made);
            inputs = layer.units as usize;
        }
        let shapes = embeddings(&self.spec.columns);
        let tables = shapes.iter().enumerate().map(|(index, shape)| {
            let vectors = match &self.embeddings {
                Some(given) => given[index].weights.view().mapv(T::from_f64),
                None => shape.draw(self.spec.seed, index + 1),
            };
            (shape.place(), vectors)
        });
        let network =
            Network::new(layers).and_then(|layers| layers.with_embeddings(tables.collect()));
        network.expect("a checked spec makes a network")
    }

    fn drawn_layer<T: Scalar>(&self, index: usize, inputs: usize) -> Layer<T> {
        let layer = &self.spec.layers[index];
        let initializer = layer
            .initializer
            .expect("a checked spec names each layer's initializer");
        let mut random = layer_generator(self.spec.seed, index + 1);
        let units = layer.units as usize;
        let drawn = initializer.draw(units, inputs, layer.activation, &mut random);
        let normalization = layer.normalization.map(|by| Normalized::new(by, units));
        Layer {
            normalization,
            ..drawn
        }
    }
}
