//! The learning rate as a function of the step: what the job's learning rate is multiplied by.
//!
//! Notation: η is the job's learning rate, and a factor f makes a step's rate f·η. With s steps finished since the
//! warm-up, E steps in an epoch and S steps in what the warm-up leaves of the job: t = s/E is the time in epochs, a
//! fraction; e = ⌊t⌋ the epochs finished; p = min(s/S, 1) the progress, 1 where a job goes on beyond its end.

mod parameters;
mod plateau;
#[cfg(test)]
mod tests;

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

pub use plateau::Plateau;

/// How the learning rate changes, and with which parameters, as in JSON: `{"type":"step","epochs":30}`.
///
/// Every factor is in [0, 1]: the job's learning rate is the largest that is used. `step` and `multi_step` change at the
/// ends of epochs, `reduce_on_plateau` after an epoch's loss is known, all others at every step, where PyTorch leaves it
/// to its user when a scheduler is stepped. PyTorch multiplies the last rate; we compute each from its step alone, so
/// that a job resumes anywhere with the same bits, and agree with PyTorch up to the rounding that it gathers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// f = 1.
    #[default]
    Constant,
    /// f = gamma^⌊e / epochs⌋. As PyTorch's `StepLR`, whose `step_size` is `epochs`.
    Step {
        /// Epochs from one drop to the next, at least 1.
        epochs: u64,
        /// What the rate is multiplied by at each, in (0, 1].
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// f = gamma^n, n the milestones that are at most e. As PyTorch's `MultiStepLR`, which also takes a milestone twice.
    MultiStep {
        /// The finished epochs after which the rate drops, at least 1, each greater than the one before it.
        milestones: Vec<u64>,
        /// What the rate is multiplied by at each, in (0, 1].
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// f = gamma^t. As PyTorch's `ExponentialLR` at the ends of epochs, and smooth between them.
    Exponential {
        /// What an epoch multiplies the rate by, in (0, 1].
        gamma: f64,
    },
    /// f = end + (1 − end)(1 − p)^power. Where `end` is 0, as PyTorch's `PolynomialLR` over the steps of the job.
    ///
    /// Source: Chen et al. (2018), "DeepLab", the "poly" policy, of power 0.9. The default power, 1, is PyTorch's: a line.
    Polynomial {
        /// Greater than 0; 1 is a straight line.
        #[serde(default = "one")]
        power: f64,
        /// The factor at the end, in [0, 1].
        #[serde(default)]
        end: f64,
    },
    /// f = 1 / (t + 1)^power. As scikit-learn's `invscaling`, but t counts epochs, where scikit-learn counts samples, so
    /// that its rate would depend on the size of the table. Source: Robbins and Monro (1951), for powers in (½, 1].
    InverseScaling {
        /// Greater than 0.
        #[serde(default = "half")]
        power: f64,
    },
    /// f = end + ½(1 − end)(1 + cos πp). As PyTorch's `CosineAnnealingLR` over the steps of the job, whose rate rises
    /// again beyond the end; ours stays. Source: Loshchilov and Hutter (2017), equation 5.
    ///
    /// With restarts, p is the progress of the current cycle: the first lasts `restart_epochs`, each other
    /// `restart_factor` times as long as the one before it. As PyTorch's `CosineAnnealingWarmRestarts`, whose `T_0` and
    /// `T_mult` they are, stepped with a fraction of an epoch.
    Cosine {
        /// The factor at the end, in [0, 1].
        #[serde(default)]
        end: f64,
        /// Epochs of the first cycle, at least 1; left out, the whole job is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_epochs: Option<u64>,
        /// At least 1, and greater only where there are restarts.
        #[serde(default = "whole_one")]
        restart_factor: u64,
    },
    /// From `start` up to 1 and down to `end`, both along half a cosine; with S steps, the first half ends at step
    /// `warmup_fraction`·S − 1, the second at S − 1. As PyTorch's `OneCycleLR`, whose `max_lr` is η; momentum is left
    /// alone. Source: Smith and Topin (2018), "Super-convergence", whose halves are lines.
    OneCycle {
        /// The share of the steps that go up, in [0, 1]. PyTorch's `pct_start`.
        #[serde(default = "cycle_warmup")]
        warmup_fraction: f64,
        /// The factor of the first step, in [0, 1]. PyTorch's 1 / `div_factor`.
        #[serde(default = "cycle_start")]
        start: f64,
        /// The factor of the last step, in [0, 1]. PyTorch's 1 / (`div_factor` · `final_div_factor`).
        #[serde(default = "cycle_end")]
        end: f64,
    },
    /// f is multiplied by `factor` when the loss has not become better for more than `patience` epochs in a row: the loss
    /// of the validation rows, or else of the rows trained on. As PyTorch's `ReduceLROnPlateau` with an `eps` of 0.
    ReduceOnPlateau {
        /// In (0, 1).
        #[serde(default = "tenth")]
        factor: f64,
        /// Epochs without a better loss that are let pass.
        #[serde(default = "plateau_patience")]
        patience: u64,
        /// A loss is better where it is less than (1 − `min_delta`) times the best, in [0, 1).
        #[serde(default = "plateau_min_delta")]
        min_delta: f64,
        /// Epochs after a reduction that do not count.
        #[serde(default)]
        cooldown: u64,
        /// The least f, in [0, 1].
        #[serde(default)]
        minimum: f64,
    },
}

/// Where a run stands, as far as its learning rate depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Steps finished, so the number of the coming step, from 0.
    pub step: u64,
    /// Steps in an epoch, at least 1.
    pub steps_per_epoch: u64,
    /// Epochs in the job.
    pub epochs: u64,
}

impl Clock {
    /// W, the steps of a warm-up of so many epochs: the least whole number that is not less, up to rounding.
    ///
    /// A product such as 0.7 · 10 may come out a little above the whole number that is meant, which is no step more.
    pub fn warmup_steps(&self, warmup_epochs: f64) -> u64 {
        let steps = warmup_epochs * self.steps_per_epoch as f64;
        (steps * (1.0 - 1e-12)).ceil() as u64
    }
}

/// What is left of a run without its warm-up.
struct Stretch {
    /// s.
    step: u64,
    /// E.
    steps_per_epoch: u64,
    /// S.
    steps: u64,
}

impl Schedule {
    /// The names used in JSON.
    pub const NAMES: [&str; 9] = [
        "constant",
        "step",
        "multi_step",
        "exponential",
        "polynomial",
        "inverse_scaling",
        "cosine",
        "one_cycle",
        "reduce_on_plateau",
    ];

    /// The name used in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step { .. } => "step",
            Self::MultiStep { .. } => "multi_step",
            Self::Exponential { .. } => "exponential",
            Self::Polynomial { .. } => "polynomial",
            Self::InverseScaling { .. } => "inverse_scaling",
            Self::Cosine { .. } => "cosine",
            Self::OneCycle { .. } => "one_cycle",
            Self::ReduceOnPlateau { .. } => "reduce_on_plateau",
        }
    }

    /// What the job's learning rate is multiplied by in the coming step.
    ///
    /// A warm-up of W steps multiplies the schedule's first factor by (n + 1)/W in step n of the job; after it, the
    /// schedule begins with its own step 0, so that a whole factor is there in step W − 1 and again in step W. Source:
    /// Goyal et al. (2017), section 2.2, the gradual warm-up, by step. As PyTorch's `LinearLR(1/W, 1, W − 1)` before the
    /// schedule in `SequentialLR` with the milestone W, wherever the schedule's first factor is 1; before `one_cycle`,
    /// which begins with `start`, PyTorch would rise to 1 and fall back, and before `reduce_on_plateau` it cannot stand:
    /// there the two factors are multiplied.
    ///
    /// For parameters without a fault, and a `warmup_epochs` that is finite and not negative, it is in [0, 1].
    pub fn factor(&self, clock: &Clock, warmup_epochs: f64, plateau: &Plateau) -> f64 {
        let warmup = clock.warmup_steps(warmup_epochs);
        let steps_per_epoch = clock.steps_per_epoch.max(1);
        let stretch = Stretch {
            step: clock.step.saturating_sub(warmup),
            steps_per_epoch,
            steps: clock
                .epochs
                .saturating_mul(steps_per_epoch)
                .saturating_sub(warmup),
        };
        let factor = self.factor_in(&stretch, plateau);
        if clock.step < warmup {
            factor * ((clock.step + 1) as f64 / warmup as f64)
        } else {
            factor
        }
    }

    fn factor_in(&self, stretch: &Stretch, plateau: &Plateau) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Step { epochs, gamma } => {
                let drops = stretch.finished_epochs() / (*epochs).max(1);
                gamma.powf(drops as f64)
            }
            Self::MultiStep { milestones, gamma } => {
                let finished = stretch.finished_epochs();
                let drops = milestones.iter().filter(|&&epoch| epoch <= finished);
                gamma.powf(drops.count() as f64)
            }
            Self::Exponential { gamma } => gamma.powf(stretch.time()),
            Self::Polynomial { power, end } => {
                end + (1.0 - end) * (1.0 - stretch.progress()).powf(*power)
            }
            Self::InverseScaling { power } => 1.0 / (stretch.time() + 1.0).powf(*power),
            Self::Cosine {
                end,
                restart_epochs,
                restart_factor,
            } => {
                let progress = match restart_epochs {
                    Some(epochs) => stretch.progress_of_cycle(*epochs, *restart_factor),
                    None => stretch.progress(),
                };
                half_cosine(1.0, *end, progress)
            }
            Self::OneCycle {
                warmup_fraction,
                start,
                end,
            } => {
                let last = stretch.steps.saturating_sub(1);
                let step = stretch.step.min(last) as f64;
                let top = warmup_fraction * stretch.steps as f64 - 1.0;
                if step > top {
                    half_cosine(1.0, *end, (step - top) / (last as f64 - top))
                } else if top > 0.0 {
                    half_cosine(*start, 1.0, step / top)
                } else {
                    1.0
                }
            }
            Self::ReduceOnPlateau { .. } => plateau.factor,
        }
    }
}

impl Stretch {
    /// t.
    fn time(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch as f64
    }

    /// e.
    fn finished_epochs(&self) -> u64 {
        self.step / self.steps_per_epoch
    }

    /// p.
    fn progress(&self) -> f64 {
        if self.step < self.steps {
            self.step as f64 / self.steps as f64
        } else {
            1.0
        }
    }

    /// p of the cycle that the step is in, counted in steps, so that no rounding moves a restart.
    fn progress_of_cycle(&self, epochs: u64, factor: u64) -> f64 {
        let mut length = u128::from(epochs.max(1)) * u128::from(self.steps_per_epoch);
        let mut step = u128::from(self.step);
        if factor <= 1 {
            step %= length;
        } else {
            while step >= length {
                step -= length;
                length = length.saturating_mul(u128::from(factor));
            }
        }
        step as f64 / length as f64
    }
}

/// From `from` to `to` along half a cosine: to + ½(from − to)(1 + cos πp).
fn half_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * progress).cos())
}

fn tenth() -> f64 {
    0.1
}

fn half() -> f64 {
    0.5
}

fn one() -> f64 {
    1.0
}

fn whole_one() -> u64 {
    1
}

fn cycle_warmup() -> f64 {
    0.3
}

fn cycle_start() -> f64 {
    1.0 / 25.0
}

fn cycle_end() -> f64 {
    1.0 / 25e4
}

fn plateau_patience() -> u64 {
    10
}

fn plateau_min_delta() -> f64 {
    1e-4
}
