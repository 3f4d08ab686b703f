//! Submission: a spec checked against the model and the datasets that it names, and stored.

use std::collections::BTreeMap;

use crate::jobs::{Error, Jobs};
use crate::model::{Header, Violations};
use crate::store::{Answer, Job, NewJob, Once, Timestamp};
use crate::train::{CheckedJob, Context, DataSpec, DatasetView, JobSpec, check, check_alone};

impl Jobs {
    /// Checks a spec, stores the job and wakes a slot, where that was not done before.
    ///
    /// Errors: the spec breaks rules; too many jobs wait; the key stands for another request.
    pub async fn submit(&self, spec: JobSpec, once: Once<Job>) -> Result<Answer, Error> {
        if let Some(idempotency) = &once.idempotency
            && let Some(known) = self.inner.store.known_key(idempotency).await?
        {
            return Ok(known.answer(&idempotency.digest)?);
        }
        let metadata = spec.metadata.clone();
        let new = NewJob {
            checked: self.check(spec).await?,
            metadata,
            queue_limit: self.inner.config.queue,
        };
        let now = Timestamp::now();
        let answer = self.inner.store.create_job(new, once, &now).await?;
        self.wake();
        Ok(answer)
    }

    /// Checks a spec against what it names.
    ///
    /// Errors: all rules that it breaks.
    pub(crate) async fn check(&self, spec: JobSpec) -> Result<CheckedJob, Error> {
        let (header, base_version) = self.base(&spec).await?;
        let named = spec.data.dataset.as_deref();
        let data = self.view(named, &spec.data, &header).await?;
        let other = spec
            .validation
            .as_ref()
            .and_then(|validation| validation.dataset.as_deref());
        let validation = self.view(other, &spec.data, &header).await?;
        let context = Context {
            base: &header,
            base_version,
            data,
            validation,
            limits: self.inner.config.limits,
        };
        Ok(check(spec, &context)?)
    }

    /// The version that the job starts from.
    ///
    /// Errors: there is none, beside whatever else can be said of the spec without it.
    async fn base(&self, spec: &JobSpec) -> Result<(Header, u64), Error> {
        let mut violations = Violations::default();
        if let Some(base) = self.base_version(spec, &mut violations).await? {
            return Ok(base);
        }
        check_alone(spec, &self.inner.config.limits, &mut violations);
        Err(violations.into_vec().into())
    }

    async fn base_version(
        &self,
        spec: &JobSpec,
        violations: &mut Violations,
    ) -> Result<Option<(Header, u64)>, Error> {
        let (store, name) = (&self.inner.store, &spec.model);
        let Some(model) = found(store.model(name).await)? else {
            let detail = format!("must name a model, got {name:?}, and there is none of that name");
            violations.add("/model", detail);
            return Ok(None);
        };
        let latest = model.latest_version;
        let version = match (spec.from.version, spec.from.initial) {
            (Some(_), Some(_)) | (None, Some(false)) => {
                violations.add("/from", "must be {\"version\":n} or {\"initial\":true}");
                return Ok(None);
            }
            (Some(version), None) => version,
            (None, Some(true)) => 1,
            (None, None) => latest,
        };
        let Some(row) = found(store.version(name, version).await)? else {
            let detail = format!("must be a version of the model, in [1, {latest}], got {version}");
            violations.add("/from/version", detail);
            return Ok(None);
        };
        Ok(Some((row.header, version)))
    }

    /// A dataset as the check sees it, where there is one of that name.
    async fn view(
        &self,
        name: Option<&str>,
        data: &DataSpec,
        base: &Header,
    ) -> Result<Option<DatasetView>, Error> {
        let Some(name) = name else {
            return Ok(None);
        };
        let Some(dataset) = found(self.inner.store.dataset(name).await)? else {
            return Ok(None);
        };
        let names = DatasetView::to_load(data, &base.targets, &dataset.columns);
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

/// What the store has, or none.
fn found<T>(read: Result<T, crate::store::Error>) -> Result<Option<T>, Error> {
    match read {
        Err(crate::store::Error::NotFound { .. }) => Ok(None),
        other => Ok(Some(other?)),
    }
}
