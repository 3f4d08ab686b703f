//! Fifty steps of every optimizer, with and without a schedule and regularization, end where PyTorch's do.
//!
//! `tests/fixtures/optimizers/make_fixture.py` made the fixture and says how.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, s};
use serde::Deserialize;

use crate::nn::{
    Activation, Backpropagation, Batch, Clock, Layer, LayerRule, Loss, Network, Optimizer,
    OptimizerSpec, Plateau, Regularization, Schedule, Stepped,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/optimizers/steps.json");
const EPOCHS: usize = 10;
const BATCHES: usize = 5;
const BATCH: usize = 3;
/// Of a parameter, or of 1 where it is smaller than that.
const TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct Fixture {
    parameters: Vec<Parameters>,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Parameters {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    optimizer: OptimizerSpec,
    scheduled: bool,
    regularized: bool,
    trained: Vec<Parameters>,
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    let width = rows[0].len();
    Array2::from_shape_vec((rows.len(), width), rows.concat()).expect("rows of one width")
}

fn start(fixture: &Fixture) -> Network<f64> {
    let activations = [Activation::Tanh, Activation::Identity];
    let layers = fixture.parameters.iter().zip(activations);
    let layers = layers.map(|(parameters, activation)| Layer {
        weights: matrix(&parameters.weights),
        biases: Array1::from(parameters.biases.clone()),
        activation,
        normalization: None,
    });
    Network::new(layers.collect()).expect("a 3-4-2 network")
}

/// The part of the learning rate in a step: rising over one epoch, then half a cosine over the others.
fn factor(step: usize) -> f64 {
    let cosine = Schedule::Cosine {
        end: 0.0,
        restart_epochs: None,
        restart_factor: 1,
    };
    let clock = Clock {
        step: step as u64,
        steps_per_epoch: BATCHES as u64,
        epochs: EPOCHS as u64,
    };
    cosine.factor(&clock, 1.0, &Plateau::default())
}

/// The network after all steps; each is one batch, in order.
fn trained(fixture: &Fixture, case: &Case, optimizer: &mut Optimizer<f64>) -> Network<f64> {
    let mut network = start(fixture);
    let (x, y) = (matrix(&fixture.inputs), matrix(&fixture.targets));
    let mut backpropagation = Backpropagation::new(&network, BATCH);
    for step in 0..EPOCHS * BATCHES {
        let first = step % BATCHES * BATCH;
        let rows = first..first + BATCH;
        let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
        let factor = if case.scheduled { factor(step) } else { 1.0 };
        let stepped = backpropagation.step(
            &mut network,
            Loss::Quadratic,
            batch,
            (optimizer, factor),
            false,
            || ControlFlow::<()>::Continue(()),
        );
        let (stepped, _) = stepped.continue_value().expect("nothing breaks");
        assert_eq!(stepped, Stepped::Moved);
    }
    network
}

fn optimizer(fixture: &Fixture, case: &Case, layers: &[LayerRule]) -> Optimizer<f64> {
    let regularization = Regularization {
        l2: 0.01,
        clip_value: Some(0.2),
        clip_norm: Some(0.3),
        ..Regularization::default()
    };
    let regularization = if case.regularized {
        regularization
    } else {
        Regularization::default()
    };
    Optimizer::new(case.optimizer, &start(fixture)).with(regularization, layers)
}

fn fixture() -> Fixture {
    serde_json::from_str(FIXTURE).expect("the fixture parses")
}

#[test]
fn fifty_steps_of_every_optimizer_end_where_those_of_pytorch_do() {
    let fixture = fixture();
    for case in &fixture.cases {
        let network = trained(&fixture, case, &mut optimizer(&fixture, case, &[]));
        for (layer, expected) in network.layers().iter().zip(&case.trained) {
            let found = layer.weights.iter().chain(&layer.biases);
            let weights = expected.weights.concat();
            let expected = weights.iter().chain(&expected.biases);
            for (&found, &expected) in found.zip(expected) {
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(
                    error < TOLERANCE,
                    "{:?}, scheduled {}, regularized {}: {found} instead of {expected}",
                    case.optimizer,
                    case.scheduled,
                    case.regularized
                );
            }
        }
    }
}

#[test]
fn the_fixture_has_every_optimizer_with_and_without_schedule_and_regularization() {
    let cases = fixture().cases;
    // L-BFGS, the last, is held to SciPy.
    let [steps @ .., OptimizerSpec::Lbfgs(_)] = OptimizerSpec::all() else {
        unreachable!("L-BFGS is the last")
    };
    for spec in steps {
        for (scheduled, regularized) in [(false, false), (false, true), (true, false), (true, true)]
        {
            let found = cases.iter().any(|case| {
                case.optimizer.name() == spec.name()
                    && (case.scheduled, case.regularized) == (scheduled, regularized)
            });
            assert!(found, "{spec:?} {scheduled} {regularized}");
        }
    }
}

#[test]
fn a_frozen_layer_stays_and_a_multiplier_multiplies_the_rate() {
    let fixture = fixture();
    for case in &fixture.cases {
        let frozen = LayerRule {
            frozen: true,
            ..LayerRule::default()
        };
        let rules = [frozen, LayerRule::default()];
        let network = trained(&fixture, case, &mut optimizer(&fixture, case, &rules));
        assert_eq!(network.layers()[0], start(&fixture).layers()[0]);
        assert_ne!(network.layers()[1], start(&fixture).layers()[1]);
        // A multiplier of 0 moves nothing either, but the layer's gradient counts in the norm that is clipped.
        let still = LayerRule {
            learning_rate_multiplier: 0.0,
            ..LayerRule::default()
        };
        let rules = [LayerRule::default(), still];
        let network = trained(&fixture, case, &mut optimizer(&fixture, case, &rules));
        assert_eq!(network.layers()[1], start(&fixture).layers()[1]);
    }
}

#[test]
fn l1_pulls_every_weight_towards_zero_and_max_norm_bounds_each_unit() {
    let fixture = fixture();
    let case = &fixture.cases[0];
    let norm = |network: &Network<f64>| {
        let weights = network.layers().iter().flat_map(|layer| &layer.weights);
        weights.map(|w| w.abs()).sum::<f64>()
    };
    let with = |l1, max_norm| {
        let regularization = Regularization {
            l1,
            max_norm,
            ..Regularization::default()
        };
        let optimizer = Optimizer::new(case.optimizer, &start(&fixture));
        trained(&fixture, case, &mut optimizer.with(regularization, &[]))
    };
    assert!(norm(&with(0.1, None)) < 0.7 * norm(&with(0.0, None)));
    for layer in with(0.0, Some(0.5)).layers() {
        for unit in layer.weights.rows() {
            assert!(unit.dot(&unit).sqrt() <= 0.5 * (1.0 + 1e-15));
        }
    }
}

#[test]
fn one_step_of_l1_and_l2_is_what_paper_says() {
    // One weight w = 2, one bias b = 1, no gradient from the sample (a = y = 2·1 + 1): g = λ₂ w + λ₁ = 0.5·2 + 0.25 = 1.25
    // for w and 0 for b, so that w ← 2 − 0.1·1.25 = 1.875 and b stays.
    let layer = Layer {
        weights: Array2::from_elem((1, 1), 2.0),
        biases: Array1::from_elem(1, 1.0),
        activation: Activation::Identity,
        normalization: None,
    };
    let mut network = Network::new(vec![layer]).expect("one weight");
    let regularization = Regularization {
        l1: 0.25,
        l2: 0.5,
        ..Regularization::default()
    };
    let mut optimizer =
        Optimizer::new(OptimizerSpec::descent(0.1), &network).with(regularization, &[]);
    let (x, y) = (
        Array2::from_elem((1, 1), 1.0),
        Array2::from_elem((1, 1), 3.0),
    );
    let mut backpropagation = Backpropagation::new(&network, 1);
    let sums = super::pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    assert!(optimizer.update(&mut network, sums, 1.0));
    assert_eq!(network.layers()[0].weights[[0, 0]], 1.875);
    assert_eq!(network.layers()[0].biases[0], 1.0);
}
