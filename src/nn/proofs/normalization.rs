//! Normalization: the derivative of the loss of a whole batch, and answers that stand alone.

use std::convert::Infallible;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, s};

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Batch, CheckOptions, Dropout, Layer, Loss, Network, Noise,
    Normalization, Normalized, Optimizer, OptimizerSpec, Regularization, check_gradients, inspect,
};

/// The network with these normalizations, and scales and running numbers that are not those it would start with.
fn normalized(network: &Network<f64>, by: &[Option<Normalization>]) -> Network<f64> {
    let layers = network.layers().iter().zip(by).map(|(layer, by)| Layer {
        normalization: by.map(|by| {
            let units = layer.units();
            let mut normalized = Normalized::new(by, units);
            let drawn = matrix::<f64>(3, units, 77);
            normalized.scales = drawn.row(0).mapv(|value| 1.0 + 0.3 * value);
            if by.is_of_batch() {
                normalized.running_mean = drawn.row(1).to_owned();
                normalized.running_variance = drawn.row(2).mapv(f64::exp);
            }
            normalized
        }),
        ..layer.clone()
    });
    Network::new(layers.collect()).expect("the same widths")
}

/// What a training step descends: the loss of the batch with its noise, and on which side of every kink it was computed.
struct Objective<'a> {
    loss: Loss,
    regularization: &'a Regularization,
    x: &'a Array2<f64>,
    y: &'a Array2<f64>,
    backpropagation: Backpropagation<f64>,
}

impl Objective<'_> {
    fn at(&mut self, network: &Network<f64>) -> (f64, Vec<bool>) {
        let (mut sides, kinks) = (Vec::new(), self.loss.kinks());
        let (x, y, last) = (self.x, self.y, network.layers().len() - 1);
        let sums = self.backpropagation.at(2, 3).run_observed(
            network,
            self.loss,
            Batch::new(x.view(), y.view()),
            false,
            || ControlFlow::<Infallible>::Continue(()),
            |rows, workspace| {
                for (index, layer) in network.layers().iter().enumerate() {
                    for z in workspace.weighted_inputs(index, 0..rows.len()) {
                        sides.extend(layer.activation.kinks().iter().map(|kink| z > kink));
                    }
                }
                let a = workspace.activations(last, 0..rows.len());
                for (a, y) in a.iter().zip(workspace.targets(0..rows.len())) {
                    sides.extend(kinks.iter().map(|&kink| a - y > kink));
                }
            },
        );
        let ControlFlow::Continue(sums) = sums;
        let Regularization { l1, l2, .. } = *self.regularization;
        let weights = || network.layers().iter().flat_map(|layer| &layer.weights);
        let penalty: f64 = weights().map(|w| l1 * w.abs() + 0.5 * l2 * w * w).sum();
        (sums.mean_loss() + penalty, sides)
    }

    /// −Δp of a step of plain descent with η = 1: the gradient that the optimizer goes by.
    fn step(&mut self, network: &Network<f64>) -> Network<f64> {
        let mut moved = network.clone();
        let backpropagation = self.backpropagation.at(2, 3);
        let sums = pass(backpropagation, network, self.loss, self.x, self.y);
        let mut optimizer = Optimizer::new(OptimizerSpec::descent(1.0), network)
            .with(self.regularization.clone(), &[]);
        assert!(optimizer.update(&mut moved, sums, 1.0));
        moved
    }
}

/// Every parameter of a network, to be read and changed by its number.
fn parameters(network: &mut Network<f64>) -> Vec<&mut f64> {
    let layers = network.layers_mut().iter_mut();
    let each = layers.flat_map(|layer| {
        let scales = layer.normalization.as_mut();
        let scales = scales
            .into_iter()
            .flat_map(|normalized| &mut normalized.scales);
        layer
            .weights
            .iter_mut()
            .chain(&mut layer.biases)
            .chain(scales)
    });
    each.collect()
}

fn steps_are_limits(
    mut network: Network<f64>,
    (loss, regularization): (Loss, &Regularization),
    rows: usize,
) -> usize {
    const EPSILON: f64 = 1e-5;
    let (x, y) = (
        matrix(rows, network.inputs(), 4),
        matrix::<f64>(rows, network.outputs(), 9),
    );
    let y = y.mapv(|value| 1.0 / (1.0 + value.abs()));
    let noise = Noise::new(regularization, network.layers().len() - 1, 5);
    let backpropagation = Backpropagation::new(&network, rows).with(noise);
    let mut objective = Objective {
        loss,
        regularization,
        x: &x,
        y: &y,
        backpropagation,
    };
    let mut moved = objective.step(&network);
    let gradient: Vec<f64> = parameters(&mut network)
        .into_iter()
        .zip(parameters(&mut moved))
        .map(|(before, after)| *before - *after)
        .collect();
    let largest = gradient.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
    let mut compared = 0;
    for (number, &analytic) in gradient.iter().enumerate() {
        let before = *parameters(&mut network)[number];
        let mut at = |step: f64| {
            *parameters(&mut network)[number] = before + step;
            let (value, sides) = objective.at(&network);
            (value, sides, before + step > 0.0)
        };
        let (above, below) = (at(EPSILON), at(-EPSILON));
        *parameters(&mut network)[number] = before;
        if (&above.1, above.2) != (&below.1, below.2) {
            continue;
        }
        compared += 1;
        let numeric = (above.0 - below.0) / (2.0 * EPSILON);
        let scale = analytic.abs().max(numeric.abs()).max(1e-2 * largest);
        let error = (analytic - numeric).abs() / scale;
        let layers: Vec<_> = network
            .layers()
            .iter()
            .map(|layer| layer.activation)
            .collect();
        assert!(
            error < 1e-5 || (analytic - numeric).abs() < 1e-9,
            "{loss:?} {layers:?} {regularization:?} {number}: {analytic} and {numeric}"
        );
    }
    compared
}

#[test]
fn every_step_descends_the_slope_of_what_it_is_said_to() {
    let none = Regularization::default();
    let regularizations = [
        none.clone(),
        Regularization {
            l1: 0.01,
            ..none.clone()
        },
        Regularization {
            l2: 0.1,
            ..none.clone()
        },
        Regularization {
            dropout: Dropout::All(0.3),
            input_dropout: 0.2,
            input_noise: 0.1,
            ..none
        },
    ];
    let [batch, layer] = Normalization::ALL.map(Some);
    let normalizations = [[None, None], [batch, None], [layer, None], [layer, batch]];
    let (mut compared, mut there) = (0, 0);
    for loss in Loss::ALL {
        let last = loss
            .last_activations()
            .map_or(Activation::Tanh, |accepted| accepted[0]);
        for hidden in Activation::ALL {
            for by in &normalizations {
                for regularization in &regularizations {
                    let plain = network(&[3, 4, 2], &[hidden, last], 3);
                    let network = normalized(&plain, by);
                    there += network.parameter_count();
                    compared += steps_are_limits(network, (loss, regularization), 9);
                }
            }
        }
    }
    // Relu and its like have kinks, as have some losses: a few quotients cross one.
    assert!(compared * 20 > there * 19, "{compared} of {there} compared");
}

#[test]
fn a_batch_of_several_chunks_is_normalized_as_a_whole() {
    let [batch, layer] = Normalization::ALL.map(Some);
    let activations = [Activation::Tanh, Activation::Silu, Activation::Sigmoid];
    let plain = network(&[3, 5, 4, 2], &activations, 3);
    let none = Regularization::default();
    for by in [[batch, batch, None], [batch, layer, batch]] {
        let network = normalized(&plain, &by);
        let count = network.parameter_count();
        assert_eq!(
            steps_are_limits(network, (Loss::Quadratic, &none), 150),
            count
        );
    }
}

#[test]
fn what_is_normalized_has_mean_0_and_variance_1() {
    // 200 rows far from 0: the two passes lose nothing of their variance.
    let x = matrix::<f64>(200, 3, 1).mapv(|value| 1e6 + value);
    let y = Array2::zeros((200, 4));
    let plain = network(&[3, 4], &[Activation::Identity], 2);
    for by in Normalization::ALL {
        let layer = &plain.layers()[0];
        let layer = Layer {
            biases: Array1::zeros(4),
            normalization: Some(Normalized::new(by, 4)),
            ..layer.clone()
        };
        let network = Network::new(vec![layer]).expect("one layer");
        let mut z = Array2::zeros((200, 4));
        let _ = Backpropagation::new(&network, 200).run_observed(
            &network,
            Loss::Quadratic,
            Batch::new(x.view(), y.view()),
            false,
            || ControlFlow::<Infallible>::Continue(()),
            |rows, workspace| {
                let chunk = workspace.weighted_inputs(0, 0..rows.len());
                z.slice_mut(s![rows, ..]).assign(&chunk);
            },
        );
        let axis = ndarray::Axis(usize::from(!by.is_of_batch()));
        for lane in z.lanes(axis) {
            let count = lane.len() as f64;
            let mean = lane.sum() / count;
            let variance = lane.mapv(|z| (z - mean) * (z - mean)).sum() / count;
            assert!(
                mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-4,
                "{by:?}: {mean} {variance}"
            );
        }
    }
}

#[test]
fn an_answer_depends_on_its_own_row_alone() {
    let [batch, layer] = Normalization::ALL.map(Some);
    let plain = network(&[3, 5, 4, 2], &[Activation::Relu; 3], 3);
    let network = normalized(&plain, &[batch, layer, batch]);
    let x = matrix::<f64>(150, 3, 8);
    let whole = network.predict(x.view());
    for row in [0, 1, 63, 64, 149] {
        let alone = network.predict(x.slice(s![row..=row, ..]));
        assert_eq!(alone.row(0), whole.row(row));
    }
    let y = Array2::zeros((150, 2));
    let seen = inspect(&network, Loss::Quadratic, x.view(), y.view());
    assert_eq!(seen.layers[2].activations, whole);
}

#[test]
fn a_gradient_check_counts_the_scales_and_goes_by_the_running_numbers() {
    let [batch, layer] = Normalization::ALL.map(Some);
    let activations = [Activation::Tanh, Activation::Silu, Activation::Sigmoid];
    let plain = network(&[3, 5, 4, 2], &activations, 3);
    let network = normalized(&plain, &[batch, layer, None]);
    let (x, y) = (matrix(70, 3, 4), matrix(70, 2, 5));
    let options = CheckOptions {
        sample: usize::MAX,
        ..CheckOptions::default()
    };
    let poll = || ControlFlow::<Infallible>::Continue(());
    let check = check_gradients(
        &network,
        Loss::Quadratic,
        x.view(),
        y.view(),
        &options,
        poll,
    );
    let ControlFlow::Continue(check) = check;
    assert!(check.passed, "{check:?}");
    assert_eq!(check.checked, 3 * 5 + 5 + 5 + 5 * 4 + 4 + 4 + 4 * 2 + 2);
    let seen = inspect(&network, Loss::Quadratic, x.view(), y.view());
    let scales = seen.layers.iter().map(|layer| layer.scale_gradient.len());
    assert_eq!(scales.collect::<Vec<_>>(), [5, 4, 0]);
}

#[test]
fn one_row_and_frozen_layers_go_by_the_running_numbers_and_leave_them() {
    let [batch, _] = Normalization::ALL.map(Some);
    let plain = network(&[3, 4, 2], &[Activation::Tanh, Activation::Identity], 3);
    let network = normalized(&plain, &[batch, None]);
    let (x, y) = (matrix(70, 3, 4), Array2::zeros((70, 2)));
    let alone = |rows: usize, frozen: std::ops::Range<usize>| {
        let (x, y) = (
            x.slice(s![..rows, ..]).to_owned(),
            y.slice(s![..rows, ..]).to_owned(),
        );
        let mut backpropagation = Backpropagation::new(&network, 70).freezing(frozen);
        let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
        let (loss, gradient) = (sums.mean_loss(), sums.gradient.layers[0].weights.clone());
        let mut moved = network.clone();
        assert!(backpropagation.follow(&mut moved));
        (loss, gradient / rows as f64, moved == network)
    };
    for (rows, frozen, stays) in [(1, 0..0, true), (70, 0..1, true), (70, 0..0, false)] {
        let (loss, gradient, stayed) = alone(rows, frozen);
        assert_eq!(stayed, stays);
        let part = s![..rows, ..];
        let seen = inspect(&network, Loss::Quadratic, x.slice(part), y.slice(part));
        assert_eq!(loss == seen.loss, stays);
        assert_eq!(gradient == seen.layers[0].weight_gradient, stays);
    }
}

#[test]
fn the_bits_of_a_normalized_batch_depend_neither_on_memory_nor_on_what_was_broken_off() {
    let [batch, layer] = Normalization::ALL.map(Some);
    let plain = network(&[3, 5, 4, 2], &[Activation::Tanh; 3], 3);
    let network = normalized(&plain, &[batch, layer, batch]);
    let (x, y) = (matrix(150, 3, 4), Array2::zeros((150, 2)));
    let mut exact = Backpropagation::new(&network, 150);
    let expected = pass(&mut exact, &network, Loss::Quadratic, &x, &y)
        .gradient
        .clone();
    let mut large = Backpropagation::new(&network, 1000);
    for breaks_at in [1, 5, 17, 50, 100, 120] {
        let mut polls = 0;
        let poll = || {
            polls += 1;
            if polls == breaks_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let (x2, y2) = (matrix(1000, x.ncols(), 8), matrix(1000, y.ncols(), 9));
        let batch = Batch::new(x2.view(), y2.view());
        let broken = large.run(&network, Loss::Quadratic, batch, false, poll);
        assert!(broken.is_break());
        let sums = pass(&mut large, &network, Loss::Quadratic, &x, &y);
        assert_eq!(sums.gradient, expected);
    }
}

#[test]
fn a_pass_polls_for_each_chunk_as_often_as_it_is_said_to() {
    let [batch, layer] = Normalization::ALL.map(Some);
    let plain = network(&[3, 5, 4, 2], &[Activation::Tanh; 3], 3);
    for by in [[layer, None, layer], [batch, layer, None]] {
        let network = normalized(&plain, &by);
        let mut polls = 0;
        let poll = || {
            polls += 1;
            ControlFlow::<Infallible>::Continue(())
        };
        let mut backpropagation = Backpropagation::new(&network, 150);
        let loss = Loss::Quadratic;
        let (x, y) = (matrix(150, 3, 4), matrix(150, 2, 5));
        let batch = Batch::new(x.view(), y.view());
        let _ = backpropagation.run(&network, loss, batch, false, poll);
        let said = Backpropagation::<f64>::polls_of_chunk(3, network.needs_whole_batch());
        assert_eq!(polls, 3 * said);
    }
}

#[test]
fn running_numbers_beyond_the_dtype_are_told() {
    let by = Normalization::ALL[0];
    let mut normalized = Normalized::<f32>::new(by, 1);
    assert!(normalized.follow((&[1e18], &[1e36]), 2));
    assert!(!normalized.follow((&[1e18], &[1e40]), 2));
    let mut normalized = Normalized::<f32>::new(by, 1);
    assert!(!normalized.follow((&[1e40], &[1.0]), 2));
}
