//! Model: a network with the preprocessing it was fitted with, ready to predict; its spec, its answers and its bytes.

mod answer;
mod artifact;
pub mod choice;
mod error;
mod given;
mod header;
mod matrix;
mod name;
mod parameters;
mod rows;
mod scaling;
mod spec;
mod tensors;
mod violation;

use std::collections::{BTreeMap, HashSet};

use ndarray::{Array2, ArrayView2};

pub use crate::model::answer::{Outputs, Prediction};
pub use crate::model::artifact::{digest, hex};
pub use crate::model::error::Error;
pub use crate::model::given::given;
pub use crate::model::header::{Header, LayerShape, Targets};
pub use crate::model::matrix::Matrix;
pub use crate::model::name::{check_name, is_alias, is_name, name_rule};
pub use crate::model::parameters::LayerParameters;
pub use crate::model::rows::{Rows, TargetRows};
pub use crate::model::scaling::{Preprocess, Scaling};
pub use crate::model::spec::{CheckedModelSpec, LayerSpec, ModelLimits, ModelSpec, check_labels};
pub use crate::model::tensors::{ReadTensors, Tensors};
pub use crate::model::violation::{
    MOST_VIOLATIONS, Violation, Violations, escaped, known, near_miss, shortened,
};
use crate::nn::{Dtype, Inspection, Loss, Network, Scalar, flush_denormals, inspect};

/// A network of either dtype.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyNetwork {
    /// Parameters and arithmetic in f32.
    Float32(Network<f32>),
    /// Parameters and arithmetic in f64.
    Float64(Network<f64>),
}

impl AnyNetwork {
    /// The network, where it is of this dtype.
    pub fn float32(self) -> Option<Network<f32>> {
        match self {
            Self::Float32(network) => Some(network),
            Self::Float64(_) => None,
        }
    }

    /// The network, where it is of this dtype.
    pub fn float64(self) -> Option<Network<f64>> {
        match self {
            Self::Float64(network) => Some(network),
            Self::Float32(_) => None,
        }
    }
}

/// A model and rows as inspection sees them: all in f64, inputs scaled, targets as activations.
#[derive(Clone, Debug)]
pub struct Float64 {
    /// The layers.
    pub network: Network<f64>,
    /// Scaled inputs (N × K).
    pub inputs: Array2<f64>,
    /// Target activations (N × J).
    pub targets: Array2<f64>,
}

/// A network and everything that a raw row goes through before and after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The layers.
    pub network: AnyNetwork,
    /// The loss it is trained and inspected with.
    pub loss: Loss,
    /// Preprocessing of the inputs.
    pub scaling: Scaling,
    /// Names of the inputs, where the model was trained on a dataset.
    pub features: Option<Vec<String>>,
    /// What the outputs mean.
    pub targets: Targets,
}

impl From<Network<f32>> for AnyNetwork {
    fn from(network: Network<f32>) -> Self {
        Self::Float32(network)
    }
}

impl From<Network<f64>> for AnyNetwork {
    fn from(network: Network<f64>) -> Self {
        Self::Float64(network)
    }
}

impl AnyNetwork {
    /// The type of the parameters.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Float32(_) => Dtype::Float32,
            Self::Float64(_) => Dtype::Float64,
        }
    }

    /// Numbers in an input row.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Float32(network) => network.inputs(),
            Self::Float64(network) => network.inputs(),
        }
    }

    /// Numbers in an output row.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Float32(network) => network.outputs(),
            Self::Float64(network) => network.outputs(),
        }
    }

    /// Weights, biases and scales together.
    pub fn parameter_count(&self) -> usize {
        match self {
            Self::Float32(network) => network.parameter_count(),
            Self::Float64(network) => network.parameter_count(),
        }
    }

    /// Units and activation of each layer.
    pub fn shape(&self) -> Vec<LayerShape> {
        match self {
            Self::Float32(network) => shape_of(network),
            Self::Float64(network) => shape_of(network),
        }
    }

    /// The same network in f64, for inspection.
    pub fn to_float64(&self) -> Network<f64> {
        match self {
            Self::Float32(network) => network.cast(),
            Self::Float64(network) => network.clone(),
        }
    }
}

fn shape_of<T: Scalar>(network: &Network<T>) -> Vec<LayerShape> {
    let shape = |layer: &crate::nn::Layer<T>| LayerShape {
        units: layer.biases.len(),
        activation: layer.activation,
        normalization: layer.normalization.as_ref().map(|normalized| normalized.by),
    };
    network.layers().iter().map(shape).collect()
}

impl Model {
    /// What is known of the model without its parameters.
    pub fn header(&self) -> Header {
        Header {
            dtype: self.network.dtype(),
            inputs: self.network.inputs(),
            layers: self.network.shape(),
            loss: self.loss,
            preprocess: self.scaling.preprocess(),
            fitted: self.scaling.is_ready(),
            features: self.features.clone(),
            targets: self.targets.clone(),
        }
    }

    /// Outputs (N × J) of raw input rows (N × K): scaled in f64, rounded to the model's dtype, sent forward.
    ///
    /// Errors: the preprocessing is not fitted yet; a row has the wrong width; a scaled input does not fit the dtype.
    pub fn predict(&self, inputs: &Rows) -> Result<Outputs, Error> {
        let _flushing = flush_denormals();
        Ok(match &self.network {
            AnyNetwork::Float32(network) => {
                Outputs::Float32(network.predict(self.scaled(inputs)?.view()))
            }
            AnyNetwork::Float64(network) => {
                Outputs::Float64(network.predict(self.scaled(inputs)?.view()))
            }
        })
    }

    /// The gradients of raw rows, in f64 whatever the dtype; `input_gradient` is in raw units.
    ///
    /// Errors: as [`Model::predict`]; targets that do not fit the rows or the outputs.
    pub fn inspect(&self, inputs: &Rows, targets: &TargetRows) -> Result<Inspection, Error> {
        let _flushing = flush_denormals();
        let Float64 {
            network,
            inputs,
            targets,
        } = self.in_float64(inputs, targets)?;
        let mut inspection = inspect(&network, self.loss, inputs.view(), targets.view());
        for ((_, column), gradient) in inspection.input_gradient.indexed_iter_mut() {
            *gradient = self.scaling.input_gradient(column, *gradient);
        }
        Ok(inspection)
    }

    /// The network in f64 with scaled inputs and target activations for it.
    ///
    /// Errors: as [`Model::inspect`].
    pub fn in_float64(&self, inputs: &Rows, targets: &TargetRows) -> Result<Float64, Error> {
        let _flushing = flush_denormals();
        let (inputs, targets) = self.samples(inputs, targets)?;
        Ok(Float64 {
            network: self.network.to_float64(),
            inputs,
            targets,
        })
    }

    /// Scaled inputs (N × K) and target activations (N × J) in f64.
    ///
    /// Errors: as [`Model::inspect`], those of the inputs and of the targets together.
    pub fn samples(
        &self,
        inputs: &Rows,
        targets: &TargetRows,
    ) -> Result<(Array2<f64>, Array2<f64>), Error> {
        let (rows, got) = (inputs.len(), targets.len());
        if rows != got {
            let detail = format!("must have one target for each of the {rows} inputs, got {got}");
            return Err(Error::invalid("/targets", detail));
        }
        let scaled = self.scaled(inputs);
        if rows == 0 {
            return scaled.map(|inputs| (inputs, Array2::zeros((0, 0))));
        }
        match (scaled, self.header().target_matrix(targets, "/targets")) {
            (Ok(inputs), Ok(targets)) => Ok((inputs, targets)),
            (
                Err(Error::Invalid { mut violations }),
                Err(Error::Invalid { violations: others }),
            ) => {
                violations.extend(others);
                violations.truncate(MOST_VIOLATIONS);
                Err(violations.into())
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Raw rows (N × K) scaled and rounded to `T`.
    ///
    /// Errors: as [`Model::predict`].
    pub fn scaled<T: Scalar>(&self, inputs: &Rows) -> Result<Array2<T>, Error> {
        if !self.scaling.is_ready() {
            return Err(Error::NotFitted {
                preprocess: self.scaling.preprocess(),
            });
        }
        let expected = self.network.inputs();
        if inputs.is_empty() {
            return Err(Error::invalid(
                "/inputs",
                "must have at least one row, got 0",
            ));
        }
        if inputs.width() != expected {
            let got = inputs.width();
            return Err(Error::invalid(
                "/inputs/0",
                format!("must have {expected} numbers, got {got}"),
            ));
        }
        scale_rows(&self.scaling, &inputs.view(), "/inputs")
    }

    /// Outputs (N × J) of rows of named values.
    ///
    /// Errors: as [`Model::predict`] and [`Model::rows_of`].
    pub fn predict_instances(&self, instances: &[BTreeMap<String, f64>]) -> Result<Outputs, Error> {
        let rows = self.rows_of(instances)?;
        self.predict(&rows).map_err(|error| match error {
            Error::Invalid { violations } => {
                let renamed = violations
                    .into_iter()
                    .map(|violation| self.named(violation));
                renamed.collect::<Vec<_>>().into()
            }
            other => other,
        })
    }

    /// A violation at `/inputs/{row}/{column}` as the one who sent instances calls the place.
    fn named(&self, violation: Violation) -> Violation {
        let place = violation.pointer.strip_prefix("/inputs/");
        let named = place.and_then(|place| {
            let (row, column) = place.split_once('/')?;
            let feature = self.features.as_ref()?.get(column.parse::<usize>().ok()?)?;
            Some(format!("/instances/{row}/{}", escaped(feature)))
        });
        Violation {
            pointer: named.unwrap_or_else(|| "/instances".to_owned()),
            ..violation
        }
    }

    /// Rows from named values, in the order of the model's features.
    ///
    /// Errors: the model has no named features; a feature is missing or unknown.
    fn rows_of(&self, instances: &[BTreeMap<String, f64>]) -> Result<Rows, Error> {
        let Some(features) = &self.features else {
            let detail = "must be left out: this version was not trained on a dataset with named columns; train the model on one, or send inputs";
            return Err(Error::invalid("/instances", detail));
        };
        if instances.is_empty() {
            return Err(Error::invalid(
                "/instances",
                "must have at least one row, got 0",
            ));
        }
        let mut violations = Violations::default();
        let names: HashSet<&str> = features.iter().map(String::as_str).collect();
        let mut values = Vec::with_capacity(instances.iter().map(BTreeMap::len).sum());
        for (row, instance) in instances.iter().enumerate() {
            for feature in features {
                match instance.get(feature) {
                    Some(&value) => values.push(value),
                    None => violations.add(
                        format!("/instances/{row}"),
                        format!("must have feature {feature:?}"),
                    ),
                }
                if violations.is_full() {
                    break;
                }
            }
            for name in instance
                .keys()
                .filter(|name| !names.contains(name.as_str()))
            {
                if violations.is_full() {
                    break;
                }
                let known = known(name, features);
                violations.add(
                    format!("/instances/{row}"),
                    format!("has no feature {name:?}: {known}"),
                );
            }
            if violations.is_full() {
                break;
            }
        }
        violations.finish().map_err(Error::from)?;
        Ok(Rows::new(features.len(), values).expect("every row has every feature"))
    }
}

/// Scales raw values (N × K) in f64 and rounds them to `T`.
///
/// Errors: a scaled value does not fit `T`, with its pointer under `pointer`.
pub fn scale_rows<T: Scalar>(
    scaling: &Scaling,
    raw: &ArrayView2<f64>,
    pointer: &str,
) -> Result<Array2<T>, Error> {
    let mut violations = Violations::default();
    let mut scaled = Array2::<T>::zeros(raw.raw_dim());
    for (((row, column), &value), place) in raw.indexed_iter().zip(scaled.iter_mut()) {
        let number = scaling.apply(column, value);
        *place = T::from_f64(number);
        if !place.is_finite() {
            let (dtype, most) = (T::DTYPE.name(), T::DTYPE.max());
            let made = if number == value {
                String::new()
            } else {
                format!(", which the preprocessing makes {number:e}")
            };
            let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}{made}");
            violations.add(format!("{pointer}/{row}/{column}"), detail);
            if violations.is_full() {
                break;
            }
        }
    }
    violations.finish().map_err(Error::from)?;
    Ok(scaled)
}
