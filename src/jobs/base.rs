//! What a job starts from: a version of its model, or a checkpoint of another job.

use uuid::Uuid;

use crate::jobs::{Error, Jobs};
use crate::model::{Header, Violations};
use crate::store::{Job, ModelRow};
use crate::train::{Continued, JobSpec, check_alone};

/// What a job starts from.
pub(crate) struct Base {
    /// What is known of it without its parameters.
    pub(crate) header: Header,
    /// The version, or that which the checkpoint's job started from.
    pub(crate) version: u64,
    /// The checkpoint.
    pub(crate) continued: Option<Continued>,
    /// What the job keeps of the checkpoint.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The dataset that the model was declared from.
    pub(crate) dataset: Option<String>,
}

impl Jobs {
    /// What the job starts from.
    ///
    /// Errors: there is none, beside whatever else can be said of the spec without it.
    pub(crate) async fn base(&self, spec: &JobSpec) -> Result<Base, Error> {
        let mut violations = Violations::default();
        if let Some(base) = self.find_base(spec, &mut violations).await? {
            return Ok(base);
        }
        check_alone(spec, &self.inner.config.limits, &mut violations);
        Err(violations.into_vec().into())
    }

    async fn find_base(
        &self,
        spec: &JobSpec,
        violations: &mut Violations,
    ) -> Result<Option<Base>, Error> {
        let (store, name) = (&self.inner.store, &spec.model);
        let Some(model) = found(store.model(name).await)? else {
            let detail = format!("must name a model, got {name:?}, and there is none of that name");
            violations.add("/model", detail);
            return Ok(None);
        };
        let latest = model.latest_version;
        let from = &spec.from;
        let version = match (from.version, from.initial, from.job.as_deref()) {
            (None, None, Some(job)) => return self.continued(spec, job, &model, violations).await,
            (Some(version), None, None) => version,
            (None, Some(true), None) => 1,
            (None, None, None) => latest,
            (_, Some(_), _) | (Some(_), None, Some(_)) => {
                let detail = "must be {\"version\":n}, {\"initial\":true} or {\"job\":id}";
                violations.add("/from", detail);
                return Ok(None);
            }
        };
        let Some(row) = found(store.version(name, version).await)? else {
            violations.add("/from/version", no_version(version, latest));
            return Ok(None);
        };
        Ok(Some(Base {
            header: row.header,
            version,
            continued: None,
            bytes: None,
            dataset: model.spec.dataset,
        }))
    }

    /// The checkpoint that the spec names, or the newest that is an epoch's end.
    async fn continued(
        &self,
        spec: &JobSpec,
        id: &str,
        model: &ModelRow,
        violations: &mut Violations,
    ) -> Result<Option<Base>, Error> {
        let Some(job) = self.job_of(id, model, violations).await? else {
            return Ok(None);
        };
        let store = &self.inner.store;
        let ends: Vec<u64> = store.epoch_ends(job.id).await?;
        let Some(epoch) = spec.from.epoch.or(ends.first().copied()) else {
            let detail = "must be a job with a checkpoint of an epoch's end, and there is none";
            violations.add("/from/job", detail);
            return Ok(None);
        };
        let checkpoint = match store.checkpoint(job.id, &epoch.to_string()).await {
            Err(crate::store::Error::NoCheckpoint { kept, .. }) => {
                let kept: Vec<_> = kept.iter().map(u64::to_string).collect();
                let kept = match &kept[..] {
                    [] => "there is none".to_owned(),
                    kept => format!("there are {}", kept.join(", ")),
                };
                let detail = format!("must be an epoch whose end is kept, got {epoch}, and {kept}");
                violations.add("/from/epoch", detail);
                return Ok(None);
            }
            read => read?,
        };
        let continued = Continued {
            job: id.to_owned(),
            epoch,
            optimizer: job.spec.optimizer,
            has_state: checkpoint.optimizer.is_some(),
        };
        let wanted = spec.from.optimizer_state == Some(true);
        let encoded = tokio::task::spawn_blocking(move || {
            let header = checkpoint.model.header();
            (header, Continued::kept(checkpoint, wanted).encode())
        });
        let (header, bytes) = encoded.await.expect("a checkpoint can be encoded");
        Ok(Some(Base {
            header,
            version: job.base_version,
            continued: Some(continued),
            bytes: Some(bytes),
            dataset: model.spec.dataset.clone(),
        }))
    }

    /// The job of an id, where it trained this very model.
    async fn job_of(
        &self,
        id: &str,
        model: &ModelRow,
        violations: &mut Violations,
    ) -> Result<Option<Job>, Error> {
        let uuid = id
            .parse::<Uuid>()
            .ok()
            .filter(|uuid| uuid.to_string() == id);
        let job = match uuid {
            Some(uuid) => found(self.inner.store.job(uuid).await)?,
            None => None,
        };
        let Some(job) = job else {
            let detail =
                format!("must be the id of a job, got {id:?}, and there is none of that id");
            violations.add("/from/job", detail);
            return Ok(None);
        };
        let (name, got) = (&model.spec.name, &job.model);
        if name != got {
            let detail = format!("must be a job of model {name:?}, got one of model {got:?}");
            violations.add("/from/job", detail);
            return Ok(None);
        }
        if !job.trains(model) {
            let detail = format!(
                "must be a job of this model {name:?}, got one of another that had the name before"
            );
            violations.add("/from/job", detail);
            return Ok(None);
        }
        Ok(Some(job))
    }
}

/// What the store has, or none.
pub(crate) fn found<T>(read: Result<T, crate::store::Error>) -> Result<Option<T>, Error> {
    match read {
        Err(crate::store::Error::NotFound { .. }) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// What a version must be that the model, whose latest is `latest`, does not have.
pub(super) fn no_version(version: u64, latest: u64) -> String {
    if (1..=latest).contains(&version) {
        return format!("must be a version of the model, got {version}: it was deleted");
    }
    format!("must be a version of the model, in [1, {latest}], got {version}")
}
