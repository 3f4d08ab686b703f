//! Losses by their values, derivatives, ends and names.

use super::{Loss, Output};
use crate::nn::{Activation, Scalar};

/// Every loss, those with parameters with others than their defaults too.
fn all() -> Vec<Loss> {
    let more = [
        Loss::CrossEntropy {
            label_smoothing: 0.1,
        },
        Loss::Huber { delta: 0.25 },
        Loss::Quantile { q: 0.9 },
        Loss::Focal { gamma: 0.0 },
        Loss::Focal { gamma: 0.5 },
        Loss::Focal { gamma: 10.0 },
    ];
    Loss::ALL.into_iter().chain(more).collect()
}

/// The loss of one row, given z.
fn loss<T: Scalar>(loss: Loss, last: Activation, z: &[T], y: &[T]) -> f64 {
    let mut a = vec![T::zero(); z.len()];
    last.apply(z.len(), z, &mut a);
    loss.sum(last, output(z, &a, y))
}

fn deltas<T: Scalar>(loss: Loss, last: Activation, z: &[T], y: &[T]) -> Vec<T> {
    let mut a = vec![T::zero(); z.len()];
    last.apply(z.len(), z, &mut a);
    let mut deltas = a.clone();
    loss.output_deltas(last, output(z, &a, y), &mut deltas);
    deltas
}

fn output<'a, T>(z: &'a [T], a: &'a [T], y: &'a [T]) -> Output<'a, T> {
    let units = z.len();
    Output { units, z, a, y }
}

/// Every activation that the loss accepts.
fn accepted(loss: Loss) -> impl Iterator<Item = Activation> {
    let all = Activation::ALL.into_iter();
    all.filter(move |&last| loss.accepts(last))
}

const CROSS_ENTROPY: Loss = Loss::CrossEntropy {
    label_smoothing: 0.0,
};

#[test]
fn values_are_those_of_the_formula() {
    // By hand: the differences y − a are 0.5 and −2, and J = 2.
    let (a, y) = ([0.5, 3.0], [1.0, 1.0]);
    let mean = |first: f64, second: f64| (first + second) * 0.5;
    let of = |of: Loss| loss(of, Activation::Identity, &a, &y);
    assert_eq!(of(Loss::Quadratic), 0.5 * (0.25 + 4.0));
    assert_eq!(of(Loss::MeanSquaredError), mean(0.25, 4.0));
    assert_eq!(of(Loss::MeanAbsoluteError), mean(0.5, 2.0));
    // Within δ = 1: ½ 0.5²; beyond it: 1 (2 − ½).
    assert_eq!(of(Loss::Huber { delta: 1.0 }), mean(0.125, 1.5));
    let log_cosh = mean(0.5_f64.cosh().ln(), 2.0_f64.cosh().ln());
    assert!((of(Loss::LogCosh) - log_cosh).abs() < 1e-15);
    let pinball = mean(0.25 * 0.5, 0.75 * 2.0);
    assert_eq!(of(Loss::Quantile { q: 0.25 }), pinball);
    let poisson = loss(Loss::Poisson, Activation::Relu, &a, &y);
    let expected = (0.5 - (0.5_f64 + 1e-8).ln() + 3.0 - (3.0_f64 + 1e-8).ln()) / 2.0;
    assert!((poisson - expected).abs() < 1e-15);
    // σ(0) = ½: ½² ln 2 for either event; with two equal classes the same for the one that holds.
    let focal = Loss::Focal { gamma: 2.0 };
    let expected = 0.25 * std::f64::consts::LN_2;
    let of_each = loss(focal, Activation::Sigmoid, &[0.0, 0.0], &[1.0, 0.0]);
    assert!((of_each - 2.0 * expected).abs() < 1e-15);
    let of_classes = loss(focal, Activation::Softmax, &[0.0, 0.0], &[1.0, 0.0]);
    assert!((of_classes - expected).abs() < 1e-15);
    // Smoothed by 0.2, the target 1 of two classes becomes 0.9 and 0.1: σ(ln 3) = ¾.
    let smooth = Loss::CrossEntropy {
        label_smoothing: 0.2,
    };
    let expected = -0.9 * 0.75_f64.ln() - 0.1 * 0.25_f64.ln();
    let z = 3.0_f64.ln();
    let of_classes = loss(smooth, Activation::Softmax, &[z, 0.0], &[1.0, 0.0]);
    assert!((of_classes - expected).abs() < 1e-15);
    let of_each = loss(smooth, Activation::Sigmoid, &[z], &[1.0]);
    assert!((of_each - expected).abs() < 1e-15);
}

#[test]
fn cross_entropy_is_that_of_the_formula_at_any_number_of_rows_and_units() {
    // Rows of up to 64 units are worked on several together, wider ones alone.
    for units in [1, 2, 3, 10, 63, 64, 65, 200] {
        for rows in [1, 2, 6, 7, 70] {
            let number = |index: usize| (index * 7919 % 1000) as f64 / 90.0;
            let z: Vec<f64> = (0..rows * units).map(|index| number(index) - 5.0).collect();
            let y: Vec<f64> = (0..rows * units)
                .map(|index| number(index + 5) / 12.0)
                .collect();
            let sum_of = |last: Activation| {
                let (z, a, y) = (&z[..], &z[..], &y[..]);
                CROSS_ENTROPY.sum(last, Output { units, z, a, y })
            };
            let of_classes = |(z, y): (&[f64], &[f64])| -> f64 {
                let total: f64 = z.iter().map(|z| z.exp()).sum();
                let terms = z.iter().zip(y).map(|(z, y)| y * (total.ln() - z));
                terms.sum()
            };
            let each_row = z.chunks(units).zip(y.chunks(units));
            let expected: f64 = each_row.map(of_classes).sum();
            let sum = sum_of(Activation::Softmax);
            let error = (sum - expected).abs();
            assert!(
                error <= 1e-13 * expected.max(1.0),
                "{rows} × {units}: {sum} {expected}"
            );
            let each = z.iter().zip(&y);
            let expected: f64 = each.map(|(z, y)| (1.0 + z.exp()).ln() - y * z).sum();
            let sum = sum_of(Activation::Sigmoid);
            let error = (sum - expected).abs();
            assert!(
                error <= 1e-12 * expected.max(1.0),
                "{rows} × {units}: {sum} {expected}"
            );
        }
    }
}

#[test]
fn log_cosh_keeps_its_digits_near_0_and_where_cosh_overflows() {
    let of = |a: f64| loss(Loss::LogCosh, Activation::Identity, &[a], &[0.0]);
    assert!((of(1e-9) / 5e-19 - 1.0).abs() < 1e-15);
    assert_eq!(of(1e6), 1e6 - std::f64::consts::LN_2);
    // The two formulas meet at 1.
    assert!((of(1.0) - of(1.0 - 1e-15)).abs() < 2e-15);
}

#[test]
fn focal_without_focus_is_cross_entropy() {
    let (z, y): ([f64; 3], _) = ([0.3, -1.2, 2.0], [0.2, 0.5, 0.3]);
    for last in [Activation::Softmax, Activation::Sigmoid] {
        let focal = Loss::Focal { gamma: 0.0 };
        let (a, b) = (loss(focal, last, &z, &y), loss(CROSS_ENTROPY, last, &z, &y));
        assert!((a - b).abs() < 1e-14, "{last:?}: {a} {b}");
        let (a, b) = (
            deltas(focal, last, &z, &y),
            deltas(CROSS_ENTROPY, last, &z, &y),
        );
        let near = a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14);
        assert!(near, "{last:?}: {a:?} {b:?}");
    }
}

#[test]
fn losses_of_probabilities_stay_exact_where_the_activation_has_rounded_to_zero_or_one() {
    // Softmax of (1000, −1000) is (1, 0) in floating point; −ln of its second entry is exactly 2000.
    let focal = Loss::Focal { gamma: 2.0 };
    for of in [CROSS_ENTROPY, focal] {
        let sum = loss(of, Activation::Softmax, &[1000.0, -1000.0], &[0.0, 1.0]);
        assert_eq!(sum, 2000.0, "{of:?}");
        // −ln(1 − σ(800)) = 800 + ln(1 + e⁻⁸⁰⁰) = 800, and −ln σ(800) = 0.
        let sum = loss(of, Activation::Sigmoid, &[800.0, 800.0], &[0.0, 1.0]);
        assert_eq!(sum, 800.0, "{of:?}");
    }
    // (1 − a)^γ (−ln a) with 1 − a = e⁻⁴⁰, which 1 − σ(40) would round to 0: e^{−20} e^{−40} for γ = ½.
    let weak = Loss::Focal { gamma: 0.5 };
    for (last, z, y) in [
        (Activation::Sigmoid, vec![40.0], vec![1.0]),
        (Activation::Softmax, vec![0.0, 40.0], vec![0.0, 1.0]),
    ] {
        let sum: f64 = loss(weak, last, &z, &y);
        assert!((sum / (-60.0_f64).exp() - 1.0).abs() < 1e-14, "{sum}");
    }
}

#[test]
fn every_delta_is_the_limit_of_its_difference_quotient() {
    // No difference a − y comes near a kink. Central differences, ε = 1e-6.
    let (z, y): ([f64; 3], _) = ([0.8, -0.7, 1.9], [0.31, 0.27, 0.42]);
    for of in all() {
        for last in accepted(of) {
            for (unit, delta) in deltas(of, last, &z, &y).into_iter().enumerate() {
                let at = |step: f64| {
                    let mut z = z;
                    z[unit] += step;
                    loss(of, last, &z, &y)
                };
                let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                let error = (numeric - delta).abs();
                assert!(error < 1e-8, "{of:?} {last:?} {unit}: {numeric} {delta}");
            }
        }
    }
}

#[test]
fn the_derivative_at_a_kink_is_that_of_pytorch() {
    for (of, expected) in [
        (Loss::MeanAbsoluteError, 0.0),
        (Loss::Quantile { q: 0.9 }, 0.0),
        (Loss::Huber { delta: 1.0 }, 0.0),
    ] {
        assert_eq!(deltas(of, Activation::Identity, &[2.0], &[2.0]), [expected]);
    }
    let huber = Loss::Huber { delta: 0.5 };
    assert_eq!(deltas(huber, Activation::Identity, &[2.5], &[2.0]), [0.5]);
    assert_eq!(huber.kinks(), [-0.5, 0.5]);
}

#[test]
fn a_nan_is_not_swallowed_by_any_loss() {
    for of in all() {
        for last in accepted(of) {
            let (z, y) = ([0.1, f64::NAN], [0.5, 0.5]);
            assert!(loss(of, last, &z, &y).is_nan(), "{of:?} {last:?}");
            let deltas = deltas(of, last, &z, &y);
            assert!(deltas[1].is_nan(), "{of:?} {last:?} {deltas:?}");
        }
    }
}

#[test]
fn no_finite_number_makes_an_infinity_or_nan() {
    fn finite<T: Scalar>() {
        let tiny = T::min_positive_value().to_f64() / 4.0;
        let mut rows = vec![vec![0.0; 4], vec![1e4; 4], vec![-1e38; 4]];
        for size in [tiny, 1.0, 1e4, 1e38] {
            rows.push(vec![size, -size, 0.0, size / 2.0]);
            rows.push(vec![-size, size, -size, -size]);
        }
        for of in all() {
            for last in accepted(of) {
                for y in [[1.0, 0.0, 0.0, 0.0], [0.25; 4], [0.0, 0.1, 0.9, 0.0]] {
                    let y = y.map(T::from_f64);
                    for z in &rows {
                        let z: Vec<T> = z.iter().map(|&z| T::from_f64(z)).collect();
                        // Squares of 1e38 are in the range of f64, in which losses are added up.
                        let sum = loss(of, last, &z, &y);
                        assert!(sum.is_finite(), "{of:?} {last:?} {z:?}: {sum}");
                        let deltas = deltas(of, last, &z, &y);
                        let finite = deltas.iter().all(|delta| delta.is_finite());
                        assert!(finite, "{of:?} {last:?} {z:?}: {deltas:?}");
                    }
                }
            }
        }
    }
    finite::<f32>();
    finite::<f64>();
}

#[test]
fn a_square_beyond_f64_is_infinite_and_what_grows_as_the_distance_is_not() {
    let of = |of: Loss| loss(of, Activation::Identity, &[1e200], &[0.0]);
    assert_eq!(of(Loss::Quadratic), f64::INFINITY);
    assert_eq!(of(Loss::MeanSquaredError), f64::INFINITY);
    for other in [
        Loss::MeanAbsoluteError,
        Loss::Huber { delta: 1.0 },
        Loss::LogCosh,
    ] {
        assert_eq!(of(other), 1e200, "{other:?}");
    }
}

#[test]
fn a_loss_accepts_the_last_layers_that_it_is_defined_on() {
    let names = |of: Loss| accepted(of).map(Activation::name).collect::<Vec<_>>();
    for of in [CROSS_ENTROPY, Loss::Focal { gamma: 2.0 }] {
        assert_eq!(names(of), ["sigmoid", "softmax"]);
        assert_eq!(of.target_range(), (0.0, 1.0));
    }
    assert_eq!(
        names(Loss::Poisson),
        ["sigmoid", "relu", "softmax", "softplus", "hard_sigmoid"]
    );
    assert_eq!(Loss::Poisson.target_range(), (0.0, f64::INFINITY));
    assert_eq!(names(Loss::LogCosh).len(), Activation::ALL.len());
}

#[test]
fn a_loss_is_spelled_as_in_the_api() {
    for loss in Loss::ALL {
        let json = serde_json::to_value(loss).expect("a loss serializes");
        assert_eq!(json["type"], loss.name());
        let by_name = serde_json::json!({"type": loss.name()});
        let read = serde_json::from_value::<Loss>(by_name);
        assert_eq!(read.expect("parameters have defaults"), loss);
        assert_eq!(loss.violations(), []);
    }
    let json = serde_json::to_string(&CROSS_ENTROPY).expect("a loss serializes");
    assert_eq!(json, r#"{"type":"cross_entropy"}"#);
}

#[test]
fn a_parameter_outside_its_range_is_named_with_its_range() {
    let said = |loss: Loss| {
        let (name, fault) = &loss.violations()[0];
        format!("{name} {fault}")
    };
    let label_smoothing = 1.0;
    assert_eq!(
        said(Loss::CrossEntropy { label_smoothing }),
        "label_smoothing must be in [0, 1), got 1"
    );
    assert_eq!(
        said(Loss::Huber { delta: 0.0 }),
        "delta must be in [0.000001, 1000000], got 0"
    );
    assert_eq!(
        said(Loss::Quantile { q: 1.0 }),
        "q must be in (0, 1), got 1"
    );
    assert_eq!(
        said(Loss::Focal { gamma: -1.0 }),
        "gamma must be in [0, 10], got -1"
    );
}
