//! Proofs that the arithmetic is right, each by a way of its own: by hand, by differences, by PyTorch, by counting.

mod by_hand;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod denormals;
mod embeddings;
mod embeddings_pytorch;
mod finite_differences;
mod lbfgs;
mod no_allocation;
mod noise;
mod normalization;
mod normalization_pytorch;
mod optimizers;
mod pytorch;
mod same_bits;
mod weights;

use std::convert::Infallible;
use std::ops::ControlFlow;

use ndarray::Array2;

use crate::nn::random::{keyed, normal};
use crate::nn::{
    Activation, Backpropagation, Batch, BatchSums, Initializer, Loss, Network, Scalar,
};

/// A network of these widths, the inputs first, with parameters from N(0, 1).
fn network<T: Scalar>(widths: &[usize], activations: &[Activation], seed: u64) -> Network<T> {
    let mut random = keyed(seed, 0, 0, 0);
    let layers = widths
        .windows(2)
        .zip(activations)
        .map(|(widths, &activation)| {
            Initializer::StandardNormal.draw(widths[1], widths[0], activation, &mut random)
        });
    Network::new(layers.collect()).expect("widths that follow each other")
}

/// Numbers from N(0, 1).
fn matrix<T: Scalar>(rows: usize, columns: usize, seed: u64) -> Array2<T> {
    let mut random = keyed(seed, 1, 0, 0);
    Array2::from_shape_simple_fn((rows, columns), || T::from_f64(normal(&mut random)))
}

/// One pass over all rows, that nothing interrupts.
fn pass<'a, T: Scalar>(
    backpropagation: &'a mut Backpropagation<T>,
    network: &Network<T>,
    loss: Loss,
    inputs: &Array2<T>,
    targets: &Array2<T>,
) -> &'a BatchSums<T> {
    let sums = backpropagation.run(
        network,
        loss,
        Batch::new(inputs.view(), targets.view()),
        true,
        || ControlFlow::<Infallible>::Continue(()),
    );
    match sums {
        ControlFlow::Continue(sums) => sums,
        ControlFlow::Break(never) => match never {},
    }
}
