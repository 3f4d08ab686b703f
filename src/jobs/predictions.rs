//! Batch predictions: checked against a version and a dataset, stored, and cancelled.

use uuid::Uuid;

use crate::jobs::base::{found, no_version};
use crate::jobs::{Error, Jobs};
use crate::model::{Violations, known};
use crate::store::{
    Answer, BatchPrediction, ModelRow, NewBatchPrediction, Once, Timestamp, VersionRow,
};
use crate::train::{PredictionSpec, VersionGiven};

impl Jobs {
    /// Checks a batch prediction, stores it and wakes the one who runs them, where that was not done before.
    ///
    /// Errors: there is no such model; the spec breaks rules; the version is not fitted; too many wait; the key stands for
    /// another request.
    pub async fn submit_prediction(
        &self,
        model: &str,
        spec: PredictionSpec,
        once: Once<BatchPrediction>,
    ) -> Result<Answer, Error> {
        let store = &self.inner.store;
        if let Some(idempotency) = &once.idempotency
            && let Some(known) = store.known_key(idempotency).await?
        {
            return Ok(known.answer(&idempotency.digest)?);
        }
        let new = self.check_prediction(model, spec).await?;
        let now = Timestamp::now();
        let answer = store.create_prediction(new, once, &now).await?;
        self.inner.waiting.send_modify(|waiting| *waiting += 1);
        Ok(answer)
    }

    /// Ends a batch prediction without a result.
    ///
    /// Errors: there is none; it has ended otherwise.
    pub async fn cancel_prediction(&self, model: &str, id: Uuid) -> Result<BatchPrediction, Error> {
        let store = &self.inner.store;
        store
            .cancel_prediction(model, id, &Timestamp::now())
            .await?;
        Ok(store.prediction(model, id).await?)
    }

    async fn check_prediction(
        &self,
        model: &str,
        spec: PredictionSpec,
    ) -> Result<NewBatchPrediction, Error> {
        let store = &self.inner.store;
        let row = store.model(model).await?;
        let mut violations = Violations::default();
        spec.check_alone(&mut violations);
        let version = spec.version.as_ref();
        let version = self.named_version(&row, version, &mut violations).await?;
        let dataset = found(store.dataset(&spec.dataset).await)?;
        let header = version.as_ref().map(|version| &version.header);
        if let Some(header) = header {
            spec.check_version(header, &mut violations);
        }
        if let Some(dataset) = &dataset {
            let table = (dataset.rows, dataset.columns.as_slice());
            spec.check_dataset(table, header, &mut violations);
        } else {
            let name = &spec.dataset;
            let detail =
                format!("must name a dataset, got {name:?}, and there is none of that name");
            violations.add("/dataset", detail);
        }
        violations.finish()?;
        let (Some(version), Some(dataset)) = (version, dataset) else {
            unreachable!("what is not there breaks a rule");
        };
        version.header.check_fitted()?;
        Ok(NewBatchPrediction {
            model: model.to_owned(),
            version: version.version,
            spec: spec.checked(&version.header, &dataset.columns),
            dataset: dataset.name,
            digest: dataset.digest,
            rows: dataset.rows,
            metadata: spec.metadata,
            queue_limit: self.inner.config.queued_predictions,
        })
    }

    /// The version that a spec names, where there is one.
    async fn named_version(
        &self,
        model: &ModelRow,
        given: Option<&VersionGiven>,
        violations: &mut Violations,
    ) -> Result<Option<VersionRow>, Error> {
        let latest = model.latest_version;
        let number = match given {
            None => Some(latest),
            Some(VersionGiven::Number(number)) => Some(*number),
            Some(VersionGiven::Name(name)) if name == "latest" => Some(latest),
            Some(VersionGiven::Name(name)) => model.aliases.get(name).copied(),
        };
        let version = match number {
            Some(number) => found(self.inner.store.version(&model.spec.name, number).await)?,
            None => None,
        };
        match (&version, given) {
            (None, Some(VersionGiven::Name(name))) => {
                let aliases: Vec<_> = model.aliases.keys().collect();
                let known = known(name, &aliases);
                let detail =
                    format!("must be an alias of the model or \"latest\", got {name:?}: {known}");
                violations.add("/version", detail);
            }
            (None, _) => {
                let got = number.unwrap_or(latest);
                let detail = no_version(got, latest);
                violations.add("/version", detail);
            }
            (Some(_), _) => {}
        }
        Ok(version)
    }
}
