//! Columns of a table, as a model that was declared from a table reads them: fitted, and written as the rows of a matrix.

use std::ops::ControlFlow;

use crate::data::Column;
use crate::model::columns::{Affine, Columns, Encoder, Reading, Scale};
use crate::nn::{Scalar, Team};
use crate::train::layout::{Bands, Misfit, Place, ROWS, numbers};
use crate::train::{Error, Features};

/// The time that a number takes, in multiply-adds.
const WORK: usize = 64;

/// The columns fitted to some rows, which rise: features, and numeric targets that are scaled. `poll` is asked before each
/// column.
///
/// Errors: a value that the columns refuse; a column cannot be read.
pub(super) fn fit_columns(
    columns: &Columns,
    (features, targets): (&Features, &[Column]),
    rows: &[u32],
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Columns>, Error> {
    let mut encoders = Vec::with_capacity(features.len());
    let mut values = vec![0.0; rows.len()];
    for (place, encoder) in columns.encoders().iter().enumerate() {
        if poll().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let column = features.column(place)?;
        let reading = Reading::new(encoder, &column).map_err(|detail| Error::Data { detail })?;
        reading.pick(rows, &mut values);
        encoders.push(encoder.fit(&values));
    }
    let scales: Vec<_> = columns
        .targets()
        .filter_map(|target| target.scale)
        .collect();
    let scaled = scales.iter().any(|scale| *scale != Scale::None);
    let fit = |(&scale, column): (&Scale, &Column)| Affine::fitted(scale, &numbers(column, rows));
    let targets = if scaled {
        scales.iter().zip(targets).map(fit).collect()
    } else {
        Vec::new()
    };
    Ok(ControlFlow::Continue(columns.fitted(encoders, targets)))
}

/// Writes some columns of some rows, which rise, as the network reads them, to their places in rows that follow one another; or
/// tells the first number, in the first column, that does not fit `T` once scaled. The rows are divided among `team`. `poll` is asked again and again; its `Break`
/// ends it.
///
/// Errors: a value that the columns refuse.
///
/// Panics: there is not a place for each number, the caller's bug.
pub(super) fn encode<T: Scalar>(
    (columns, encoders): (&[Column], &[Encoder]),
    place: Place,
    rows: &[u32],
    into: &mut [T],
    team: &Team,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), Result<(), Misfit>>, Error> {
    let readings = encoders.iter().zip(columns);
    let readings = readings.map(|(encoder, column)| Reading::new(encoder, column));
    let readings: Result<Vec<_>, _> = readings.collect();
    let readings = readings.map_err(|detail| Error::Data { detail })?;
    Ok(write((&readings, place), rows, into, team, poll))
}

/// [`encode`] of columns whose values are known to be taken.
pub(super) fn write<T: Scalar>(
    (readings, place): (&[Reading], Place),
    rows: &[u32],
    into: &mut [T],
    team: &Team,
    poll: &mut impl FnMut() -> ControlFlow<()>,
) -> ControlFlow<(), Result<(), Misfit>> {
    let (width, work) = (place.width, WORK);
    let bands = Bands { width, work, team };
    let fits = bands.write(rows, into, poll, |rows, into| {
        write_rows(readings, rows, place, into)
    })?;
    if fits {
        return ControlFlow::Continue(Ok(()));
    }
    let places = readings.iter().enumerate();
    let mut misfits = places.filter_map(|(column, reading)| misfit::<T>(reading, column, rows));
    ControlFlow::Continue(Err(misfits.next().expect("a number that does not fit")))
}

/// Writes some rows, column after column; whether all of their numbers fit.
fn write_rows<T: Scalar>(
    readings: &[Reading],
    rows: &[u32],
    Place { first, width }: Place,
    into: &mut [T],
) -> bool {
    let mut values = [0.0; ROWS];
    let mut fits = true;
    for (rows, into) in rows.chunks(ROWS).zip(into.chunks_mut(ROWS * width)) {
        let values = &mut values[..rows.len()];
        let mut first = first;
        for reading in readings {
            let encoder = reading.encoder();
            let places = first..first + encoder.width();
            reading.pick(rows, values);
            for (row, &value) in into.chunks_exact_mut(width).zip(&*values) {
                fits &= encoder.write(value, &mut row[places.clone()]);
            }
            first = places.end;
        }
    }
    fits
}

fn misfit<T: Scalar>(reading: &Reading, column: usize, rows: &[u32]) -> Option<Misfit> {
    let mut values = vec![0.0; rows.len()];
    reading.pick(rows, &mut values);
    let mut made = vec![T::zero(); reading.encoder().width()];
    let mut each = rows.iter().zip(values);
    let (&row, value) = each.find(|(_, value)| !reading.encoder().write(*value, &mut made))?;
    Some(Misfit { row, column, value })
}
