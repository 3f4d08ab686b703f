//! A training step and a prediction allocate nothing.

use std::convert::Infallible;
use std::ops::ControlFlow;

use allocation_counter::measure;
use ndarray::{Array2, s};

use super::{matrix, network};
use crate::nn::{
    Activation, Backpropagation, Batch, Dropout, Layer, Loss, Network, Noise, Normalization,
    Normalized, Optimizer, OptimizerSpec, Regularization, RowWeight, Scalar, Workspace,
};

/// Numbers in (0, 1].
fn targets<T: Scalar>(rows: usize, columns: usize) -> Array2<T> {
    matrix::<T>(rows, columns, 3).mapv(|value| T::one() / (T::one() + value.abs()))
}

fn allocations_of_steps<T: Scalar>(
    (loss, activations): (Loss, [Activation; 3]),
    (spec, regularization): (OptimizerSpec, &Regularization),
    normalizations: [Option<Normalization>; 3],
) -> u64 {
    let network = network::<T>(&[20, 30, 9, 4], &activations, 1);
    let layers = network.layers().iter().zip(normalizations);
    let layers = layers.map(|(layer, by)| Layer {
        normalization: by.map(|by| Normalized::new(by, layer.units())),
        ..layer.clone()
    });
    let mut network = Network::new(layers.collect()).expect("the same widths");
    // Five chunks, so that every level of the tree is used.
    let (x, y) = (matrix::<T>(300, 20, 2), targets::<T>(300, 4));
    let mut outputs = Array2::zeros((300, 4));
    let mut workspace = Workspace::new(&network);
    let noise = Noise::new(regularization, 2, 1);
    let mut backpropagation = Backpropagation::new(&network, 300).with(noise);
    let mut optimizer = Optimizer::new(spec, &network).with(regularization.clone(), &[]);
    let mut step = |samples, record, weighted| {
        let weight = |row: usize| RowWeight {
            loss: ((row + 1) % 3) as f64,
            figures: 1.0,
        };
        let weights = (0..if weighted { samples } else { 0 }).map(weight);
        let sums = backpropagation.at(1, samples as u64).weigh(weights).run(
            &network,
            loss,
            Batch::new(x.slice(s![..samples, ..]), y.slice(s![..samples, ..])),
            record,
            || ControlFlow::<Infallible>::Continue(()),
        );
        let ControlFlow::Continue(sums) = sums;
        assert!(optimizer.update(&mut network, sums, 1.0));
        assert!(backpropagation.follow(&mut network));
        network.predict_into(x.view(), &mut workspace, outputs.view_mut());
    };
    step(300, false, true);
    measure(|| {
        for samples in [300, 1, 64, 65, 300] {
            for (record, weighted) in [(false, false), (true, true), (false, true)] {
                step(samples, record, weighted);
            }
        }
    })
    .count_total
}

#[test]
fn steps_and_predictions_allocate_nothing() {
    let activations = [Activation::Relu, Activation::Softmax, Activation::Sigmoid];
    let none = Regularization::default();
    let plain = (OptimizerSpec::default(), &none);
    for loss in Loss::ALL {
        assert_eq!(
            allocations_of_steps::<f32>((loss, activations), plain, [None; 3]),
            0
        );
        assert_eq!(
            allocations_of_steps::<f64>((loss, activations), plain, [None; 3]),
            0
        );
    }
    let regularization = Regularization {
        l2: 0.1,
        max_norm: Some(1.0),
        clip_norm: Some(0.1),
        dropout: Dropout::Each(vec![0.5, 0.1]),
        input_dropout: 0.2,
        input_noise: 0.1,
        ..Regularization::default()
    };
    let [batch, layer] = Normalization::ALL.map(Some);
    // L-BFGS, the last, has a proof of its own.
    let [steps @ .., OptimizerSpec::Lbfgs(_)] = OptimizerSpec::all() else {
        unreachable!("L-BFGS is the last")
    };
    for spec in steps {
        for regularization in [&none, &regularization] {
            let update = (spec, regularization);
            let network = (Loss::Quadratic, activations);
            for normalizations in [[None; 3], [batch, layer, batch]] {
                let of = allocations_of_steps::<f32>(network, update, normalizations);
                assert_eq!(of, 0);
                let of = allocations_of_steps::<f64>(network, update, normalizations);
                assert_eq!(of, 0);
            }
        }
    }
    for hidden in Activation::ALL {
        let activations = [hidden, Activation::Sigmoid, hidden];
        assert_eq!(
            allocations_of_steps::<f32>((Loss::Quadratic, activations), plain, [None; 3]),
            0
        );
    }
}

#[test]
fn the_counter_of_allocations_counts() {
    assert_eq!(
        measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total,
        1
    );
}
