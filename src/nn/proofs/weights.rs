//! Samples that weigh: PyTorch's numbers in float64 within 1e-12, differences, counting, and the same bits where the
//! arithmetic is the same. `tests/fixtures/weights/make_fixture.py` says how the numbers were made.

use std::convert::Infallible;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde::Deserialize;

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Batch, Evaluation, EvaluationPass, Layer, Loss, Network,
    Optimizer, OptimizerSpec, Regularization, Rightness, RowWeight, Scalar, Stepped, Team,
    evaluate, layer_statistics,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/weights/weights.json");
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    loss_function: Loss,
    activations: Vec<Activation>,
    learning_rate: f64,
    steps: usize,
    l2: f64,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    weights: Vec<f64>,
    parameters: Vec<Parameters>,
    loss: f64,
    gradient: Vec<Parameters>,
    trained: Vec<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

impl Parameters {
    fn flat(&self) -> Vec<f64> {
        [self.weights.concat(), self.biases.clone()].concat()
    }
}

fn rows(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one width")
}

fn cases() -> Vec<Case> {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    fixture.cases
}

fn built(case: &Case) -> Network<f64> {
    let layers = case.parameters.iter().zip(&case.activations);
    let layers = layers.map(|(parameters, &activation)| Layer {
        weights: rows(&parameters.weights),
        biases: Array1::from(parameters.biases.clone()),
        activation,
        normalization: None,
    });
    Network::new(layers.collect()).expect("a network of the fixture")
}

/// Weights that are the same in the loss and in figures.
fn alike(weights: &[f64]) -> impl Iterator<Item = RowWeight> {
    weights.iter().map(|&weight| RowWeight {
        loss: weight,
        figures: weight,
    })
}

fn near(what: &str, case: &Case, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        let error = (actual - expected).abs() / expected.abs().max(1.0);
        let (loss, activations) = (case.loss_function, &case.activations);
        assert!(
            error <= TOLERANCE,
            "{what} of {loss:?} {activations:?}: {actual} instead of {expected}"
        );
    }
}

fn evaluated<T: Scalar>(
    network: &Network<T>,
    loss: Loss,
    (x, y): (&Array2<T>, &Array2<T>),
    weights: Option<&[f64]>,
) -> Evaluation {
    let (batch, team) = (Batch::new(x.view(), y.view()), Team::alone());
    let judged = (loss, Rightness::OfClass);
    let mut pass = EvaluationPass::new((network, &team), judged, x.nrows());
    let poll = || ControlFlow::<Infallible>::Continue(());
    match pass.add(batch, weights, poll, |_, _| {}) {
        ControlFlow::Continue(()) => pass.finish(),
        ControlFlow::Break(never) => match never {},
    }
}

/// All parameters, or all entries of a gradient, in order.
fn flat<'a, T: Scalar>(layers: impl Iterator<Item = (&'a Array2<T>, &'a Array1<T>)>) -> Vec<T> {
    layers
        .flat_map(|(weights, biases)| weights.iter().chain(biases).copied())
        .collect()
}

fn parameters<T: Scalar>(network: &Network<T>) -> Vec<T> {
    let layers = network.layers().iter();
    flat(layers.map(|layer| (&layer.weights, &layer.biases)))
}

#[test]
fn losses_and_gradients_by_weights_are_those_of_pytorch() {
    for case in cases() {
        let (network, x, y) = (built(&case), rows(&case.inputs), rows(&case.targets));
        let mut backpropagation = Backpropagation::new(&network, x.nrows());
        backpropagation.weigh(alike(&case.weights));
        let sums = pass(&mut backpropagation, &network, case.loss_function, &x, &y);
        near("loss", &case, &[sums.mean_loss()], &[case.loss]);
        let layers = sums.gradient.layers.iter();
        let gradient = flat(layers.map(|layer| (&layer.weights, &layer.biases)));
        let gradient: Vec<_> = gradient.iter().map(|sum| sum / sums.weight).collect();
        let expected: Vec<_> = case.gradient.iter().flat_map(Parameters::flat).collect();
        near("gradient", &case, &gradient, &expected);
        // What the history records of the gradient is the same mean.
        let norm = |layer: usize| {
            let layer = &case.gradient[layer];
            layer
                .weights
                .concat()
                .iter()
                .map(|g| g * g)
                .sum::<f64>()
                .sqrt()
        };
        let recorded = layer_statistics(&network, sums, &network);
        for (index, layer) in recorded.iter().enumerate() {
            near("norm", &case, &[layer.weight_gradient.norm], &[norm(index)]);
        }
        let evaluation = evaluated(&network, case.loss_function, (&x, &y), Some(&case.weights));
        let loss = evaluation.loss_sum / evaluation.weight;
        near("evaluated loss", &case, &[loss], &[case.loss]);
        assert_eq!(evaluation.loss_sum.to_bits(), sums.loss.to_bits());
        assert_eq!(evaluation.correct.to_bits(), sums.correct.to_bits());
        assert_eq!(sums.weight.to_bits(), sums.figure_weight.to_bits());
    }
}

#[test]
fn steps_by_weights_end_where_those_of_pytorch_do_and_l2_is_not_weighed() {
    for case in cases() {
        let (mut network, x, y) = (built(&case), rows(&case.inputs), rows(&case.targets));
        let mut backpropagation = Backpropagation::new(&network, x.nrows());
        backpropagation.weigh(alike(&case.weights));
        let regularization = Regularization {
            l2: case.l2,
            ..Regularization::default()
        };
        let spec = OptimizerSpec::descent(case.learning_rate);
        let mut optimizer = Optimizer::new(spec, &network).with(regularization, &[]);
        for _ in 0..case.steps {
            let sums = pass(&mut backpropagation, &network, case.loss_function, &x, &y);
            assert!(optimizer.update(&mut network, sums, 1.0));
        }
        let expected: Vec<_> = case.trained.iter().flat_map(Parameters::flat).collect();
        near("trained", &case, &parameters(&network), &expected);
    }
}

#[test]
fn the_fixture_has_every_loss_and_weights_of_0() {
    let cases = cases();
    for loss in Loss::ALL {
        let of_loss = cases.iter().find(|case| case.loss_function == loss);
        let case = of_loss.unwrap_or_else(|| panic!("{loss:?}"));
        assert!(case.weights.contains(&0.0));
    }
    assert!(cases.iter().any(|case| case.l2 > 0.0));
    assert!(
        cases
            .iter()
            .any(|case| case.inputs.len() > crate::nn::CHUNK)
    );
}

/// One activation that every loss accepts, for outputs, and targets that every loss is defined for.
fn sample<T: Scalar>(rows: usize) -> (Network<T>, Array2<T>, Array2<T>) {
    let activations = [Activation::Tanh, Activation::Sigmoid];
    let y = matrix::<T>(rows, 2, 3).mapv(|value| T::one() / (T::one() + value.abs()));
    (network(&[3, 5, 2], &activations, 1), matrix(rows, 3, 2), y)
}

#[test]
fn the_gradient_by_weights_is_the_limit_of_its_difference_quotient() {
    let weights: Vec<f64> = (0..70).map(|row| f64::from(row % 5) / 3.0).collect();
    for loss in Loss::ALL {
        let (network, x, y) = sample::<f64>(70);
        let mut backpropagation = Backpropagation::new(&network, 70);
        backpropagation.weigh(alike(&weights));
        let sums = pass(&mut backpropagation, &network, loss, &x, &y);
        let mean_loss = |bent: &Network<f64>| {
            let evaluation = evaluated(bent, loss, (&x, &y), Some(&weights));
            evaluation.loss_sum / evaluation.weight
        };
        for (layer, gradient) in sums.gradient.layers.iter().enumerate() {
            for (place, sum) in gradient.weights.indexed_iter() {
                let at = |step: f64| {
                    let mut bent = network.clone();
                    bent.layers_mut()[layer].weights[place] += step;
                    mean_loss(&bent)
                };
                let quotient = (at(1e-6) - at(-1e-6)) / 2e-6;
                let analytic = sum / sums.weight;
                assert!(
                    (quotient - analytic).abs() < 1e-8,
                    "{loss:?}: {quotient} {analytic}"
                );
            }
        }
    }
}

#[test]
fn whole_weights_count_as_so_many_rows() {
    let (network, x, y) = sample::<f64>(100);
    let weights: Vec<f64> = (0..100).map(|row| f64::from(row % 4)).collect();
    let repeat = |of: &Array2<f64>| {
        let rows = (0..100).map(|row| of.slice(s![row..=row, ..]));
        let rows: Vec<_> = rows
            .enumerate()
            .flat_map(|(row, of)| std::iter::repeat_n(of, row % 4))
            .collect();
        concatenate(Axis(0), &rows).expect("rows of one width")
    };
    let (many_x, many_y) = (repeat(&x), repeat(&y));
    assert_eq!(many_x.nrows(), 150);
    for loss in Loss::ALL {
        let mut weighed = Backpropagation::new(&network, 100);
        weighed.weigh(alike(&weights));
        let weighed = pass(&mut weighed, &network, loss, &x, &y);
        let mut repeated = Backpropagation::new(&network, 150);
        let repeated = pass(&mut repeated, &network, loss, &many_x, &many_y);
        assert_eq!((weighed.weight, weighed.samples), (150.0, 100));
        assert_eq!(weighed.correct, repeated.correct);
        assert!((weighed.mean_loss() - repeated.mean_loss()).abs() < 1e-13);
        let layers = weighed
            .gradient
            .layers
            .iter()
            .zip(&repeated.gradient.layers);
        for (weighed, repeated) in layers {
            let difference = (&weighed.weights - &repeated.weights) / 150.0;
            assert!(difference.iter().all(|d| d.abs() < 1e-13), "{loss:?}");
        }
    }
}

/// Parameters after a step of each optimizer, without and with regularization, by weights times a scale.
fn stepped<T: Scalar>(loss: Loss, scale: f64) -> Vec<T> {
    let (network, x, y) = sample::<T>(150);
    let mut backpropagation = Backpropagation::new(&network, 150);
    let weights = (0..150).map(|row| scale * f64::from(row % 7 + 1) / 3.0);
    let weights: Vec<f64> = weights.collect();
    backpropagation.weigh(alike(&weights));
    let regularization = Regularization {
        l2: 0.1,
        clip_norm: Some(0.1),
        ..Regularization::default()
    };
    let mut all = Vec::new();
    // L-BFGS, the last, takes no gradient of a batch.
    let [steps @ .., OptimizerSpec::Lbfgs(_)] = OptimizerSpec::all() else {
        unreachable!("L-BFGS is the last")
    };
    for spec in steps {
        for regularization in [Regularization::default(), regularization.clone()] {
            let mut network = network.clone();
            let mut optimizer = Optimizer::new(spec, &network).with(regularization, &[]);
            let sums = pass(&mut backpropagation, &network, loss, &x, &y);
            assert!(optimizer.update(&mut network, sums, 1.0));
            all.extend(parameters(&network));
        }
    }
    all
}

#[test]
fn weights_times_a_power_of_two_change_no_bit() {
    for loss in Loss::ALL {
        let once = stepped::<f32>(loss, 1.0);
        assert_eq!(stepped::<f32>(loss, 2.0), once, "{loss:?}");
        assert_eq!(stepped::<f32>(loss, 0.125), once, "{loss:?}");
        let once = stepped::<f64>(loss, 1.0);
        assert_eq!(stepped::<f64>(loss, 1024.0), once, "{loss:?}");
    }
}

fn ones_are_none<T: Scalar>() {
    for loss in Loss::ALL {
        let (network, x, y) = sample::<T>(150);
        let mut plain = Backpropagation::new(&network, 150);
        let plain = pass(&mut plain, &network, loss, &x, &y);
        let mut weighed = Backpropagation::new(&network, 150);
        weighed.weigh(alike(&[1.0; 150]));
        let sums = pass(&mut weighed, &network, loss, &x, &y);
        assert_eq!(sums.gradient, plain.gradient, "{loss:?}");
        assert_eq!(sums.moments, plain.moments, "{loss:?}");
        assert_eq!((sums.correct, sums.weight), (plain.correct, plain.weight));
        // Outputs are added up row by row: the last bit may differ.
        assert!((sums.loss - plain.loss).abs() <= 1e-13 * plain.loss.abs());
        // Weights given once are taken back by none.
        weighed.weigh(std::iter::empty());
        let sums = pass(&mut weighed, &network, loss, &x, &y);
        assert_eq!(sums.loss.to_bits(), plain.loss.to_bits());
    }
}

#[test]
fn weights_of_1_leave_the_bits_of_a_gradient_without_weights() {
    ones_are_none::<f32>();
    ones_are_none::<f64>();
}

#[test]
fn a_row_of_weight_0_is_not_looked_at_however_far_it_is_off() {
    let (network, x, mut y) = sample::<f32>(3);
    let loss = Loss::MeanSquaredError;
    let two = [1.0, 0.0, 2.0];
    let run = |y: &Array2<f32>| {
        let mut backpropagation = Backpropagation::new(&network, 3);
        backpropagation.weigh(alike(&two));
        pass(&mut backpropagation, &network, loss, &x, y).clone()
    };
    let near = run(&y);
    y[(1, 0)] = f32::INFINITY;
    let far = run(&y);
    assert_eq!((near.loss, &near.gradient), (far.loss, &far.gradient));
    let far = evaluated(&network, loss, (&x, &y), Some(&two));
    assert_eq!(far.loss_sum, near.loss);
    let plain = evaluate(
        &network,
        (loss, Rightness::OfClass),
        x.view(),
        y.view(),
        || ControlFlow::<Infallible>::Continue(()),
    );
    let ControlFlow::Continue(plain) = plain;
    assert!(plain.loss_sum.is_infinite());
}

#[test]
fn the_loss_and_the_figures_have_weights_of_their_own() {
    // Identity of x, rows 0.2, 0.8, 0.9 against 0, 1, 0: the first two are right.
    let layer = Layer {
        weights: Array2::from_elem((1, 1), 1.0),
        biases: Array1::from(vec![0.0]),
        activation: Activation::Identity,
        normalization: None,
    };
    let network = Network::new(vec![layer]).expect("one layer");
    let x = rows(&[vec![0.2], vec![0.8], vec![0.9]]);
    let y = rows(&[vec![0.0], vec![1.0], vec![0.0]]);
    let mut backpropagation = Backpropagation::new(&network, 3);
    let weights = [(1.0, 5.0), (2.0, 0.5), (4.0, 1.0)];
    backpropagation.weigh(
        weights
            .into_iter()
            .map(|(loss, figures)| RowWeight { loss, figures }),
    );
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    // ½ (1 · 0.04 + 2 · 0.04 + 4 · 0.81), and δ = 1 · 0.2 − 2 · 0.2 + 4 · 0.9.
    assert!((sums.loss - 1.68).abs() < 1e-15, "{}", sums.loss);
    assert!((sums.gradient.layers[0].biases[0] - 3.4).abs() < 1e-15);
    assert_eq!((sums.correct, sums.figure_weight), (5.5, 6.5));
    assert_eq!((sums.weight, sums.samples), (7.0, 3));
}

#[test]
fn a_recorded_step_that_weighs_nothing_has_a_gradient_of_0_whatever_came_before() {
    for in_passing in [true, false] {
        let (mut network, x, y) = sample::<f64>(70);
        let regularization = Regularization {
            clip_norm: (!in_passing).then_some(1.0),
            ..Regularization::default()
        };
        let spec = OptimizerSpec::descent(0.5);
        let mut optimizer = Optimizer::new(spec, &network).with(regularization, &[]);
        let mut backpropagation = Backpropagation::new(&network, 70);
        let mut step = |weight: f64| {
            let before = network.clone();
            let stepped = backpropagation.weigh(alike(&[weight; 70])).step(
                &mut network,
                Loss::MeanSquaredError,
                Batch::new(x.view(), y.view()),
                (&mut optimizer, 1.0),
                true,
                || ControlFlow::<Infallible>::Continue(()),
            );
            let ControlFlow::Continue((stepped, sums)) = stepped;
            (stepped, layer_statistics(&before, sums, &network))
        };
        let (stepped, statistics) = step(1.0);
        assert_eq!(stepped, Stepped::Moved);
        assert!(
            statistics
                .iter()
                .all(|layer| layer.weight_gradient.norm > 0.0)
        );
        let (stepped, statistics) = step(0.0);
        assert_eq!(stepped, Stepped::Weightless);
        for layer in statistics {
            let norms = [layer.weight_gradient.norm, layer.bias_gradient.norm];
            assert_eq!((norms, layer.update_to_weight_ratio), ([0.0; 2], 0.0));
        }
    }
}
