//! Normalization: PyTorch's numbers, step by step, and its answers after them.

use ndarray::{Array1, Array2, ArrayView1};
use serde::Deserialize;

use super::pass;
use crate::nn::{
    Activation, Backpropagation, Layer, Loss, Network, Normalization, Normalized, Optimizer,
    OptimizerSpec,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/normalization/normalization.json");

#[derive(Deserialize)]
struct Fixture {
    torch: String,
    learning_rate: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    activations: Vec<String>,
    normalizations: Vec<Option<Normalization>>,
    parameters: Vec<Numbers>,
    batches: Vec<Batch>,
    losses: Vec<f64>,
    gradient: Vec<Numbers>,
    after: Vec<Numbers>,
    questions: Vec<Vec<f64>>,
    answers: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Batch {
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Numbers {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
    #[serde(default)]
    scales: Vec<f64>,
    #[serde(default)]
    running_mean: Vec<f64>,
    #[serde(default)]
    running_variance: Vec<f64>,
}

fn rows(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| {
        rows[row][column]
    })
}

fn near<'a>(
    what: &str,
    actual: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
) {
    let (actual, expected): (Vec<_>, Vec<_>) =
        (actual.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3, |most: f64, e| most.max(e.abs()));
    for (a, e) in actual.into_iter().zip(expected) {
        assert!((a - e).abs() <= 1e-11 * largest, "{what}: {a} and {e}");
    }
}

fn network_of(case: &Case) -> Network<f64> {
    let layers = case.parameters.iter().zip(&case.activations);
    let layers = layers.zip(&case.normalizations);
    let layers = layers.map(|((numbers, activation), by)| Layer {
        weights: rows(&numbers.weights),
        biases: Array1::from(numbers.biases.clone()),
        activation: *(Activation::ALL.iter())
            .find(|one| one.name() == activation)
            .expect("an activation of ours"),
        normalization: by.map(|by| Normalized {
            by,
            scales: Array1::from(numbers.scales.clone()),
            running_mean: Array1::from(numbers.running_mean.clone()),
            running_variance: Array1::from(numbers.running_variance.clone()),
        }),
    });
    Network::new(layers.collect()).expect("a network of the fixture")
}

fn same_numbers(layer: &Layer<f64>, expected: &Numbers) {
    near("weights", &layer.weights, expected.weights.iter().flatten());
    near("biases", &layer.biases, &expected.biases);
    if let Some(normalized) = &layer.normalization {
        near("scales", &normalized.scales, &expected.scales);
        near("mean", &normalized.running_mean, &expected.running_mean);
        let variance = &normalized.running_variance;
        near("variance", variance, &expected.running_variance);
    }
}

#[test]
fn steps_running_statistics_and_answers_are_those_of_pytorch() {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    assert!(fixture.torch.starts_with("2."));
    for case in &fixture.cases {
        let mut network = network_of(case);
        let mut backpropagation = Backpropagation::new(&network, 150);
        let spec = OptimizerSpec::descent(fixture.learning_rate);
        let mut optimizer = Optimizer::new(spec, &network);
        for (step, batch) in case.batches.iter().enumerate() {
            let (x, y) = (rows(&batch.inputs), rows(&batch.targets));
            let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
            near("loss", &[sums.mean_loss()], &[case.losses[step]]);
            if step == 0 {
                for (layer, expected) in sums.gradient.layers.iter().zip(&case.gradient) {
                    let mean = |sums: ArrayView1<f64>| &sums / 150.0;
                    let weights = &layer.weights / 150.0;
                    near("∂C/∂w", &weights, expected.weights.iter().flatten());
                    near("∂C/∂b", &mean(layer.biases.view()), &expected.biases);
                    near("∂C/∂γ", &mean(layer.scales.view()), &expected.scales);
                }
            }
            assert!(optimizer.update(&mut network, sums, 1.0));
            assert!(backpropagation.follow(&mut network));
        }
        for (layer, expected) in network.layers().iter().zip(&case.after) {
            same_numbers(layer, expected);
        }
        let answers = network.predict(rows(&case.questions).view());
        near("answers", &answers, case.answers.iter().flatten());
    }
}
