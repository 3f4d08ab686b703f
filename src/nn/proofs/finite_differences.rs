//! The gradient against central differences, for every activation, loss and depth.

use std::convert::Infallible;
use std::ops::ControlFlow;

use ndarray::{Array2, arr1, arr2};

use super::{matrix, network};
use crate::nn::{
    Activation, CheckOptions, GradientCheck, Layer, Loss, Network, check_gradients, inspect,
};

const ALL: CheckOptions = CheckOptions {
    epsilon: 1e-5,
    sample: usize::MAX,
    seed: 1,
    tolerance: 1e-6,
};

fn check(
    network: &Network<f64>,
    loss: Loss,
    x: &Array2<f64>,
    y: &Array2<f64>,
    options: &CheckOptions,
) -> GradientCheck {
    let poll = || ControlFlow::<Infallible>::Continue(());
    match check_gradients(network, loss, x.view(), y.view(), options, poll) {
        ControlFlow::Continue(check) => check,
        ControlFlow::Break(never) => match never {},
    }
}

/// Targets that mean something to either loss: rows of positive numbers, which need not sum to 1.
fn targets(rows: usize, columns: usize) -> Array2<f64> {
    matrix::<f64>(rows, columns, 9).mapv(|value| 1.0 / (1.0 + value.abs()))
}

#[test]
fn every_gradient_is_the_limit_of_its_difference_quotient() {
    for loss in Loss::ALL {
        for last in Activation::ALL
            .into_iter()
            .filter(|&last| loss.accepts(last))
        {
            gradient_is_a_limit(loss, &[last]);
            for hidden in Activation::ALL {
                gradient_is_a_limit(loss, &[hidden, last]);
                gradient_is_a_limit(loss, &[hidden, Activation::Tanh, hidden, last]);
            }
        }
    }
}

fn gradient_is_a_limit(loss: Loss, activations: &[Activation]) {
    let widths = &[3, 5, 4, 6, 3][..=activations.len()];
    let network = network(widths, activations, 3);
    // 70 samples: more than one chunk.
    let (x, y) = (matrix(70, 3, 4), targets(70, network.outputs()));
    // Of some 2,700 networks a few have derivatives so far below their largest that a quotient is right to 2e-6 alone.
    // Poisson bends as 1/a², and relu and hard_sigmoid bring outputs near 0 and at it, where the loss is large.
    let last = activations.last().expect("there is a layer");
    let bent = loss == Loss::Poisson && !last.kinks().is_empty();
    let (epsilon, tolerance) = if bent { (2e-6, 2e-5) } else { (1e-5, 5e-6) };
    let options = CheckOptions {
        epsilon,
        tolerance,
        ..ALL
    };
    let check = check(&network, loss, &x, &y, &options);
    assert!(check.passed, "{loss:?} {activations:?}: {check:?}");
    assert_eq!(check.checked + check.skipped, network.parameter_count());
    let smooth = activations
        .iter()
        .all(|activation| activation.kinks().is_empty());
    let smooth = smooth && loss.kinks().is_empty();
    assert!(!smooth || check.skipped == 0, "there is no kink to cross");
    assert!(
        check.skipped * 10 <= check.checked,
        "too many skipped to prove anything"
    );
}

#[test]
fn every_input_gradient_is_the_limit_of_its_difference_quotient() {
    for loss in Loss::ALL {
        for last in Activation::ALL
            .into_iter()
            .filter(|&last| loss.accepts(last))
        {
            let network = network(&[4, 5, 3], &[Activation::Tanh, last], 5);
            let (x, y) = (matrix(3, 4, 6), targets(3, 3));
            let seen = inspect(&network, loss, x.view(), y.view());
            for row in 0..3 {
                for column in 0..4 {
                    let at = |step: f64| {
                        let mut x = x.clone();
                        x[[row, column]] += step;
                        // C is the mean over three samples, of which this entry moves one.
                        3.0 * inspect(&network, loss, x.view(), y.view()).loss
                    };
                    let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                    let analytic = seen.input_gradient[[row, column]];
                    assert!(
                        (numeric - analytic).abs() < 1e-8,
                        "{loss:?} {last:?}: {analytic} and {numeric}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_wrong_gradient_does_not_pass() {
    // Differences are never exact: no gradient passes a tolerance below their rounding.
    let network = network(&[2, 2], &[Activation::Sigmoid], 1);
    let (x, y) = (matrix(5, 2, 1), targets(5, 2));
    let strict = check(
        &network,
        Loss::Quadratic,
        &x,
        &y,
        &CheckOptions {
            tolerance: 1e-16,
            ..ALL
        },
    );
    assert!(!strict.passed);
    // A step as large as the parameters themselves measures something else than the slope.
    let coarse = check(
        &network,
        Loss::Quadratic,
        &x,
        &y,
        &CheckOptions {
            epsilon: 3.0,
            ..ALL
        },
    );
    assert!(
        !coarse.passed && coarse.max_relative_error > 0.01,
        "{coarse:?}"
    );
    let worst = coarse.worst.expect("something was compared");
    let larger = worst.analytic.abs().max(worst.numeric.abs());
    let error = (worst.analytic - worst.numeric).abs() / larger;
    assert!((error / coarse.max_relative_error - 1.0).abs() < 1e-12);
    assert_eq!(worst.layer, Some(1));
}

#[test]
fn a_crossing_of_the_kink_of_relu_is_skipped_and_counted() {
    // z = w x + b with w = 1, x = 2, b = −2: z = 0, so any step of w or b crosses the kink. The second unit, z = 2, does not.
    let layer = Layer {
        weights: arr2(&[[1.0], [2.0]]),
        biases: arr1(&[-2.0, -2.0]),
        activation: Activation::Relu,
        normalization: None,
    };
    let network = Network::new(vec![layer]).expect("a 1-2 network");
    let check = check(
        &network,
        Loss::Quadratic,
        &arr2(&[[2.0]]),
        &arr2(&[[1.0, 1.0]]),
        &ALL,
    );
    assert_eq!((check.skipped, check.checked, check.passed), (2, 2, true));
    assert_eq!(
        (check.layers[0].found.skipped, check.layers[0].found.checked),
        (2, 2)
    );
}

#[test]
fn a_crossing_of_the_kink_of_a_loss_is_skipped_and_counted() {
    // a = w x + b with w = 1, x = 2, b = −2 meets its target 0. The second output, 2, is far from its target.
    let layer = Layer {
        weights: arr2(&[[1.0], [2.0]]),
        biases: arr1(&[-2.0, -2.0]),
        activation: Activation::Identity,
        normalization: None,
    };
    let network = Network::new(vec![layer]).expect("a 1-2 network");
    let (x, y) = (arr2(&[[2.0]]), arr2(&[[0.0, 1.0]]));
    for (loss, skipped) in [
        (Loss::MeanAbsoluteError, 2),
        (Loss::Quantile { q: 0.9 }, 2),
        // The difference 1 of the second output is δ.
        (Loss::Huber { delta: 1.0 }, 2),
        (Loss::Huber { delta: 0.5 }, 0),
        (Loss::MeanSquaredError, 0),
    ] {
        let check = check(&network, loss, &x, &y, &ALL);
        let counts = (check.skipped, check.checked, check.passed);
        assert_eq!(counts, (skipped, 4 - skipped, true), "{loss:?}");
    }
}

#[test]
fn a_sample_is_drawn_without_replacement_and_fixed_by_its_seed() {
    let network = network(&[6, 5, 2], &[Activation::Sigmoid, Activation::Sigmoid], 2);
    let (x, y) = (matrix(4, 6, 3), targets(4, 2));
    let options = |sample, seed| CheckOptions {
        sample,
        seed,
        ..ALL
    };
    for sample in [0, 1, 20, 46, 47, 48] {
        let check = check(&network, Loss::Quadratic, &x, &y, &options(sample, 1));
        assert_eq!(check.checked, sample.min(47));
        assert_eq!(
            check
                .layers
                .iter()
                .map(|layer| layer.found.checked)
                .sum::<usize>(),
            check.checked
        );
        assert_eq!(check.worst.is_none(), sample == 0);
    }
    let once = check(&network, Loss::Quadratic, &x, &y, &options(20, 1));
    assert_eq!(
        once,
        check(&network, Loss::Quadratic, &x, &y, &options(20, 1))
    );
    assert_ne!(
        once,
        check(&network, Loss::Quadratic, &x, &y, &options(20, 2))
    );
}

#[test]
fn a_check_stops_when_told_to() {
    let network = network(&[2, 3, 1], &[Activation::Sigmoid, Activation::Sigmoid], 2);
    let (x, y) = (matrix::<f64>(4, 2, 3), targets(4, 1));
    let mut polls = 0;
    let stopped = check_gradients(&network, Loss::Quadratic, x.view(), y.view(), &ALL, || {
        polls += 1;
        if polls == 3 {
            ControlFlow::Break("enough")
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, ControlFlow::Break("enough")));
}
