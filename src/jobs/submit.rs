//! Submission: a spec checked against the model and the datasets that it names, and stored.

use std::collections::BTreeMap;

use crate::jobs::{Error, Jobs};
use crate::model::Violation;
use crate::store::{Job, NewJob, Timestamp};
use crate::train::{Context, DataSpec, DatasetView, JobSpec, check};

impl Jobs {
    /// Checks a spec, stores the job and wakes a slot.
    ///
    /// Errors: the spec breaks rules; too many jobs wait.
    pub async fn submit(&self, spec: JobSpec) -> Result<Job, Error> {
        let metadata = spec.metadata.clone();
        let checked = {
            let (header, base_version) = self.base(&spec).await?;
            let data = self.view(spec.data.dataset.as_deref(), &spec.data).await?;
            let other = spec
                .validation
                .as_ref()
                .and_then(|validation| validation.dataset.as_deref());
            let validation = self.view(other, &spec.data).await?;
            let limits = self.inner.config.limits;
            check(
                spec,
                &Context {
                    base: &header,
                    base_version,
                    data,
                    validation,
                    limits,
                },
            )?
        };
        let new = NewJob {
            checked,
            metadata,
            queue_limit: self.inner.config.queue,
        };
        let job = self.inner.store.create_job(new, &Timestamp::now()).await?;
        self.wake();
        Ok(job)
    }

    /// The version that the job starts from.
    async fn base(&self, spec: &JobSpec) -> Result<(crate::model::Header, u64), Error> {
        let model = match self.inner.store.model(&spec.model).await {
            Err(crate::store::Error::NotFound { .. }) => {
                let detail = format!(
                    "must name a model, got {:?}, and there is none of that name",
                    spec.model
                );
                return Err(Error::invalid("/model", detail));
            }
            other => other?,
        };
        let version = match (spec.from.version, spec.from.initial) {
            (Some(_), Some(_)) | (None, Some(false)) => {
                let detail = "must be {\"version\":n} or {\"initial\":true}".to_owned();
                return Err(Error::invalid("/from", detail));
            }
            (Some(version), None) => version,
            (None, Some(true)) => 1,
            (None, None) => model.latest_version,
        };
        match self.inner.store.version(&spec.model, version).await {
            Err(crate::store::Error::NotFound { .. }) => {
                let latest = model.latest_version;
                let detail =
                    format!("must be a version of the model, in [1, {latest}], got {version}");
                Err(Error::Invalid {
                    violations: vec![Violation {
                        pointer: "/from/version".to_owned(),
                        detail,
                    }],
                })
            }
            other => Ok((other?.header, version)),
        }
    }

    /// A dataset as the check sees it, where there is one of that name.
    async fn view(
        &self,
        name: Option<&str>,
        data: &DataSpec,
    ) -> Result<Option<DatasetView>, Error> {
        let Some(name) = name else {
            return Ok(None);
        };
        let dataset = match self.inner.store.dataset(name).await {
            Err(crate::store::Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let names = DatasetView::to_load(data, &dataset.columns);
        let columns = self.inner.store.dataset_columns(name, &names).await?;
        let loaded: BTreeMap<_, _> = names.into_iter().zip(columns).collect();
        Ok(Some(DatasetView {
            name: dataset.name,
            digest: dataset.digest,
            columns: dataset.columns,
            loaded,
        }))
    }
}
