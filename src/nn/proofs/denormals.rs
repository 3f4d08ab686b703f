//! Denormal numbers count as zeros, on whatever thread a network computes.

use std::hint::black_box;
use std::ops::ControlFlow;

use ndarray::Array2;

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Loss, Network, Rightness, Scalar, evaluate, flush_denormals,
    inspect,
};

const ACTIVATIONS: [Activation; 3] = [Activation::Tanh, Activation::Relu, Activation::Identity];

/// A number made so small that it is denormal, or zero in its place.
fn tiny<T: Scalar>(number: T, zeros: bool) -> T {
    let largest = T::min_positive_value().to_f64() / 64.0;
    let made = Scalar::to_f64(number).clamp(-8.0, 8.0) * largest;
    if zeros { T::zero() } else { T::from_f64(made) }
}

/// Rows of which every third column is tiny.
fn samples<T: Scalar>(zeros: bool) -> [Array2<T>; 2] {
    [matrix(150, 17, 2), matrix(150, 3, 3)].map(|mut rows: Array2<T>| {
        for mut column in rows.columns_mut().into_iter().step_by(3) {
            column.mapv_inplace(|number| tiny(number, zeros));
        }
        rows
    })
}

/// A network of which every third unit, from the first, has tiny parameters alone.
fn thin<T: Scalar>(zeros: bool) -> Network<T> {
    let mut network = network(&[17, 40, 21, 3], &ACTIVATIONS, 1);
    for layer in network.layers_mut() {
        for unit in (0..layer.units()).step_by(3) {
            let mut weights = layer.weights.row_mut(unit);
            weights.mapv_inplace(|weight| tiny(weight, zeros));
            layer.biases[unit] = tiny(layer.biases[unit], zeros);
        }
    }
    network
}

/// All that a network comes to.
fn computed<T: Scalar>(network: &Network<T>, [x, y]: &[Array2<T>; 2]) -> Vec<f64> {
    let outputs = network.predict(x.view());
    let mut all: Vec<f64> = outputs.iter().map(|&a| Scalar::to_f64(a)).collect();
    let judged = (Loss::Quadratic, Rightness::OfClass);
    let evaluated = evaluate(network, judged, x.view(), y.view(), || {
        ControlFlow::<()>::Continue(())
    });
    let evaluated = evaluated.continue_value();
    all.push(evaluated.expect("it is not broken off").loss_sum);
    let mut backpropagation = Backpropagation::new(network, 150);
    let sums = pass(&mut backpropagation, network, Loss::Quadratic, x, y);
    all.push(sums.loss);
    for layer in &sums.gradient.layers {
        all.extend(layer.weights.iter().map(|&g| Scalar::to_f64(g)));
        all.extend(layer.biases.iter().map(|&g| Scalar::to_f64(g)));
    }
    all
}

/// What an inspection comes to, which is in f64 always.
fn inspected(network: &Network<f64>, [x, y]: &[Array2<f64>; 2]) -> Vec<f64> {
    let inspection = inspect(network, Loss::Quadratic, x.view(), y.view());
    let layers = inspection.layers.into_iter();
    let gradients = layers.flat_map(|layer| layer.weight_gradient);
    gradients.chain(inspection.input_gradient).collect()
}

fn flushes() -> bool {
    black_box(1e-40_f32) * black_box(1e30) == 0.0 && black_box(1e-310_f64) * black_box(1e300) == 0.0
}

fn bits(numbers: Vec<f64>) -> Vec<u64> {
    // Zeros of either sign are the same.
    numbers.into_iter().map(|x| (x + 0.0).to_bits()).collect()
}

#[track_caller]
fn check<T: Scalar>(compute: impl Fn(&Network<T>, &[Array2<T>; 2]) -> Vec<f64>) {
    assert!(!flushes());
    let (network, rows) = (thin(false), samples(false));
    let bare = compute(&network, &rows);
    assert!(!flushes(), "the thread is as it was");
    assert!(bare.iter().all(|x| x.is_finite()));
    let zeros = compute(&thin(true), &samples(true));
    let guard = flush_denormals();
    let guarded = compute(&network, &rows);
    assert!(flushes(), "the thread is as it was");
    drop(guard);
    let [bare, zeros, guarded] = [bare, zeros, guarded].map(bits);
    assert!(bare == guarded);
    assert!(bare == zeros);
}

#[test]
fn denormal_parameters_and_samples_are_zeros_whatever_the_thread_does_with_them_elsewhere() {
    check(computed::<f32>);
    check(computed::<f64>);
    check(inspected);
}
