//! One step of gradient descent, worked by hand.

use ndarray::{Array1, Array2, arr1, arr2};

use super::pass;
use crate::nn::{
    Activation, Backpropagation, Layer, Loss, Network, Optimizer, OptimizerSpec, inspect,
    layer_statistics,
};

/// 2-3-1, sigmoid everywhere.
///
/// ```text
/// w¹ = | 0.1  0.2 |   b¹ = |  0.1 |   w² = | 0.5 −0.4 0.3 |   b² = −0.1
///      | 0.3 −0.1 |        | −0.3 |
///      |−0.2  0.4 |        |  0.2 |
/// ```
fn network() -> Network<f64> {
    let hidden = Layer {
        weights: arr2(&[[0.1, 0.2], [0.3, -0.1], [-0.2, 0.4]]),
        biases: arr1(&[0.1, -0.3, 0.2]),
        activation: Activation::Sigmoid,
        normalization: None,
    };
    let last = Layer {
        weights: arr2(&[[0.5, -0.4, 0.3]]),
        biases: arr1(&[-0.1]),
        activation: Activation::Sigmoid,
        normalization: None,
    };
    Network::new(vec![hidden, last]).expect("a 2-3-1 network")
}

fn near(actual: impl IntoIterator<Item = f64>, expected: &[f64]) {
    let actual: Vec<f64> = actual.into_iter().collect();
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!(
            (actual - expected).abs() < 5e-11,
            "{actual} instead of {expected}"
        );
    }
}

#[test]
fn every_number_of_a_step_is_the_one_worked_by_hand() {
    // One sample, x = (1, 0.5), y = 1.
    let (x, y) = (arr2(&[[1.0, 0.5]]), arr2(&[[1.0]]));
    let mut network = network();
    let seen = inspect(&network, Loss::Quadratic, x.view(), y.view());
    let [hidden, last] = seen.layers.as_slice() else {
        panic!("two layers")
    };

    // z¹ = w¹ x + b¹: 0.1·1 + 0.2·0.5 + 0.1 = 0.3;  0.3·1 − 0.1·0.5 − 0.3 = −0.05;  −0.2·1 + 0.4·0.5 + 0.2 = 0.2
    near(hidden.weighted_inputs.clone(), &[0.3, -0.05, 0.2]);
    // a¹ = 1/(1 + e⁻ᶻ): 1/(1 + 0.74081822068) = 0.57444251681;  1/(1 + 1.05127109638) = 0.48750260352;
    //                   1/(1 + 0.81873075308) = 0.54983399731
    near(
        hidden.activations.clone(),
        &[0.574_442_516_81, 0.487_502_603_52, 0.549_833_997_31],
    );
    // z² = 0.5·0.57444251681 − 0.4·0.48750260352 + 0.3·0.54983399731 − 0.1
    //    = 0.28722125841 − 0.19500104141 + 0.16495019919 − 0.1 = 0.15717041619
    near(last.weighted_inputs.clone(), &[0.157_170_416_19]);
    // a² = 1/(1 + e^−0.15717041619) = 1/(1 + 0.85455841...) = 0.53921191777
    near(last.activations.clone(), &[0.539_211_917_77]);
    // C = ½ (1 − 0.53921191777)² = ½ · 0.46078808223² = 0.10616282836
    near([seen.loss], &[0.106_162_828_36]);
    // δ² = (a² − y) σ′(z²) = −0.46078808223 · 0.53921191777 · 0.46078808223 = −0.11448852456
    near(last.deltas.clone(), &[-0.114_488_524_56]);
    // δ¹ = σ′(z¹) δ² w² with σ′ = a (1 − a):
    //   0.57444251681 · 0.42555748319 · −0.11448852456 ·  0.5 = −0.01399383571
    //   0.48750260352 · 0.51249739648 · −0.11448852456 · −0.4 =  0.01144169990
    //   0.54983399731 · 0.45016600269 · −0.11448852456 ·  0.3 = −0.00850134216
    let deltas = [-0.013_993_835_71, 0.011_441_699_90, -0.008_501_342_16];
    near(hidden.deltas.clone(), &deltas);
    // ∂C/∂w² = δ² a¹, ∂C/∂b² = δ²
    near(
        last.weight_gradient.clone(),
        &[-0.065_767_076_19, -0.055_813_453_79, -0.062_949_683_10],
    );
    near(last.bias_gradient.clone(), &[-0.114_488_524_56]);
    // ∂C/∂w¹ = δ¹ x: the first column times 1, the second times 0.5; ∂C/∂b¹ = δ¹
    near(
        hidden.weight_gradient.clone(),
        &[
            -0.013_993_835_71,
            -0.006_996_917_86,
            0.011_441_699_90,
            0.005_720_849_95,
            -0.008_501_342_16,
            -0.004_250_671_08,
        ],
    );
    near(hidden.bias_gradient.clone(), &deltas);
    // ∂C/∂x = δ¹ w¹:
    //   −0.01399383571·0.1 + 0.01144169990·0.3 − 0.00850134216·−0.2 =  0.00373339483
    //   −0.01399383571·0.2 + 0.01144169990·−0.1 − 0.00850134216·0.4 = −0.00734347400
    near(
        seen.input_gradient.clone(),
        &[0.003_733_394_83, -0.007_343_474_00],
    );

    // p ← p − η ∇C with η = 2.
    let spec = OptimizerSpec::descent(2.0);
    let mut backpropagation = Backpropagation::new(&network, 1);
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    let finite = Optimizer::new(spec, &network).update(&mut network, sums, 1.0);
    assert!(finite);
    near(
        network.layers()[0].weights.clone(),
        &[
            0.127_987_671_42,
            0.213_993_835_71,
            0.277_116_600_20,
            -0.111_441_699_90,
            -0.182_997_315_67,
            0.408_501_342_16,
        ],
    );
    near(
        network.layers()[0].biases.clone(),
        &[0.127_987_671_42, -0.322_883_399_81, 0.217_002_684_33],
    );
    near(
        network.layers()[1].weights.clone(),
        &[0.631_534_152_38, -0.288_373_092_41, 0.425_899_366_21],
    );
    near(network.layers()[1].biases.clone(), &[0.128_977_049_11]);
    // The step went downhill: C after it is smaller than 0.10616282836.
    assert!(inspect(&network, Loss::Quadratic, x.view(), y.view()).loss < 0.09);
}

#[test]
fn the_statistics_of_a_step_are_those_of_its_numbers() {
    let (x, y) = (arr2(&[[1.0, 0.5]]), arr2(&[[1.0]]));
    let network = network();
    let mut backpropagation = Backpropagation::new(&network, 1);
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    let mut updated = network.clone();
    assert!(Optimizer::new(OptimizerSpec::descent(2.0), &network).update(&mut updated, sums, 1.0));
    let statistics = layer_statistics(&network, sums, &updated);
    let last = &statistics[1];
    assert_eq!((last.layer, last.saturated, last.dead), (2, 0.0, 0.0));
    // ∂C/∂w² = −(0.06576707619, 0.05581345379, 0.06294968310): norm √0.01140307..., mean their sum / 3.
    let norm = (0.065_767_076_19_f64.powi(2)
        + 0.055_813_453_79_f64.powi(2)
        + 0.062_949_683_10_f64.powi(2))
    .sqrt();
    near([last.weight_gradient.norm], &[norm]);
    near(
        [last.weight_gradient.mean],
        &[-(0.065_767_076_19 + 0.055_813_453_79 + 0.062_949_683_10) / 3.0],
    );
    near(
        [last.weight_gradient.min, last.weight_gradient.max],
        &[-0.065_767_076_19, -0.055_813_453_79],
    );
    near(
        [last.deltas.mean, last.activations.mean],
        &[-0.114_488_524_56, 0.539_211_917_77],
    );
    // ‖w²‖ = √(0.25 + 0.16 + 0.09) = √0.5
    near(
        [last.weights.norm, last.update_to_weight_ratio],
        &[0.5_f64.sqrt(), 2.0 * norm / 0.5_f64.sqrt()],
    );
}

#[test]
fn saturated_and_dead_units_are_counted_over_the_whole_batch() {
    // Unit 0 of the relu layer is max(x, 0), unit 1 is max(−1, 0) = 0 on every sample; the sigmoid unit sees 100 a₀.
    let relu = Layer {
        weights: arr2(&[[1.0], [0.0]]),
        biases: arr1(&[0.0, -1.0]),
        activation: Activation::Relu,
        normalization: None,
    };
    let sigmoid = Layer {
        weights: arr2(&[[100.0, 0.0]]),
        biases: arr1(&[0.0]),
        activation: Activation::Sigmoid,
        normalization: None,
    };
    let network = Network::new(vec![relu, sigmoid]).expect("a 1-2-1 network");
    // 100 samples, more than a chunk: x = 1 for the last 25 of them, else −1. σ(100) is saturated, σ(0) is not.
    let x = Array2::from_shape_fn((100, 1), |(row, _)| if row < 75 { -1.0 } else { 1.0 });
    let y = Array2::zeros((100, 1));
    let mut backpropagation = Backpropagation::new(&network, 100);
    let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    assert_eq!(sums.moments[0].active, [25, 0]);
    let statistics = layer_statistics(&network, sums, &network);
    assert_eq!((statistics[0].dead, statistics[0].saturated), (0.5, 0.0));
    assert_eq!((statistics[1].dead, statistics[1].saturated), (0.0, 0.25));
    // σ(0) = ½ counts as above a half and the targets are 0: no answer is right.
    assert_eq!((sums.correct, sums.samples), (0.0, 100));
}

#[test]
fn a_step_of_infinite_gradient_is_reported() {
    let mut network = network();
    let (x, y) = (arr2(&[[1.0, 0.5]]), arr2(&[[1.0]]));
    let mut backpropagation = Backpropagation::new(&network, 1);
    let mut sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y).clone();
    sums.gradient.layers[1].biases = Array1::from_elem(1, f64::INFINITY);
    let mut optimizer = Optimizer::new(OptimizerSpec::default(), &network);
    assert!(!optimizer.update(&mut network, &sums, 1.0));
    assert!(!network.is_finite());
}
