//! How the gradient moves the parameters.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::nn::{BatchSums, Error, Network, Scalar};

/// Which optimizer, and its hyperparameters, as in JSON: `{"type":"gradient_descent","learning_rate":0.1}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// p ← p − η ∇C, with ∇C = (1/N) Σₙ ∇Cₙ over the batch. Source: Arango, "gradient descent".
    GradientDescent {
        /// η, greater than 0. The default, 0.1, is ours: the source leaves η to the reader.
        #[serde(default = "default_learning_rate")]
        learning_rate: f64,
    },
}

impl OptimizerSpec {
    /// η.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::GradientDescent { learning_rate } => *learning_rate,
        }
    }

    /// Checks the ranges of the hyperparameters.
    ///
    /// Errors: where the learning rate is not finite and greater than 0.
    pub fn check(&self) -> Result<(), Error> {
        let got = self.learning_rate();
        if got.is_finite() && got > 0.0 {
            Ok(())
        } else {
            Err(Error::LearningRate { got })
        }
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::GradientDescent {
            learning_rate: default_learning_rate(),
        }
    }
}

/// An optimizer at work: its spec, and whatever it remembers between steps, which for gradient descent is nothing.
#[derive(Clone, Debug)]
pub struct Optimizer<T> {
    spec: OptimizerSpec,
    state: PhantomData<T>,
}

impl<T: Scalar> Optimizer<T> {
    /// An optimizer before its first step.
    pub fn new(spec: OptimizerSpec, _network: &Network<T>) -> Self {
        Self {
            spec,
            state: PhantomData,
        }
    }

    /// The spec it was made from.
    pub fn spec(&self) -> OptimizerSpec {
        self.spec
    }

    /// One step: p ← p − η (1/N) Σₙ ∂Cₙ/∂p. False where any parameter has become NaN or infinite.
    ///
    /// Source: Arango, p ← p − η∇C. Panics: where `sums` is of a network of other shapes or of no samples, the caller's bug.
    #[must_use]
    pub fn update(&mut self, network: &mut Network<T>, sums: &BatchSums<T>) -> bool {
        assert!(sums.samples > 0, "a step needs at least one sample");
        match self.spec {
            OptimizerSpec::GradientDescent { learning_rate } => {
                let rate = T::from_f64(learning_rate / sums.samples as f64);
                let mut finite = true;
                for (layer, gradient) in network.layers_mut().iter_mut().zip(&sums.gradient.layers)
                {
                    finite &= descend(
                        layer.weights.as_slice_mut(),
                        gradient.weights.as_slice(),
                        rate,
                    );
                    finite &= descend(
                        layer.biases.as_slice_mut(),
                        gradient.biases.as_slice(),
                        rate,
                    );
                }
                finite
            }
        }
    }
}

/// p ← p − rate·g; whether every p is finite after it.
fn descend<T: Scalar>(parameters: Option<&mut [T]>, gradient: Option<&[T]>, rate: T) -> bool {
    let parameters = parameters.expect("a network keeps its parameters in one piece");
    let gradient = gradient.expect("a gradient is made row-major");
    assert_eq!(
        parameters.len(),
        gradient.len(),
        "a gradient of the network's shapes"
    );
    let mut finite = true;
    for (p, &g) in parameters.iter_mut().zip(gradient) {
        *p -= rate * g;
        finite &= p.is_finite();
    }
    finite
}

fn default_learning_rate() -> f64 {
    0.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_spelled_as_in_the_api() {
        let spec: OptimizerSpec =
            serde_json::from_str(r#"{"type":"gradient_descent"}"#).expect("the rate has a default");
        assert_eq!(spec, OptimizerSpec::GradientDescent { learning_rate: 0.1 });
        let json = serde_json::to_string(&spec).expect("a spec serializes");
        assert_eq!(json, r#"{"type":"gradient_descent","learning_rate":0.1}"#);
        let unknown = r#"{"type":"gradient_descent","lr":1}"#;
        let error = serde_json::from_str::<OptimizerSpec>(unknown).expect_err("there is no lr");
        assert!(error.to_string().contains("unknown field `lr`"), "{error}");
    }

    #[test]
    fn a_learning_rate_that_is_not_positive_and_finite_is_refused() {
        for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(
                OptimizerSpec::GradientDescent { learning_rate }
                    .check()
                    .is_err()
            );
        }
        let error = OptimizerSpec::GradientDescent {
            learning_rate: -1.0,
        }
        .check()
        .expect_err("negative");
        assert_eq!(
            error.to_string(),
            "learning_rate must be finite and greater than 0, got -1"
        );
        assert!(OptimizerSpec::default().check().is_ok());
    }
}
