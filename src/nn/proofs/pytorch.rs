//! The same numbers as PyTorch's, in float64, within 1e-12. `make_fixture.py` beside the fixture says how it was made.

use ndarray::{Array1, Array2};
use serde::Deserialize;

use super::pass;
use crate::nn::{
    Activation, Backpropagation, Layer, Loss, Network, Optimizer, OptimizerSpec, Rightness,
    evaluate, inspect,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/pytorch/gradients.json");
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
    parameters: Vec<Parameters>,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    outputs: Vec<Vec<f64>>,
    loss: f64,
    gradient: Vec<Parameters>,
    input_gradient: Vec<Vec<f64>>,
    trained: Vec<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

fn rows(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one width")
}

fn near<'a>(
    what: &str,
    case: &Case,
    actual: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
) {
    let (mut actual, mut expected) = (actual.into_iter(), expected.into_iter());
    loop {
        match (actual.next(), expected.next()) {
            (Some(actual), Some(expected)) => {
                let error = (actual - expected).abs() / expected.abs().max(1.0);
                let (loss, activations) = (case.loss_function, &case.activations);
                assert!(
                    error <= TOLERANCE,
                    "{what} of {loss:?} {activations:?}: {actual} instead of {expected}"
                );
            }
            (None, None) => return,
            _ => panic!("{what}: another number of values than PyTorch has"),
        }
    }
}

fn parameters_near(
    what: &str,
    case: &Case,
    actual: &[(&Array2<f64>, &Array1<f64>)],
    expected: &[Parameters],
) {
    assert_eq!(actual.len(), expected.len());
    for ((weights, biases), expected) in actual.iter().zip(expected) {
        near(what, case, *weights, &rows(&expected.weights));
        near(what, case, *biases, &expected.biases);
    }
}

fn cases() -> Vec<(Case, Network<f64>)> {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    let network = |case: &Case| {
        let layers =
            case.parameters
                .iter()
                .zip(&case.activations)
                .map(|(parameters, &activation)| Layer {
                    weights: rows(&parameters.weights),
                    biases: Array1::from(parameters.biases.clone()),
                    activation,
                    normalization: None,
                });
        Network::new(layers.collect()).expect("a network of the fixture")
    };
    fixture
        .cases
        .into_iter()
        .map(|case| (network(&case), case))
        .map(|(network, case)| (case, network))
        .collect()
}

#[test]
fn outputs_losses_and_gradients_are_those_of_pytorch() {
    for (case, network) in cases() {
        let (x, y) = (rows(&case.inputs), rows(&case.targets));
        let outputs = rows(&case.outputs);
        near("outputs", &case, &network.predict(x.view()), &outputs);
        let seen = inspect(&network, case.loss_function, x.view(), y.view());
        near("loss", &case, &[seen.loss], &[case.loss]);
        near(
            "input gradient",
            &case,
            &seen.input_gradient,
            &rows(&case.input_gradient),
        );
        let gradient: Vec<_> = seen
            .layers
            .iter()
            .map(|layer| (&layer.weight_gradient, &layer.bias_gradient))
            .collect();
        parameters_near("gradient", &case, &gradient, &case.gradient);
        let poll = || std::ops::ControlFlow::<()>::Continue(());
        let judged = (case.loss_function, Rightness::OfClass);
        let evaluation = evaluate(&network, judged, x.view(), y.view(), poll);
        let evaluation = evaluation.continue_value().expect("nothing breaks");
        near(
            "evaluated loss",
            &case,
            &[evaluation.loss_sum / evaluation.samples as f64],
            &[case.loss],
        );
    }
}

#[test]
fn three_steps_of_gradient_descent_end_where_those_of_pytorch_do() {
    for (case, mut network) in cases() {
        let (x, y) = (rows(&case.inputs), rows(&case.targets));
        let mut backpropagation = Backpropagation::new(&network, x.nrows());
        let spec = OptimizerSpec::descent(case.learning_rate);
        let mut optimizer = Optimizer::new(spec, &network);
        for _ in 0..case.steps {
            let sums = pass(&mut backpropagation, &network, case.loss_function, &x, &y);
            assert!(optimizer.update(&mut network, sums, 1.0));
        }
        let trained: Vec<_> = network
            .layers()
            .iter()
            .map(|layer| (&layer.weights, &layer.biases))
            .collect();
        parameters_near("trained parameters", &case, &trained, &case.trained);
    }
}

#[test]
fn the_fixture_has_every_activation_under_every_loss() {
    let cases = cases();
    for loss in Loss::ALL {
        for activation in Activation::ALL {
            let named = |other: &Activation| other.name() == activation.name();
            let of_loss = || {
                cases
                    .iter()
                    .map(|(case, _)| case)
                    .filter(|case| case.loss_function.name() == loss.name())
            };
            let hidden = of_loss().any(|case| {
                let (_, hidden) = case.activations.split_last().expect("a last layer");
                hidden.iter().any(named)
            });
            let last = of_loss().any(|case| case.activations.last().is_some_and(named));
            assert!(
                hidden && (last || !loss.accepts(activation)),
                "{loss:?} {activation:?}"
            );
        }
    }
}

#[test]
fn the_fixture_has_other_parameters_than_the_defaults() {
    let cases = cases();
    for activation in Activation::ALL {
        let mut used = cases.iter().flat_map(|(case, _)| &case.activations);
        let others = used.any(|other| other.name() == activation.name() && *other != activation);
        let takes = ["leaky_relu", "elu", "gelu"].contains(&activation.name());
        assert_eq!(others, takes, "{activation:?}");
    }
    for loss in Loss::ALL {
        let mut used = cases.iter().map(|(case, _)| case.loss_function);
        let others = used.any(|other| other.name() == loss.name() && other != loss);
        let takes = ["cross_entropy", "huber", "quantile", "focal"].contains(&loss.name());
        assert_eq!(others, takes, "{loss:?}");
    }
}
