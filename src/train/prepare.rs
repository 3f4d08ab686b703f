//! Preparation: raw samples split, scaled and laid out as the matrices that the steps read.

use std::collections::HashMap;
use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView1, s};

use crate::data::Column;
use crate::model::columns::{Affine, Columns};
use crate::model::{Header, InputRows, Model, Preprocess, Preprocessing, Scaling, Targets};
use crate::nn::{Batch, Scalar, Team};
use crate::train::encoded::{encoded, fit_columns};
use crate::train::layout::{Misfit, Numbers, numbers};
use crate::train::place::BaseParts;
use crate::train::split::split_rows;
use crate::train::weighing::Weights;
use crate::train::{CheckedSpec, Error, RawSamples, Source};

/// Samples as the network reads them: inputs (N × K), scaled, target activations (N × J), and what they weigh.
#[derive(Debug)]
pub(crate) struct Samples<T> {
    pub(crate) inputs: Array2<T>,
    pub(crate) targets: Array2<T>,
    pub(crate) weights: Weights,
    /// How each target was scaled; empty where none was.
    pub(crate) target_scaling: Vec<Affine>,
}

impl<T: Scalar> Samples<T> {
    /// Samples of a batch: rows of an order, or, where they are in no other than their own, from `first` on.
    pub(super) fn batch<'a>(
        &'a self,
        rows: &'a [u32],
        in_own_order: Option<usize>,
    ) -> Batch<'a, T> {
        let (inputs, targets) = (self.inputs.view(), self.targets.view());
        if let Some(first) = in_own_order {
            let rows = s![first..first + rows.len(), ..];
            return Batch::new(inputs.slice_move(rows), targets.slice_move(rows));
        }
        Batch::picked(inputs, targets, rows)
    }
}

/// Everything a run reads, ready.
#[derive(Debug)]
pub(crate) struct Prepared<T> {
    pub(crate) preprocessing: Preprocessing,
    /// A few of the rows trained on, as they were before the preprocessing.
    pub(crate) golden: InputRows,
    pub(crate) train: Samples<T>,
    pub(crate) validation: Option<Samples<T>>,
    /// The fold that is left out, which is validated on at the end alone.
    pub(crate) left_out: Option<Samples<T>>,
}

/// Some rows of raw samples, which rise.
struct Part<'a> {
    raw: &'a RawSamples,
    rows: &'a [u32],
    team: &'a Team,
}

/// Splits, fits the preprocessing on the training rows where it is not fitted yet, and scales.
///
/// The result is the same bits for the same spec, base and data, so that a run can be taken up again; rows are divided among
/// `team`. `poll` is asked before each column that is fitted and every million numbers that are scaled; its `Break` ends the
/// preparation.
///
/// Errors: the data is not what the spec was checked against; a scaled value does not fit `T`.
pub(crate) fn prepare<T: Scalar>(
    spec: &CheckedSpec,
    base: &BaseParts,
    source: &Source,
    team: &Team,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Prepared<T>>, Error> {
    let kept = whole_rows(&source.data, &base.preprocessing, source.split_by.as_ref());
    let split = split_rows(spec, source, &kept)?;
    if split.train.len() != spec.train_rows {
        let (expected, got) = (spec.train_rows, split.train.len());
        return Err(Error::Data {
            detail: format!("it must leave {expected} rows to train on, got {got}"),
        });
    }
    let train = Part {
        raw: &source.data,
        rows: &split.train,
        team,
    };
    let other_rows = source.validation.as_ref();
    let other_rows = other_rows.map(|raw| whole_rows(raw, &base.preprocessing, None));
    let validation = match (&source.validation, &other_rows) {
        (Some(raw), Some(rows)) => Some(Part { raw, rows, team }),
        _ if split.validation.is_empty() => None,
        _ => Some(Part {
            raw: &source.data,
            rows: &split.validation,
            team,
        }),
    };
    let preprocessing = match fitted(spec, &base.preprocessing, &train, poll)? {
        ControlFlow::Continue(preprocessing) => preprocessing,
        ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
    };
    let outputs = base.header.outputs();
    let validation = match validation {
        Some(part) => match part.samples(&preprocessing, &spec.targets, outputs, poll)? {
            ControlFlow::Continue(samples) => Some(samples),
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        },
        None => None,
    };
    let weights = train.weights();
    let golden = train
        .raw
        .golden(train.rows, preprocessing.columns().is_some());
    let train = train.samples(&preprocessing, &spec.targets, outputs, poll)?;
    let ControlFlow::Continue(mut train) = train else {
        return Ok(ControlFlow::Break(()));
    };
    let (validation, left_out) = match source.left_out {
        Some(_) => (None, validation),
        None => (validation, None),
    };
    let header = Header {
        targets: spec.targets.clone(),
        ..base.header.clone()
    };
    let of_classes = spec.class_weight.as_ref();
    train.weights = Weights::of_training(weights, of_classes, &header, &train.targets)?;
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
    let (rows, team) = (&whole_rows(raw, &model.preprocessing, None), &Team::alone());
    let part = Part { raw, rows, team };
    let outputs = model.network.outputs();
    part.samples(&model.preprocessing, &model.targets, outputs, poll)
}

/// Rows that miss no value that they must have, that which they are split by among them. A job that does not drop rows was
/// refused where there are others.
fn whole_rows(
    raw: &RawSamples,
    preprocessing: &Preprocessing,
    split_by: Option<&Column>,
) -> Vec<u32> {
    let all = 0..raw.rows() as u32;
    let RawSamples::Columns {
        features,
        targets,
        weights,
    } = raw
    else {
        return all.collect();
    };
    let encoders = preprocessing.columns().map(Columns::encoders);
    let must_be_there =
        |place: usize| encoders.is_none_or(|encoders| !encoders[place].spec().imputes());
    let features = features.iter().enumerate();
    let features = features.filter(|(place, _)| must_be_there(*place));
    let gaps: Vec<&Column> = features
        .map(|(_, column)| column)
        .chain(targets)
        .chain(weights)
        .chain(split_by)
        .filter(|column| column.missing() > 0)
        .collect();
    all.filter(|&row| gaps.iter().all(|column| !column.is_missing(row as usize)))
        .collect()
}

/// The base's preprocessing, fitted on the rows trained on where it is not fitted yet or is to be fitted anew.
fn fitted(
    spec: &CheckedSpec,
    base: &Preprocessing,
    train: &Part,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Preprocessing>, Error> {
    let keep = base.is_ready() && !spec.refit;
    match (base, train.raw) {
        (Preprocessing::Columns(columns), _) if keep => Ok(ControlFlow::Continue(
            Preprocessing::Columns(columns.clone()),
        )),
        (
            Preprocessing::Columns(columns),
            RawSamples::Columns {
                features, targets, ..
            },
        ) => {
            let columns = fit_columns(columns, (features, targets), train.rows, poll)?;
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
                fit_inputs(scaling.preprocess(), train, poll)
            };
            Ok(scaling.map_continue(|scaling| Preprocessing::Inputs { scaling, features }))
        }
    }
}

fn fit_inputs(
    preprocess: Preprocess,
    train: &Part,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> ControlFlow<(), Scaling> {
    let mut scaling = Scaling::unfitted(preprocess);
    if preprocess != Preprocess::None {
        let inputs = train.features();
        for column in 0..inputs.width() {
            poll()?;
            scaling.fit_next(&inputs.column(column, train.rows));
        }
    }
    ControlFlow::Continue(scaling)
}

impl Part<'_> {
    /// The inputs of all rows, in raw units.
    fn features(&self) -> Numbers<'_> {
        match self.raw {
            RawSamples::Inline { inputs, .. } => Numbers::Rows(inputs.view()),
            RawSamples::Columns { features, .. } => Numbers::Columns(features),
        }
    }

    /// The sample weights of the part's rows, where they have any.
    fn weights(&self) -> Option<Vec<f64>> {
        match self.raw {
            RawSamples::Inline { weights, .. } => {
                let weights = weights.as_ref()?;
                let rows = self.rows.iter();
                Some(rows.map(|&row| weights[row as usize]).collect())
            }
            RawSamples::Columns { weights, .. } => {
                weights.as_ref().map(|column| numbers(column, self.rows))
            }
        }
    }

    /// The samples, with the weights that they have in figures.
    fn samples<T: Scalar>(
        &self,
        preprocessing: &Preprocessing,
        targets: &Targets,
        outputs: usize,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Samples<T>>, Error> {
        let inputs = match (preprocessing, self.raw) {
            (Preprocessing::Columns(columns), RawSamples::Columns { features, .. }) => {
                encoded(features, columns, self.rows, self.team, poll)?
            }
            (Preprocessing::Columns(_), RawSamples::Inline { .. }) => {
                let detail = "it must be columns of a dataset".to_owned();
                return Err(Error::Data { detail });
            }
            (Preprocessing::Inputs { scaling, .. }, _) => {
                let features = self.features();
                features.laid_out(self.rows, Some(scaling), self.team, poll)
            }
        };
        let ControlFlow::Continue(inputs) = inputs else {
            return Ok(ControlFlow::Break(()));
        };
        let inputs = inputs.map_err(|misfit| match self.raw {
            RawSamples::Inline { .. } => {
                let input = misfit.column + 1;
                unfitting::<T>(misfit, &format!("as input {input}"))
            }
            RawSamples::Columns { features, .. } => unfitting_in::<T>(misfit, features),
        })?;
        let target_scaling = preprocessing.columns().map(Columns::target_scaling);
        let target_scaling = target_scaling.unwrap_or_default().to_vec();
        let targets = if target_scaling.is_empty() {
            self.targets(targets, outputs)?
        } else {
            self.scaled_targets(&target_scaling)?
        };
        Ok(ControlFlow::Continue(Samples {
            inputs,
            targets,
            weights: Weights::of_figures(self.weights())?,
            target_scaling,
        }))
    }

    /// Targets (N × J) scaled in f64, and only then rounded to `T`.
    fn scaled_targets<T: Scalar>(&self, scaling: &[Affine]) -> Result<Array2<T>, Error> {
        let RawSamples::Columns { targets, .. } = self.raw else {
            let detail = "it must be columns of a dataset".to_owned();
            return Err(Error::Data { detail });
        };
        let mut matrix = Array2::zeros((self.rows.len(), scaling.len()));
        let columns = matrix.columns_mut().into_iter();
        for ((mut into, column), scaling) in columns.zip(targets).zip(scaling) {
            for (place, value) in into.iter_mut().zip(numbers(column, self.rows)) {
                *place = T::from_f64(scaling.apply(value));
            }
        }
        Ok(matrix)
    }

    fn targets<T: Scalar>(&self, meaning: &Targets, outputs: usize) -> Result<Array2<T>, Error> {
        match (self.raw, meaning) {
            (RawSamples::Inline { targets, .. }, _) => {
                let mut matrix = Array2::zeros((self.rows.len(), outputs));
                for (mut place, &row) in matrix.rows_mut().into_iter().zip(self.rows) {
                    let target = targets.row(row as usize);
                    place.zip_mut_with(&target, |place, &target| *place = T::from_f64(target));
                }
                Ok(matrix)
            }
            (RawSamples::Columns { .. }, Targets::Classes { .. }) => {
                let is_binary = meaning.is_binary(outputs);
                let mut matrix = Array2::zeros((self.rows.len(), outputs));
                for (row, code) in class_codes(self.raw, meaning, self.rows)?
                    .into_iter()
                    .enumerate()
                {
                    if is_binary {
                        matrix[(row, 0)] = T::from_f64(f64::from(code));
                    } else {
                        matrix[(row, code as usize)] = T::one();
                    }
                }
                Ok(matrix)
            }
            (
                RawSamples::Columns { targets, .. },
                Targets::Values { .. } | Targets::Labels { .. },
            ) => {
                let go_on = &mut || ControlFlow::Continue(());
                let columns = Numbers::Columns(targets);
                let ControlFlow::Continue(matrix) =
                    columns.laid_out(self.rows, None, self.team, go_on)
                else {
                    unreachable!("nothing ends it");
                };
                matrix.map_err(|misfit| unfitting_in::<T>(misfit, targets))
            }
        }
    }
}

/// The error of a number that does not fit, in one of these columns.
fn unfitting_in<T: Scalar>(misfit: Misfit, columns: &[Column]) -> Error {
    let name = columns[misfit.column].name();
    unfitting::<T>(misfit, &format!("in column {name:?}"))
}

fn unfitting<T: Scalar>(Misfit { row, value, .. }: Misfit, place: &str) -> Error {
    let (row, dtype) = (row + 1, T::DTYPE.name());
    Error::Data {
        detail: format!("row {row} has {value:e} {place}, which does not fit {dtype} once scaled"),
    }
}

/// The class of each of the rows, as its place among the model's classes.
pub(super) fn class_codes(
    raw: &RawSamples,
    meaning: &Targets,
    rows: &[u32],
) -> Result<Vec<u32>, Error> {
    let Some(classes) = meaning.classes() else {
        return Err(Error::Data {
            detail: "it has no classes".to_owned(),
        });
    };
    let column = match raw {
        RawSamples::Columns { targets, .. } => &targets[0],
        RawSamples::Inline { targets, .. } => {
            let class = |row: &u32| largest(&targets.row(*row as usize));
            return Ok(rows.iter().map(class).collect());
        }
    };
    let places: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let place = |word: &str| {
        let unknown = || Error::Data {
            detail: format!("class {word:?} is not among those of the spec"),
        };
        places.get(word).copied().ok_or_else(unknown)
    };
    if let Some(codes) = column.codes() {
        let words = column.categories();
        let known: Vec<_> = words.iter().map(|word| place(word).ok()).collect();
        return rows
            .iter()
            .map(|&row| {
                let code = codes[row as usize] as usize;
                known[code].map_or_else(|| place(&words[code]), Ok)
            })
            .collect();
    }
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut code = |number: f64| {
        let number = number + 0.0;
        if let Some(&code) = seen.get(&number.to_bits()) {
            return Ok(code);
        }
        let code = place(&column.word_of(number))?;
        seen.insert(number.to_bits(), code);
        Ok(code)
    };
    numbers(column, rows).into_iter().map(&mut code).collect()
}

/// The place of the largest target, of equal ones the first: the class of a row.
fn largest(targets: &ArrayView1<f64>) -> u32 {
    let places = targets.iter().zip(0..);
    let largest =
        places.max_by(|(one, place), (next, later)| one.total_cmp(next).then(later.cmp(place)));
    largest.map_or(0, |(_, place)| place)
}
