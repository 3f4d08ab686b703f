//! The parameters that a network starts from.

use ndarray::{Array1, Array2};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::nn::random::{normal, uniform};
use crate::nn::{Activation, Layer, Scalar};

/// The distribution of a layer's first weights. K is its inputs (fan in), J its units (fan out); biases start at 0.
///
/// Differs from Keras, whose `_normal` initializers truncate at two standard deviations; ours, like PyTorch's, do not.
/// Differs from PyTorch in that no gain is applied for tanh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// N(0, 2/(K + J)). Source: Glorot and Bengio (2010), equation 12.
    GlorotNormal,
    /// U(−r, r), r = √(6/(K + J)). Source: Glorot and Bengio (2010), equation 16.
    GlorotUniform,
    /// N(0, 2/K). Source: He et al. (2015), equation 10.
    HeNormal,
    /// U(−r, r), r = √(6/K), of the same variance. Source: He et al. (2015), equation 10.
    HeUniform,
    /// N(0, 1/K). Source: LeCun et al. (1998), "Efficient BackProp", equation 16.
    LecunNormal,
    /// U(−r, r), r = √(3/K), of the same variance. Source: LeCun et al. (1998), equation 16.
    LecunUniform,
    /// N(0, 1) for weights and biases alike. Source: Nielsen (2015), chapter 1, `network.py`.
    StandardNormal,
    /// Every weight 0: all units of a hidden layer then stay alike for ever, which is worth seeing once.
    Zeros,
}

impl Initializer {
    /// Every initializer.
    pub const ALL: [Self; 8] = [
        Self::GlorotNormal,
        Self::GlorotUniform,
        Self::HeNormal,
        Self::HeUniform,
        Self::LecunNormal,
        Self::LecunUniform,
        Self::StandardNormal,
        Self::Zeros,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlorotNormal => "glorot_normal",
            Self::GlorotUniform => "glorot_uniform",
            Self::HeNormal => "he_normal",
            Self::HeUniform => "he_uniform",
            Self::LecunNormal => "lecun_normal",
            Self::LecunUniform => "lecun_uniform",
            Self::StandardNormal => "standard_normal",
            Self::Zeros => "zeros",
        }
    }

    /// What a layer of this activation starts from where nothing was asked for: He for the relu family, LeCun for selu, else Glorot.
    ///
    /// Source: He et al. (2015), section 2.2, for relu, whose half of zeros the variance 2/K makes up for, and its smooth
    /// kin; Klambauer et al. (2017), section 3, for selu, which wants the variance 1/K.
    pub fn default_for(activation: Activation) -> Self {
        match activation {
            Activation::Relu
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Gelu { .. }
            | Activation::Silu
            | Activation::Softplus => Self::HeUniform,
            Activation::Selu => Self::LecunNormal,
            Activation::Sigmoid
            | Activation::Tanh
            | Activation::Identity
            | Activation::Softmax
            | Activation::Softsign
            | Activation::HardSigmoid => Self::GlorotUniform,
        }
    }

    /// Draws a layer of `units` × `inputs` weights.
    ///
    /// Weights are drawn row by row in f64 and then rounded to `T`, so that both dtypes start from the same numbers;
    /// the biases of `standard_normal` are drawn after them.
    pub fn draw<T: Scalar>(
        self,
        units: usize,
        inputs: usize,
        activation: Activation,
        random: &mut impl Rng,
    ) -> Layer<T> {
        let (fan_in, fan_out) = (inputs as f64, units as f64);
        let variance = match self {
            Self::GlorotNormal | Self::GlorotUniform => 2.0 / (fan_in + fan_out),
            Self::HeNormal | Self::HeUniform => 2.0 / fan_in,
            Self::LecunNormal | Self::LecunUniform => 1.0 / fan_in,
            Self::StandardNormal => 1.0,
            Self::Zeros => 0.0,
        };
        let mut draw = || match self {
            Self::GlorotNormal | Self::HeNormal | Self::LecunNormal | Self::StandardNormal => {
                variance.sqrt() * normal(random)
            }
            // U(−r, r) has the variance r²/3.
            Self::GlorotUniform | Self::HeUniform | Self::LecunUniform => {
                let limit = (3.0 * variance).sqrt();
                uniform(random, -limit, limit)
            }
            Self::Zeros => 0.0,
        };
        let weights = Array2::from_shape_simple_fn((units, inputs), || T::from_f64(draw()));
        let biases = match self {
            Self::StandardNormal => Array1::from_shape_simple_fn(units, || T::from_f64(draw())),
            _ => Array1::zeros(units),
        };
        Layer {
            weights,
            biases,
            activation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::{INITIALIZE, keyed};

    fn draw<T: Scalar>(initializer: Initializer, units: usize, inputs: usize) -> Layer<T> {
        initializer.draw(
            units,
            inputs,
            Activation::Sigmoid,
            &mut keyed(7, INITIALIZE, 0, 0),
        )
    }

    #[test]
    fn weights_have_the_variance_of_their_source() {
        // J = 100, K = 300, n = 30,000 draws: five standard errors of a variance are 5 √(2/n) ≈ 4 %.
        let expected = [
            (Initializer::GlorotNormal, 2.0 / 400.0),
            (Initializer::GlorotUniform, 2.0 / 400.0),
            (Initializer::HeNormal, 2.0 / 300.0),
            (Initializer::HeUniform, 2.0 / 300.0),
            (Initializer::LecunNormal, 1.0 / 300.0),
            (Initializer::LecunUniform, 1.0 / 300.0),
            (Initializer::StandardNormal, 1.0),
        ];
        for (initializer, variance) in expected {
            let layer = draw::<f64>(initializer, 100, 300);
            let drawn = layer
                .weights
                .mapv(|w| w * w)
                .mean()
                .expect("there are weights");
            assert!(
                (drawn / variance - 1.0).abs() < 0.04,
                "{initializer:?}: {drawn} instead of {variance}"
            );
        }
    }

    #[test]
    fn uniform_weights_stay_within_the_limit_of_their_source() {
        for (initializer, limit) in [
            (Initializer::GlorotUniform, (6.0_f64 / 40.0).sqrt()),
            (Initializer::HeUniform, (6.0_f64 / 30.0).sqrt()),
            (Initializer::LecunUniform, (3.0_f64 / 30.0).sqrt()),
        ] {
            let largest = draw::<f64>(initializer, 10, 30)
                .weights
                .fold(0.0, |largest: f64, w| largest.max(w.abs()));
            assert!(
                largest <= limit * (1.0 + 1e-15) && largest > 0.9 * limit,
                "{initializer:?}"
            );
        }
    }

    #[test]
    fn the_first_weights_of_a_seed_are_known() {
        // √(6/3) (2u − 1) for the first two uniform numbers of the ChaCha8 stream of the key 7, 1, 0, 0, by the Python
        // that `random.rs` describes.
        let weights = draw::<f64>(Initializer::GlorotUniform, 1, 2).weights;
        for (weight, expected) in weights
            .iter()
            .zip([1.046_115_393_166_634_6, -1.261_645_919_356_945_4])
        {
            assert!((weight - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn both_dtypes_start_from_the_same_numbers() {
        for initializer in Initializer::ALL {
            let (single, double) = (
                draw::<f32>(initializer, 5, 4),
                draw::<f64>(initializer, 5, 4),
            );
            assert_eq!(single.weights, double.weights.mapv(|w| w as f32));
            assert_eq!(single.biases, double.biases.mapv(|b| b as f32));
        }
    }

    #[test]
    fn only_standard_normal_draws_biases() {
        for initializer in Initializer::ALL {
            let zero = draw::<f64>(initializer, 5, 4)
                .biases
                .iter()
                .all(|&b| b == 0.0);
            assert_eq!(
                zero,
                initializer != Initializer::StandardNormal,
                "{initializer:?}"
            );
        }
        assert_eq!(
            draw::<f64>(Initializer::Zeros, 5, 4).weights,
            Array2::<f64>::zeros((5, 4))
        );
    }

    #[test]
    fn an_initializer_is_spelled_as_in_the_api() {
        for initializer in Initializer::ALL {
            let json = serde_json::to_string(&initializer).expect("an initializer serializes");
            assert_eq!(json, format!("\"{}\"", initializer.name()));
        }
    }
}
