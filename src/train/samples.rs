//! Samples: raw rows as the matrices that the steps read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView1, ArrayViewMut2, s};

use crate::data::{CHUNK_ROWS, Column};
use crate::model::columns::{Affine, Columns, Encoder};
use crate::model::{Preprocessing, Targets};
use crate::nn::{Batch, Filled, Scalar, Team, class_of, prefer_large_pages};
use crate::train::encoded::encode;
use crate::train::layout::{Misfit, Numbers, Place, numbers};
use crate::train::weighing::Weights;
use crate::train::{Error, Features, RawSamples};

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

/// How raw rows become samples.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Fitted.
    pub(super) preprocessing: &'a Preprocessing,
    /// What the outputs mean.
    pub(super) meaning: &'a Targets,
    /// J of the last layer.
    pub(super) outputs: usize,
    /// The threads that rows are divided among.
    pub(super) team: &'a Team,
}

impl Reader<'_> {
    /// Room for so many rows of `raw`.
    pub(super) fn room<T: Scalar>(&self, raw: &RawSamples, rows: usize) -> Samples<T> {
        let width = self
            .preprocessing
            .columns()
            .map_or_else(|| raw.width(), Columns::width);
        let inputs = Array2::zeros((rows, width));
        let numbers = inputs.as_slice().expect("rows follow one another");
        prefer_large_pages(numbers, Filled::No);
        Samples {
            inputs,
            targets: Array2::zeros((rows, self.outputs)),
            weights: Weights::default(),
            target_scaling: self.target_scaling().to_vec(),
        }
    }

    fn target_scaling(&self) -> &[Affine] {
        let columns = self.preprocessing.columns();
        columns.map(Columns::target_scaling).unwrap_or_default()
    }

    /// Some rows, which rise, as samples with the weights that they have in figures.
    ///
    /// `poll` is asked every million numbers; its `Break` ends it.
    ///
    /// Errors: a value that is refused, or does not fit `T` once scaled; rows cannot be read.
    pub(super) fn samples<T: Scalar>(
        &self,
        raw: &RawSamples,
        rows: &[u32],
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), Samples<T>>, Error> {
        let mut samples = self.room(raw, rows.len());
        if self.write(raw, rows, (&mut samples, 0), poll)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        samples.weights = Weights::of_figures(raw.weights(rows))?;
        Ok(ControlFlow::Continue(samples))
    }

    /// Writes some rows, which rise, as rows `first` and on of `into`, but for their weights. A stored table is read a chunk at a
    /// time. `poll` and errors: as [`Reader::samples`].
    pub(super) fn write<T: Scalar>(
        &self,
        raw: &RawSamples,
        rows: &[u32],
        (into, first): (&mut Samples<T>, usize),
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let (mut rest, mut first) = (rows, first);
        while let Some(&row) = rest.first() {
            let together = match raw {
                RawSamples::Columns {
                    features: Features::Stored(_),
                    ..
                } => {
                    let chunk = row as usize / CHUNK_ROWS;
                    rest.partition_point(|&row| row as usize / CHUNK_ROWS == chunk)
                }
                RawSamples::Columns { .. } | RawSamples::Inline { .. } => rest.len(),
            };
            let (rows, others) = rest.split_at(together);
            let places = first..first + together;
            let inputs = into.inputs.slice_mut(s![places.clone(), ..]);
            let inputs = inputs.into_slice().expect("rows follow one another");
            if self.write_inputs(raw, rows, inputs, poll)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.write_targets(raw, rows, into.targets.slice_mut(s![places, ..]))?;
            (rest, first) = (others, first + together);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn write_inputs<T: Scalar>(
        &self,
        raw: &RawSamples,
        rows: &[u32],
        into: &mut [T],
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let features = match raw {
            RawSamples::Inline { inputs, .. } => {
                let Preprocessing::Inputs { scaling, .. } = self.preprocessing else {
                    return Err(no_columns());
                };
                let numbers = Numbers::Rows(inputs.view());
                let written = numbers.lay_out(rows, Some(scaling), into, self.team, poll);
                return fitting(written, |misfit| {
                    let input = misfit.column + 1;
                    unfitting::<T>(misfit, &format!("as input {input}"))
                });
            }
            RawSamples::Columns { features, .. } => features,
        };
        let width = into.len() / rows.len();
        let of_rows = rows[0] as usize..rows[rows.len() - 1] as usize + 1;
        let mut first = 0;
        for group in features.groups() {
            let (columns, before) = features.part(group.clone(), of_rows.clone())?;
            // Counted from the first that was read.
            let shift = (of_rows.start - before) as u32;
            let rows = match shift {
                0 => Cow::Borrowed(rows),
                _ => rows.iter().map(|row| row - shift).collect(),
            };
            let place = Place { first, width };
            let written = match self.preprocessing {
                Preprocessing::Columns(of_table) => {
                    let encoders = &of_table.encoders()[group];
                    first += encoders.iter().map(Encoder::width).sum::<usize>();
                    encode((&columns, encoders), place, &rows, into, self.team, poll)?
                }
                Preprocessing::Inputs { scaling, .. } => {
                    first += columns.len();
                    let numbers = Numbers::Columns(&columns, place);
                    numbers.lay_out(&rows, Some(scaling), into, self.team, poll)
                }
            };
            let written = fitting(written, |misfit| {
                let row = misfit.row + shift;
                unfitting_in::<T>(Misfit { row, ..misfit }, &columns)
            })?;
            if written.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Targets (N × J), where they are scaled in f64, and only then rounded to `T`.
    fn write_targets<T: Scalar>(
        &self,
        raw: &RawSamples,
        rows: &[u32],
        mut into: ArrayViewMut2<T>,
    ) -> Result<(), Error> {
        let scaling = self.target_scaling();
        match (raw, self.meaning) {
            (RawSamples::Inline { .. }, _) if !scaling.is_empty() => return Err(no_columns()),
            (RawSamples::Inline { targets, .. }, _) => {
                for (mut place, &row) in into.rows_mut().into_iter().zip(rows) {
                    let target = targets.row(row as usize);
                    place.zip_mut_with(&target, |place, &target| *place = T::from_f64(target));
                }
            }
            (RawSamples::Columns { targets, .. }, _) if !scaling.is_empty() => {
                let columns = into.columns_mut().into_iter().zip(targets);
                for ((mut into, column), scaling) in columns.zip(scaling) {
                    for (place, value) in into.iter_mut().zip(numbers(column, rows)) {
                        *place = T::from_f64(scaling.apply(value));
                    }
                }
            }
            (RawSamples::Columns { .. }, Targets::Classes { .. }) => {
                let is_binary = self.meaning.is_binary(self.outputs);
                into.fill(T::zero());
                let codes = class_codes(raw, self.meaning, rows)?;
                for (mut row, code) in into.rows_mut().into_iter().zip(codes) {
                    if is_binary {
                        row[0] = T::from_f64(f64::from(code));
                    } else {
                        row[code as usize] = T::one();
                    }
                }
            }
            (
                RawSamples::Columns { targets, .. },
                Targets::Values { .. } | Targets::Labels { .. },
            ) => {
                let go_on = &mut || ControlFlow::Continue(());
                let (first, width) = (0, self.outputs);
                let columns = Numbers::Columns(targets, Place { first, width });
                let into = into.as_slice_mut().expect("rows follow one another");
                if let ControlFlow::Continue(Err(misfit)) =
                    columns.lay_out(rows, None, into, self.team, go_on)
                {
                    return Err(unfitting_in::<T>(misfit, targets));
                }
            }
        }
        Ok(())
    }

    /// The class of each of some rows, as the network is to answer it.
    ///
    /// Errors: a class is not among the model's.
    pub(super) fn classes<T: Scalar>(
        &self,
        raw: &RawSamples,
        rows: &[u32],
    ) -> Result<Vec<usize>, Error> {
        let mut classes = Vec::with_capacity(rows.len());
        let mut targets = Array2::<T>::zeros((CHUNK_ROWS.min(rows.len()), self.outputs));
        for rows in rows.chunks(CHUNK_ROWS) {
            let mut targets = targets.slice_mut(s![..rows.len(), ..]);
            self.write_targets(raw, rows, targets.view_mut())?;
            let each = targets.rows().into_iter();
            classes.extend(each.map(|row| class_of(row.to_slice().expect("a row's numbers"))));
        }
        Ok(classes)
    }
}

impl RawSamples {
    /// Numbers of an input row, in raw units.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Inline { inputs, .. } => inputs.ncols(),
            Self::Columns { features, .. } => features.len(),
        }
    }

    /// The sample weights of some rows, which rise, where they have any.
    pub(super) fn weights(&self, rows: &[u32]) -> Option<Vec<f64>> {
        match self {
            Self::Inline { weights, .. } => {
                let weights = weights.as_ref()?;
                Some(rows.iter().map(|&row| weights[row as usize]).collect())
            }
            Self::Columns { weights, .. } => weights.as_ref().map(|column| numbers(column, rows)),
        }
    }
}

/// What was written, or the error of what does not fit.
fn fitting(
    written: ControlFlow<(), Result<(), Misfit>>,
    error: impl FnOnce(Misfit) -> Error,
) -> Result<ControlFlow<()>, Error> {
    match written {
        ControlFlow::Continue(Ok(())) => Ok(ControlFlow::Continue(())),
        ControlFlow::Continue(Err(misfit)) => Err(error(misfit)),
        ControlFlow::Break(()) => Ok(ControlFlow::Break(())),
    }
}

fn no_columns() -> Error {
    Error::Data {
        detail: "it must be columns of a dataset".to_owned(),
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
