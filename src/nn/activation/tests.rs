//! Activations by their values, derivatives, ends and names.

use super::{Activation, GeluApproximation};
use crate::nn::Scalar;

const GELU_TANH: Activation = Activation::Gelu {
    approximation: GeluApproximation::Tanh,
};

/// Every activation, those with parameters with others than their defaults too.
fn all() -> Vec<Activation> {
    let more = [
        Activation::LeakyRelu { slope: 0.0 },
        Activation::LeakyRelu { slope: 0.3 },
        Activation::Elu { alpha: 100.0 },
        GELU_TANH,
    ];
    Activation::ALL.into_iter().chain(more).collect()
}

fn apply<T: Scalar>(activation: Activation, z: &[T]) -> Vec<T> {
    let mut a = vec![T::zero(); z.len()];
    activation.apply(z.len(), z, &mut a);
    a
}

fn deltas<T: Scalar>(activation: Activation, z: &[T], g: &[T]) -> Vec<T> {
    let mut deltas = g.to_vec();
    activation.backward(z.len(), z, &apply(activation, z), &mut deltas);
    deltas
}

#[test]
fn sigmoid_and_softmax_do_not_overflow_at_either_end() {
    assert_eq!(
        apply(Activation::Sigmoid, &[-1000.0, 0.0, 1000.0]),
        [0.0, 0.5, 1.0]
    );
    assert_eq!(apply(Activation::Softmax, &[-1000.0, 1000.0]), [0.0, 1.0]);
    assert_eq!(apply(Activation::Softmax, &[1000.0, 1000.0]), [0.5, 0.5]);
    // σ(−40) = e⁻⁴⁰ / (1 + e⁻⁴⁰), which 1 − σ(40) would round to 0.
    assert!((apply(Activation::Sigmoid, &[-40.0])[0] / (-40.0_f64).exp() - 1.0).abs() < 1e-15);
}

#[test]
fn values_are_those_of_the_formula() {
    // By Python's mpmath with 30 digits, from the equations as the sources write them.
    let expected = [
        (Activation::LeakyRelu { slope: 0.2 }, -1.5, -0.3),
        (
            Activation::Elu { alpha: 2.0 },
            -1.5,
            -1.553_739_679_703_140_3,
        ),
        (Activation::Selu, -1.5, -1.365_814_353_367_252_7),
        (Activation::Selu, 2.0, 2.101_401_974_710_961),
        (
            Activation::Gelu {
                approximation: GeluApproximation::None,
            },
            -1.5,
            -0.100_210_801_903_287_1,
        ),
        // Ten standard deviations out, where ½ (1 + erf) would be 0: −10 Φ(−10).
        (
            Activation::Gelu {
                approximation: GeluApproximation::None,
            },
            -10.0,
            -7.619_853_024_160_526e-23,
        ),
        (GELU_TANH, -1.5, -0.100_428_423_019_767_08),
        (Activation::Silu, -1.5, -0.273_638_285_709_534_5),
        (Activation::Softplus, -1.5, 0.201_413_277_982_752_4),
        (Activation::Softplus, 30.0, 30.000_000_000_000_092),
        (Activation::Softsign, -1.5, -0.6),
        (Activation::HardSigmoid, -1.5, 0.25),
    ];
    for (activation, z, expected) in expected {
        let a: f64 = apply(activation, &[z])[0];
        assert!(
            (a / expected - 1.0).abs() < 1e-14,
            "{activation:?} {z}: {a}"
        );
    }
}

#[test]
fn selu_leaves_mean_0_and_variance_1_as_they_are() {
    // ∫ σ(z) φ(z) dz = 0 and ∫ σ(z)² φ(z) dz = 1, by the trapezoid rule on each side of the kink.
    let step = 1e-3;
    let (mut mean, mut square) = (0.0, 0.0);
    for index in -12_000..=12_000 {
        let z = f64::from(index) * step;
        let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let a: f64 = apply(Activation::Selu, &[z])[0];
        mean += a * density * step;
        square += a * a * density * step;
    }
    // At the kink the rule is off by h²/12 times the jump of the integrand's derivative, 0.3 here.
    assert!(mean.abs() < 1e-7, "{mean}");
    assert!((square - 1.0).abs() < 1e-7, "{square}");
}

#[test]
fn every_activation_passes_nan_on() {
    for activation in all() {
        assert!(apply(activation, &[f64::NAN])[0].is_nan(), "{activation:?}");
    }
}

#[test]
fn no_finite_number_makes_an_infinity_or_nan() {
    fn finite<T: Scalar>(most: f64) {
        let tiny = T::min_positive_value().to_f64();
        // Not the largest number itself: selu's λ carries that out of range, as it must.
        let sizes = [
            0.0,
            tiny / 4.0,
            tiny,
            1e-20,
            1.0,
            3.0,
            20.0,
            89.0,
            710.0,
            1e4,
            1e19,
            1e38,
            most / 2.0,
        ];
        let z = sizes
            .map(|size| [T::from_f64(size), T::from_f64(-size)])
            .concat();
        let g = vec![T::one(); z.len()];
        for activation in all() {
            for numbers in [apply(activation, &z), deltas(activation, &z, &g)] {
                for (z, number) in z.iter().zip(numbers) {
                    assert!(number.is_finite(), "{activation:?} {z}: {number}");
                }
            }
        }
    }
    finite::<f32>(f64::from(f32::MAX));
    finite::<f64>(f64::MAX);
}

#[test]
fn every_derivative_is_the_limit_of_its_difference_quotient() {
    // ∂/∂zᵢ of Σⱼ gⱼ aⱼ(z), with g fixed, is what `backward` calls δᵢ; central differences, ε = 1e-6.
    let z = [-3.4, -1.3, -0.2, 0.4, 2.1, 5.0];
    let g = [1.3, 0.7, -1.1, 0.3, 0.9, -0.4];
    for activation in all() {
        let deltas = deltas(activation, &z, &g);
        for i in 0..z.len() {
            let at = |step: f64| -> f64 {
                let mut z = z;
                z[i] += step;
                apply(activation, &z)
                    .iter()
                    .zip(&g)
                    .map(|(a, g)| a * g)
                    .sum()
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            let scale = numeric.abs().max(1.0);
            assert!(
                (numeric - deltas[i]).abs() < 2e-8 * scale,
                "{activation:?} {numeric} {}",
                deltas[i]
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_company() {
    fn check<T: Scalar>() {
        const ROWS: usize = 13;
        let bits = |numbers: &[T]| -> Vec<u64> {
            let numbers = numbers.iter();
            numbers.map(|&number| number.to_f64().to_bits()).collect()
        };
        for activation in all() {
            for units in [1, 3, 10, 37] {
                let number = |index: usize| T::from_f64((index * 7919 % 1000) as f64 / 90.0 - 5.0);
                let z: Vec<T> = (0..ROWS * units).map(number).collect();
                let mut a = vec![T::nan(); z.len()];
                activation.apply(units, &z, &mut a);
                let mut deltas: Vec<T> = (7..7 + z.len()).map(number).collect();
                let g = deltas.clone();
                activation.backward(units, &z, &a, &mut deltas);
                for rows in [1, 2, 5] {
                    let len = rows * units;
                    for start in (0..z.len()).step_by(len) {
                        let range = start..(start + len).min(z.len());
                        let (z, g) = (&z[range.clone()], &g[range.clone()]);
                        let mut of_part = vec![T::nan(); z.len()];
                        activation.apply(units, z, &mut of_part);
                        assert_eq!(bits(&of_part), bits(&a[range.clone()]), "{activation:?}");
                        let mut deltas_of_part = g.to_vec();
                        activation.backward(units, z, &of_part, &mut deltas_of_part);
                        assert_eq!(
                            bits(&deltas_of_part),
                            bits(&deltas[range]),
                            "{activation:?}"
                        );
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_slope_at_a_kink_is_that_of_pytorch() {
    for (activation, z, expected) in [
        (Activation::Relu, 0.0, 0.0),
        (Activation::LeakyRelu { slope: 0.2 }, 0.0, 0.2),
        (Activation::Elu { alpha: 0.5 }, 0.0, 0.5),
        (Activation::HardSigmoid, -3.0, 0.0),
        (Activation::HardSigmoid, 3.0, 0.0),
    ] {
        assert_eq!(deltas(activation, &[z], &[1.0]), [expected]);
        assert!(activation.kinks().contains(&z), "{activation:?}");
    }
}

#[test]
fn the_bounded_activations_saturate_near_their_bounds() {
    for (activation, a, expected) in [
        (Activation::Sigmoid, 0.995, true),
        (Activation::Sigmoid, 0.02, false),
        (Activation::Tanh, -0.995, true),
        (Activation::Softsign, -0.995, true),
        (Activation::Softsign, 0.98, false),
        (Activation::HardSigmoid, 0.0, true),
        (Activation::HardSigmoid, 1.0, true),
        (Activation::HardSigmoid, 0.995, false),
        (Activation::Softplus, 0.0, false),
    ] {
        let counted = activation.saturated(&[a, 0.5, a]);
        assert_eq!(counted, 2 * u64::from(expected), "{activation:?} {a}");
    }
}

#[test]
fn an_activation_is_spelled_as_in_the_api() {
    for activation in Activation::ALL {
        let json = serde_json::to_value(activation).expect("an activation serializes");
        assert_eq!(json["type"], activation.name());
        let by_name = serde_json::json!({"type": activation.name()});
        let read = serde_json::from_value::<Activation>(by_name);
        assert_eq!(read.expect("parameters have defaults"), activation);
        assert_eq!(activation.violations(), []);
    }
    let json = serde_json::to_string(&GELU_TANH).expect("an activation serializes");
    assert_eq!(json, r#"{"type":"gelu","approximation":"tanh"}"#);
}

#[test]
fn a_parameter_outside_its_range_is_named_with_its_range() {
    for (activation, expected) in [
        (
            Activation::LeakyRelu { slope: 1.0 },
            "slope must be in [0, 1), got 1",
        ),
        (
            Activation::LeakyRelu { slope: -0.1 },
            "slope must be in [0, 1), got -0.1",
        ),
        (
            Activation::LeakyRelu { slope: f64::NAN },
            "slope must be in [0, 1), got NaN",
        ),
        (
            Activation::Elu { alpha: 0.0 },
            "alpha must be in (0, 100], got 0",
        ),
        (
            Activation::Elu {
                alpha: f64::INFINITY,
            },
            "alpha must be in (0, 100], got inf",
        ),
    ] {
        let (name, fault) = &activation.violations()[0];
        assert_eq!(format!("{name} {fault}"), expected);
    }
}
