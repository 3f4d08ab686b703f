//! Rows of numbers, as the products read them: one after another, or picked from a larger table without being copied.

use std::ops::Range;

/// Rows of one width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    numbers: &'a [T],
    width: usize,
    len: usize,
    picked: Option<&'a [u32]>,
}

impl<'a, T> Matrix<'a, T> {
    /// All rows of a table.
    ///
    /// Panics: where the numbers are no whole rows, the caller's bug.
    pub(crate) fn new(numbers: &'a [T], width: usize) -> Self {
        let len = numbers.len().checked_div(width).unwrap_or_default();
        assert_eq!(numbers.len(), len * width, "whole rows of {width}");
        Self {
            numbers,
            width,
            len,
            picked: None,
        }
    }

    /// Rows of a table, in the order of their numbers.
    ///
    /// Panics: as [`Matrix::new`], or where there is no row of such a number.
    pub(crate) fn picked(numbers: &'a [T], width: usize, rows: &'a [u32]) -> Self {
        let table = Self::new(numbers, width);
        let beyond = rows.iter().find(|&&row| row as usize >= table.len);
        assert!(beyond.is_none(), "row {beyond:?} of {}", table.len);
        Self {
            len: rows.len(),
            picked: Some(rows),
            ..table
        }
    }

    /// Some of the rows. Panics: where there are fewer, the caller's bug.
    pub(crate) fn slice(self, rows: Range<usize>) -> Self {
        let len = rows.len();
        match self.picked {
            Some(picked) => Self {
                len,
                picked: Some(&picked[rows]),
                ..self
            },
            None => Self {
                numbers: &self.numbers[rows.start * self.width..rows.end * self.width],
                len,
                ..self
            },
        }
    }

    /// The numbers of all rows, one row after another. Panics: where they are picked, the caller's bug.
    pub(crate) fn numbers(self) -> &'a [T] {
        self.in_order().expect("rows one after another")
    }

    /// The same; none where they are picked.
    pub(crate) fn in_order(self) -> Option<&'a [T]> {
        self.picked.is_none().then_some(self.numbers)
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Numbers of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One row. Panics: where there are fewer, the caller's bug.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &'a [T] {
        let row = self.picked.map_or(row, |picked| picked[row] as usize);
        &self.numbers[row * self.width..][..self.width]
    }

    /// Where a row begins.
    ///
    /// # Safety
    /// There is such a row.
    #[expect(
        unsafe_code,
        reason = "the products ask for a row at every term of a sum"
    )]
    #[inline]
    pub(super) unsafe fn start(&self, row: usize) -> *const T {
        let row = match self.picked {
            // SAFETY: the caller's: there are as many numbers picked as rows.
            Some(picked) => unsafe { *picked.get_unchecked(row) as usize },
            None => row,
        };
        self.numbers
            .as_ptr()
            .wrapping_add(row.wrapping_mul(self.width))
    }
}
