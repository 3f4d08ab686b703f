//! Loading: what a job starts from and reads, side by side from the store.

use uuid::Uuid;

use crate::jobs::base::found;
use crate::jobs::stored::stored;
use crate::jobs::{Error as JobsError, Jobs};
use crate::model::{Model, Violations};
use crate::store::{Error, Job};
use crate::train::{
    AnyOptimizerState, CheckedSpec, CheckedValidation, Checkpoint, RawSamples, Source,
};

/// Where epochs of a job are trained once more from, and what they read.
pub(super) struct Start {
    /// The epoch whose end it is.
    pub(super) epoch: u64,
    pub(super) base: Model,
    pub(super) source: Source,
    /// Of an epoch after the first.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Jobs {
    /// What the job starts from and reads.
    pub(super) async fn load(&self, job: &Job) -> Result<(Model, Source), Error> {
        // Side by side, and of several that cannot be read the first is told.
        let (base, data) = tokio::join!(self.load_base(job), self.load_data(job));
        let ((base, optimizer), source) = (base?, data?);
        Ok((
            base,
            Source {
                optimizer,
                ..source
            },
        ))
    }

    /// What the job starts from, with what the optimizer remembers.
    async fn load_base(&self, job: &Job) -> Result<(Model, Option<AnyOptimizerState>), Error> {
        let store = &self.inner.store;
        if job.spec.from.job.is_some() {
            let checkpoint = store.job_base(job.id).await?;
            return Ok((checkpoint.model, checkpoint.optimizer));
        }
        let version = store.load_version(&job.model, job.base_version).await?;
        Ok((version, None))
    }

    /// What the job reads.
    async fn load_data(&self, job: &Job) -> Result<Source, Error> {
        let store = &self.inner.store;
        let source = match job.spec.datasets().first() {
            Some(dataset) if job.spec.data.columns().is_some() => {
                let split_by = job.spec.split_column();
                self.columns(*dataset, &job.spec, split_by).await?
            }
            _ => Source::of(store.job_rows(job.id, "data").await?),
        };
        let validation = match &job.spec.validation {
            Some(CheckedValidation::Dataset { dataset, digest }) => {
                let source = self.columns((dataset, digest), &job.spec, None).await?;
                Some(source.data)
            }
            Some(CheckedValidation::Inline { .. }) => {
                Some(store.job_rows(job.id, "validation").await?)
            }
            Some(CheckedValidation::Fraction { .. }) | None => None,
        };
        Ok(Source {
            validation,
            ..source
        })
    }

    /// The end of an epoch of the job, as it is kept: that which is wanted, or the newest before `last`, or what the job started
    /// from.
    ///
    /// Errors: that epoch is not kept; what it would read is gone.
    pub(super) async fn start_of(
        &self,
        job: &Job,
        wanted: Option<u64>,
        last: u64,
    ) -> Result<Start, JobsError> {
        let checkpoint = match wanted {
            Some(0) => None,
            Some(epoch) => Some(self.resumable(job, epoch).await?),
            None => self.newest_resumable(job, last).await?,
        };
        let gone = |error| gone(job.id, error);
        let source = self.load_data(job).await.map_err(gone)?;
        let Some(checkpoint) = checkpoint else {
            self.check_model(job).await?;
            let (base, optimizer) = self.load_base(job).await.map_err(gone)?;
            return Ok(Start {
                epoch: 0,
                base,
                source: Source {
                    optimizer,
                    ..source
                },
                checkpoint: None,
            });
        };
        Ok(Start {
            epoch: checkpoint.epoch,
            // It has what the run has of its base: the columns and classes, and the preprocessing, which is fitted by now.
            base: checkpoint.model.clone(),
            source,
            checkpoint: Some(checkpoint),
        })
    }

    /// The checkpoint of the end of an epoch, from which the job can go on.
    async fn resumable(&self, job: &Job, epoch: u64) -> Result<Checkpoint, JobsError> {
        let name = epoch.to_string();
        let detail = match self.inner.store.checkpoint(job.id, &name).await {
            Ok(checkpoint) if resumes(&checkpoint, &job.spec) => return Ok(checkpoint),
            Ok(_) => format!(
                "must be 0 or the epoch of a checkpoint with the optimizer's state, got {epoch}: its job went on from there, or was ended later"
            ),
            Err(Error::NoCheckpoint { kept, .. }) => {
                let kept: Vec<_> = kept.iter().map(u64::to_string).collect();
                let kept = match &kept[..] {
                    [] => "there is none".to_owned(),
                    kept => format!("there are {}", kept.join(", ")),
                };
                format!("must be 0 or an epoch whose end is kept, got {epoch}, and {kept}")
            }
            Err(error) => return Err(error.into()),
        };
        let mut violations = Violations::default();
        violations.add("/from_epoch", detail);
        Err(violations.into_vec().into())
    }

    /// The newest such checkpoint of an epoch before `last`, where there is one.
    async fn newest_resumable(
        &self,
        job: &Job,
        last: u64,
    ) -> Result<Option<Checkpoint>, JobsError> {
        let store = &self.inner.store;
        let ends = store.epoch_ends(job.id).await?;
        for epoch in ends.into_iter().filter(|&epoch| epoch < last) {
            match store.checkpoint(job.id, &epoch.to_string()).await {
                Ok(checkpoint) if resumes(&checkpoint, &job.spec) => return Ok(Some(checkpoint)),
                // A running job drops those that are old.
                Ok(_) | Err(Error::NoCheckpoint { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The model that the job trained is still there, and no other of its name.
    async fn check_model(&self, job: &Job) -> Result<(), JobsError> {
        let model = found(self.inner.store.model(&job.model).await)?;
        if model.is_some_and(|model| job.trains(&model)) {
            return Ok(());
        }
        let why = format!("the model {:?} that it trained was deleted", job.model);
        Err(JobsError::Unverifiable { job: job.id, why })
    }

    /// The columns that the spec names, and that which rows are split by, in the revision that the job was checked against. The
    /// features of a job that reads its table in parts stay where they are.
    async fn columns(
        &self,
        (dataset, digest): (&str, &str),
        spec: &CheckedSpec,
        split_by: Option<&String>,
    ) -> Result<Source, Error> {
        let (features, targets) = spec
            .data
            .columns()
            .expect("a job on a dataset names its columns");
        let weights = spec.data.weight_column().map(std::slice::from_ref);
        let split_by = split_by.map(std::slice::from_ref).unwrap_or_default();
        let (features, beyond) = match spec.window_rows {
            Some(_) => (&[][..], Some(features)),
            None => (features, None),
        };
        let names = [features, targets, weights.unwrap_or_default(), split_by].concat();
        let store = &self.inner.store;
        let mut columns = store.dataset_columns(dataset, digest, &names).await?;
        let split_by = columns.split_off(names.len() - split_by.len()).pop();
        let mut data = RawSamples::of_columns(columns, features.len(), targets.len());
        if let (Some(names), RawSamples::Columns { features, .. }) = (beyond, &mut data) {
            *features = stored(store, (dataset, digest), names).await?;
        }
        Ok(Source {
            split_by,
            ..Source::of(data)
        })
    }
}

/// Whether a job can go on from a checkpoint: the end of an epoch beside a later checkpoint has no optimizer's state.
fn resumes(checkpoint: &Checkpoint, spec: &CheckedSpec) -> bool {
    checkpoint.optimizer.is_some() || spec.optimizer.slots() == 0
}

/// Why a job cannot be trained once more, where something that it read is not there any more.
fn gone(job: Uuid, error: Error) -> JobsError {
    let Error::NotFound { kind, name } = error else {
        return error.into();
    };
    let why = match kind {
        "rows" => "its rows were dropped when it ended, as are those of more than 1 MiB, and by an earlier release all: submit it again on a dataset".to_owned(),
        "checkpoint" => "its copy of the checkpoint that it started from was dropped when it ended: from_epoch must be one whose end is kept with the optimizer's state".to_owned(),
        "dataset" => format!("the dataset {name:?}, or the revision of it that the job read, is gone: upload the same rows under that name"),
        _ => format!("the {kind} {name:?} that it started from is gone: give a from_epoch whose end is kept"),
    };
    JobsError::Unverifiable { job, why }
}
