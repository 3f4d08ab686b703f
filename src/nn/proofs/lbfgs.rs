//! L-BFGS comes to the minima that SciPy comes to, goes where the dense BFGS matrix points, and allocates nothing.
//!
//! `tests/fixtures/lbfgs/make_fixture.py` made the fixture and says how.

use std::convert::Infallible;
use std::ops::ControlFlow;

use allocation_counter::measure;
use ndarray::{Array1, Array2};
use serde::Deserialize;

use super::{matrix as drawn, network as drawn_network};
use crate::nn::{
    Activation, Backpropagation, Gradient, Layer, LayerRule, Lbfgs, LbfgsSpec, Loss, Network,
    Progress, Scalar,
};

const FIXTURE: &str = include_str!("../../../tests/fixtures/lbfgs/minima.json");

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    convex: bool,
    layers: Vec<Units>,
    loss: String,
    l2: f64,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    start: Vec<Parameters>,
    value: f64,
    minimum: Vec<Parameters>,
    evaluations: usize,
}

#[derive(Deserialize)]
struct Units {
    activation: String,
}

#[derive(Deserialize)]
struct Parameters {
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one width")
}

fn network(case: &Case, parameters: &[Parameters]) -> Network<f64> {
    let layers = parameters.iter().zip(&case.layers);
    let layers = layers.map(|(parameters, units)| Layer {
        weights: matrix(&parameters.weights),
        biases: Array1::from(parameters.biases.clone()),
        activation: Activation::ALL
            .into_iter()
            .find(|activation| activation.name() == units.activation)
            .expect("a known activation"),
        normalization: None,
    });
    Network::new(layers.collect()).expect("layers that fit")
}

/// A batch, and the passes over it.
struct Problem<T> {
    x: Array2<T>,
    y: Array2<T>,
    loss: Loss,
    backpropagation: Backpropagation<T>,
    passes: usize,
}

impl<T: Scalar> Problem<T> {
    fn new(network: &Network<T>, loss: Loss, x: Array2<T>, y: Array2<T>) -> Self {
        let backpropagation = Backpropagation::new(network, x.nrows());
        Self {
            x,
            y,
            loss,
            backpropagation,
            passes: 0,
        }
    }

    /// Without an allocation.
    fn pass(&mut self, network: &Network<T>) -> &crate::nn::BatchSums<T> {
        self.passes += 1;
        let (x, y) = (&self.x, &self.y);
        let go_on = || ControlFlow::<Infallible>::Continue(());
        let batch = crate::nn::Batch::new(x.view(), y.view());
        let ControlFlow::Continue(sums) = self
            .backpropagation
            .run(network, self.loss, batch, false, go_on);
        sums
    }

    fn step(&mut self, lbfgs: &mut Lbfgs<T>, network: &mut Network<T>) -> Progress {
        if !lbfgs.has_begun() {
            lbfgs.begin(network, self.pass(network));
        }
        let ControlFlow::Continue(progress) = lbfgs.step(network, |network, gradient| {
            let sums = self.pass(network);
            gradient.copy_from(&sums.gradient);
            ControlFlow::<Infallible, f64>::Continue(sums.loss)
        });
        progress
    }

    /// (1/N) Σ Cₙ + ½ λ₂ Σ w².
    fn objective(&mut self, network: &Network<T>, l2: f64) -> f64 {
        let mean = self.pass(network).mean_loss();
        let weights = network.layers().iter().flat_map(|layer| &layer.weights);
        mean + 0.5 * l2 * weights.map(|&w| w.to_f64() * w.to_f64()).sum::<f64>()
    }
}

fn batch(case: &Case, network: &Network<f64>) -> Problem<f64> {
    let loss = Loss::ALL
        .into_iter()
        .find(|loss| loss.name() == case.loss)
        .expect("a known loss");
    Problem::new(network, loss, matrix(&case.inputs), matrix(&case.targets))
}

fn fixture() -> Vec<Case> {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    fixture.cases
}

fn flat(network: &Network<f64>) -> Vec<f64> {
    let layers = network.layers().iter();
    layers
        .flat_map(|layer| layer.weights.iter().chain(&layer.biases).copied())
        .collect()
}

fn flat_of(gradient: &Gradient<f64>) -> Vec<f64> {
    let layers = gradient.layers.iter();
    layers
        .flat_map(|layer| layer.weights.iter().chain(&layer.biases).copied())
        .collect()
}

#[test]
fn the_minimum_is_the_one_that_scipy_finds() {
    for case in fixture() {
        let mut network = network(&case, &case.start);
        let mut batch = batch(&case, &network);
        let spec = LbfgsSpec {
            tolerance: 1e-9,
            ..LbfgsSpec::default()
        };
        let mut lbfgs = Lbfgs::new(spec, &network, case.l2, &[]);
        let mut last = batch.objective(&network, case.l2);
        let mut steps = 0;
        batch.passes = 0;
        while batch.step(&mut lbfgs, &mut network) == Progress::Further {
            steps += 1;
            assert!(steps < 3000, "{} has no end", case.name);
        }
        let passes = batch.passes;
        let value = batch.objective(&network, case.l2);
        assert!(value < last, "{}", case.name);
        last = value;
        assert!(
            last <= case.value * (1.0 + 1e-8) + 1e-8,
            "{}: {last} where SciPy has {}",
            case.name,
            case.value
        );
        // Not many more evaluations than SciPy's.
        assert!(
            passes <= 2 * case.evaluations + 40,
            "{}: {passes} evaluations where SciPy has {}",
            case.name,
            case.evaluations
        );
        if case.convex {
            assert!((last / case.value - 1.0).abs() < 1e-8, "{}", case.name);
            let minimum = self::network(&case, &case.minimum);
            for (found, expected) in flat(&network).into_iter().zip(flat(&minimum)) {
                assert!((found - expected).abs() < 1e-5, "{}", case.name);
            }
        }
    }
}

/// One weight of −H g by the dense matrix: H ← (1 − ρ s yᵀ) H (1 − ρ y sᵀ) + ρ s sᵀ from H₀ = s·y / y·y of the last pair.
///
/// Source: Nocedal and Wright (2006), equation 7.16.
fn dense_direction(pairs: &[(Vec<f64>, Vec<f64>)], g: &[f64]) -> Vec<f64> {
    let n = g.len();
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (s, y) = pairs.last().expect("a pair");
    let mut h = Array2::eye(n) * (dot(s, y) / dot(y, y));
    for (s, y) in pairs {
        let rho = 1.0 / dot(s, y);
        let (s, y) = (
            Array2::from_shape_vec((n, 1), s.clone()).expect("a column"),
            Array2::from_shape_vec((n, 1), y.clone()).expect("a column"),
        );
        let v = Array2::eye(n) - rho * y.dot(&s.t());
        h = v.t().dot(&h).dot(&v) + rho * s.dot(&s.t());
    }
    (-h.dot(&Array1::from(g.to_vec()))).to_vec()
}

#[test]
fn a_step_goes_where_the_dense_matrix_points() {
    for history_size in [2, 3, 50] {
        for case in fixture() {
            let mut network = network(&case, &case.start);
            let mut batch = batch(&case, &network);
            let spec = LbfgsSpec {
                history_size,
                ..LbfgsSpec::default()
            };
            let mut lbfgs = Lbfgs::new(spec, &network, case.l2, &[]);
            let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
            for _ in 0..7 {
                let (before, g) = (flat(&network), gradient(&case, &mut batch, &network));
                batch.step(&mut lbfgs, &mut network);
                let after = flat(&network);
                let s: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                let expected = if pairs.is_empty() {
                    g.iter().map(|g| -g).collect()
                } else {
                    let first = pairs.len().saturating_sub(history_size as usize);
                    dense_direction(&pairs[first..], &g)
                };
                let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
                let (length, expected_length) = (norm(&s), norm(&expected));
                for (s, expected) in s.iter().zip(&expected) {
                    let error = (s / length - expected / expected_length).abs();
                    assert!(error < 1e-7, "{}, {history_size}: {error}", case.name);
                }
                let slots = &lbfgs.state().slots;
                let place = pairs.len() % history_size as usize;
                let (of_s, of_y) = (&slots[2 * place], &slots[2 * place + 1]);
                for (found, s) in flat_of(of_s).iter().zip(&s) {
                    assert!((found - s).abs() < 1e-14 * (1.0 + s.abs()));
                }
                pairs.push((flat_of(of_s), flat_of(of_y)));
                assert_eq!(lbfgs.state().pairs, pairs.len() as u64);
            }
        }
    }
}

/// ∇f, with the penalty in it.
fn gradient(case: &Case, batch: &mut Problem<f64>, network: &Network<f64>) -> Vec<f64> {
    let sums = batch.pass(network);
    let samples = sums.samples as f64;
    let mut of = sums.gradient.clone();
    for (g, layer) in of.layers.iter_mut().zip(network.layers()) {
        g.weights = &g.weights / samples + case.l2 * &layer.weights;
        g.biases = &g.biases / samples;
    }
    flat_of(&of)
}

#[test]
fn a_frozen_layer_stays_where_it_is_and_the_other_comes_to_its_minimum() {
    let cases = fixture();
    let case = cases.iter().find(|case| case.name == "wave").expect("wave");
    let mut network = network(case, &case.start);
    let mut batch = batch(case, &network);
    let frozen = LayerRule {
        frozen: true,
        ..LayerRule::default()
    };
    let rules = [frozen, LayerRule::default()];
    let mut lbfgs = Lbfgs::new(LbfgsSpec::default(), &network, case.l2, &rules);
    let mut steps = 0;
    while batch.step(&mut lbfgs, &mut network) == Progress::Further {
        steps += 1;
    }
    // What is left is linear regression of seven parameters.
    assert!(steps < 60, "{steps}");
    let start = self::network(case, &case.start);
    assert_eq!(network.layers()[0], start.layers()[0]);
    let g = gradient(case, &mut batch, &network);
    assert!(g[12..].iter().all(|g| g.abs() <= 1e-5), "{g:?}");
}

#[test]
fn at_a_minimum_no_step_is_taken_and_nothing_finite_is_told() {
    let cases = fixture();
    let case = &cases[0];
    let mut network = network(case, &case.minimum);
    let mut batch = batch(case, &network);
    let mut lbfgs = Lbfgs::new(LbfgsSpec::default(), &network, case.l2, &[]);
    assert_eq!(batch.step(&mut lbfgs, &mut network), Progress::Converged);
    assert_eq!(network, self::network(case, &case.minimum));
    assert_eq!(batch.passes, 1);
    // As exact as float64 can be: the search finds nothing lower, and says so instead of searching for ever.
    let spec = LbfgsSpec {
        tolerance: 0.0,
        ..LbfgsSpec::default()
    };
    let mut lbfgs = Lbfgs::new(spec, &network, case.l2, &[]);
    let steps = (0..20).find(|_| batch.step(&mut lbfgs, &mut network) == Progress::Converged);
    assert!(steps.is_some());
    network.layers_mut()[0].biases[0] = f64::NAN;
    let mut lbfgs = Lbfgs::new(spec, &network, case.l2, &[]);
    assert_eq!(batch.step(&mut lbfgs, &mut network), Progress::NotFinite);
}

#[test]
fn a_step_that_is_broken_off_leaves_everything_as_it_was() {
    let cases = fixture();
    let case = cases.iter().find(|case| case.name == "xor").expect("xor");
    let mut network = network(case, &case.start);
    let mut batch = batch(case, &network);
    let mut lbfgs = Lbfgs::new(LbfgsSpec::default(), &network, case.l2, &[]);
    for _ in 0..6 {
        let (before, state) = (network.clone(), lbfgs.state().clone());
        if !lbfgs.has_begun() {
            lbfgs.begin(&network, batch.pass(&network));
        }
        let broken = lbfgs.step(&mut network, |_, _| ControlFlow::Break("stop"));
        assert_eq!(broken, ControlFlow::Break("stop"));
        assert_eq!((&network, lbfgs.state()), (&before, &state));
        // One that goes on from the same memory takes the same step.
        let mut other = Lbfgs::new(LbfgsSpec::default(), &network, case.l2, &[]);
        assert!(other.restore(state));
        let mut another = before;
        assert_eq!(
            batch.step(&mut other, &mut another),
            batch.step(&mut lbfgs, &mut network)
        );
        assert_eq!((&another, other.state()), (&network, lbfgs.state()));
    }
}

fn allocations<T: Scalar>() -> u64 {
    let activations = [Activation::Tanh, Activation::Sigmoid];
    let mut network = drawn_network::<T>(&[5, 9, 2], &activations, 1);
    let (x, y) = (drawn::<T>(300, 5, 2), drawn::<T>(300, 2, 3));
    let mut batch = Problem::new(&network, Loss::Quadratic, x, y);
    let spec = LbfgsSpec {
        history_size: 3,
        tolerance: 0.0,
        ..LbfgsSpec::default()
    };
    let mut lbfgs = Lbfgs::new(spec, &network, 0.1, &[]);
    batch.step(&mut lbfgs, &mut network);
    let counted = measure(|| {
        for _ in 0..12 {
            batch.step(&mut lbfgs, &mut network);
        }
    });
    assert!(lbfgs.state().pairs > 3);
    counted.count_total
}

#[test]
fn steps_of_lbfgs_allocate_nothing() {
    assert_eq!(allocations::<f32>(), 0);
    assert_eq!(allocations::<f64>(), 0);
}

/// A network of one weight and one bias, and L-BFGS at it with f and ∇f as given.
fn one_weight<T: Scalar>(history_size: u64) -> (Network<T>, Lbfgs<T>) {
    let layer = Layer {
        weights: Array2::ones((1, 1)),
        biases: Array1::zeros(1),
        activation: Activation::Identity,
        normalization: None,
    };
    let network = Network::new(vec![layer]).expect("one layer");
    let spec = LbfgsSpec {
        history_size,
        max_evaluations: 1,
        tolerance: 0.0,
        ..LbfgsSpec::default()
    };
    let lbfgs = Lbfgs::new(spec, &network, 0.0, &[]);
    (network, lbfgs)
}

/// A step on f of the weight alone, which `of` gives with its slope.
fn step_on<T: Scalar>(
    lbfgs: &mut Lbfgs<T>,
    network: &mut Network<T>,
    of: impl Fn(f64) -> (f64, f64),
) -> Progress {
    let at = |network: &Network<T>, gradient: &mut Gradient<T>| {
        let (value, slope) = of(network.layers()[0].weights[[0, 0]].to_f64());
        gradient.layers[0].weights[[0, 0]] = T::from_f64(slope);
        value
    };
    let mut sums = crate::nn::BatchSums::zeros(network);
    (sums.samples, sums.weight) = (1, 1.0);
    sums.loss = at(network, &mut sums.gradient);
    lbfgs.begin(network, &sums);
    let step = lbfgs.step(network, |network, gradient| {
        ControlFlow::<Infallible, f64>::Continue(at(network, gradient))
    });
    let ControlFlow::Continue(progress) = step;
    progress
}

#[test]
fn a_step_that_bends_the_wrong_way_leaves_what_is_remembered_as_it_was() {
    for history_size in [1, 2] {
        let (mut network, mut lbfgs) = one_weight::<f64>(history_size);
        for _ in 0..history_size {
            step_on(&mut lbfgs, &mut network, |w| (0.05 * w * w, 0.1 * w));
        }
        let before = lbfgs.state().clone();
        assert_eq!(before.pairs, history_size);
        // −w⁴ bends down everywhere: its slope becomes steeper on the way, and s·y is below 0.
        let shifted = |w: f64| (-(w + 9.0).powi(4), -4.0 * (w + 9.0).powi(3));
        assert_eq!(
            step_on(&mut lbfgs, &mut network, shifted),
            Progress::Further
        );
        let after = lbfgs.state();
        assert_eq!((after.pairs, &after.slots), (before.pairs, &before.slots));
    }
}

#[test]
fn what_is_remembered_does_not_depend_on_the_scale_of_the_numbers() {
    // From 1, a step of less than 10⁻⁷ would be none in float32.
    for scale in [1e-3, 1.0, 1e4, 1e8, 1e12] {
        let (mut network, mut lbfgs) = one_weight::<f32>(3);
        step_on(&mut lbfgs, &mut network, |w| {
            (0.5 * scale * w * w, scale * w)
        });
        assert_eq!(lbfgs.state().pairs, 1, "{scale}");
    }
}
