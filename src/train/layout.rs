//! Layout: the numbers of columns, or of rows as they were given, written as the rows of a matrix.
//!
//! Columns are read a few rows at a time, so many that what is written of a row are whole cache lines: a column written
//! down a matrix by itself would fetch and store each line of it anew.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::ArrayView2;

use crate::data::Column;
use crate::model::Scaling;
use crate::nn::{Scalar, Team};

/// Rows and columns that are turned over at a time: as many columns as have whole cache lines in either type.
pub(super) const ROWS: usize = 256;
const COLUMNS: usize = 16;
/// Work between two polls, in multiply-adds: about a millisecond.
const MULTIPLY_ADDS: usize = 1 << 25;
/// The time that a number takes, in multiply-adds.
const WORK: usize = 32;

/// Where numbers stand in the rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Before them stand so many.
    pub(super) first: usize,
    /// Numbers of a row.
    pub(super) width: usize,
}

/// Numbers by row and column, in f64.
pub(super) enum Numbers<'a> {
    /// Columns, all of them numeric, and where they stand.
    Columns(&'a [Column], Place),
    /// A matrix, (rows × columns).
    Rows(ArrayView2<'a, f64>),
}

/// A number that does not fit the type of the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Misfit {
    /// Its row among all rows.
    pub(super) row: u32,
    /// Its column.
    pub(super) column: usize,
    /// The number, before it was scaled.
    pub(super) value: f64,
}

/// How rows are written a band at a time, each divided among a team.
pub(super) struct Bands<'a> {
    /// Numbers of a row.
    pub(super) width: usize,
    /// The time that a number takes, in multiply-adds.
    pub(super) work: usize,
    pub(super) team: &'a Team,
}

impl Bands<'_> {
    /// Lets `write` write all rows, some at a time; whether it said of all of them that their numbers fit. `poll` is asked before
    /// each band, about a millisecond's work; its `Break` ends it.
    ///
    /// Panics: there is not a place for each number, the caller's bug.
    pub(super) fn write<T: Scalar>(
        &self,
        rows: &[u32],
        into: &mut [T],
        poll: &mut impl FnMut() -> ControlFlow<()>,
        write: impl Fn(&[u32], &mut [T]) -> bool + Sync,
    ) -> ControlFlow<(), bool> {
        let Self { width, work, team } = *self;
        assert_eq!(into.len(), rows.len() * width, "a place for each number");
        let band = (MULTIPLY_ADDS / work / width).max(1).next_multiple_of(ROWS);
        let fits = AtomicBool::new(true);
        for (rows, numbers) in rows.chunks(band).zip(into.chunks_mut(band * width)) {
            poll()?;
            let work = numbers.len().saturating_mul(work);
            let places = [(numbers, width)];
            team.split(rows.len(), ROWS, work, places, |range, [numbers]| {
                if !write(&rows[range], numbers) {
                    fits.store(false, Ordering::Relaxed);
                }
            });
        }
        ControlFlow::Continue(fits.into_inner())
    }
}

impl Numbers<'_> {
    /// How many columns there are.
    fn columns(&self) -> usize {
        match self {
            Self::Columns(columns, _) => columns.len(),
            Self::Rows(matrix) => matrix.ncols(),
        }
    }

    /// Where they stand.
    fn place(&self) -> Place {
        match self {
            Self::Columns(_, place) => *place,
            Self::Rows(matrix) => Place {
                first: 0,
                width: matrix.ncols(),
            },
        }
    }

    /// One column over some rows, which rise.
    fn column(&self, column: usize, rows: &[u32]) -> Vec<f64> {
        match self {
            Self::Columns(columns, _) => numbers(&columns[column], rows),
            Self::Rows(matrix) => {
                let rows = rows.iter();
                rows.map(|&row| matrix[(row as usize, column)]).collect()
            }
        }
    }

    /// Writes some rows, which rise, scaled, to their places in rows that follow one another; or tells the first number in the first column that is not
    /// finite in `T` once scaled.
    ///
    /// The rows are divided among `team`. `poll` is asked again and again; its `Break` ends it.
    ///
    /// Panics: there is not a place for each number, the caller's bug.
    pub(super) fn lay_out<T: Scalar>(
        &self,
        rows: &[u32],
        scaling: Option<&Scaling>,
        into: &mut [T],
        team: &Team,
        poll: &mut impl FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Result<(), Misfit>> {
        let (width, work) = (self.place().width, WORK);
        let bands = Bands { width, work, team };
        let fits = bands.write(rows, into, poll, |rows, into| {
            self.write(rows, scaling, into)
        })?;
        if fits {
            return ControlFlow::Continue(Ok(()));
        }
        let mut columns = 0..self.columns();
        let misfit = columns.find_map(|column| self.misfit::<T>(rows, scaling, column));
        ControlFlow::Continue(Err(misfit.expect("a number that does not fit")))
    }

    /// Writes some rows; whether all of their numbers are finite.
    fn write<T: Scalar>(&self, rows: &[u32], scaling: Option<&Scaling>, into: &mut [T]) -> bool {
        match self {
            Self::Columns(columns, place) => write_columns((columns, *place), rows, scaling, into),
            Self::Rows(matrix) => {
                let mut fits = true;
                for (places, &row) in into.chunks_exact_mut(matrix.ncols()).zip(rows) {
                    let numbers = matrix.row(row as usize);
                    for (column, (place, &number)) in places.iter_mut().zip(numbers).enumerate() {
                        *place = T::from_f64(scaled(scaling, column, number));
                        fits &= place.is_finite();
                    }
                }
                fits
            }
        }
    }

    fn misfit<T: Scalar>(
        &self,
        rows: &[u32],
        scaling: Option<&Scaling>,
        column: usize,
    ) -> Option<Misfit> {
        let mut each = rows.iter().zip(self.column(column, rows));
        let input = self.place().first + column;
        let fits = |value| T::from_f64(scaled(scaling, input, value)).is_finite();
        let (&row, value) = each.find(|(_, value)| !fits(*value))?;
        Some(Misfit { row, column, value })
    }
}

/// The numbers of a numeric column in some rows, which rise.
pub(super) fn numbers(column: &Column, rows: &[u32]) -> Vec<f64> {
    let mut numbers = vec![0.0; rows.len()];
    column.pick(rows, &mut numbers, |number| number);
    numbers
}

fn scaled(scaling: Option<&Scaling>, column: usize, value: f64) -> f64 {
    scaling.map_or(value, |scaling| scaling.apply(column, value))
}

/// [`Numbers::write`] of columns.
fn write_columns<T: Scalar>(
    (columns, Place { first, width }): (&[Column], Place),
    rows: &[u32],
    scaling: Option<&Scaling>,
    into: &mut [T],
) -> bool {
    let mut tile = [[T::zero(); ROWS]; COLUMNS];
    let mut fits = true;
    for (rows, into) in rows.chunks(ROWS).zip(into.chunks_mut(ROWS * width)) {
        for (columns, first) in columns.chunks(COLUMNS).zip((first..).step_by(COLUMNS)) {
            for ((column, index), tile) in columns.iter().zip(first..).zip(&mut tile) {
                let tile = &mut tile[..rows.len()];
                match scaling.and_then(|scaling| scaling.of(index)) {
                    Some(of) => column.pick(rows, tile, |value| T::from_f64(of.apply(value))),
                    None => column.pick(rows, tile, T::from_f64),
                }
                // All of them, several at a time, not up to the first.
                fits &= tile
                    .iter()
                    .fold(true, |fits, value| fits & value.is_finite());
            }
            for (row, into) in into.chunks_exact_mut(width).enumerate() {
                let places = &mut into[first..first + columns.len()];
                for (place, column) in places.iter_mut().zip(&tile) {
                    *place = column[row];
                }
            }
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::data::CHUNK_ROWS;
    use crate::model::Preprocess;

    const ALL: usize = CHUNK_ROWS + 200;

    /// Columns whose chunks have each of the codings, more of them than are turned over at a time.
    fn columns() -> Vec<Column> {
        let number = |column: usize, row: usize| match column % 4 {
            0 => (row % 251) as f64,
            1 => row as f64 * 31.0 - 7.0,
            2 => row as f64 * 0.25 - 3.0,
            _ => (row as f64 + 0.1).sqrt() * 1e-3,
        };
        let column = |column: usize| {
            let numbers = (0..ALL).map(|row| number(column, row));
            Column::numeric(format!("x{column}"), numbers).expect("finite numbers")
        };
        (0..2 * COLUMNS + 5).map(column).collect()
    }

    fn of_columns(columns: &[Column]) -> Numbers<'_> {
        let width = columns.len();
        Numbers::Columns(columns, Place { first: 0, width })
    }

    fn go_on() -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn laid_out<T: Scalar>(
        numbers: &Numbers,
        rows: &[u32],
        scaling: Option<&Scaling>,
    ) -> Result<Array2<T>, Misfit> {
        let team = Team::new(3, || {}).expect("threads");
        let mut matrix = Array2::zeros((rows.len(), numbers.columns()));
        let into = matrix.as_slice_mut().expect("rows follow one another");
        let laid_out = numbers.lay_out(rows, scaling, into, &team, &mut go_on);
        laid_out.continue_value().expect("nothing ends it")?;
        Ok(matrix)
    }

    /// What it does to columns and to rows, against number after number.
    fn check<T: Scalar>(rows: &[u32], scaling: Option<&Scaling>) {
        let columns = columns();
        let read: Vec<_> = columns.iter().filter_map(Column::numbers).collect();
        let raw = Array2::from_shape_fn((ALL, columns.len()), |(row, column)| read[column][row]);
        let expected = Array2::from_shape_fn((rows.len(), columns.len()), |(row, column)| {
            let value = read[column][rows[row] as usize];
            T::from_f64(scaling.map_or(value, |scaling| scaling.apply(column, value)))
        });
        for numbers in [of_columns(&columns), Numbers::Rows(raw.view())] {
            let got = laid_out::<T>(&numbers, rows, scaling).expect("all fit");
            assert!(got == expected, "{} of {}", rows.len(), T::DTYPE.name());
        }
    }

    #[test]
    fn a_row_of_the_matrix_has_the_numbers_of_its_row_in_every_column() {
        let mut scaling = Scaling::unfitted(Preprocess::Standardize);
        for column in columns() {
            scaling.fit_next(&column.numbers().expect("numbers"));
        }
        let all: Vec<u32> = (0..ALL as u32).collect();
        let third: Vec<u32> = all.iter().copied().filter(|row| row % 3 > 0).collect();
        for rows in [&all[..], &third, &all[ALL - 70..], &all[7..8], &[]] {
            for scaling in [None, Some(&scaling)] {
                check::<f32>(rows, scaling);
                check::<f64>(rows, scaling);
            }
        }
    }

    #[test]
    fn of_numbers_that_do_not_fit_the_first_of_the_first_column_is_told() {
        let column = |large: [(usize, f64); 2]| {
            let number = |row| {
                large
                    .iter()
                    .find(|(at, _)| *at == row)
                    .map_or(0.5, |one| one.1)
            };
            Column::numeric("x", (0..ALL).map(number)).expect("finite numbers")
        };
        let fits = column([(1, 2.0), (2, 3.0)]);
        let (one, other) = (
            column([(900, -1e300), (901, 1e301)]),
            column([(5, 1e302), (6, 1e303)]),
        );
        let columns = [fits, one, other];
        let rows: Vec<u32> = (1..ALL as u32).collect();
        let misfit = Misfit {
            row: 900,
            column: 1,
            value: -1e300,
        };
        let numbers = of_columns(&columns);
        assert_eq!(laid_out::<f32>(&numbers, &rows, None), Err(misfit));
        assert!(laid_out::<f64>(&numbers, &rows, None).is_ok());
    }

    #[test]
    fn a_break_ends_it_before_all_is_laid_out() {
        let raw = Array2::<f64>::zeros((MULTIPLY_ADDS / WORK / 1000 * 3, 1000));
        let rows: Vec<u32> = (0..raw.nrows() as u32).collect();
        let mut polls = 0;
        let mut poll = || {
            polls += 1;
            if polls == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let numbers = Numbers::Rows(raw.view());
        let mut into = vec![0_f32; raw.len()];
        let ended = numbers.lay_out(&rows, None, &mut into, &Team::alone(), &mut poll);
        assert!(ended.is_break());
        assert_eq!(polls, 2);
    }
}
