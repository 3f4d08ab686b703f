//! Preparation: raw samples split, the preprocessing fitted, and the feeds of what is trained and validated on.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::data::Column;
use crate::model::columns::Columns;
use crate::model::{Header, InputRows, Model, Preprocess, Preprocessing, Scaling};
use crate::nn::{Scalar, Team};
use crate::train::encoded::fit_columns;
use crate::train::feed::{Beyond, Feed};
use crate::train::layout::numbers;
use crate::train::place::BaseParts;
use crate::train::samples::{Reader, Samples};
use crate::train::split::split_rows;
use crate::train::weighing::Weights;
use crate::train::{CheckedSpec, Error, RawSamples, Source};

/// Everything a run reads, ready.
#[derive(Debug)]
pub(crate) struct Prepared<T> {
    pub(crate) preprocessing: Arc<Preprocessing>,
    /// A few of the rows trained on, as they were before the preprocessing.
    pub(crate) golden: InputRows,
    pub(crate) train: Feed<T>,
    pub(crate) validation: Option<Feed<T>>,
    /// The fold that is left out, which is validated on at the end alone.
    pub(crate) left_out: Option<Feed<T>>,
}

/// Splits, fits the preprocessing on the training rows where it is not fitted yet, and scales.
///
/// The result is the same bits for the same spec, base and data, so that a run can be taken up again; rows are divided among
/// `team`. `poll` is asked before each column that is looked through or fitted and every million numbers that are scaled; its `Break`
/// ends the preparation.
///
/// Errors: the data is not what the spec was checked against, or cannot be read; a scaled value does not fit `T`.
pub(crate) fn prepare<T: Scalar>(
    spec: &CheckedSpec,
    base: &BaseParts,
    source: &Source,
    team: &Team,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Prepared<T>>, Error> {
    let data = &source.data;
    let split_by = source.split_by.as_ref();
    let kept = whole_rows(data, &base.preprocessing, split_by, poll)?;
    let ControlFlow::Continue(kept) = kept else {
        return Ok(ControlFlow::Break(()));
    };
    let split = split_rows(spec, source, &kept)?;
    drop(kept);
    if split.train.len() != spec.train_rows {
        let (expected, got) = (spec.train_rows, split.train.len());
        return Err(Error::Data {
            detail: format!("it must leave {expected} rows to train on, got {got}"),
        });
    }
    let validation = match &source.validation {
        Some(raw) => match whole_rows(raw, &base.preprocessing, None, poll)? {
            ControlFlow::Continue(rows) => Some((raw, rows)),
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        },
        None => (!split.validation.is_empty()).then_some((data, split.validation)),
    };
    let preprocessing = fitted(spec, &base.preprocessing, (data, &split.train), poll)?;
    let ControlFlow::Continue(preprocessing) = preprocessing else {
        return Ok(ControlFlow::Break(()));
    };
    let preprocessing = Arc::new(preprocessing);
    let outputs = base.header.outputs();
    let reader = Reader {
        preprocessing: &preprocessing,
        meaning: &spec.targets,
        outputs,
        team,
    };
    let windowed = |raw, rows, weights, window| {
        let of = (
            Arc::clone(&preprocessing),
            spec.targets.clone(),
            outputs,
            team.clone(),
        );
        Feed::windowed(Beyond::new(
            (raw, rows),
            of,
            weights,
            (window, spec.batch_rows()),
        ))
    };
    let validation = match validation {
        Some((raw, rows)) => match spec.validation_window(rows.len()) {
            Some(window) => {
                let weights = Weights::of_figures(raw.weights(&rows))?;
                Some(windowed(raw, rows, weights, window))
            }
            None => match reader.samples(raw, &rows, poll)? {
                ControlFlow::Continue(samples) => Some(Feed::held(samples)),
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            },
        },
        None => None,
    };
    let rows = split.train;
    let golden = data.golden(&rows, preprocessing.columns().is_some())?;
    let header = Header {
        targets: spec.targets.clone(),
        ..base.header.clone()
    };
    let classes = || reader.classes::<T>(data, &rows);
    let of_classes = spec.class_weight.as_ref();
    let weights = Weights::of_training(data.weights(&rows), of_classes, &header, classes)?;
    let train = match spec.window() {
        Some(window) => windowed(data, rows, weights, window),
        None => match reader.samples(data, &rows, poll)? {
            ControlFlow::Continue(samples) => Feed::held(Samples { weights, ..samples }),
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        },
    };
    let (validation, left_out) = match source.left_out {
        Some(_) => (None, validation),
        None => (validation, None),
    };
    Ok(ControlFlow::Continue(Prepared {
        preprocessing,
        golden,
        train,
        validation,
        left_out,
    }))
}

/// The rows of raw samples that miss no value, as a fitted model reads them.
///
/// Errors and `poll`: as [`prepare`].
pub(crate) fn whole_samples<T: Scalar>(
    model: &Model,
    raw: &RawSamples,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Samples<T>>, Error> {
    let rows = whole_rows(raw, &model.preprocessing, None, poll)?;
    let ControlFlow::Continue(rows) = rows else {
        return Ok(ControlFlow::Break(()));
    };
    let reader = Reader {
        preprocessing: &model.preprocessing,
        meaning: &model.targets,
        outputs: model.network.outputs(),
        team: &Team::alone(),
    };
    reader.samples(raw, &rows, poll)
}

/// Rows that miss no value that they must have, that which they are split by among them. A job that does not drop rows was
/// refused where there are others.
///
/// Errors: a column cannot be read.
fn whole_rows(
    raw: &RawSamples,
    preprocessing: &Preprocessing,
    split_by: Option<&Column>,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Vec<u32>>, Error> {
    let mut rows: Vec<u32> = (0..raw.rows() as u32).collect();
    let RawSamples::Columns {
        features,
        targets,
        weights,
    } = raw
    else {
        return Ok(ControlFlow::Continue(rows));
    };
    let mut keep = |column: &Column| {
        if column.missing() > 0 {
            rows.retain(|&row| !column.is_missing(row as usize));
        }
    };
    targets.iter().for_each(&mut keep);
    weights.iter().chain(split_by).for_each(&mut keep);
    let encoders = preprocessing.columns().map(Columns::encoders);
    for place in 0..features.len() {
        let must_be_there = encoders.is_none_or(|encoders| !encoders[place].spec().imputes());
        if must_be_there && features.description(place).missing > 0 {
            if poll().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            keep(&*features.column(place)?);
        }
    }
    Ok(ControlFlow::Continue(rows))
}

/// The base's preprocessing, fitted on the rows trained on where it is not fitted yet or is to be fitted anew.
fn fitted(
    spec: &CheckedSpec,
    base: &Preprocessing,
    (raw, rows): (&RawSamples, &[u32]),
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Preprocessing>, Error> {
    let keep = base.is_ready() && !spec.refit;
    match (base, raw) {
        (Preprocessing::Columns(columns), _) if keep => Ok(ControlFlow::Continue(
            Preprocessing::Columns(columns.clone()),
        )),
        (
            Preprocessing::Columns(columns),
            RawSamples::Columns {
                features, targets, ..
            },
        ) => {
            let columns = fit_columns(columns, (features, targets), rows, poll)?;
            Ok(columns.map_continue(Preprocessing::Columns))
        }
        (Preprocessing::Columns(_), RawSamples::Inline { .. }) => Err(Error::Data {
            detail: "it must be columns of a dataset".to_owned(),
        }),
        (Preprocessing::Inputs { scaling, features }, _) => {
            let features = match spec.data.columns() {
                Some((features, _)) => Some(features.to_vec()),
                None => features.clone().filter(|_| !spec.refit),
            };
            let scaling = if keep {
                ControlFlow::Continue(scaling.clone())
            } else {
                fit_inputs(scaling.preprocess(), (raw, rows), poll)?
            };
            Ok(scaling.map_continue(|scaling| Preprocessing::Inputs { scaling, features }))
        }
    }
}

fn fit_inputs(
    preprocess: Preprocess,
    (raw, rows): (&RawSamples, &[u32]),
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Scaling>, Error> {
    let mut scaling = Scaling::unfitted(preprocess);
    if preprocess == Preprocess::None {
        return Ok(ControlFlow::Continue(scaling));
    }
    for input in 0..raw.width() {
        if poll().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        match raw {
            RawSamples::Inline { inputs, .. } => {
                let column = inputs.column(input);
                let values = rows.iter().map(|&row| column[row as usize]);
                scaling.fit_next(&values.collect::<Vec<_>>());
            }
            RawSamples::Columns { features, .. } => {
                scaling.fit_next(&numbers(&*features.column(input)?, rows));
            }
        }
    }
    Ok(ControlFlow::Continue(scaling))
}
