//! A few columns of a matrix, copied so that their rows stand one after another.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use std::ops::Range;

use crate::nn::kernel::Matrix;
use crate::nn::kernel::product::PANEL_ROWS;
use crate::nn::kernel::product::tile::unrolled;
use crate::nn::kernel::vector::Vector;
use crate::nn::{BLOCK, Scalar};

/// Bytes of a row of a panel, at most: two of the widest vectors.
const ROW_BYTES: usize = 128;

/// Columns of x that are copied at a time, at most.
pub(super) const MOST_COLUMNS: usize = 64;

/// The bytes of a row, so that rows begin where lines of the cache do.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row {
    _bytes: [u8; ROW_BYTES],
}

/// Memory for a panel of `PANEL_ROWS` rows of two vectors. A thread has one, from its first use on.
pub(in crate::nn::kernel) struct Panel {
    rows: Vec<Row>,
}

impl Panel {
    pub(in crate::nn::kernel) const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// The memory: `PANEL_ROWS` rows of at most `ROW_BYTES` bytes, all initialized.
    #[inline(always)]
    fn numbers<T: Scalar, const L: usize>(&mut self) -> *mut T {
        const { assert!(2 * L * size_of::<T>() <= ROW_BYTES) };
        if self.rows.is_empty() {
            let zeros = Row {
                _bytes: [0; ROW_BYTES],
            };
            self.rows.resize(PANEL_ROWS, zeros);
        }
        self.rows.as_mut_ptr().cast()
    }

    /// Copies `width` columns, at most 2 L, of `rows` rows that are `step` numbers apart, into rows of 2 L numbers.
    ///
    /// # Safety
    /// Those numbers can be read. Panics: where there are more than `PANEL_ROWS` rows.
    #[inline(always)]
    pub(super) unsafe fn copy<T: Scalar, V: Vector<T, L>, const L: usize>(
        &mut self,
        (from, step): (*const T, usize),
        rows: usize,
        width: usize,
    ) -> *const T {
        assert!(rows <= PANEL_ROWS, "a panel");
        let panel = self.numbers::<T, L>();
        // SAFETY: the caller's; the panel has room for `rows` rows of 2 L numbers.
        unsafe { copy_columns::<T, V, L>((from, step), rows, width, panel) };
        panel
    }

    /// Copies some columns of x, at most `MOST_COLUMNS`, of at most `BLOCK` rows: one row after another.
    #[inline(always)]
    pub(super) fn copy_rows<'a, T: Scalar>(
        &'a mut self,
        x: Matrix<'_, T>,
        columns: Range<usize>,
    ) -> Matrix<'a, T> {
        const { assert!(BLOCK * MOST_COLUMNS * size_of::<T>() <= PANEL_ROWS * ROW_BYTES) };
        assert!(x.len() <= BLOCK && columns.len() <= MOST_COLUMNS, "a panel");
        let (width, len) = (columns.len(), x.len() * columns.len());
        // SAFETY: the panel has so many bytes, which are initialized, borrowed as it is, and any bits are a number.
        let numbers = unsafe { std::slice::from_raw_parts_mut(self.numbers::<T, 1>(), len) };
        for (row, place) in numbers.chunks_exact_mut(width.max(1)).enumerate() {
            place.copy_from_slice(&x.row(row)[columns.clone()]);
        }
        Matrix::new(numbers, width)
    }

    /// Copies `width` rows, at most 2 L, that are `step` numbers apart, of `len` numbers each, as columns into rows of 2 L
    /// numbers.
    ///
    /// # Safety
    /// Those numbers can be read. Panics: where `len` is more than `PANEL_ROWS`.
    #[inline(always)]
    pub(super) unsafe fn turn_over<T: Scalar, V: Vector<T, L>, const L: usize>(
        &mut self,
        (from, step): (*const T, usize),
        width: usize,
        len: usize,
    ) -> *const T {
        assert!(len <= PANEL_ROWS && width <= 2 * L, "a panel");
        let panel = self.numbers::<T, L>();
        // SAFETY: the panel has room for `len` rows of 2 L numbers, L of them from either half on; the caller's.
        unsafe {
            turn_half::<T, V, L>((from, step), width.min(L), len, panel);
            if width > L {
                let from = from.wrapping_add(L.wrapping_mul(step));
                turn_half::<T, V, L>((from, step), width - L, len, panel.add(L));
            }
        }
        panel
    }
}

/// L columns of a panel at a time.
///
/// # Safety
/// `width` rows of `len` numbers can be read, and L numbers written from each of `len` addresses on that are 2 L apart.
#[inline(always)]
unsafe fn turn_half<T: Scalar, V: Vector<T, L>, const L: usize>(
    (mut from, step): (*const T, usize),
    width: usize,
    len: usize,
    mut to: *mut T,
) {
    let mut left = len;
    while left > 0 {
        let count = left.min(L);
        let mut row = from;
        if width == L && count == L {
            // SAFETY: the caller's: L whole vectors, and room for L more.
            unsafe {
                let mut rows = [V::load(row); L];
                unrolled!(r < L {
                    if r > 0 {
                        row = row.wrapping_add(step);
                        rows[r] = V::load(row);
                    }
                });
                let columns = V::transpose(rows);
                unrolled!(c < L {
                    columns[c].store(to);
                    to = to.wrapping_add(2 * L);
                });
            }
        } else {
            let lanes = V::lanes(count);
            let mut rows = [V::splat(T::zero()); L];
            for place in rows.iter_mut().take(width) {
                // SAFETY: the caller's: of a row that there is, numbers that are left.
                *place = unsafe { V::load_lanes(row, lanes) };
                row = row.wrapping_add(step);
            }
            for column in V::transpose(rows).into_iter().take(count) {
                // SAFETY: the caller's.
                unsafe { column.store(to) };
                to = to.wrapping_add(2 * L);
            }
        }
        from = from.wrapping_add(count);
        left -= count;
    }
}

/// Copies `width` columns, at most 2 L, of `rows` rows that are `step` numbers apart, into rows of 2 L numbers.
///
/// # Safety
/// Those numbers can be read, and so many rows written.
#[inline(always)]
pub(super) unsafe fn copy_columns<T: Scalar, V: Vector<T, L>, const L: usize>(
    (mut from, step): (*const T, usize),
    rows: usize,
    width: usize,
    mut to: *mut T,
) {
    let (first, second) = (V::lanes(width), V::lanes(width.saturating_sub(L)));
    for _ in 0..rows {
        // SAFETY: the caller's; of the source, only lanes below `width` are read.
        unsafe {
            if width == 2 * L {
                V::load(from).store(to);
                V::load(from.add(L)).store(to.add(L));
            } else {
                V::load_lanes(from, first).store(to);
                V::load_lanes(from.wrapping_add(L), second).store(to.add(L));
            }
        }
        from = from.wrapping_add(step);
        to = to.wrapping_add(2 * L);
    }
}
