//! Evaluation of a version: its rows read and checked, and every figure computed, one evaluation at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::machine::Reservation;
use crate::model::{self, Header, Rows, Violations};
use crate::serve::compute::evaluated;
use crate::serve::{Error, Serve, Version, VersionName, finite};
use crate::store;
use crate::train::{self, EvaluationSpec, Figures, RawSamples};

/// What an evaluation answers.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The version that was evaluated.
    pub version: u64,
    /// The rows that it was evaluated on.
    pub rows: usize,
    /// Every figure.
    pub figures: Figures,
}

impl Serve {
    /// Every figure of a version on rows or on a dataset. Dropped, it ends at the next chunk of rows.
    ///
    /// Errors: there is no such version; it is not fitted; the rows do not fit it or are too many; a figure is not
    /// finite.
    pub async fn evaluate(
        &self,
        model: &str,
        version: &VersionName,
        spec: EvaluationSpec,
    ) -> Result<Evaluated, Error> {
        let version = self.version(model, version).await?;
        let header = version.model.header();
        header.check_fitted()?;
        let mut violations = Violations::default();
        spec.check(&mut violations);
        spec.check_metrics(&header, &mut violations);
        violations.finish().map_err(model::Error::from)?;
        let slot = Arc::clone(&self.evaluations).acquire_owned().await;
        let mut room = self.reserve(0)?;
        let columns = match &spec.dataset {
            Some(name) => {
                let asked = (name.as_str(), &spec);
                Some(self.columns(asked, &version, &header, &mut room).await?)
            }
            None => None,
        };
        let inputs = spec.inputs.as_ref().map_or(0, Rows::len);
        let rows = columns.as_ref().map_or(inputs, RawSamples::rows);
        let work = self.compute.admit_evaluation(&version.model, rows as u64)?;
        room.settle(bytes(&version, rows as u64))?;
        let asked = Arc::new(());
        let asker = Arc::downgrade(&asked);
        let poll = move || match asker.strong_count() {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let compute = move || {
            let (_slot, _room) = (slot, room);
            let raw = checked(&spec, &header, columns)?;
            compute(&version, &raw, &spec, poll)
        };
        let evaluated = self.compute.run(work, compute).await;
        drop(asked);
        evaluated
    }

    /// The columns of a dataset that the version reads and is to predict, once their memory is reserved.
    async fn columns(
        &self,
        (name, spec): (&str, &EvaluationSpec),
        version: &Version,
        header: &Header,
        room: &mut Reservation,
    ) -> Result<RawSamples, Error> {
        let refused = |detail: String| Error::from(model::Error::invalid("/dataset", detail));
        let dataset = match self.store.dataset(name).await {
            Err(store::Error::NotFound { .. }) => {
                let detail = "and there is none of that name";
                let detail = format!("must name a dataset, got {name:?}, {detail}");
                return Err(refused(detail));
            }
            found => found?,
        };
        let columns = spec.columns(header, &dataset.columns);
        let columns = columns.map_err(model::Error::from)?;
        self.compute
            .admit_evaluation(&version.model, dataset.rows)?;
        room.settle(bytes(version, dataset.rows))?;
        let weights = columns.sample_weight.as_ref().map(std::slice::from_ref);
        let names = [
            columns.features.as_slice(),
            &columns.targets,
            weights.unwrap_or_default(),
        ]
        .concat();
        let read = match self
            .store
            .dataset_columns(name, &dataset.digest, &names)
            .await
        {
            Err(store::Error::NotFound { .. }) => {
                return Err(refused("must not be replaced while it is read".to_owned()));
            }
            read => read?,
        };
        let (features, targets) = (columns.features.len(), columns.targets.len());
        Ok(RawSamples::of_columns(read, features, targets))
    }
}

/// Bytes that an evaluation holds, in f64.
fn bytes(version: &Version, rows: u64) -> u64 {
    evaluated(&version.model, rows).saturating_mul(8)
}

/// The rows to evaluate on, once everything that can be said against them is said.
fn checked(
    spec: &EvaluationSpec,
    header: &Header,
    columns: Option<RawSamples>,
) -> Result<RawSamples, Error> {
    let mut violations = Violations::default();
    let rows = columns.or_else(|| spec.rows(header, &mut violations));
    if let Some(raw) = &rows {
        spec.check_values(header, raw, &mut violations);
    }
    violations.finish().map_err(model::Error::from)?;
    Ok(rows.expect("rows that cannot be read break a rule"))
}

fn compute(
    version: &Version,
    raw: &RawSamples,
    spec: &EvaluationSpec,
    poll: impl FnMut() -> ControlFlow<()>,
) -> Result<Evaluated, Error> {
    let evaluated =
        train::evaluate(&version.model, raw, spec.metrics.as_deref(), poll).map_err(|error| {
            let pointer = if spec.dataset.is_some() {
                "/dataset"
            } else {
                "/inputs"
            };
            Error::from(model::Error::invalid(pointer, error.to_string()))
        })?;
    let ControlFlow::Continue((rows, figures)) = evaluated else {
        let detail = "nobody waits for it".to_owned();
        return Err(Error::Broken { detail });
    };
    finite(figures.is_finite(), || version.to_string())?;
    let version = version.number;
    Ok(Evaluated {
        version,
        rows,
        figures,
    })
}
