//! The golden set: a few rows that a model carries with what it answered them, so that whoever loads it can see that it still does.

use serde::Serialize;

use crate::model::columns::Instance;
use crate::model::{Error, Header, InputRows, Model, Outputs, ReadTensors, Rows, Tensors};
use crate::nn::{Dtype, Scalar};

/// Rows of a golden set, at most.
pub const GOLDEN_ROWS: usize = 8;
/// Raw values of a golden set, at most, but for its first row.
pub const GOLDEN_NUMBERS: usize = 1 << 16;

/// Raw rows and the outputs that a model answers them with.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    rows: InputRows,
    outputs: Outputs,
}

/// What a model's answers to its golden set are now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Selftest {
    /// Whether every output has the bits that it had; so it is of no rows.
    pub passed: bool,
    /// Rows of the golden set; none of a model whose preprocessing is not fitted.
    pub rows: usize,
    /// The largest |a − b| / max(1, |b|) of an output a that was b.
    pub largest_difference: f64,
}

/// What the tensors of a golden set are called.
const INPUTS: &str = "golden.inputs";
const INSTANCES: &str = "golden.instances";
const OUTPUTS: &str = "golden.outputs";

impl Model {
    /// The same model with a golden set of these rows; with none where it does not answer them.
    #[must_use]
    pub fn with_golden(mut self, rows: InputRows) -> Self {
        let outputs = self.predict(&rows).ok().filter(Outputs::is_finite);
        self.golden = outputs.map(|outputs| Golden { rows, outputs });
        self
    }

    /// Predicts the golden set anew.
    pub fn selftest(&self) -> Selftest {
        let Some(golden) = &self.golden else {
            return Selftest {
                passed: true,
                rows: 0,
                largest_difference: 0.0,
            };
        };
        let now = self.predict(&golden.rows).ok();
        Selftest {
            passed: now
                .as_ref()
                .is_some_and(|now| now.has_bits_of(&golden.outputs)),
            rows: golden.rows.len(),
            largest_difference: now.map_or(f64::MAX, |now| now.difference(&golden.outputs)),
        }
    }
}

impl Golden {
    /// Adds the rows and outputs under names that begin with `golden.`.
    pub(crate) fn push(&self, tensors: &mut Tensors) {
        match &self.rows {
            InputRows::Inputs(rows) => {
                let rows = rows.view();
                tensors.push(INPUTS.to_owned(), rows.shape(), rows.iter());
            }
            InputRows::Instances(instances) => {
                let text = serde_json::to_vec(instances).expect("cells are plain data");
                tensors.push_bytes(INSTANCES.to_owned(), text);
            }
        }
        match &self.outputs {
            Outputs::Float32(rows) => tensors.push(OUTPUTS.to_owned(), rows.shape(), rows.iter()),
            Outputs::Float64(rows) => tensors.push(OUTPUTS.to_owned(), rows.shape(), rows.iter()),
        }
    }

    /// The golden set that is among tensors; models made before there were any have none.
    ///
    /// Errors: it does not fit together.
    pub(crate) fn read(header: &Header, tensors: &ReadTensors) -> Result<Option<Self>, Error> {
        if !tensors.has(OUTPUTS) {
            return Ok(None);
        }
        let rows = if tensors.has(INSTANCES) {
            let text = tensors.bytes(INSTANCES)?;
            let instances: Vec<Instance> = serde_json::from_slice(&text)
                .map_err(|error| Error::artifact(error.to_string()))?;
            InputRows::Instances(instances)
        } else {
            let matrix = tensors.matrix::<f64>(INPUTS)?;
            let (width, values) = (matrix.ncols(), matrix.into_raw_vec_and_offset().0);
            let rows = Rows::new(width, values);
            InputRows::Inputs(rows.ok_or_else(|| Error::artifact("the golden set has no row"))?)
        };
        if rows.len() > GOLDEN_ROWS {
            let detail = format!("the golden set must have at most {GOLDEN_ROWS} rows");
            return Err(Error::artifact(detail));
        }
        let outputs = match header.dtype {
            Dtype::Float32 => Outputs::Float32(tensors.matrix(OUTPUTS)?),
            Dtype::Float64 => Outputs::Float64(tensors.matrix(OUTPUTS)?),
        };
        Ok(Some(Self { rows, outputs }))
    }
}

impl Outputs {
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Float32(rows) => rows.iter().map(|value| value.to_f64()).collect(),
            Self::Float64(rows) => rows.iter().copied().collect(),
        }
    }

    /// Whether every number has the bits of the other's.
    fn has_bits_of(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.numbers(), other.numbers());
        let mut pairs = ours.iter().zip(&theirs);
        ours.len() == theirs.len() && pairs.all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// The largest |a − b| / max(1, |b|); the largest number of all where one is NaN or there are others.
    fn difference(&self, other: &Self) -> f64 {
        let (ours, theirs) = (self.numbers(), other.numbers());
        if ours.len() != theirs.len() {
            return f64::MAX;
        }
        let pairs = ours.iter().zip(&theirs);
        let differences = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
        let finite = differences.map(|difference| {
            if difference.is_finite() {
                difference
            } else {
                f64::MAX
            }
        });
        finite.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AnyNetwork, ModelLimits, ModelSpec};

    fn model() -> Model {
        let spec = r#"{"name":"m","inputs":2,"layers":[{"units":2,"activation":"tanh"}]}"#;
        let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
        let limits = ModelLimits {
            layers: 9,
            units: 9,
            inputs: 9,
            parameters: 99,
        };
        spec.check(&limits).expect("a good spec").build()
    }

    #[test]
    fn a_model_reads_back_with_its_golden_set_and_passes() {
        let read = Model::decode(&model().encode()).expect("its own bytes");
        assert_eq!(read, model());
        let expected = Selftest {
            passed: true,
            rows: 2,
            largest_difference: 0.0,
        };
        assert_eq!(read.selftest(), expected);
    }

    #[test]
    fn another_parameter_is_seen_and_so_is_another_rounding() {
        let mut other = model();
        let AnyNetwork::Float32(network) = &mut other.network else {
            panic!("a float32 model")
        };
        network.layers_mut()[0].biases[0] += 1e-6;
        let selftest = other.selftest();
        assert!(
            !selftest.passed && selftest.largest_difference < 1e-5,
            "{selftest:?}"
        );
        let AnyNetwork::Float32(network) = &mut other.network else {
            panic!("a float32 model")
        };
        network.layers_mut()[0].biases[0] += 1.0;
        let selftest = other.selftest();
        assert!(
            !selftest.passed && selftest.largest_difference > 1e-2,
            "{selftest:?}"
        );
    }
}
