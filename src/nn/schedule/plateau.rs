//! What `reduce_on_plateau` remembers from one epoch to the next.

use serde::{Deserialize, Serialize};

use crate::nn::Schedule;

/// The state of `reduce_on_plateau`, part of a checkpoint; that of any other schedule never changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// What the learning rate is multiplied by.
    pub factor: f64,
    /// The least loss that counted as better; none before the first.
    best: Option<f64>,
    /// Epochs in a row without a better loss.
    bad_epochs: u64,
    /// Epochs for which nothing counts yet.
    cooling: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            factor: 1.0,
            best: None,
            bad_epochs: 0,
            cooling: 0,
        }
    }
}

impl Plateau {
    /// Takes the loss of an epoch that is finished. NaN and ∞ are never better.
    ///
    /// Source: PyTorch's `ReduceLROnPlateau.step`, mode `min`, threshold mode `rel`. Its `eps`, below which it leaves a
    /// rate alone, is 0 here: where the rate stops falling is what `minimum` is for.
    pub fn observe(&mut self, schedule: &Schedule, loss: f64) {
        let &Schedule::ReduceOnPlateau {
            factor,
            patience,
            min_delta,
            cooldown,
            minimum,
        } = schedule
        else {
            return;
        };
        if loss < self.best.unwrap_or(f64::INFINITY) * (1.0 - min_delta) {
            self.best = Some(loss);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs = self.bad_epochs.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad_epochs = 0;
        }
        if self.bad_epochs > patience {
            // A minimum above 1 is refused, so that this never raises the rate.
            self.factor = (self.factor * factor).max(minimum);
            self.cooling = cooldown;
            self.bad_epochs = 0;
        }
    }
}
