//! The same numbers to the last bit, whatever company a sample is in.

use std::ops::ControlFlow;

use ndarray::{Array2, s};

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Batch, Dropout, Loss, Network, Noise, Optimizer, OptimizerSpec,
    Regularization, Rightness, RowWeight, Scalar, Stepped, Team, Workspace, evaluate, inspect,
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

/// The parameters after four steps over 300 rows by so many threads: a batch of three chunks and more, one of one block and
/// more, recorded and not.
fn trained_by<T: Scalar>(threads: usize, (spec, wide, p): (OptimizerSpec, usize, f64)) -> Vec<u64> {
    let activations = [Activation::Relu, Activation::Tanh, Activation::Sigmoid];
    let mut network = network::<T>(&[260, wide, 130, 5], &activations, 1);
    let (x, y) = (matrix::<T>(700, 260, 2), matrix::<T>(700, 5, 3));
    let team = Team::new(threads, || {}).expect("threads");
    let regularization = Regularization {
        dropout: Dropout::All(p),
        ..Regularization::default()
    };
    let noise = Noise::new(&regularization, 2, 7);
    let mut backpropagation = Backpropagation::new(&network, 700).with(noise).by(team);
    let mut optimizer = Optimizer::new(spec, &network);
    for (step, rows) in [0..300, 300..364, 0..700, 200..301].into_iter().enumerate() {
        let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
        let stepped = backpropagation.at(1, step as u64).step(
            &mut network,
            Loss::Quadratic,
            batch,
            (&mut optimizer, 0.1),
            step == 1,
            || ControlFlow::<()>::Continue(()),
        );
        let (stepped, _) = stepped.continue_value().expect("nothing breaks");
        assert_eq!(stepped, Stepped::Moved);
    }
    let layers = network.layers().iter();
    let parameters = layers.flat_map(|layer| layer.weights.iter().chain(&layer.biases));
    bits(parameters.copied())
}

#[test]
fn a_step_has_the_same_bits_by_any_number_of_threads() {
    // The products have 5 to 90 million multiply-adds, so that they are cut into as many parts as there are threads; those of
    // 1,100 units are read in panels.
    let adam = OptimizerSpec::all()[4];
    assert_eq!(adam.name(), "adam");
    for case in [
        (OptimizerSpec::descent(0.1), 512, 0.2),
        (adam, 1100, 0.2),
        (adam, 1100, 0.0),
    ] {
        let alone = trained_by::<f32>(1, case);
        let alone64 = trained_by::<f64>(1, case);
        for threads in [2, 3, 7] {
            assert!(trained_by::<f32>(threads, case) == alone, "{threads}");
            assert!(trained_by::<f64>(threads, case) == alone64, "{threads}");
        }
    }
}

#[test]
fn a_step_in_passing_ends_where_a_whole_gradient_and_an_update_do() {
    // A step does not keep z of relu layers; a run does.
    fn check<T: Scalar>(hidden: Activation, loss: Loss) {
        let last = Activation::ALL.into_iter().find(|&last| loss.accepts(last));
        let last = last.expect("a loss accepts an activation");
        let mut stepped = network::<T>(&[9, 20, 13, 4], &[hidden, hidden, last], 1);
        let mut updated = stepped.clone();
        let x = matrix::<T>(150, 9, 2);
        let y = Array2::from_shape_fn((150, 4), |(row, unit)| {
            T::from_f64(f64::from(u8::from(row % 4 == unit)))
        });
        let adam = OptimizerSpec::all()[4];
        let mut optimizers = [
            Optimizer::new(adam, &stepped),
            Optimizer::new(adam, &updated),
        ];
        let mut backpropagation = Backpropagation::new(&stepped, 150);
        let mut whole = Backpropagation::new(&updated, 150);
        for rows in [0..150, 7..64] {
            let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows.clone(), ..]));
            let step = backpropagation.step(
                &mut stepped,
                loss,
                batch,
                (&mut optimizers[0], 1.0),
                false,
                || ControlFlow::<()>::Continue(()),
            );
            let (step, _) = step.continue_value().expect("nothing breaks");
            assert_eq!(step, Stepped::Moved);
            let sums = whole.run(&updated, loss, batch, false, || {
                ControlFlow::<()>::Continue(())
            });
            let sums = sums.continue_value().expect("nothing breaks");
            assert!(optimizers[1].update(&mut updated, sums, 1.0));
        }
        for (one, other) in stepped.layers().iter().zip(updated.layers()) {
            assert_eq!(one.weights, other.weights, "{hidden:?} {loss:?}");
            assert_eq!(one.biases, other.biases, "{hidden:?} {loss:?}");
        }
    }
    for hidden in Activation::ALL {
        if hidden == Activation::Softmax {
            continue;
        }
        for loss in [Loss::Quadratic, Loss::ALL[1]] {
            check::<f32>(hidden, loss);
            check::<f64>(hidden, loss);
        }
    }
}

#[test]
fn a_recorded_step_moves_the_parameters_to_the_same_bits_as_one_that_is_not() {
    fn after<T: Scalar>(record: bool, weighted: bool) -> Vec<u64> {
        let activations = [Activation::Sigmoid; 2];
        let mut network = network::<T>(&[23, 30, 3], &activations, 1);
        let (x, y) = (matrix::<T>(150, 23, 2), matrix::<T>(150, 3, 3));
        let mut backpropagation = Backpropagation::new(&network, 150);
        let mut optimizer = Optimizer::new(OptimizerSpec::descent(0.3), &network);
        for rows in [0..10, 10..150, 3..4] {
            let weight = |row: usize| RowWeight {
                loss: ((row + 1) % 3) as f64,
                figures: 1.0,
            };
            let weights = (0..if weighted { rows.len() } else { 0 }).map(weight);
            let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
            let stepped = backpropagation.weigh(weights).step(
                &mut network,
                Loss::Quadratic,
                batch,
                (&mut optimizer, 1.0),
                record,
                || ControlFlow::<()>::Continue(()),
            );
            let (stepped, sums) = stepped.continue_value().expect("nothing breaks");
            assert_eq!(
                (stepped, sums.moments.is_empty()),
                (Stepped::Moved, !record)
            );
        }
        let layers = network.layers().iter();
        bits(layers.flat_map(|layer| layer.weights.iter().copied()))
    }
    for weighted in [false, true] {
        assert_eq!(after::<f32>(true, weighted), after::<f32>(false, weighted));
        assert_eq!(after::<f64>(true, weighted), after::<f64>(false, weighted));
    }
}
