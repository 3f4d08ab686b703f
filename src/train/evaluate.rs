//! Evaluation: every figure of a model on rows, by the preparation, forward pass and tree of a job's validation.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::Deserialize;

use crate::data::{Column, ColumnDescription, Kind};
use crate::model::{
    AnyNetwork, Header, Model, Rows, TargetRows, Targets, Violation, Violations, given, shortened,
};
use crate::nn::{Network, Scalar, Team, flush_denormals};
use crate::train::columns::{Declared, check_feature};
use crate::train::feed::Feed;
use crate::train::figures::{Answering, check_named};
use crate::train::full_report::{Assessed, Figures};
use crate::train::inline::checked_rows;
use crate::train::prepare::whole_samples;
use crate::train::targets::{check_target_range, no_label, unknown_classes};
use crate::train::weights::{check_range, check_rows};
use crate::train::{Error, Features, Metric, Missing, RawSamples, SampleWeight};

/// What a model is evaluated on, as a user declares it: rows, or a dataset with the columns that it was trained on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Input rows, in raw units.
    #[serde(default, deserialize_with = "given")]
    pub inputs: Option<Rows>,
    /// Target rows beside `inputs`, or names of target columns beside `dataset`.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<TargetRows>,
    /// The dataset.
    #[serde(default, deserialize_with = "given")]
    pub dataset: Option<String>,
    /// Its target column; left out, as `targets`, the columns that the model was trained on.
    #[serde(default, deserialize_with = "given")]
    pub target: Option<String>,
    /// What to do with rows that miss a value.
    #[serde(default, deserialize_with = "given")]
    pub missing: Option<Missing>,
    /// The figures that are wanted beside the loss; left out, all.
    #[serde(default, deserialize_with = "given")]
    pub metrics: Option<Vec<Metric>>,
    /// What the rows weigh: numbers beside `inputs`, the name of a column beside `dataset`.
    #[serde(default, deserialize_with = "given")]
    pub sample_weight: Option<SampleWeight>,
}

/// Columns of a dataset that a model can be evaluated on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationColumns {
    /// The model's features.
    pub features: Vec<String>,
    /// Its targets.
    pub targets: Vec<String>,
    /// What the rows weigh.
    pub sample_weight: Option<String>,
}

impl EvaluationSpec {
    /// Notes what contradicts itself, whatever the model.
    pub fn check(&self, violations: &mut Violations) {
        if self.inputs.is_some() == self.dataset.is_some() {
            violations.add(
                "",
                "the body must have either inputs with targets or a dataset",
            );
        }
        if self.dataset.is_none() {
            for (field, given) in [
                ("/target", self.target.is_some()),
                ("/missing", self.missing.is_some()),
            ] {
                if given {
                    violations.add(field, "must be left out where there is no dataset");
                }
            }
        } else if self.target.is_some() && self.targets.is_some() {
            violations.add("/targets", "must be left out where target is given");
        }
    }

    /// Notes metrics that the model's outputs do not allow.
    pub fn check_metrics(&self, header: &Header, violations: &mut Violations) {
        let named = self.metrics.iter().flatten().enumerate();
        let named = named.map(|(place, metric)| (format!("/metrics/{place}"), *metric));
        let named: Vec<_> = named.collect();
        check_named(&named, Answering::of(header), violations);
    }

    /// The inline rows, once they fit the model.
    pub fn rows(&self, header: &Header, violations: &mut Violations) -> Option<RawSamples> {
        let inputs = self.inputs.as_ref()?;
        let Some(targets) = &self.targets else {
            violations.add("/targets", "must be given beside inputs");
            return None;
        };
        let given = self.sample_weight.as_ref();
        let weights = check_rows(given, inputs.len(), "/sample_weight", violations);
        let (inputs, targets) = checked_rows(inputs, targets, header, "", violations)?;
        Some(RawSamples::Inline {
            inputs,
            targets,
            weights,
        })
    }

    /// The columns to read of a dataset.
    ///
    /// Errors: everything that does not fit the model.
    pub fn columns(
        &self,
        header: &Header,
        columns: &[ColumnDescription],
    ) -> Result<EvaluationColumns, Vec<Violation>> {
        let mut violations = Violations::default();
        let chosen = self.choose(header, columns, &mut violations);
        violations.finish()?;
        Ok(chosen.expect("columns that cannot be chosen break a rule"))
    }

    fn choose(
        &self,
        header: &Header,
        columns: &[ColumnDescription],
        violations: &mut Violations,
    ) -> Option<EvaluationColumns> {
        let columns = columns.iter().map(|column| (column.name.as_str(), column));
        let columns: HashMap<&str, &ColumnDescription> = columns.collect();
        let Some(features) = &header.features else {
            let detail = "must be inputs with targets: this version was not trained on a dataset with named columns";
            violations.add("/dataset", detail);
            return None;
        };
        let targets = self.target_names(header, violations)?;
        let declared = &Declared::of(header);
        let words = |name: &String| format!("column {name:?} must be numeric, got words");
        for name in features {
            let column = self.column("/dataset", (declared, name), &columns, violations);
            if let Some(column) = column {
                check_feature(
                    declared,
                    (column, None),
                    || "/dataset".to_owned(),
                    violations,
                );
            }
        }
        let pointer = self.target_pointer();
        for name in targets {
            let column = self.column(pointer, (declared, name), &columns, violations);
            match (column, &header.targets) {
                (None, _) | (_, Targets::Classes { .. }) => {}
                (Some(column), _) if column.kind == Kind::Categorical => {
                    violations.add(pointer, words(name));
                }
                (Some(column), Targets::Values { .. } | Targets::Labels { .. }) => {
                    check_target_range(header, column, pointer, violations);
                }
            }
        }
        Some(EvaluationColumns {
            features: features.clone(),
            targets: targets.to_vec(),
            sample_weight: self.weight_column(declared, &columns, violations),
        })
    }

    /// Notes what only the values show: classes that the model does not have, what is no label, and that no row is whole.
    pub fn check_values(&self, header: &Header, raw: &RawSamples, violations: &mut Violations) {
        let RawSamples::Columns {
            features: Features::Held(features),
            targets,
            weights,
        } = raw
        else {
            return;
        };
        if let (Some(known), [target]) = (header.targets.classes(), targets.as_slice())
            && let Some(unknown) = unknown_classes(target, known, known.len())
        {
            let known = shortened(known);
            let detail = format!("must have the model's classes ({known}), got {unknown}");
            violations.add(self.target_pointer(), detail);
        }
        if matches!(header.targets, Targets::Labels { .. }) {
            for detail in targets.iter().filter_map(no_label) {
                violations.add(self.target_pointer(), detail);
            }
        }
        let declared = Declared::of(header);
        let must_be_there = |column: &&Column| !declared.may_be_missing(column.name());
        let features = features.iter().filter(must_be_there);
        let columns: Vec<_> = features.chain(targets).chain(weights).collect();
        let missing = |row: usize| columns.iter().any(|column| column.is_missing(row));
        if (0..raw.rows()).all(missing) {
            let detail = "drop_rows leaves no row: every row misses a value";
            violations.add("/missing", detail);
        }
    }

    /// The column of weights, once it is one.
    fn weight_column(
        &self,
        declared: &Declared,
        columns: &HashMap<&str, &ColumnDescription>,
        violations: &mut Violations,
    ) -> Option<String> {
        let name = match self.sample_weight.as_ref()? {
            SampleWeight::Column(name) => name,
            SampleWeight::Rows(_) => {
                let detail = "must be the name of a column where a dataset is given";
                violations.add("/sample_weight", detail);
                return None;
            }
        };
        let column = self.column("/sample_weight", (declared, name), columns, violations)?;
        check_range(column, "/sample_weight", violations);
        Some(name.clone())
    }

    /// Where the targets stand in the body, or what they are missing from.
    fn target_pointer(&self) -> &'static str {
        match (&self.target, &self.targets) {
            (Some(_), _) => "/target",
            (None, Some(_)) => "/targets",
            (None, None) => "/dataset",
        }
    }

    fn target_names<'a>(
        &'a self,
        header: &'a Header,
        violations: &mut Violations,
    ) -> Option<&'a [String]> {
        let expected = match &header.targets {
            Targets::Classes { .. } => 1,
            Targets::Values { .. } | Targets::Labels { .. } => header.outputs(),
        };
        let names = match (&self.target, &self.targets, &header.targets) {
            (Some(target), ..) => std::slice::from_ref(target),
            (None, Some(TargetRows::Words(names)), _) => names,
            (None, Some(TargetRows::Numbers(_)), _) => &[],
            (None, None, Targets::Classes { name, .. }) => std::slice::from_ref(name),
            (None, None, Targets::Values { names } | Targets::Labels { names }) => {
                names.as_deref().unwrap_or_default()
            }
        };
        if names.len() != expected {
            let (pointer, got) = (self.target_pointer(), names.len());
            let detail = format!(
                "must be names of columns, as many as the version has targets: {expected}, got {got}"
            );
            violations.add(pointer, detail);
            return None;
        }
        Some(names)
    }

    fn column<'a>(
        &self,
        pointer: &str,
        (declared, name): (&Declared, &str),
        columns: &HashMap<&str, &'a ColumnDescription>,
        violations: &mut Violations,
    ) -> Option<&'a ColumnDescription> {
        let Some(&column) = columns.get(name) else {
            violations.add(pointer, format!("must have column {name:?}"));
            return None;
        };
        let is_refused = self.missing.unwrap_or_default() == Missing::Error;
        if column.missing > 0 && is_refused && !declared.may_be_missing(name) {
            let count = column.missing;
            let detail = format!(
                "column {name:?} has {count} missing values: give \"missing\":\"drop_rows\""
            );
            violations.add("/missing", detail);
        }
        Some(column)
    }
}

/// The figures of `model` that are asked for, or all, on the whole rows of `raw`, and how many those are. The loss has the
/// bits of a validation on the same rows.
///
/// `poll` is asked every million numbers, and as often as there are chunks of rows; its `Break` ends the evaluation.
///
/// Errors: a value does not fit the model's dtype once scaled.
pub fn evaluate(
    model: &Model,
    raw: &RawSamples,
    asked: Option<&[Metric]>,
    poll: impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), (usize, Figures)>, Error> {
    let _flushing = flush_denormals();
    match &model.network {
        AnyNetwork::Float32(network) => evaluate_network(network, model, raw, asked, poll),
        AnyNetwork::Float64(network) => evaluate_network(network, model, raw, asked, poll),
    }
}

fn evaluate_network<T: Scalar>(
    network: &Network<T>,
    model: &Model,
    raw: &RawSamples,
    asked: Option<&[Metric]>,
    mut poll: impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), (usize, Figures)>, Error> {
    let samples = whole_samples::<T>(model, raw, &mut poll)?;
    let ControlFlow::Continue(samples) = samples else {
        return Ok(ControlFlow::Break(()));
    };
    let (by, named) = ((network, &Team::alone()), asked.unwrap_or(&[]));
    let mut assessed = Assessed::every(by, model.loss, &model.targets, named);
    if let Some(asked) = asked {
        assessed.wanted.retain(|metric| asked.contains(metric));
    }
    let mut feed = Feed::held(samples);
    let figures = assessed.figures(&mut feed, &mut poll)?;
    Ok(figures.map_continue(|figures| (feed.len(), figures)))
}
