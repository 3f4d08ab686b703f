//! Steps of networks that read vectors end where PyTorch's do.
//!
//! `tests/fixtures/embeddings/make_fixture.py` made the fixture and says how.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, s};
use serde::Deserialize;

use super::pass;
use crate::nn::{
    Activation, Backpropagation, Batch, Embedding, Layer, Loss, Network, Optimizer, OptimizerSpec,
    Regularization, Stepped,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/embeddings/embeddings.json");
const EPOCHS: usize = 4;
const BATCHES: usize = 5;
const BATCH: usize = 4;
/// Of a number, or of 1 where it is smaller than that.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Fixture {
    start: Parts,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    loss: f64,
    gradient: Parts,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Parts {
    tables: Vec<Vec<Vec<f64>>>,
    layers: Vec<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    optimizer: OptimizerSpec,
    regularized: bool,
    trained: Parts,
}

fn fixture() -> Fixture {
    serde_json::from_str(FIXTURE).expect("the fixture parses")
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    let width = rows[0].len();
    Array2::from_shape_vec((rows.len(), width), rows.concat()).expect("rows of one width")
}

fn start(Parts { tables, layers }: &Parts) -> Network<f64> {
    let activations = [Activation::Tanh, Activation::Identity];
    let layers = layers.iter().zip(activations);
    let layers = layers.map(|(parameters, activation)| Layer {
        weights: matrix(&parameters.weights),
        biases: Array1::from(parameters.biases.clone()),
        activation,
        normalization: None,
    });
    let tables = tables.iter().zip(1..).map(|(table, input)| {
        let column = format!("column {input}");
        (Embedding { column, input }, matrix(table))
    });
    let network = Network::new(layers.collect()).expect("a 7-5-2 network");
    network
        .with_embeddings(tables.collect())
        .expect("tables that fit")
}

fn near(actual: impl IntoIterator<Item = f64>, expected: &[f64], what: &str) {
    let mut count = 0;
    for (actual, expected) in actual.into_iter().zip(expected) {
        let error = (actual - expected).abs() / expected.abs().max(1.0);
        assert!(error <= TOLERANCE, "{what}: {actual} instead of {expected}");
        count += 1;
    }
    assert_eq!(count, expected.len(), "{what}");
}

/// The parts of a network, or of a gradient in its shapes: weights by rows and biases.
fn compare<'a>(
    parts: impl Iterator<Item = (&'a Array2<f64>, &'a Array1<f64>)>,
    Parts { tables, layers }: &Parts,
    what: &str,
) {
    let parts: Vec<_> = parts.collect();
    assert_eq!(parts.len(), layers.len() + tables.len());
    for ((weights, biases), expected) in parts.iter().zip(layers) {
        near(weights.iter().copied(), &expected.weights.concat(), what);
        near(biases.iter().copied(), &expected.biases, what);
    }
    for ((weights, _), expected) in parts.iter().skip(layers.len()).zip(tables) {
        near(weights.t().iter().copied(), &expected.concat(), what);
    }
}

#[test]
fn loss_and_gradient_of_vectors_are_those_of_pytorch() {
    let fixture = fixture();
    let network = start(&fixture.start);
    let (x, y) = (matrix(&fixture.inputs), matrix(&fixture.targets));
    let mut backpropagation = Backpropagation::new(&network, x.nrows());
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    near([sums.mean_loss()], &[fixture.loss], "loss");
    let mean = |sum: &Array2<f64>| sum / sums.weight;
    let means: Vec<_> = (sums.gradient.layers.iter())
        .map(|layer| (mean(&layer.weights), &layer.biases / sums.weight))
        .collect();
    let parts = means.iter().map(|(weights, biases)| (weights, biases));
    compare(parts, &fixture.gradient, "gradient");
}

#[test]
fn twenty_steps_of_vectors_end_where_those_of_pytorch_do() {
    let fixture = fixture();
    let (x, y) = (matrix(&fixture.inputs), matrix(&fixture.targets));
    assert_eq!(fixture.cases.len(), 8);
    for case in &fixture.cases {
        let mut network = start(&fixture.start);
        let regularization = if case.regularized {
            Regularization {
                l2: 0.01,
                clip_value: Some(0.05),
                clip_norm: Some(0.1),
                ..Regularization::default()
            }
        } else {
            Regularization::default()
        };
        let mut optimizer = Optimizer::new(case.optimizer, &network).with(regularization, &[]);
        let mut backpropagation = Backpropagation::new(&network, BATCH);
        for step in 0..EPOCHS * BATCHES {
            let first = step % BATCHES * BATCH;
            let rows = first..first + BATCH;
            let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
            let by = (&mut optimizer, 1.0);
            let poll = || ControlFlow::<()>::Continue(());
            let stepped =
                backpropagation.step(&mut network, Loss::Quadratic, batch, by, false, poll);
            let (stepped, _) = stepped.continue_value().expect("nothing breaks");
            assert_eq!(stepped, Stepped::Moved);
        }
        let parts = network
            .parts()
            .iter()
            .map(|part| (&part.weights, &part.biases));
        let what = format!(
            "{} regularized: {}",
            case.optimizer.name(),
            case.regularized
        );
        compare(parts, &case.trained, &what);
    }
}
