//! Submission: a spec checked against the model and the datasets that it names, and stored.

use std::collections::BTreeMap;

use crate::jobs::base::found;
use crate::jobs::{Error, Jobs};
use crate::machine::Use;
use crate::model::Header;
use crate::store::{Answer, Job, NewJob, Once, Timestamp};
use crate::train::{CheckedJob, Context, DataSpec, DatasetView, JobSpec, check};

impl Jobs {
    /// Checks a spec, stores the job and wakes a slot, where that was not done before.
    ///
    /// Errors: the spec breaks rules; it needs more memory than a job may have; too many jobs wait; the key stands for another
    /// request.
    pub async fn submit(&self, spec: JobSpec, once: Once<Job>) -> Result<Answer, Error> {
        if let Some(idempotency) = &once.idempotency
            && let Some(known) = self.inner.store.known_key(idempotency).await?
        {
            return Ok(known.answer(&idempotency.digest)?);
        }
        let (priority, metadata) = (spec.priority, spec.metadata.clone());
        let memory = &self.inner.memory;
        let _rows = memory.try_reserve(Use::Requests, spec.inline_bytes())?;
        let checked = self.check(spec).await?;
        self.check_memory(self.bytes_of(&checked.spec).await?)?;
        let new = NewJob {
            checked,
            priority,
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
        let base = self.base(&spec).await?;
        let spec = spec.completed(&base.header, base.dataset.as_deref());
        let named = spec.data.dataset.as_deref();
        let by = spec.split_column();
        let data = self.view((named, by), &spec.data, &base.header).await?;
        let other = spec
            .validation
            .as_ref()
            .and_then(|validation| validation.dataset.as_deref());
        let validation = self.view((other, None), &spec.data, &base.header);
        let validation = validation.await?;
        let context = Context {
            base: &base.header,
            base_version: base.version,
            continued: base.continued,
            data,
            validation,
            limits: self.inner.config.limits,
        };
        let checked = check(spec, &context)?;
        let base = base.bytes;
        Ok(CheckedJob { base, ..checked })
    }

    /// A dataset as the check sees it, where there is one of that name, with the column that its rows are split by.
    async fn view(
        &self,
        (name, split_by): (Option<&str>, Option<&str>),
        data: &DataSpec,
        base: &Header,
    ) -> Result<Option<DatasetView>, Error> {
        let Some(name) = name else {
            return Ok(None);
        };
        let Some(dataset) = found(self.inner.store.dataset(name).await)? else {
            return Ok(None);
        };
        let names = DatasetView::to_load(data, split_by, base, &dataset.columns);
        // As they are in chunks, and as they are read.
        let bytes = dataset.rows.saturating_mul(16 * names.len() as u64);
        let _room = self.inner.memory.try_reserve(Use::Requests, bytes)?;
        let columns = self
            .inner
            .store
            .dataset_columns(name, &dataset.digest, &names);
        let columns = columns.await?;
        let loaded: BTreeMap<_, _> = names.into_iter().zip(columns).collect();
        Ok(Some(DatasetView {
            name: dataset.name,
            digest: dataset.digest,
            columns: dataset.columns,
            loaded,
            split_by: split_by.map(str::to_owned),
        }))
    }
}
