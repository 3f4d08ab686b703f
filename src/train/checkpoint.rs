//! A checkpoint: everything that is needed to continue a run to the same bits.

use serde::{Deserialize, Serialize};

use crate::model::{AnyNetwork, Error, Header, Model, ReadTensors};
use crate::nn::{BatchSums, Evaluation, NetworkStatistics, Plateau};
use crate::train::optimizer_state::StateHeader;
use crate::train::{AnyOptimizerState, CheckedSpec, Folds, Watched};

/// The format of a checkpoint's bytes. A later format is refused by an earlier program.
const FORMAT: u32 = 5;
/// The first format, of gradient descent without momentum: it had no optimizer state.
const FIRST_FORMAT: u32 = 1;

/// What the tensors of the best epoch's parameters are called, before `layers`.
const BEST: &str = "best.";

/// What the batches of an unfinished epoch have come to so far, each sample by its weights: w in the loss, v in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredSums")]
pub struct EpochSums {
    /// Σ w C.
    pub loss: f64,
    /// Σ v over the samples answered right.
    pub correct: f64,
    /// Samples.
    pub samples: u64,
    /// Σ w.
    pub weight: f64,
    /// Σ v.
    pub figure_weight: f64,
}

impl EpochSums {
    /// Adds those of a batch.
    pub(super) fn add<T>(&mut self, batch: &BatchSums<T>) {
        self.loss += batch.loss;
        self.correct += batch.correct;
        self.samples += batch.samples as u64;
        self.weight += batch.weight;
        self.figure_weight += batch.figure_weight;
    }
}

impl From<Evaluation> for EpochSums {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            loss: evaluation.loss_sum,
            correct: evaluation.correct,
            samples: evaluation.samples as u64,
            weight: evaluation.weight,
            figure_weight: evaluation.weight,
        }
    }
}

/// The same as it is read: before format 3 there were no weights.
#[derive(Deserialize)]
struct StoredSums {
    loss: f64,
    correct: f64,
    samples: u64,
    weight: Option<f64>,
    figure_weight: Option<f64>,
}

impl From<StoredSums> for EpochSums {
    fn from(stored: StoredSums) -> Self {
        let StoredSums {
            loss,
            correct,
            samples,
            weight,
            figure_weight,
        } = stored;
        Self {
            loss,
            correct,
            samples,
            weight: weight.unwrap_or(samples as f64),
            figure_weight: figure_weight.unwrap_or(samples as f64),
        }
    }
}

/// Everything that is needed to continue a run to the same bits.
///
/// Randomness is keyed by (seed, epoch, step), so there is no generator state.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Epochs finished: the history reaches to here.
    pub epoch: u64,
    /// Steps taken in the epoch after that.
    pub step: u64,
    /// What those steps came to.
    pub sums: EpochSums,
    /// The gradient statistics of the epoch's last step, where it is done and recorded but not reported yet.
    pub statistics: Option<NetworkStatistics>,
    /// What `reduce_on_plateau` remembers.
    pub plateau: Plateau,
    /// What stopping remembers.
    pub watched: Watched,
    /// The parameters of the best epoch, where the run is to end with them.
    pub best: Option<AnyNetwork>,
    /// What the optimizer remembers; none at the end of an epoch that is kept beside a later checkpoint, which has it.
    pub optimizer: Option<AnyOptimizerState>,
    /// Which run it is of, where the job cross-validates.
    pub folds: Option<Folds>,
    /// The parameters, with the preprocessing fitted for them.
    pub model: Model,
}

#[derive(Serialize, Deserialize)]
struct CheckpointHeader {
    format: u32,
    epoch: u64,
    step: u64,
    sums: EpochSums,
    statistics: Option<NetworkStatistics>,
    #[serde(default)]
    plateau: Plateau,
    #[serde(default)]
    watched: Watched,
    #[serde(default)]
    has_best: bool,
    #[serde(default)]
    optimizer: Option<StateHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folds: Option<Folds>,
    model: Header,
}

impl Checkpoint {
    /// The beginning of a run.
    pub(super) fn beginning(model: Model, optimizer: Option<AnyOptimizerState>) -> Self {
        Self {
            epoch: 0,
            step: 0,
            sums: EpochSums::default(),
            statistics: None,
            plateau: Plateau::default(),
            watched: Watched::default(),
            best: None,
            optimizer,
            folds: None,
            model,
        }
    }

    /// Where it stands in the job's history: epochs finished there, and steps after them. Of a cross-validation the history is that
    /// of the run on all rows, and all steps of the runs before it come before its first epoch's end.
    pub fn place(&self) -> (u64, u64) {
        match &self.folds {
            Some(folds) if folds.left_out.is_some() || self.epoch == 0 => {
                let in_run = self.epoch * folds.steps_per_epoch + self.step;
                (0, folds.steps + in_run)
            }
            Some(_) | None => (self.epoch, self.step),
        }
    }

    /// Whether a job of this spec ends with the same bits from here: one whose optimizer remembers something needs what it
    /// remembered, which the end of an epoch, kept to be published, may lack.
    pub fn can_go_on(&self, spec: &CheckedSpec) -> bool {
        let is_begun = self.epoch > 0 || self.step > 0;
        self.optimizer.is_some() || !is_begun || spec.optimizer.slots() == 0
    }

    /// Epochs finished in the runs that leave a fold out, of a job whose runs have so many; those of a run that is done count
    /// whole, whether or not it ended early.
    pub fn fold_epochs(&self, epochs: u64) -> u64 {
        self.folds.as_ref().map_or(0, |folds| {
            let in_run = folds.left_out.map_or(0, |_| self.epoch);
            folds.done.len() as u64 * epochs + in_run
        })
    }

    /// The checkpoint as bytes, from which [`Checkpoint::decode`] makes the same one to the last bit.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            epoch,
            step,
            sums,
            ref statistics,
            plateau,
            watched,
            ref best,
            ref optimizer,
            ref folds,
            ref model,
        } = *self;
        let (statistics, header) = (statistics.clone(), model.header());
        let folds = folds.clone();
        let mut tensors = model.tensors();
        let optimizer = optimizer.as_ref().map(|state| state.push(&mut tensors));
        if let Some(best) = best {
            tensors.push_network(BEST, best);
        }
        tensors.encode(&CheckpointHeader {
            format: FORMAT,
            epoch,
            step,
            sums,
            statistics,
            plateau,
            watched,
            has_best: best.is_some(),
            optimizer,
            folds,
            model: header,
        })
    }

    /// The checkpoint of its bytes.
    ///
    /// Errors: the bytes are no checkpoint, are of a later format, or do not fit together.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (header, tensors) = ReadTensors::decode::<CheckpointHeader>(bytes)?;
        if !(FIRST_FORMAT..=FORMAT).contains(&header.format) {
            let got = header.format;
            let detail = format!("checkpoint format must be at most {FORMAT}, got {got}");
            return Err(Error::Artifact { detail });
        }
        let model = Model::from_tensors(&header.model, &tensors)?;
        let optimizer = header.optimizer.as_ref();
        let optimizer = optimizer.map(|header| AnyOptimizerState::read(header, &tensors));
        let best = header
            .has_best
            .then(|| tensors.network(BEST, &header.model));
        let CheckpointHeader {
            epoch,
            step,
            sums,
            statistics,
            plateau,
            watched,
            folds,
            ..
        } = header;
        Ok(Self {
            epoch,
            step,
            sums,
            statistics,
            plateau,
            watched,
            best: best.transpose()?,
            optimizer: optimizer.transpose()?,
            folds,
            model,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_from_before_there_were_weights_are_still_read() {
        let old = r#"{"loss":1.5,"correct":2,"samples":3}"#;
        let sums: EpochSums = serde_json::from_str(old).expect("all its fields");
        let expected = EpochSums {
            loss: 1.5,
            correct: 2.0,
            samples: 3,
            weight: 3.0,
            figure_weight: 3.0,
        };
        assert_eq!(sums, expected);
        let expected = EpochSums {
            weight: 0.1 + 0.2,
            figure_weight: 1.0 / 3.0,
            ..expected
        };
        let text = serde_json::to_string(&expected).expect("numbers");
        let read: EpochSums = serde_json::from_str(&text).expect("its own text");
        assert_eq!(read, expected, "to the last bit");
    }
}
