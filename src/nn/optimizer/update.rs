//! An optimizer at work: what it remembers, and the update of a network by the gradient of a batch.

use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::nn::hyperparameter::violations;
use crate::nn::kernel::{Matrix, is_far_apart};
use crate::nn::network::by_column;
use crate::nn::optimizer::OptimizerSpec;
use crate::nn::optimizer::rules::{MOST_SLOTS, Rule, nadam_momentum, powers};
use crate::nn::regularization::Regularized;
use crate::nn::{
    BatchSums, Gradient, Hyperparameter, Network, Range, Regularization, Scalar, Team, Workspace,
};

/// What is particular to a layer in an update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerRule {
    /// Times η in this layer.
    pub learning_rate_multiplier: f64,
    /// Whether the layer's parameters stay as they are.
    pub frozen: bool,
}

impl LayerRule {
    /// Both parts, as they are set, with their range.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let multiplier = Hyperparameter::number(
            "learning_rate_multiplier",
            self.learning_rate_multiplier,
            Range::closed(0.0, 1e6),
            "times the learning rate in this layer",
        );
        let meaning = "whether the layer's parameters stay as they are";
        vec![
            multiplier,
            Hyperparameter::flag("frozen", self.frozen, meaning),
        ]
    }

    /// What is wrong with it: names and details.
    pub fn violations(&self) -> Vec<(&'static str, String)> {
        violations(self.hyperparameters())
    }
}

impl Default for LayerRule {
    fn default() -> Self {
        Self {
            learning_rate_multiplier: 1.0,
            frozen: false,
        }
    }
}

/// What an optimizer remembers between steps: plain data, with which it goes on to the same bits.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState<T> {
    /// t, the steps taken.
    pub steps: u64,
    /// Πₜ of Nadam; 1 of others.
    pub momentum_product: f64,
    /// Pairs that L-BFGS has come to remember, those that it has forgotten again counted; 0 of others.
    pub pairs: u64,
    /// Numbers of each parameter, in the shapes of the network and in its order in memory: as many as the optimizer needs.
    pub slots: Vec<Gradient<T>>,
}

impl<T: Scalar> OptimizerState<T> {
    /// What is remembered before the first step.
    pub(super) fn new(slots: usize, network: &Network<T>) -> Self {
        Self {
            steps: 0,
            momentum_product: 1.0,
            pairs: 0,
            slots: (0..slots).map(|_| Gradient::zeros(network)).collect(),
        }
    }

    /// Becomes another of the same shapes, whose weights may be in any order in memory; false, with nothing changed, where it
    /// has other shapes.
    pub(super) fn replace(&mut self, mut state: Self) -> bool {
        let shapes = |slots: &[Gradient<T>]| -> Vec<[usize; 3]> {
            let layers = slots.iter().flat_map(|slot| &slot.layers);
            layers.map(|layer| layer.slices().map(<[T]>::len)).collect()
        };
        let same =
            state.slots.len() == self.slots.len() && shapes(&state.slots) == shapes(&self.slots);
        if same {
            for layer in state.slots.iter_mut().flat_map(|slot| &mut slot.layers) {
                layer.weights = by_column(std::mem::take(&mut layer.weights));
            }
            *self = state;
        }
        same
    }
}

/// An optimizer at work.
#[derive(Clone, Debug)]
pub struct Optimizer<T> {
    spec: OptimizerSpec,
    regularization: Regularization,
    /// One for each layer, then one for each embedding.
    layers: Vec<LayerRule>,
    /// How many of them are those of layers.
    depth: usize,
    state: OptimizerState<T>,
    /// Of the step that has begun.
    powers: [f64; 2],
}

impl<T: Scalar> Optimizer<T> {
    /// An optimizer before its first step, without regularization.
    pub fn new(spec: OptimizerSpec, network: &Network<T>) -> Self {
        Self {
            spec,
            regularization: Regularization::default(),
            layers: vec![LayerRule::default(); network.parts().len()],
            depth: network.layers().len(),
            state: OptimizerState::new(spec.slots(), network),
            powers: [0.0; 2],
        }
    }

    /// The same with regularization, and with a rule for each layer.
    ///
    /// Panics: where there are rules, but not one for each layer, the caller's bug.
    #[must_use]
    pub fn with(mut self, regularization: Regularization, layers: &[LayerRule]) -> Self {
        self.regularization = regularization;
        let depth = self.depth;
        assert!(
            layers.is_empty() || layers.len() == depth,
            "a rule for each layer"
        );
        for (part, rule) in self.layers.iter_mut().enumerate() {
            *rule = rule_of(layers, part, depth);
        }
        self
    }

    /// What it remembers.
    pub fn state(&self) -> &OptimizerState<T> {
        &self.state
    }

    /// Goes on from what an optimizer of the same spec and network remembered. False, with nothing changed, where this
    /// is of other shapes.
    #[must_use]
    pub fn restore(&mut self, state: OptimizerState<T>) -> bool {
        self.state.replace(state)
    }

    /// One step by the gradient Σₙ wₙ ∂Cₙ/∂p / Σₙ wₙ, with the learning rate times `factor`. False where any parameter has
    /// become NaN or infinite. Allocates nothing.
    ///
    /// Source: Arango, p ← p − η∇C; others at their variants. Panics: where `sums` is of a network of other shapes or of
    /// samples that weigh nothing, or the optimizer is L-BFGS, which is [`crate::nn::Lbfgs`], the caller's bug.
    #[must_use]
    pub fn update(&mut self, network: &mut Network<T>, sums: &BatchSums<T>, factor: f64) -> bool {
        self.begin(sums.weight);
        let mut regularized = Regularized::new(&self.regularization, sums.weight);
        let rules = &self.layers;
        regularized.clip_norm(network, &sums.gradient, |layer| rules[layer].frozen);
        let mut finite = true;
        let depth = self.depth;
        for (index, layer) in network.parts_mut().iter_mut().enumerate() {
            let Some((rule, slots)) = self.of_layer(index, sums.weight, factor) else {
                continue;
            };
            let [of_weights, of_biases, of_scales] = slots;
            let (weights, biases) = layer.slices_mut();
            let [weight_sums, bias_sums, scale_sums] = sums.gradient.layers[index].slices();
            assert_eq!(weights.len(), weight_sums.len(), "a gradient of the shapes");
            finite &= regularized.step_weights(rule, weights, weight_sums, of_weights);
            finite &= regularized.step_biases(rule, biases, bias_sums, of_biases);
            finite &= regularized.step_biases(rule, layer.scales_mut(), scale_sums, of_scales);
            if index < depth {
                self.regularization.limit_norms(layer);
            } else {
                self.regularization.limit_vectors(layer);
            }
        }
        finite
    }

    /// Whether a parameter moves by its own entry of the gradient alone, so that it can before the others are known.
    pub(crate) fn moves_in_passing(&self) -> bool {
        self.regularization.clip_norm.is_none()
    }

    /// [`Optimizer::update`] by the gradient of the samples x that the workspace has made its passes over, which is computed
    /// part by part, each just before it is used. That of weights is not kept where it need not be.
    ///
    /// Panics: as `update`, and where the parameters do not move in passing.
    pub(crate) fn update_in_passing(
        &mut self,
        network: &mut Network<T>,
        gradient: &mut Gradient<T>,
        (weight, factor): (f64, f64),
        (workspace, x): (&mut Workspace<T>, Matrix<'_, T>),
        (team, keep): (&Team, bool),
    ) -> bool {
        assert!(self.moves_in_passing(), "parts that do not wait for others");
        self.begin(weight);
        let regularized = Regularized::new(&self.regularization, weight);
        let not_finite = AtomicBool::new(false);
        for (index, layer) in network.layers_mut().iter_mut().enumerate() {
            let [weight_sums, bias_sums, scale_sums] = gradient.layers[index].slices_mut();
            workspace.bias_gradient(index, x.len(), (&mut *bias_sums, &mut *scale_sums), team);
            workspace.lay_out_deltas(index, x.len(), team);
            let workspace = &*workspace;
            let (inputs, units) = (layer.inputs(), layer.units());
            let work = x.len().saturating_mul(inputs).saturating_mul(units);
            let Some((rule, slots)) = self.of_layer(index, weight, factor) else {
                if keep {
                    let sums = [(weight_sums, units)];
                    team.split(inputs, INPUTS_TOGETHER, work, sums, |inputs, [sums]| {
                        workspace.weight_gradient(index, x, Some(inputs), sums);
                    });
                }
                continue;
            };
            let [[s0, s1, s2], slots_of_biases, slots_of_scales] = slots;
            let (weights, biases) = layer.slices_mut();
            let mut finite = regularized.step_biases(rule, biases, bias_sums, slots_of_biases);
            let width = |slot: &[T]| if slot.is_empty() { 0 } else { units };
            let widths = [width(s0), width(s1), width(s2)];
            let arrays = [
                (weights, units),
                (weight_sums, units),
                (s0, widths[0]),
                (s1, widths[1]),
                (s2, widths[2]),
            ];
            let at_once = inputs_at_once::<T>(units);
            let at_rate = regularized.rate_of_sums(rule).filter(|_| !keep);
            team.split(inputs, INPUTS_TOGETHER, work, arrays, |inputs, arrays| {
                let [weights, sums, slots @ ..] = arrays;
                if let Some(rate) = at_rate {
                    if !workspace.descend(index, x, inputs, (weights, rate)) {
                        not_finite.store(true, Ordering::Relaxed);
                    }
                    return;
                }
                let mut slots = slots;
                let mut first = inputs.start;
                let (mut weights, mut sums) = (weights, sums);
                while first < inputs.end {
                    let count = at_once.min(inputs.end - first);
                    let len = count * units;
                    let (now, rest) = weights.split_at_mut(len);
                    weights = rest;
                    let (sums_now, rest) = sums.split_at_mut(len);
                    sums = rest;
                    let mut widths = widths.iter();
                    let slots_now = slots.each_mut().map(|slot| {
                        let width = widths.next().copied().unwrap_or_default();
                        let (now, rest) = take(slot).split_at_mut(count * width);
                        *slot = rest;
                        now
                    });
                    let now_inputs = Some(first..first + count);
                    workspace.weight_gradient(index, x, now_inputs, sums_now);
                    if !regularized.step_weights(rule, now, sums_now, slots_now) {
                        not_finite.store(true, Ordering::Relaxed);
                    }
                    first += count;
                }
            });
            finite &=
                regularized.step_biases(rule, layer.scales_mut(), scale_sums, slots_of_scales);
            self.regularization.limit_norms(layer);
            if !finite {
                not_finite.store(true, Ordering::Relaxed);
            }
        }
        let (mut finite, depth) = (!not_finite.into_inner(), self.depth);
        for (index, table) in network.parts_mut().iter_mut().enumerate().skip(depth) {
            let sums = gradient.layers[index].slices_mut();
            let Some((rule, [slots, ..])) = self.of_layer(index, weight, factor) else {
                if keep {
                    workspace.gradient(index, x, sums);
                }
                continue;
            };
            let [sums, ..] = sums;
            workspace.table_gradient(index - depth, x, sums);
            finite &= regularized.step_weights(rule, table.slices_mut().0, sums, slots);
            self.regularization.limit_vectors(table);
        }
        finite
    }

    /// Counts a step. Panics: where there is nothing to step by.
    fn begin(&mut self, weight: f64) {
        assert!(weight > 0.0, "a step needs a sample that weighs");
        let state = &mut self.state;
        state.steps += 1;
        self.powers = powers(&self.spec, state.steps);
        if let OptimizerSpec::Nadam {
            beta1,
            momentum_decay,
            ..
        } = self.spec
        {
            state.momentum_product *= nadam_momentum(beta1, momentum_decay, state.steps);
        }
    }

    /// The rule of a layer in the step that has begun, and its slots; none where it is frozen.
    fn of_layer(
        &mut self,
        index: usize,
        weight: f64,
        factor: f64,
    ) -> Option<(Rule<T>, [Slots<'_, T>; 3])> {
        let LayerRule {
            learning_rate_multiplier,
            frozen,
        } = self.layers[index];
        if frozen {
            return None;
        }
        let rate = self.spec.learning_rate() * factor * learning_rate_multiplier;
        let rule = Rule::of(&self.spec, &self.state, self.powers, (rate, weight));
        Some((rule, slots_of(&mut self.state, index)))
    }
}

/// The rule of a part of a network of so many layers, of rules for each layer or none. An embedding goes by that of layer 1,
/// which reads it.
pub(super) fn rule_of(layers: &[LayerRule], part: usize, depth: usize) -> LayerRule {
    let layer = if part < depth { part } else { 0 };
    layers.get(layer).copied().unwrap_or_default()
}

/// Inputs of a part of the weights are a multiple of this, which is that of the highest tile of a product.
const INPUTS_TOGETHER: usize = 12;

/// Inputs whose weights are moved as soon as their gradient is there: about 16 KiB of it, and in large layers as many as
/// make up for reading all deltas anew.
pub(in crate::nn) fn inputs_at_once<T: Scalar>(units: usize) -> usize {
    let least = if is_far_apart::<T>(units) { 4 } else { 2 };
    (4096 / units.max(1) / INPUTS_TOGETHER).max(least) * INPUTS_TOGETHER
}

/// A layer's part of each slot, of its weights, of its biases or of its scales; empty where there is no slot.
type Slots<'a, T> = [&'a mut [T]; MOST_SLOTS];

fn slots_of<T: Scalar>(state: &mut OptimizerState<T>, layer: usize) -> [Slots<'_, T>; 3] {
    let mut slots = state.slots.iter_mut();
    let [[w0, b0, s0], [w1, b1, s1], [w2, b2, s2]] = std::array::from_fn(|_| {
        let slot = slots.next().map(|slot| slot.layers[layer].slices_mut());
        slot.unwrap_or_default()
    });
    [[w0, w1, w2], [b0, b1, b2], [s0, s1, s2]]
}
