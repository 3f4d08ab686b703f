//! Initializers by their moments, bounds, first draws and names.

use ndarray::Array2;

use super::Initializer;
use crate::nn::random::{INITIALIZE, keyed};
use crate::nn::{Activation, Layer, Scalar};

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
fn distributions_with_parameters_have_their_moments_and_bounds() {
    // 30,000 draws; bounds are five standard errors of a mean, s/√n, and of a variance, 4 % of it. A normal variable
    // truncated at two standard deviations has the variance 1 − 4 φ(2) / (2 Φ(2) − 1) = 0.7737 of itself.
    let (mean, std) = (0.3, 0.2);
    let (low, high) = (-0.1, 0.5);
    let expected = [
        (Initializer::Normal { mean, std }, mean, 0.04, f64::INFINITY),
        (
            Initializer::TruncatedNormal { mean, std },
            mean,
            0.7737 * 0.04,
            0.4,
        ),
        (Initializer::Uniform { low, high }, 0.2, 0.36 / 12.0, 0.3),
        (Initializer::Constant { value: -3.0 }, -3.0, 0.0, 0.0),
    ];
    for (initializer, mean, variance, farthest) in expected {
        let weights = draw::<f64>(initializer, 100, 300).weights;
        let average = weights.mean().expect("there are weights");
        let error = 5.0 * (variance / 30_000.0_f64).sqrt() + 1e-12;
        assert!((average - mean).abs() <= error, "{initializer:?} {average}");
        let spread = weights.mapv(|w| (w - mean).powi(2)).mean();
        let spread = spread.expect("there are weights");
        assert!(
            (spread - variance).abs() <= 0.04 * variance,
            "{initializer:?} {spread}"
        );
        let largest = weights.fold(0.0, |largest: f64, w| largest.max((w - mean).abs()));
        assert!(largest <= farthest + 1e-15, "{initializer:?} {largest}");
    }
}

#[test]
fn orthogonal_weights_keep_the_length_of_what_they_multiply() {
    for (units, inputs) in [(5, 8), (8, 5), (6, 6)] {
        let w = draw::<f64>(Initializer::Orthogonal, units, inputs).weights;
        let product = if units <= inputs {
            w.dot(&w.t())
        } else {
            w.t().dot(&w)
        };
        let unit = Array2::<f64>::eye(units.min(inputs));
        let largest = (product - unit).fold(0.0, |largest: f64, x| largest.max(x.abs()));
        assert!(largest < 1e-14, "{units} × {inputs}: {largest}");
    }
}

#[test]
fn parameters_outside_their_ranges_are_named() {
    let said = |initializer: Initializer| {
        let faults = initializer.violations().into_iter();
        let said = faults.map(|(name, fault)| format!("{name} {fault}"));
        said.collect::<Vec<_>>().join("; ")
    };
    for initializer in Initializer::ALL {
        assert_eq!(said(initializer), "");
    }
    let (mean, std, value) = (-2e6, 0.0, f64::NAN);
    let both =
        "mean must be in [-1000000, 1000000], got -2000000; std must be in (0, 1000000], got 0";
    assert_eq!(said(Initializer::Normal { mean, std }), both);
    assert_eq!(said(Initializer::TruncatedNormal { mean, std }), both);
    assert_eq!(
        said(Initializer::Uniform {
            low: 0.5,
            high: 0.5
        }),
        "high must be in (0.5, 1000000], got 0.5"
    );
    assert_eq!(
        said(Initializer::Constant { value }),
        "value must be in [-1000000, 1000000], got NaN"
    );
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
        let json = serde_json::to_value(initializer).expect("an initializer serializes");
        assert_eq!(json["type"], initializer.name());
        let by_name = serde_json::json!({"type": initializer.name()});
        let read = serde_json::from_value::<Initializer>(by_name);
        assert_eq!(read.expect("parameters have defaults"), initializer);
    }
}
