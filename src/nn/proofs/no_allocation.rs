//! A training step and a prediction allocate nothing.

use std::convert::Infallible;
use std::ops::ControlFlow;

use allocation_counter::measure;
use ndarray::{Array2, s};

use super::{matrix, network};
use crate::nn::{
    Activation, Backpropagation, Loss, Optimizer, OptimizerSpec, Regularization, Scalar, Workspace,
};

fn allocations_of_steps<T: Scalar>(spec: OptimizerSpec, regularization: Regularization) -> u64 {
    let activations = [Activation::Relu, Activation::Softmax, Activation::Sigmoid];
    let mut network = network::<T>(&[20, 30, 9, 4], &activations, 1);
    // Five chunks, so that every level of the tree is used.
    let (x, y) = (matrix::<T>(300, 20, 2), matrix::<T>(300, 4, 3));
    let mut outputs = Array2::zeros((300, 4));
    let mut workspace = Workspace::new(&network);
    let mut backpropagation = Backpropagation::new(&network, 300);
    let mut optimizer = Optimizer::new(spec, &network).with(regularization, &[]);
    let mut step = |samples, record| {
        let sums = backpropagation.run(
            &network,
            Loss::Quadratic,
            samples,
            record,
            |rows, mut inputs, mut targets| {
                inputs.assign(&x.slice(s![rows.clone(), ..]));
                targets.assign(&y.slice(s![rows, ..]));
            },
            || ControlFlow::<Infallible>::Continue(()),
        );
        let ControlFlow::Continue(sums) = sums;
        assert!(optimizer.update(&mut network, sums, 1.0));
        network.predict_into(x.view(), &mut workspace, outputs.view_mut());
    };
    step(300, false);
    measure(|| {
        for samples in [300, 1, 64, 65, 300] {
            for record in [false, true, false] {
                step(samples, record);
            }
        }
    })
    .count_total
}

#[test]
fn steps_and_predictions_allocate_nothing() {
    let regularization = Regularization {
        l2: 0.1,
        max_norm: Some(1.0),
        clip_norm: Some(0.1),
        ..Regularization::default()
    };
    for spec in OptimizerSpec::all() {
        for regularization in [Regularization::default(), regularization] {
            assert_eq!(allocations_of_steps::<f32>(spec, regularization), 0);
            assert_eq!(allocations_of_steps::<f64>(spec, regularization), 0);
        }
    }
}

#[test]
fn the_counter_of_allocations_counts() {
    assert_eq!(
        measure(|| drop(std::hint::black_box(vec![0_u8; 100]))).count_total,
        1
    );
}
