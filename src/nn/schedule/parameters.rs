//! The parameters of schedules: what each may be, and what it means.

use crate::nn::hyperparameter::violations;
use crate::nn::schedule::{
    cycle_end, cycle_start, cycle_warmup, half, one, plateau_min_delta, plateau_patience, tenth,
    whole_one,
};
use crate::nn::{Hyperparameter, Range, Schedule};

/// Epochs that are counted from 1.
const EPOCHS: Range = Range::closed(1.0, 1e9);
/// Epochs that may be none.
const COUNTS: Range = Range::closed(0.0, 1e9);
/// Factors of a rate that falls.
const DECAYS: Range = Range::above(0.0, 1.0);
/// Shares.
const SHARES: Range = Range::closed(0.0, 1.0);
/// Exponents.
const POWERS: Range = Range::above(0.0, 1e6);

impl Schedule {
    /// Every schedule, with its defaults; what must be given is as it might be.
    pub fn all() -> [Self; 9] {
        [
            Self::Constant,
            Self::Step {
                epochs: 10,
                gamma: tenth(),
            },
            Self::MultiStep {
                milestones: vec![10, 20],
                gamma: tenth(),
            },
            Self::Exponential { gamma: 0.95 },
            Self::Polynomial {
                power: one(),
                end: 0.0,
            },
            Self::InverseScaling { power: half() },
            Self::Cosine {
                end: 0.0,
                restart_epochs: None,
                restart_factor: whole_one(),
            },
            Self::OneCycle {
                warmup_fraction: cycle_warmup(),
                start: cycle_start(),
                end: cycle_end(),
            },
            Self::ReduceOnPlateau {
                factor: tenth(),
                patience: plateau_patience(),
                min_delta: plateau_min_delta(),
                cooldown: 0,
                minimum: 0.0,
            },
        ]
    }

    /// Every parameter, as it is set, with its range.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let number = Hyperparameter::number;
        let drop = |gamma: f64| {
            number(
                "gamma",
                gamma,
                DECAYS,
                "what each drop multiplies the rate by",
            )
        };
        let end = |end: f64| number("end", end, SHARES, "the factor at the end");
        let power = |power: f64| number("power", power, POWERS, "the exponent");
        match self {
            Self::Constant => Vec::new(),
            Self::Step { epochs, gamma } => {
                let meaning = "epochs from one drop to the next";
                vec![
                    Hyperparameter::whole("epochs", *epochs, EPOCHS, meaning).required(),
                    drop(*gamma),
                ]
            }
            Self::MultiStep { milestones, gamma } => {
                let meaning = "the finished epochs after which the rate drops, rising";
                let milestones =
                    Hyperparameter::list("milestones", milestones.clone(), EPOCHS, meaning);
                vec![milestones.required(), drop(*gamma)]
            }
            Self::Exponential { gamma } => {
                let meaning = "what an epoch multiplies the rate by";
                vec![number("gamma", *gamma, DECAYS, meaning).required()]
            }
            Self::Polynomial {
                power: exponent,
                end: last,
            } => vec![power(*exponent), end(*last)],
            Self::InverseScaling { power: exponent } => vec![power(*exponent)],
            Self::Cosine {
                end: last,
                restart_epochs,
                restart_factor,
            } => {
                let epochs = restart_epochs.map(|epochs| epochs as f64);
                let meaning = "epochs of the first cycle; none, where the job is one";
                let epochs = Hyperparameter::optional("restart_epochs", epochs, EPOCHS, meaning);
                let meaning = "what the length of each cycle is multiplied by";
                let factor =
                    Hyperparameter::whole("restart_factor", *restart_factor, EPOCHS, meaning);
                vec![end(*last), epochs, factor]
            }
            Self::OneCycle {
                warmup_fraction,
                start,
                end: last,
            } => vec![
                number(
                    "warmup_fraction",
                    *warmup_fraction,
                    SHARES,
                    "the share of the steps that go up",
                ),
                number("start", *start, SHARES, "the factor of the first step"),
                end(*last),
            ],
            Self::ReduceOnPlateau {
                factor,
                patience,
                min_delta,
                cooldown,
                minimum,
            } => vec![
                number(
                    "factor",
                    *factor,
                    Range::open(0.0, 1.0),
                    "what a reduction multiplies by",
                ),
                Hyperparameter::whole(
                    "patience",
                    *patience,
                    COUNTS,
                    "epochs without a better loss that are let pass",
                ),
                number(
                    "min_delta",
                    *min_delta,
                    Range::below(0.0, 1.0),
                    "the share of the best loss that a better one is below it",
                ),
                Hyperparameter::whole(
                    "cooldown",
                    *cooldown,
                    COUNTS,
                    "epochs after a reduction that do not count",
                ),
                number("minimum", *minimum, SHARES, "the least factor"),
            ],
        }
    }

    /// What is wrong with the parameters: names and details, each range and what one asks of another.
    pub fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = violations(self.hyperparameters());
        if let Self::MultiStep { milestones, .. } = self {
            found.extend(rising("milestones", milestones));
        }
        if let Self::Cosine {
            restart_epochs: None,
            restart_factor,
            ..
        } = self
            && *restart_factor != 1
        {
            let detail = format!("must be left out where restart_epochs is, got {restart_factor}");
            found.push(("restart_factor", detail));
        }
        found
    }
}

/// What is wrong with a list of epochs that must rise.
fn rising(name: &'static str, epochs: &[u64]) -> Option<(&'static str, String)> {
    if epochs.is_empty() {
        return Some((name, "must have at least one epoch, got none".to_owned()));
    }
    let wrong = epochs
        .iter()
        .zip(&epochs[1..])
        .find(|(before, epoch)| before >= epoch);
    wrong.map(|(before, epoch)| {
        let detail = format!("must have epochs that rise, got {epoch} after {before}");
        (name, detail)
    })
}
