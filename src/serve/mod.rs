//! Serve: every model's latest and aliased versions in memory, answering predictions without disk or database.

mod compute;
mod error;
mod evaluation;
mod loaded;
mod registry;

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::machine::{Budget, Reservation, Use, note_prediction};
use crate::model::{
    self, Float64, GOLDEN_ROWS, InputRows, Model, Outputs, Prediction, Selftest, TargetRows,
    Violations,
};
use crate::nn::{CheckOptions, GradientCheck, Inspection, check_gradients};
pub use crate::serve::compute::Compute;
use crate::serve::compute::{inputs_of, inspected};
pub use crate::serve::error::Error;
pub use crate::serve::evaluation::Evaluated;
pub use crate::serve::loaded::Loaded;
pub use crate::serve::registry::{Registry, Version, VersionName};
use crate::store::Store;

/// Parameters of a gradient check, at most.
const MOST_SAMPLE: u64 = 100_000;

/// Bytes that are reserved for a number of a request: as it is held in f64, and as much again as it is encoded or written.
const NUMBER_BYTES: u64 = 16;

/// The serving side of the server. Cheap to clone.
#[derive(Clone)]
pub struct Serve {
    registry: Arc<Registry>,
    compute: Compute,
    /// Predictions at the same time that take long enough to be computed off the threads that answer the others: more would
    /// share the processors, and each would come later.
    predictions: Arc<Semaphore>,
    /// Inspections at the same time: each holds the network and its gradient in f64. A prediction by a checkpoint, which
    /// holds a network of its own, counts as one.
    inspections: Arc<Semaphore>,
    /// Evaluations at the same time: each holds its rows.
    evaluations: Arc<Semaphore>,
    store: Store,
}

/// What a prediction asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The rows.
    pub rows: InputRows,
    /// How many of the most probable classes are told; left out, all.
    pub top_k: Option<u64>,
}

/// What a prediction answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How long the answer is, in numbers.
    pub numbers: u64,
    /// Output activations.
    pub outputs: Outputs,
    /// The same in the table's own terms, where the model was trained on one.
    pub predictions: Option<Vec<Prediction>>,
}

/// What an inspection answers.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The version that was inspected.
    pub version: Version,
    /// Its gradients.
    pub inspection: Inspection,
}

impl Serve {
    /// Serves what the registry holds, within the limits of `compute`.
    pub fn new(registry: Arc<Registry>, compute: Compute) -> Self {
        let slots = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store: registry.store().clone(),
            registry,
            compute,
            predictions: Arc::new(Semaphore::new(2 * slots)),
            inspections: Arc::new(Semaphore::new(slots)),
            evaluations: Arc::new(Semaphore::new(1)),
        }
    }

    /// The version of a model by number, alias or `latest`.
    ///
    /// Errors: there is none; its stored bytes are damaged.
    pub async fn version(&self, model: &str, version: &VersionName) -> Result<Version, Error> {
        self.registry.version(model, version).await
    }

    /// The memory that versions and requests take theirs from.
    pub fn memory(&self) -> &Budget {
        self.registry.memory()
    }

    /// How many versions are in memory.
    pub fn loaded(&self) -> usize {
        self.registry.loaded()
    }

    /// Predicts rows, with the version that did.
    ///
    /// Errors: there is no such version; the rows do not fit it or are too many; the outputs are not finite.
    pub async fn predict(
        &self,
        model: &str,
        version: &VersionName,
        question: Question,
    ) -> Result<(u64, Answer), Error> {
        note_prediction();
        let version = self.version(model, version).await?;
        let who = version.to_string();
        let answer = self.answer(version.model, question, who).await?;
        Ok((version.number, answer))
    }

    /// What a version answers its golden set now, with the version's number.
    ///
    /// Errors: there is no such version.
    pub async fn selftest(
        &self,
        model: &str,
        version: &VersionName,
    ) -> Result<(u64, Selftest), Error> {
        let version = self.version(model, version).await?;
        let (number, model) = (version.number, version.model);
        let work = GOLDEN_ROWS as u64 * model.network.layer_parameter_count() as u64;
        let tested = self
            .compute
            .run_in(&self.inspections, work, move || Ok(model.selftest()))
            .await?;
        Ok((number, tested))
    }

    /// Predicts rows with the checkpoint of a job's epoch.
    ///
    /// Errors: there is no such checkpoint; as [`Serve::predict`].
    pub async fn predict_checkpoint(
        &self,
        job: Uuid,
        epoch: &str,
        question: Question,
    ) -> Result<(u64, Answer), Error> {
        let _slot = self.inspections.acquire().await;
        // As bytes, as tensors and as arrays.
        let bytes = self.store.checkpoint_bytes(job, epoch).await?;
        let bytes = bytes.saturating_mul(3);
        let room = self.memory().try_reserve(Use::Requests, bytes)?;
        let checkpoint = self.store.checkpoint(job, epoch).await?;
        let who = format!("checkpoint {epoch} of job {job}");
        let model = Arc::new(Loaded::new(Arc::new(checkpoint.model), room));
        Ok((checkpoint.epoch, self.answer(model, question, who).await?))
    }

    /// Memory for so many numbers, as they are held and as they are written.
    fn reserve(&self, numbers: u64) -> Result<Reservation, Error> {
        let bytes = numbers.saturating_mul(NUMBER_BYTES);
        Ok(self.memory().try_reserve(Use::Requests, bytes)?)
    }

    /// Memory for the rows of an inspection and for the network and its gradient, in f64.
    fn reserve_inspection(&self, model: &Model, rows: usize) -> Result<Reservation, Error> {
        let parameters = model.network.parameter_count() as u64;
        let (numbers, _) = inspected(model, rows);
        self.reserve(numbers.saturating_add(parameters))
    }

    async fn answer(
        &self,
        model: Arc<Loaded>,
        Question { rows, top_k }: Question,
        who: String,
    ) -> Result<Answer, Error> {
        if let Some(k) = top_k {
            check_top_k(k, &model)?;
        }
        let (work, numbers) = self.compute.admit_prediction(&model, rows.len())?;
        let held = inputs_of(&model, rows.len()).saturating_add(numbers);
        let room = self.reserve(held)?;
        self.compute
            .run_in(&self.predictions, work, move || {
                let _room = room;
                let outputs = model.predict(&rows)?;
                let mut predictions = model.predictions(&outputs);
                let mut each = predictions.iter().flatten();
                finite(
                    outputs.is_finite() && each.all(Prediction::is_finite),
                    || who,
                )?;
                if let (Some(k), Some(all), Some(classes)) =
                    (top_k, &mut predictions, model.probable_classes())
                {
                    let each = std::mem::take(all).into_iter();
                    *all = each.map(|one| one.top(k as usize, classes)).collect();
                }
                Ok(Answer {
                    numbers,
                    outputs,
                    predictions,
                })
            })
            .await
    }

    /// The gradients of rows, in f64.
    ///
    /// Errors: there is no such version; rows or targets do not fit it or are too many; a gradient is not finite.
    pub async fn inspect(
        &self,
        model: &str,
        version: &VersionName,
        inputs: InputRows,
        targets: TargetRows,
    ) -> Result<Inspected, Error> {
        let version = self.version(model, version).await?;
        let work = self
            .compute
            .admit_inspection(&version.model, inputs.len())?;
        let room = self.reserve_inspection(&version.model, inputs.len())?;
        self.compute
            .run_in(&self.inspections, work, move || {
                let _room = room;
                let inspection = version.model.inspect(&inputs, &targets)?;
                finite(inspection.is_finite(), || version.to_string())?;
                Ok(Inspected {
                    version,
                    inspection,
                })
            })
            .await
    }

    /// Analytic gradients against central differences.
    ///
    /// Errors: as [`Serve::inspect`]; an option is out of its range.
    pub async fn check_gradients(
        &self,
        model: &str,
        inputs: InputRows,
        targets: TargetRows,
        options: CheckOptions,
    ) -> Result<(Version, GradientCheck), Error> {
        let version = self.version(model, &VersionName::Latest).await?;
        self.compute
            .admit_inspection(&version.model, inputs.len())?;
        check_options(&options, &version.model, (&inputs, &targets))?;
        let parameters = version.model.network.parameter_count().min(options.sample);
        let work = self
            .compute
            .admit_check(&version.model, inputs.len(), parameters)?;
        let room = self.reserve_inspection(&version.model, inputs.len())?;
        self.compute
            .run_in(&self.inspections, work, move || {
                let _room = room;
                let Float64 {
                    network,
                    inputs,
                    targets,
                } = version.model.in_float64(&inputs, &targets)?;
                let loss = version.model.loss;
                let go_on = || ControlFlow::<Infallible>::Continue(());
                let check = check_gradients(
                    &network,
                    loss,
                    inputs.view(),
                    targets.view(),
                    &options,
                    go_on,
                );
                let ControlFlow::Continue(check) = check;
                finite(check.is_finite(), || version.to_string())?;
                Ok((version, check))
            })
            .await
    }
}

/// Errors: there are not so many classes, or none that have probabilities.
fn check_top_k(k: u64, model: &Model) -> Result<(), Error> {
    let mut violations = Violations::default();
    model.header().check_top_k(k, &mut violations);
    Ok(violations.finish().map_err(model::Error::from)?)
}

/// Errors: options out of their ranges, beside what is wrong with the rows.
fn check_options(
    options: &CheckOptions,
    model: &Model,
    (inputs, targets): (&InputRows, &TargetRows),
) -> Result<(), Error> {
    let mut violations = Violations::default();
    violations.range("/sample", options.sample as u64, 1, MOST_SAMPLE);
    if !(1e-9..=1e-2).contains(&options.epsilon) {
        let detail = format!("must be in [1e-9, 0.01], got {}", options.epsilon);
        violations.add("/epsilon", detail);
    }
    if violations.is_empty() {
        return Ok(());
    }
    let mut violations = violations.into_vec();
    if let Err(model::Error::Invalid { violations: others }) = model.samples(inputs, targets) {
        violations.extend(others);
    }
    Err(model::Error::from(violations).into())
}

/// Errors: an answer that is not finite.
fn finite(finite: bool, who: impl FnOnce() -> String) -> Result<(), Error> {
    if finite {
        return Ok(());
    }
    Err(Error::NotFinite { who: who() })
}
