//! Model: a network with the preprocessing it was fitted with, ready to predict; its spec, its answers and its bytes.

mod answer;
mod answer_columns;
mod artifact;
#[cfg(test)]
mod artifact_tests;
pub mod choice;
pub mod columns;
mod error;
mod given;
mod golden;
mod header;
mod matrix;
mod name;
mod parameter_digest;
mod parameters;
mod preprocessing;
mod rows;
mod scaling;
mod spec;
mod table_rows;
mod tensors;
mod violation;

use ndarray::Array2;

pub use crate::model::answer::{ClassProbability, Outputs, Prediction};
pub use crate::model::answer_columns::AnswerColumns;
pub use crate::model::artifact::{digest, hex};
use crate::model::columns::Affine;
pub use crate::model::columns::{ModelDeclaration, TableView};
pub use crate::model::error::Error;
pub use crate::model::given::given;
pub use crate::model::golden::{GOLDEN_NUMBERS, GOLDEN_ROWS, Golden, Selftest};
pub use crate::model::header::{Header, LayerShape, Targets};
pub use crate::model::matrix::Matrix;
pub use crate::model::name::{check_name, is_alias, is_name, name_rule};
pub use crate::model::parameter_digest::ParameterDigest;
pub use crate::model::parameters::LayerParameters;
pub use crate::model::preprocessing::Preprocessing;
pub use crate::model::rows::{InputRows, Rows, TargetRows};
pub use crate::model::scaling::{Preprocess, Scaling};
pub use crate::model::spec::{CheckedModelSpec, LayerSpec, ModelLimits, ModelSpec, check_labels};
pub use crate::model::table_rows::{PredictedRows, TableRowsError};
pub use crate::model::tensors::{ReadTensors, Tensors};
pub use crate::model::violation::{
    MOST_VIOLATIONS, Violation, Violations, escaped, known, near_miss, shortened,
};
use crate::nn::{Dtype, Embedding, Inspection, Loss, Network, Scalar, flush_denormals, inspect};

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
    /// What a raw row goes through before the first layer.
    pub preprocessing: Preprocessing,
    /// What the outputs mean.
    pub targets: Targets,
    /// A few rows and what the model answers them; none before the preprocessing is fitted.
    pub golden: Option<Golden>,
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

    /// Numbers that layer 1 reads of it.
    pub fn reads(&self) -> usize {
        match self {
            Self::Float32(network) => network.reads(),
            Self::Float64(network) => network.reads(),
        }
    }

    /// Where it looks vectors up.
    pub fn embeddings(&self) -> &[Embedding] {
        match self {
            Self::Float32(network) => network.embeddings(),
            Self::Float64(network) => network.embeddings(),
        }
    }

    /// Numbers in an output row.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Float32(network) => network.outputs(),
            Self::Float64(network) => network.outputs(),
        }
    }

    /// Weights, biases, scales and numbers of vectors together.
    pub fn parameter_count(&self) -> usize {
        match self {
            Self::Float32(network) => network.parameter_count(),
            Self::Float64(network) => network.parameter_count(),
        }
    }

    /// Those of the layers, which every row meets.
    pub fn layer_parameter_count(&self) -> usize {
        match self {
            Self::Float32(network) => network.layer_parameter_count(),
            Self::Float64(network) => network.layer_parameter_count(),
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
            preprocess: self.preprocessing.preprocess(),
            fitted: self.preprocessing.is_ready(),
            features: self.preprocessing.features(),
            columns: self
                .preprocessing
                .columns()
                .map(|columns| columns.specs().to_vec()),
            targets: self.targets.clone(),
        }
    }

    /// Outputs (N × J) of raw rows: preprocessed in f64, rounded to the model's dtype, sent forward.
    ///
    /// Errors: the preprocessing is not fitted yet; rows that it does not take.
    pub fn predict(&self, rows: &InputRows) -> Result<Outputs, Error> {
        let _flushing = flush_denormals();
        Ok(match &self.network {
            AnyNetwork::Float32(network) => {
                Outputs::Float32(network.predict(self.read(rows)?.view()))
            }
            AnyNetwork::Float64(network) => {
                Outputs::Float64(network.predict(self.read(rows)?.view()))
            }
        })
    }

    /// The gradients of raw rows, in f64 whatever the dtype; `input_gradient` is in raw units where an input is a scaled number.
    ///
    /// Errors: as [`Model::predict`]; targets that do not fit the rows or the outputs.
    pub fn inspect(&self, inputs: &InputRows, targets: &TargetRows) -> Result<Inspection, Error> {
        let _flushing = flush_denormals();
        let Float64 {
            network,
            inputs,
            targets,
        } = self.in_float64(inputs, targets)?;
        let mut inspection = inspect(&network, self.loss, inputs.view(), targets.view());
        self.preprocessing
            .input_gradient(inspection.input_gradient.view_mut());
        Ok(inspection)
    }

    /// The network in f64 with scaled inputs and target activations for it.
    ///
    /// Errors: as [`Model::inspect`].
    pub fn in_float64(&self, inputs: &InputRows, targets: &TargetRows) -> Result<Float64, Error> {
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
        inputs: &InputRows,
        targets: &TargetRows,
    ) -> Result<(Array2<f64>, Array2<f64>), Error> {
        let (rows, got) = (inputs.len(), targets.len());
        if rows != got {
            let detail = format!("must have one target for each of the {rows} inputs, got {got}");
            return Err(Error::invalid("/targets", detail));
        }
        let read = self.read(inputs);
        if rows == 0 {
            return read.map(|inputs| (inputs, Array2::zeros((0, 0))));
        }
        match (read, self.target_matrix(targets)) {
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

    /// What the network reads of raw rows (N × K).
    ///
    /// Errors: as [`Model::predict`].
    pub fn read<T: Scalar>(&self, rows: &InputRows) -> Result<Array2<T>, Error> {
        self.preprocessing.read(rows, self.network.inputs())
    }

    /// Target activations (N × J) of targets in their own units.
    fn target_matrix(&self, targets: &TargetRows) -> Result<Array2<f64>, Error> {
        let mut matrix = self.header().target_matrix(targets, "/targets")?;
        for (mut column, scaling) in matrix.columns_mut().into_iter().zip(self.target_scaling()) {
            column.mapv_inplace(|value| scaling.apply(value));
        }
        Ok(matrix)
    }

    /// The scaling of each output, where the outputs are scaled numbers.
    pub fn target_scaling(&self) -> &[Affine] {
        let columns = self.preprocessing.columns();
        columns.map_or(&[], |columns| columns.target_scaling())
    }
}
