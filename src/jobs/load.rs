//! Loading: what a job starts from and reads, side by side from the store.

use crate::jobs::Jobs;
use crate::jobs::stored::stored;
use crate::model::Model;
use crate::store::{Error, Job};
use crate::train::{CheckedSpec, CheckedValidation, RawSamples, Source};

impl Jobs {
    /// What the job starts from and reads.
    pub(super) async fn load(&self, job: &Job) -> Result<(Model, Source), Error> {
        let store = &self.inner.store;
        let base = async {
            if job.spec.from.job.is_some() {
                let checkpoint = store.job_base(job.id).await?;
                return Ok((checkpoint.model, checkpoint.optimizer));
            }
            let version = store.load_version(&job.model, job.base_version).await?;
            Ok::<_, Error>((version, None))
        };
        let data = async {
            match job.spec.datasets().first() {
                Some(dataset) if job.spec.data.columns().is_some() => {
                    let split_by = job.spec.split_column();
                    self.columns(*dataset, &job.spec, split_by).await
                }
                _ => Ok(Source::of(store.job_rows(job.id, "data").await?)),
            }
        };
        // Side by side, and of several that cannot be read the first is told.
        let (base, data) = tokio::join!(base, data);
        let ((base, optimizer), source) = (base?, data?);
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
        let source = Source {
            validation,
            optimizer,
            ..source
        };
        Ok((base, source))
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
