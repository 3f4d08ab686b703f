//! Dropout and noise: the shares and means that they promise, a step by hand, differences with the masks held, and draws
//! that are a function of what they are for.

use std::ops::ControlFlow;

use ndarray::{Array2, arr1, arr2};

use super::{matrix, network, pass};
use crate::nn::kernel::Matrix;
use crate::nn::{
    Activation, Backpropagation, Batch, Dropout, Gradient, Layer, Loss, Network, Noise,
    Regularization, Scalar, Team, Workspace,
};

/// Regularization of nothing but these.
fn of(dropout: Dropout, input_dropout: f64, input_noise: f64) -> Regularization {
    Regularization {
        dropout,
        input_dropout,
        input_noise,
        ..Regularization::default()
    }
}

/// The noise of a network of one hidden layer.
fn noise(dropout: f64, input_dropout: f64, input_noise: f64, seed: u64) -> Noise {
    let regularization = of(Dropout::All(dropout), input_dropout, input_noise);
    Noise::new(&regularization, 1, seed).expect("there is noise")
}

/// m / (1 − p) of so many entries of a layer in a chunk of a step.
fn factors(noise: &Noise, step: (u64, u64), chunk: usize, layer: usize, count: usize) -> Vec<f64> {
    let (ones, mut factors, mut dropped) = (vec![1.0; count], vec![0.0; count], vec![0.0; count]);
    noise
        .of(step, chunk)
        .drop_out(layer, &ones, &mut factors, &mut dropped);
    assert_eq!(factors, dropped);
    factors
}

#[test]
fn where_nothing_is_left_to_chance_there_is_no_noise() {
    let none = |regularization: &Regularization| Noise::new(regularization, 2, 1).is_none();
    assert!(none(&Regularization::default()));
    assert!(none(&of(Dropout::Each(vec![0.0, 0.0]), 0.0, 0.0)));
    assert!(!none(&of(Dropout::Each(vec![0.0, 0.1]), 0.0, 0.0)));
    assert!(!none(&of(Dropout::All(0.0), 0.1, 0.0)));
    assert!(!none(&of(Dropout::All(0.0), 0.0, 0.1)));
    // Dropout of hidden layers leaves a network that has none as it is.
    assert!(Noise::new(&of(Dropout::All(0.5), 0.0, 0.0), 0, 1).is_none());
}

#[test]
fn a_share_p_of_units_is_left_out_and_the_mean_of_the_activations_stays() {
    const COUNT: usize = 100_000;
    for p in [0.05, 0.3, 0.5, 0.9] {
        let factors = factors(&noise(p, 0.0, 0.0, 7), (1, 1), 0, 1, COUNT);
        let kept = 1.0 / (1.0 - p);
        assert!(
            factors
                .iter()
                .all(|&factor| factor == 0.0 || factor == kept)
        );
        let zeros = factors.iter().filter(|&&factor| factor == 0.0).count();
        // Five standard errors: of a share √(p (1 − p) / n); the mean of factors is (1 − share) / (1 − p).
        let bound = 5.0 * (p * (1.0 - p) / COUNT as f64).sqrt();
        let share = zeros as f64 / COUNT as f64;
        assert!((share - p).abs() < bound, "{p}: {share}");
        let mean = factors.iter().sum::<f64>() / COUNT as f64;
        assert!((mean - 1.0).abs() < bound * kept, "{p}: {mean}");
    }
}

#[test]
fn what_the_next_layer_is_given_has_the_mean_of_what_it_is_given_without_dropout() {
    // One sample in 2000 steps, each with a mask of its own; the output is a weighted sum of nine units.
    let network: Network<f64> =
        network(&[4, 9, 1], &[Activation::Sigmoid, Activation::Identity], 3);
    let x = matrix::<f64>(1, 4, 2);
    let expected = network.predict(x.view())[[0, 0]];
    let noise = noise(0.4, 0.0, 0.0, 5);
    let mut workspace = Workspace::for_rows(&network, 1).with(&noise);
    let outputs: Vec<f64> = (0..2000)
        .map(|step| {
            let x = Matrix::new(x.as_slice().expect("one row"), 4);
            workspace.forward(&network, x, Some(noise.of((1, step), 0)), &Team::alone());
            workspace.activations(1, 0..1)[[0, 0]]
        })
        .collect();
    let mean = outputs.iter().sum::<f64>() / 2000.0;
    let variance = outputs.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 2000.0;
    assert!(variance > 0.1, "{variance}");
    assert!((mean - expected).abs() < 5.0 * (variance / 2000.0).sqrt());
}

#[test]
fn noise_on_inputs_has_its_standard_deviation_and_dropout_of_inputs_its_share() {
    const COUNT: usize = 100_000;
    let (p, s) = (0.2, 0.5);
    let disturbed = |noise: Noise| {
        let mut x = vec![3.0; COUNT];
        noise.of((1, 1), 0).disturb(&mut x);
        x
    };
    let (n, alone) = (COUNT as f64, disturbed(noise(0.0, 0.0, s, 7)));
    let mean = alone.iter().sum::<f64>() / n;
    let variance = alone.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    assert!((mean - 3.0).abs() < 5.0 * s / n.sqrt(), "{mean}");
    assert!(
        (variance - s * s).abs() < 5.0 * s * s * (2.0 / n).sqrt(),
        "{variance}"
    );
    let masked = disturbed(noise(0.0, p, 0.0, 7));
    let zeros = masked.iter().filter(|&&x| x == 0.0).count() as f64 / n;
    assert!(
        (zeros - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt(),
        "{zeros}"
    );
    // Both: the noise first, then the mask and its factor, each from the draws that it has alone.
    let both = disturbed(noise(0.0, p, s, 7));
    for ((both, alone), masked) in both.iter().zip(alone).zip(masked) {
        let expected = if masked == 0.0 {
            0.0
        } else {
            alone / (1.0 - p)
        };
        assert!((both - expected).abs() <= 1e-15 * expected.abs());
    }
}

#[test]
fn draws_are_a_function_of_seed_epoch_step_layer_and_chunk() {
    let three = |seed| {
        let regularization = of(Dropout::All(0.5), 0.5, 0.0);
        Noise::new(&regularization, 3, seed).expect("there is noise")
    };
    let draw = |seed, step, chunk, layer| factors(&three(seed), step, chunk, layer, 200);
    let draws = [
        draw(1, (1, 1), 0, 1),
        draw(2, (1, 1), 0, 1),
        draw(1, (2, 1), 0, 1),
        draw(1, (1, 2), 0, 1),
        draw(1, (1, 1), 1, 1),
        draw(1, (1, 1), 0, 2),
        draw(1, (1, 1), 0, 0),
    ];
    for (index, one) in draws.iter().enumerate() {
        assert!(!draws[..index].contains(one), "{index}");
    }
    assert_eq!(draw(1, (1, 1), 0, 1), draws[0]);
    // A chunk of fewer rows has the first of the same draws.
    assert_eq!(factors(&three(1), (1, 1), 0, 1, 150), draws[0][..150]);
}

#[test]
fn the_numbers_of_a_step_with_dropout_are_those_worked_by_hand() {
    // x = (1, 0.5), z¹ = (ln 3, −ln 3), so that a¹ = σ(z¹) = (3/4, 1/4).
    // The first unit is kept, the second left out, p = ½: ã¹ = 2·¾, 0 = (3/2, 0).
    // w² = (2, −4), b² = 0, identity: a² = 3. y = 1: C = ½·2² = 2, δ² = 2.
    // ∂C/∂w² = δ² ã¹ = (3, 0), ∂C/∂b² = 2.
    // ∂C/∂a¹ = (2·4, 0·−8) = (8, 0); σ′ = ¾·¼ of the whole a¹: δ¹ = (8·3/16, 0) = (3/2, 0).
    // ∂C/∂w¹ = δ¹ x = (3/2, 3/4; 0, 0), ∂C/∂b¹ = (3/2, 0).
    let ln3 = 3.0_f64.ln();
    let hidden = Layer {
        weights: arr2(&[[ln3, 0.0], [0.0, -2.0 * ln3]]),
        biases: arr1(&[0.0, 0.0]),
        activation: Activation::Sigmoid,
        normalization: None,
    };
    let last = Layer {
        weights: arr2(&[[2.0, -4.0]]),
        biases: arr1(&[0.0]),
        activation: Activation::Identity,
        normalization: None,
    };
    let network = Network::new(vec![hidden, last]).expect("a 2-2-1 network");
    let noise = noise(0.5, 0.0, 0.0, 1);
    let step = (1..100).find(|&step| factors(&noise, (1, step), 0, 1, 2) == [2.0, 0.0]);
    let step = step.expect("a quarter of the steps have these masks");
    let (x, y) = (arr2(&[[1.0, 0.5]]), arr2(&[[1.0]]));
    let mut backpropagation = Backpropagation::new(&network, 1).with(Some(noise));
    let backpropagation = backpropagation.at(1, step);
    let sums = pass(backpropagation, &network, Loss::Quadratic, &x, &y);
    let near = |got: &[f64], expected: &[f64]| {
        let pairs = got.iter().zip(expected);
        assert!(
            pairs
                .map(|(got, expected)| (got - expected).abs())
                .all(|off| off < 1e-14),
            "{got:?} instead of {expected:?}"
        );
    };
    let [hidden, last] = sums.gradient.layers.as_slice() else {
        panic!("two layers")
    };
    near(&[sums.loss], &[2.0]);
    near(last.slices()[0], &[3.0, 0.0]);
    near(last.slices()[1], &[2.0]);
    // Input by input: the weights of one input to both units stand together.
    near(hidden.slices()[0], &[1.5, 0.0, 0.75, 0.0]);
    near(hidden.slices()[1], &[1.5, 0.0]);
    // The activations that are recorded are a¹ before its mask.
    let recorded = &sums.moments[0].activations;
    near(&[recorded.min, recorded.max], &[0.25, 0.75]);
}

/// The gradient and the loss of a batch, both as sums, in one step.
fn sums_at(
    backpropagation: &mut Backpropagation<f64>,
    network: &Network<f64>,
    (x, y): (&Array2<f64>, &Array2<f64>),
) -> (Gradient<f64>, f64) {
    let sums = pass(backpropagation.at(2, 3), network, Loss::Quadratic, x, y);
    (sums.gradient.clone(), sums.loss)
}

#[test]
fn the_gradient_is_the_limit_of_its_difference_quotient_with_the_masks_held() {
    // Two chunks, dropout of the inputs, of the first and the third layer, and noise.
    let regularization = of(Dropout::Each(vec![0.3, 0.0, 0.5]), 0.2, 0.1);
    for hidden in Activation::ALL {
        let activations = [hidden, Activation::Tanh, hidden, Activation::Sigmoid];
        let mut network: Network<f64> = network(&[3, 5, 4, 6, 2], &activations, 3);
        let (x, y) = (matrix(70, 3, 4), matrix(70, 2, 5));
        let noise = Noise::new(&regularization, 3, 11);
        let mut backpropagation = Backpropagation::new(&network, 70).with(noise);
        let (gradient, _) = sums_at(&mut backpropagation, &network, (&x, &y));
        let mut crossed = 0;
        for (layer, of_layer) in gradient.layers.iter().enumerate() {
            for (at, &analytic) in of_layer.weights.indexed_iter() {
                let original = network.layers()[layer].weights[at];
                let mut moved = |step| {
                    network.layers_mut()[layer].weights[at] = original + step;
                    sums_at(&mut backpropagation, &network, (&x, &y)).1
                };
                let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                moved(0.0);
                let is_near = (numeric - analytic).abs() < 1e-6 * (1.0 + analytic.abs());
                crossed += usize::from(!is_near);
                // A step across a kink shows another slope.
                assert!(
                    is_near || !hidden.kinks().is_empty(),
                    "{hidden:?}: {analytic}, {numeric}"
                );
            }
        }
        assert!(
            crossed < 3,
            "{hidden:?}: too many steps across kinks: {crossed}"
        );
    }
}

fn results<T: Scalar>(largest: usize, before: &[(u64, u64)]) -> (Gradient<T>, f64) {
    let activations = [Activation::Relu, Activation::Softmax, Activation::Sigmoid];
    let network = network::<T>(&[7, 30, 9, 4], &activations, 1);
    let (x, y) = (matrix::<T>(150, 7, 2), matrix::<T>(150, 4, 3));
    let noise = Noise::new(&of(Dropout::Each(vec![0.5, 0.2]), 0.2, 0.1), 2, 9);
    let mut backpropagation = Backpropagation::new(&network, largest).with(noise);
    let ones = |columns| Array2::from_elem((150, columns), T::one());
    for &(epoch, step) in before {
        let mut polls = 0;
        let passed = backpropagation.at(epoch, step).run(
            &network,
            Loss::Quadratic,
            Batch::new(ones(7).view(), ones(4).view()),
            false,
            || {
                polls += 1;
                if polls > step {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        assert_eq!(passed.is_break(), step < 3);
    }
    let backpropagation = backpropagation.at(1, 2);
    let sums = pass(backpropagation, &network, Loss::Quadratic, &x, &y);
    (sums.gradient.clone(), sums.loss)
}

#[test]
fn a_step_with_dropout_has_the_same_bits_whatever_went_before_and_whatever_the_memory() {
    let expected = results::<f32>(150, &[]);
    assert_eq!(results::<f32>(5000, &[]), expected);
    assert_eq!(
        results::<f32>(150, &[(1, 1), (1, 2), (7, 3), (1, 2)]),
        expected
    );
    assert_eq!(
        results::<f64>(150, &[(4, 4)]),
        results::<f64>(300, &[(1, 0)])
    );
}

#[test]
#[should_panic(expected = "a workspace for noise is given it")]
fn a_pass_without_noise_in_a_workspace_for_it_is_a_bug() {
    let network: Network<f64> =
        network(&[4, 9, 1], &[Activation::Sigmoid, Activation::Identity], 3);
    let mut workspace = Workspace::for_rows(&network, 3).with(&noise(0.5, 0.0, 0.0, 1));
    workspace.forward(&network, Matrix::new(&[1.0; 12], 4), None, &Team::alone());
}
