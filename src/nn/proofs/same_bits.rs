//! The same numbers to the last bit, whatever company a sample is in.

use std::ops::ControlFlow;

use ndarray::{Array2, s};

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Batch, Loss, Network, Rightness, Scalar, Workspace, evaluate,
    inspect,
};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Sigmoid,
    Activation::Softmax,
    Activation::Relu,
    Activation::Tanh,
    Activation::Identity,
];

fn deep<T: Scalar>() -> Network<T> {
    network(&[23, 30, 7, 33, 5, 3], &ACTIVATIONS, 1)
}

fn bits<T: Scalar>(values: impl IntoIterator<Item = T>) -> Vec<u64> {
    values
        .into_iter()
        .map(|value| value.to_f64().to_bits())
        .collect()
}

fn alone_and_in_company<T: Scalar>() {
    let network = deep::<T>();
    let x: Array2<T> = matrix(1000, 23, 2);
    let whole = network.predict(x.view());
    for rows in [1, 2, 7, 64, 65, 1000] {
        for start in [0, 1, 63, 500, 935] {
            let range = start..(start + rows).min(1000);
            let part = network.predict(x.slice(s![range.clone(), ..]));
            assert_eq!(
                bits(part),
                bits(whole.slice(s![range, ..]).to_owned()),
                "{rows} rows from {start}"
            );
        }
    }
}

#[test]
fn a_row_is_predicted_to_the_same_bits_alone_and_in_any_batch() {
    alone_and_in_company::<f32>();
    alone_and_in_company::<f64>();
}

#[test]
fn a_prediction_depends_neither_on_the_memory_it_is_made_in_nor_on_the_layout_of_its_input() {
    let network = deep::<f32>();
    let x = matrix::<f32>(100, 23, 2);
    let expected = bits(network.predict(x.view()));
    for rows in [1, 3, 64] {
        let mut outputs = Array2::zeros((100, 3));
        network.predict_into(
            x.view(),
            &mut Workspace::for_rows(&network, rows),
            outputs.view_mut(),
        );
        assert_eq!(bits(outputs), expected);
    }
    let columns = x.t().as_standard_layout().into_owned();
    assert_eq!(bits(network.predict(columns.t())), expected);
}

#[test]
fn training_evaluation_inspection_and_prediction_see_the_same_numbers() {
    let network = deep::<f64>();
    let (x, y) = (matrix(150, 23, 2), matrix(150, 3, 3));
    let mut backpropagation = Backpropagation::new(&network, 1000);
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    let judged = (Loss::Quadratic, Rightness::OfClass);
    let evaluation = evaluate(&network, judged, x.view(), y.view(), || {
        ControlFlow::<()>::Continue(())
    });
    let evaluation = evaluation.continue_value().expect("nothing breaks");
    assert_eq!(evaluation.loss_sum.to_bits(), sums.loss.to_bits());
    assert_eq!(
        (evaluation.correct, evaluation.samples),
        (sums.correct, sums.samples)
    );
    let seen = inspect(&network, Loss::Quadratic, x.view(), y.view());
    assert_eq!(seen.loss.to_bits(), sums.mean_loss().to_bits());
    assert_eq!(
        bits(seen.layers[4].activations.clone()),
        bits(network.predict(x.view()))
    );
    for (layer, gradient) in seen.layers.iter().zip(&sums.gradient.layers) {
        assert_eq!(
            bits(layer.weight_gradient.clone()),
            bits(&gradient.weights / 150.0)
        );
    }
}

#[test]
fn recording_and_the_size_of_the_memory_change_no_bit_of_a_gradient() {
    let network = deep::<f32>();
    let (x, y) = (matrix(150, 23, 2), matrix(150, 3, 3));
    let batch = Batch::new(x.view(), y.view());
    let poll = || ControlFlow::<()>::Continue(());
    let mut results = Vec::new();
    for (largest, record) in [(150, false), (150, true), (1000, false), (5000, true)] {
        let mut backpropagation = Backpropagation::new(&network, largest);
        let sums = backpropagation.run(&network, Loss::Quadratic, batch, record, poll);
        let sums = sums.continue_value().expect("nothing breaks");
        assert_eq!(sums.moments.is_empty(), !record);
        results.push((sums.gradient.clone(), sums.loss));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_pass_that_was_broken_off_leaves_no_trace_in_the_next() {
    let network = deep::<f64>();
    let (x, y) = (matrix(300, 23, 2), matrix(300, 3, 3));
    let mut backpropagation = Backpropagation::new(&network, 300);
    let expected = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y)
        .gradient
        .clone();
    let mut polls = 0;
    let broken = backpropagation.run(
        &network,
        Loss::Quadratic,
        Batch::new(
            Array2::from_elem((300, 23), 99.0).view(),
            Array2::from_elem((300, 3), -99.0).view(),
        ),
        false,
        || {
            polls += 1;
            if polls == 4 {
                ControlFlow::Break("stop")
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    assert!(matches!(broken, ControlFlow::Break("stop")));
    assert_eq!(
        pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y).gradient,
        expected
    );
}

#[test]
fn a_chunked_gradient_is_the_plain_sum_of_the_gradients_of_its_samples() {
    let network = deep::<f64>();
    let (x, y) = (matrix(131, 23, 2), matrix(131, 3, 3));
    let whole = inspect(&network, Loss::Quadratic, x.view(), y.view());
    let mut plain = Array2::<f64>::zeros((30, 23));
    for row in 0..131 {
        let sample = row..row + 1;
        let alone = inspect(
            &network,
            Loss::Quadratic,
            x.slice(s![sample.clone(), ..]),
            y.slice(s![sample, ..]),
        );
        plain += &alone.layers[0].weight_gradient;
        assert_eq!(
            bits(alone.layers[0].deltas.row(0).to_owned()),
            bits(whole.layers[0].deltas.row(row).to_owned())
        );
    }
    let difference = (&plain / 131.0 - &whole.layers[0].weight_gradient).mapv(f64::abs);
    assert!(difference.iter().all(|&difference| difference < 1e-13));
}
