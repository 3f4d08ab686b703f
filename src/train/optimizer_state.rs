//! What an optimizer remembers, of either dtype, among the tensors of a checkpoint.

use serde::{Deserialize, Serialize};

use crate::model::{Error, ReadTensors, Tensors};
use crate::nn::{Dtype, Gradient, LayerGradient, MOST_STATE_SLOTS, OptimizerState, Scalar};

/// What an optimizer of either dtype remembers.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyOptimizerState {
    /// Of a float32 network.
    Float32(OptimizerState<f32>),
    /// Of a float64 network.
    Float64(OptimizerState<f64>),
}

/// What is known of it without its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StateHeader {
    dtype: Dtype,
    steps: u64,
    momentum_product: f64,
    #[serde(default)]
    pairs: u64,
    slots: usize,
    layers: usize,
    /// Whether there are scales, for each layer; empty where no layer is normalized.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scaled: Vec<bool>,
}

impl From<OptimizerState<f32>> for AnyOptimizerState {
    fn from(state: OptimizerState<f32>) -> Self {
        Self::Float32(state)
    }
}

impl From<OptimizerState<f64>> for AnyOptimizerState {
    fn from(state: OptimizerState<f64>) -> Self {
        Self::Float64(state)
    }
}

impl AnyOptimizerState {
    pub(super) fn float32(self) -> Option<OptimizerState<f32>> {
        match self {
            Self::Float32(state) => Some(state),
            Self::Float64(_) => None,
        }
    }

    pub(super) fn float64(self) -> Option<OptimizerState<f64>> {
        match self {
            Self::Float64(state) => Some(state),
            Self::Float32(_) => None,
        }
    }

    /// Adds its tensors: `optimizer.{slot}.{l}.weights`, `.biases` and, where there are any, `.scales`, slots and layers from 1.
    pub(super) fn push(&self, tensors: &mut Tensors) -> StateHeader {
        match self {
            Self::Float32(state) => push(state, tensors),
            Self::Float64(state) => push(state, tensors),
        }
    }

    /// Reads it back.
    ///
    /// Errors: a tensor is missing or is not what the header says.
    pub(super) fn read(header: &StateHeader, tensors: &ReadTensors) -> Result<Self, Error> {
        match header.dtype {
            Dtype::Float32 => read(header, tensors).map(Self::Float32),
            Dtype::Float64 => read(header, tensors).map(Self::Float64),
        }
    }
}

fn name(slot: usize, layer: usize, part: &str) -> String {
    format!("optimizer.{}.{}.{part}", slot + 1, layer + 1)
}

fn push<T: Scalar>(state: &OptimizerState<T>, tensors: &mut Tensors) -> StateHeader {
    for (number, slot) in state.slots.iter().enumerate() {
        for (index, layer) in slot.layers.iter().enumerate() {
            let (weights, biases) = (&layer.weights, &layer.biases);
            tensors.push_matrix(name(number, index, "weights"), weights);
            tensors.push(name(number, index, "biases"), biases.shape(), biases.iter());
            if !layer.scales.is_empty() {
                let scales = &layer.scales;
                tensors.push(name(number, index, "scales"), scales.shape(), scales.iter());
            }
        }
    }
    let layers = state.slots.first().map(|slot| &slot.layers[..]);
    let scaled = layers.unwrap_or_default().iter();
    let scaled: Vec<_> = scaled.map(|layer| !layer.scales.is_empty()).collect();
    StateHeader {
        dtype: T::DTYPE,
        steps: state.steps,
        momentum_product: state.momentum_product,
        pairs: state.pairs,
        slots: state.slots.len(),
        layers: scaled.len(),
        scaled: if scaled.contains(&true) {
            scaled
        } else {
            Vec::new()
        },
    }
}

fn read<T: Scalar>(
    header: &StateHeader,
    tensors: &ReadTensors,
) -> Result<OptimizerState<T>, Error> {
    if header.slots > MOST_STATE_SLOTS {
        return Err(Error::Artifact {
            detail: format!("an optimizer has at most {MOST_STATE_SLOTS} slots"),
        });
    }
    let layer = |slot, layer: usize| {
        let scaled = header.scaled.get(layer) == Some(&true);
        let scales = scaled.then(|| tensors.vector(&name(slot, layer, "scales")));
        Ok(LayerGradient {
            weights: tensors.matrix(&name(slot, layer, "weights"))?,
            biases: tensors.vector(&name(slot, layer, "biases"))?,
            scales: scales.transpose()?.unwrap_or_default(),
        })
    };
    let slot = |slot| {
        let layers = (0..header.layers).map(|index| layer(slot, index));
        Ok(Gradient {
            layers: layers.collect::<Result<_, Error>>()?,
        })
    };
    Ok(OptimizerState {
        steps: header.steps,
        momentum_product: header.momentum_product,
        pairs: header.pairs,
        slots: (0..header.slots).map(slot).collect::<Result<_, Error>>()?,
    })
}
