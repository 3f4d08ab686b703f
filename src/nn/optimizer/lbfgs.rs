//! L-BFGS: a quasi-Newton method for whole batches, which remembers the last steps and what they did to the gradient.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::nn::optimizer::line_search::{Found, search};
use crate::nn::optimizer::update::rule_of;
use crate::nn::optimizer::{LayerRule, OptimizerState, learning_rate};
use crate::nn::{BatchSums, Gradient, Hyperparameter, LayerGradient, Network, Range, Scalar};

/// `{"type":"lbfgs"}` with its hyperparameters.
///
/// Makes f = Σₙ wₙ Cₙ / Σₙ wₙ + ½ λ₂ Σ w² small. One step, which is one epoch, goes from x to x + α d, with d = −H ∇f(x); H is the
/// inverse of f's second derivatives as far as the last `history_size` pairs s = xₖ₊₁ − xₖ and y = ∇fₖ₊₁ − ∇fₖ tell of it;
/// α fulfils the strong Wolfe conditions. Without a pair yet, H = 1, and the first α that is tried is η·min(1, 1/Σ|∇f|).
///
/// Source: Nocedal and Wright (2006), algorithms 7.4 and 7.5, with H₀ of equation 7.20, and 3.5 and 3.6. η, the first α, is 1
/// there, and `history_size` is 3 to 20; 10 is the default of SciPy and scikit-learn, as is that of `tolerance` of SciPy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbfgsSpec {
    /// η.
    pub learning_rate: f64,
    /// m, the most pairs that are remembered.
    pub history_size: u64,
    /// How many α a step tries at most; where none fulfils both conditions, the best of them is taken.
    pub max_evaluations: u64,
    /// The largest entry of ∇f at which the run is done.
    pub tolerance: f64,
}

impl Default for LbfgsSpec {
    fn default() -> Self {
        Self {
            learning_rate: 1.0,
            history_size: 10,
            max_evaluations: 25,
            tolerance: 1e-5,
        }
    }
}

impl LbfgsSpec {
    pub(super) fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![
            learning_rate(self.learning_rate),
            Hyperparameter::whole(
                "history_size",
                self.history_size,
                Range::closed(1.0, MOST_PAIRS as f64),
                "m, the most steps that are remembered",
            ),
            Hyperparameter::whole(
                "max_evaluations",
                self.max_evaluations,
                Range::closed(1.0, 1000.0),
                "the most lengths of a step that are tried",
            ),
            Hyperparameter::number(
                "tolerance",
                self.tolerance,
                Range::closed(0.0, 1.0),
                "the largest entry of the gradient at which the job is done",
            ),
        ]
    }

    /// Numbers of each parameter that it remembers: s and y of every pair.
    pub(super) fn slots(&self) -> usize {
        2 * self.history_size as usize
    }
}

/// The most pairs that may be asked for.
const MOST_PAIRS: usize = 100;
/// The most slots that the state of any optimizer has.
pub const MOST_STATE_SLOTS: usize = 2 * MOST_PAIRS;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to gain.
    Further,
    /// The gradient is within the tolerance, or the numbers are not fine enough for a better point.
    Converged,
    /// The gradient, or f at every point that was tried, is NaN or infinite.
    NotFinite,
}

/// L-BFGS at work.
#[derive(Clone, Debug)]
pub struct Lbfgs<T> {
    spec: LbfgsSpec,
    /// λ₂.
    l2: f64,
    /// One for each layer, then one for each embedding.
    frozen: Vec<bool>,
    /// Slots s, y of the pairs, each in the place of the oldest.
    state: OptimizerState<T>,
    /// f(x), where it is known.
    value: Option<f64>,
    /// Σ w, N where there are no weights.
    weight: f64,
    /// x, d, ∇f(x) and ∇f(x + α d); 0 in layers that are frozen, but for x.
    point: Gradient<T>,
    direction: Gradient<T>,
    gradient: Gradient<T>,
    trial: Gradient<T>,
    /// aᵢ of algorithm 7.4.
    shares: Vec<f64>,
}

impl<T: Scalar> Lbfgs<T> {
    /// L-BFGS before its first step, with λ₂ and a rule for each layer, or none.
    pub fn new(spec: LbfgsSpec, network: &Network<T>, l2: f64, layers: &[LayerRule]) -> Self {
        let zeros = || Gradient::zeros(network);
        let depth = network.layers().len();
        Self {
            spec,
            l2,
            frozen: (0..network.parts().len())
                .map(|part| rule_of(layers, part, depth).frozen)
                .collect(),
            state: OptimizerState::new(spec.slots(), network),
            value: None,
            weight: 0.0,
            point: zeros(),
            direction: zeros(),
            gradient: zeros(),
            trial: zeros(),
            shares: vec![0.0; spec.history_size as usize],
        }
    }

    /// What it remembers.
    pub fn state(&self) -> &OptimizerState<T> {
        &self.state
    }

    /// Goes on from what it remembered, as [`crate::nn::Optimizer::restore`].
    #[must_use]
    pub fn restore(&mut self, state: OptimizerState<T>) -> bool {
        self.value = None;
        self.state.replace(state)
    }

    /// Whether f and its gradient at the network's parameters are known: after a step that went on.
    pub fn has_begun(&self) -> bool {
        self.value.is_some()
    }

    /// Takes the sums of a pass at the network's parameters.
    pub fn begin(&mut self, network: &Network<T>, sums: &BatchSums<T>) {
        self.weight = sums.weight;
        self.trial.copy_from(&sums.gradient);
        self.value = Some(self.complete(network, sums.loss));
        std::mem::swap(&mut self.gradient, &mut self.trial);
    }

    /// One step from the network's parameters. Allocates nothing.
    ///
    /// `evaluate` gives Σₙ Cₙ of a network and puts Σₙ ∇Cₙ where it is told; the last network that it was given is the one
    /// that the step ends at. Its `Break` ends the step with everything as it was.
    ///
    /// Panics: where f is not known: `begin` comes first, the caller's bug.
    pub fn step<B>(
        &mut self,
        network: &mut Network<T>,
        mut evaluate: impl FnMut(&Network<T>, &mut Gradient<T>) -> ControlFlow<B, f64>,
    ) -> ControlFlow<B, Progress> {
        let value = self.value.expect("a step begins where f is known");
        let largest = largest_entry(&self.gradient);
        if !largest.is_finite() || !value.is_finite() {
            return ControlFlow::Continue(Progress::NotFinite);
        }
        if largest <= self.spec.tolerance {
            return ControlFlow::Continue(Progress::Converged);
        }
        let mut pairs = self.state.pairs;
        let mut slope = self.aim(pairs);
        if slope >= 0.0 || !slope.is_finite() {
            // Rounding has spoiled the memory: −∇f always leads down.
            pairs = 0;
            slope = self.aim(pairs);
        }
        copy_parameters(&mut self.point, network);
        let found = self.search((value, slope), pairs, network, &mut evaluate);
        if !matches!(found, ControlFlow::Continue(Ok(_))) {
            self.go_back(network);
        }
        self.state.steps += u64::from(found.is_continue());
        let (step, reached) = match found? {
            Ok(found) => found,
            Err(finite) => {
                self.state.pairs = 0;
                self.value = None;
                return ControlFlow::Continue(match (pairs, finite) {
                    (0, true) => Progress::Converged,
                    (0, false) => Progress::NotFinite,
                    (1.., _) => Progress::Further,
                });
            }
        };
        self.state.pairs = pairs;
        self.remember(step);
        std::mem::swap(&mut self.gradient, &mut self.trial);
        self.value = Some(reached);
        let gain = (value - reached) / value.abs().max(reached.abs());
        let is_done = largest_entry(&self.gradient) <= self.spec.tolerance
            || gain.is_nan()
            || gain <= T::epsilon().to_f64();
        ControlFlow::Continue(if is_done {
            Progress::Converged
        } else {
            Progress::Further
        })
    }

    /// The step along d, with f where it leads to, and ∇f there in `trial`; or whether any f that was tried was finite.
    fn search<B>(
        &mut self,
        (value, slope): (f64, f64),
        pairs: u64,
        network: &mut Network<T>,
        evaluate: &mut impl FnMut(&Network<T>, &mut Gradient<T>) -> ControlFlow<B, f64>,
    ) -> ControlFlow<B, Result<(f64, f64), bool>> {
        let LbfgsSpec {
            learning_rate: rate,
            max_evaluations: most,
            ..
        } = self.spec;
        let first = match pairs {
            0 => rate * (1.0 / sum_of_sizes(&self.gradient)).min(1.0),
            1.. => rate,
        };
        let found = search((value, slope), first, most as usize, |step| {
            self.attempt(step, network, evaluate)
        })?;
        ControlFlow::Continue(match found {
            Found::Last(trial) => Ok((trial.step, trial.value)),
            Found::Earlier(trial) => {
                let (value, _) = self.attempt(trial.step, network, evaluate)?;
                Ok((trial.step, value))
            }
            Found::Nothing { finite } => Err(finite),
        })
    }

    /// f and its slope along d at x + α d, where the network is left.
    fn attempt<B>(
        &mut self,
        step: f64,
        network: &mut Network<T>,
        evaluate: &mut impl FnMut(&Network<T>, &mut Gradient<T>) -> ControlFlow<B, f64>,
    ) -> ControlFlow<B, (f64, f64)> {
        self.go(step, network);
        let loss = evaluate(network, &mut self.trial)?;
        let value = if network.is_finite() {
            self.complete(network, loss)
        } else {
            f64::INFINITY
        };
        ControlFlow::Continue((value, dot(&self.trial, &self.direction)))
    }

    /// Makes ∇f of the sums in `trial`, at the network's parameters; f.
    fn complete(&mut self, network: &Network<T>, loss: f64) -> f64 {
        let scale = T::from_f64(1.0 / self.weight);
        let l2 = T::from_f64(self.l2);
        let mut squares = 0.0;
        let layers = self.trial.layers.iter_mut().zip(network.parts());
        for ((gradient, layer), &frozen) in layers.zip(&self.frozen) {
            let [weights, biases, scales] = gradient.slices_mut();
            if frozen {
                for part in [weights, biases, scales] {
                    part.fill(T::zero());
                }
                continue;
            }
            for (g, &w) in weights.iter_mut().zip(layer.weights_slice()) {
                *g = *g * scale + l2 * w;
            }
            for g in biases.iter_mut().chain(scales) {
                *g *= scale;
            }
            if self.l2 > 0.0 {
                squares += dot_slices(layer.weights_slice(), layer.weights_slice());
            }
        }
        loss / self.weight + 0.5 * self.l2 * squares
    }

    /// Puts the network at x + α d.
    fn go(&self, step: f64, network: &mut Network<T>) {
        let step = T::from_f64(step);
        let layers = self.point.layers.iter().zip(&self.direction.layers);
        let layers = layers.zip(network.parts_mut()).zip(&self.frozen);
        for (((point, direction), layer), _) in layers.filter(|(_, frozen)| !**frozen) {
            let [of_weights, of_biases, of_scales] = point.slices();
            let [along_weights, along_biases, along_scales] = direction.slices();
            let (weights, biases) = layer.slices_mut();
            advance(weights, of_weights, along_weights, step);
            advance(biases, of_biases, along_biases, step);
            advance(layer.scales_mut(), of_scales, along_scales, step);
        }
    }

    /// Puts the network at x, to the last bit.
    fn go_back(&self, network: &mut Network<T>) {
        for (point, layer) in self.point.layers.iter().zip(network.parts_mut()) {
            let [of_weights, of_biases, of_scales] = point.slices();
            let (weights, biases) = layer.slices_mut();
            weights.copy_from_slice(of_weights);
            biases.copy_from_slice(of_biases);
            layer.scales_mut().copy_from_slice(of_scales);
        }
    }

    /// d = −H ∇f by the last pairs of so many that were ever remembered; its slope, ∇f·d.
    ///
    /// Source: Nocedal and Wright (2006), algorithm 7.4, with H₀ = s·y / y·y of the last pair, equation 7.20.
    fn aim(&mut self, pairs: u64) -> f64 {
        let Self {
            state,
            direction,
            gradient,
            shares,
            ..
        } = self;
        direction.copy_from(gradient);
        let most = shares.len() as u64;
        let held = pairs.saturating_sub(most)..pairs;
        let place = |pair: u64| (pair % most) as usize;
        let mut scale = -1.0;
        for pair in held.clone().rev() {
            let (s, y) = state.pair(place(pair));
            let s_y = dot(s, y);
            if pair + 1 == pairs {
                scale = -s_y / dot(y, y);
            }
            let share = dot(s, direction) / s_y;
            shares[place(pair)] = share;
            add(direction, -share, y);
        }
        for layer in &mut direction.layers {
            for d in layer.slices_mut().into_iter().flatten() {
                *d *= T::from_f64(scale);
            }
        }
        for pair in held {
            let (s, y) = state.pair(place(pair));
            // d is −r of the source.
            let back = -dot(y, direction) / dot(s, y);
            add(direction, back - shares[place(pair)], s);
        }
        dot(gradient, direction)
    }

    /// Remembers s = α d and y, what it did to the gradient, unless s·y is not above 0, or so small beside |s| |y| that rounding
    /// may have made it. What is remembered already stays where it is until then.
    fn remember(&mut self, step: f64) {
        let (mut s_y, mut s_s, mut y_y) = (0.0, 0.0, 0.0);
        let gradients = entries(&self.trial).zip(entries(&self.gradient));
        for (d, (after, before)) in entries(&self.direction).zip(gradients) {
            let (s, y) = (step * d, after - before);
            s_y += s * y;
            s_s += s * s;
            y_y += y * y;
        }
        let is_curved = s_y > T::epsilon().to_f64() * s_s.sqrt() * y_y.sqrt();
        if !is_curved {
            return;
        }
        let place = (self.state.pairs % self.shares.len() as u64) as usize;
        let [s, y] = &mut self.state.slots[2 * place..][..2] else {
            unreachable!("two slots for each pair")
        };
        s.copy_from(&self.direction);
        for layer in &mut s.layers {
            for s in layer.slices_mut().into_iter().flatten() {
                *s *= T::from_f64(step);
            }
        }
        y.copy_from(&self.trial);
        add(y, -1.0, &self.gradient);
        // Rounded to the numbers of the network, their product may have come to 0 yet: there is then nothing to divide by.
        self.state.pairs = if dot(s, y) > 0.0 {
            self.state.pairs + 1
        } else {
            0
        };
    }
}

impl<T> OptimizerState<T> {
    /// s and y of a pair.
    fn pair(&self, place: usize) -> (&Gradient<T>, &Gradient<T>) {
        (&self.slots[2 * place], &self.slots[2 * place + 1])
    }
}

/// Weights, biases and scales of every layer of both, side by side.
fn slices<'a, T: Scalar>(
    a: &'a Gradient<T>,
    b: &'a Gradient<T>,
) -> impl Iterator<Item = (&'a [T], &'a [T])> {
    let layers = a.layers.iter().zip(&b.layers);
    layers.flat_map(|(a, b)| a.slices().into_iter().zip(b.slices()))
}

fn entries<T: Scalar>(a: &Gradient<T>) -> impl Iterator<Item = f64> {
    let layers = a.layers.iter().map(LayerGradient::slices);
    layers.flatten().flatten().map(|&value| value.to_f64())
}

/// Σ a b.
fn dot<T: Scalar>(a: &Gradient<T>, b: &Gradient<T>) -> f64 {
    slices(a, b).map(|(a, b)| dot_slices(a, b)).sum()
}

/// Σ a b in f64: eight sums side by side, then one after the other.
fn dot_slices<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.to_f64() * b.to_f64();
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum += a.to_f64() * b.to_f64();
    }
    sums.iter().sum()
}

/// max |a|; NaN where an entry is.
fn largest_entry<T: Scalar>(a: &Gradient<T>) -> f64 {
    entries(a).fold(0.0, |most, value| {
        let size = value.abs();
        if size > most || size.is_nan() {
            size
        } else {
            most
        }
    })
}

/// Σ |a|.
fn sum_of_sizes<T: Scalar>(a: &Gradient<T>) -> f64 {
    entries(a).map(f64::abs).sum()
}

/// a ← a + c b.
fn add<T: Scalar>(a: &mut Gradient<T>, c: f64, b: &Gradient<T>) {
    let c = T::from_f64(c);
    for (a, b) in a.layers.iter_mut().zip(&b.layers) {
        for (a, b) in a.slices_mut().into_iter().zip(b.slices()) {
            for (a, &b) in a.iter_mut().zip(b) {
                *a += c * b;
            }
        }
    }
}

/// x + α d.
fn advance<T: Scalar>(parameters: &mut [T], x: &[T], d: &[T], step: T) {
    for ((p, &x), &d) in parameters.iter_mut().zip(x).zip(d) {
        *p = x + step * d;
    }
}

fn copy_parameters<T: Scalar>(into: &mut Gradient<T>, from: &Network<T>) {
    for (into, from) in into.layers.iter_mut().zip(from.parts()) {
        into.weights.assign(&from.weights);
        into.biases.assign(&from.biases);
        if let Some(normalized) = &from.normalization {
            into.scales.assign(&normalized.scales);
        }
    }
}
