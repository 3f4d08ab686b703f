//! z = b + x·w.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use crate::nn::Scalar;
use crate::nn::kernel::Matrix;
use crate::nn::kernel::product::tile::{add_up, by_rows, read, unrolled, write, zeros};
use crate::nn::kernel::product::{PANEL_ROWS, Panel, WORTH_A_PANEL, is_far_apart};
use crate::nn::kernel::vector::Vector;

/// Vectors of a tile of one row: enough sums at a time that none waits for the one before it.
const WIDE: usize = 8;

/// z (m × n) = b (n), or 0, + x (m × k) · w (k × n).
pub struct Forward<'a, T> {
    pub(in crate::nn::kernel) x: Matrix<'a, T>,
    pub(in crate::nn::kernel) w: &'a [T],
    pub(in crate::nn::kernel) biases: Option<&'a [T]>,
    pub(in crate::nn::kernel) units: usize,
    pub(in crate::nn::kernel) z: &'a mut [T],
}

impl<T> Forward<'_, T> {
    /// Panics: where the shapes do not fit.
    pub(super) fn check(&self) {
        let (m, k, n) = (self.x.len(), self.x.width(), self.units);
        assert!(
            self.w.len() == k * n
                && self.biases.is_none_or(|biases| biases.len() == n)
                && self.z.len() == m * n,
            "operands of {m} × {k} × {n}"
        );
    }
}

/// Some terms of the sums of some columns.
#[derive(Clone, Copy)]
pub(super) struct Terms<T> {
    /// The first column.
    pub(super) column: usize,
    /// How many columns.
    pub(super) width: usize,
    /// The first term.
    pub(super) first: usize,
    /// How many terms.
    pub(super) len: usize,
    /// Where the numbers of w for the first of both are.
    pub(super) from: *const T,
    /// How far apart those of two terms are.
    pub(super) step: usize,
}

#[inline(always)]
pub(super) fn forward<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &mut Forward<'_, T>,
    panel: &mut Panel,
) {
    product.check();
    let (m, k, n) = (product.x.len(), product.x.width(), product.units);
    if n == 1 {
        return dots::<T, V, L>(product);
    }
    let copies = m >= WORTH_A_PANEL && is_far_apart::<T>(n);
    let mut column = 0;
    while column < n {
        let from = product.w.as_ptr().wrapping_add(column);
        let width = if m == 1 && n - column >= WIDE * L {
            WIDE * L
        } else {
            (n - column).min(2 * L)
        };
        let terms = Terms {
            column,
            width,
            first: 0,
            len: k,
            from,
            step: n,
        };
        // SAFETY: w has k rows of n numbers, of which these are `width` from `column` on; so have the parts of it, and
        // the panel has as many rows of 2 L.
        unsafe {
            if !copies {
                all_rows::<T, V, L, MOST>(product, terms);
            }
            let mut first = 0;
            while copies && first < k {
                let len = (k - first).min(PANEL_ROWS);
                let from = from.wrapping_add(first * n);
                let terms = Terms {
                    first,
                    len,
                    from: panel.copy::<T, V, L>((from, n), len, width),
                    step: 2 * L,
                    ..terms
                };
                all_rows::<T, V, L, MOST>(product, terms);
                first += len;
            }
        }
        column += width;
    }
}

/// Adds terms to the sums of all rows: in as few tiles as there can be, of as equal heights.
///
/// # Safety
/// `width` numbers can be read from each of the `len` addresses; rows of x have so many terms, and those of z so many
/// columns.
#[inline(always)]
pub(super) unsafe fn all_rows<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &mut Forward<'_, T>,
    terms: Terms<T>,
) {
    let (m, width) = (product.x.len(), terms.width);
    if width == WIDE * L {
        for row in 0..m {
            // SAFETY: the caller's.
            unsafe { tile::<T, V, L, MOST, 1, WIDE, false>(product, row, terms, V::lanes(L)) };
        }
        return;
    }
    let tiles = m.div_ceil(MOST);
    let mut row = 0;
    for done in 0..tiles {
        let rows = (m - row).div_ceil(tiles - done);
        if width == 2 * L {
            by_rows!(rows; tile::<T, V, L, MOST, _, 2, false>(product, row, terms, V::lanes(L)));
        } else if width > L {
            let last = V::lanes(width - L);
            by_rows!(rows; tile::<T, V, L, MOST, _, 2, true>(product, row, terms, last));
        } else {
            by_rows!(rows; tile::<T, V, L, MOST, _, 1, true>(product, row, terms, V::lanes(width)));
        }
        row += rows;
    }
}

/// # Safety
/// As `all_rows`; the rows are of x.
#[inline(always)]
unsafe fn tile<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const MOST: usize,
    const R: usize,
    const C: usize,
    const PART: bool,
>(
    product: &mut Forward<'_, T>,
    row: usize,
    terms: Terms<T>,
    last: V::Lanes,
) {
    // Never called: it is compiled for heights up to the highest of all sets.
    if R > MOST {
        return;
    }
    let n = product.units;
    let Terms {
        column,
        first,
        len,
        from,
        step,
        ..
    } = terms;
    let z = product.z[row * n + column..].as_mut_ptr();
    let mut sums = zeros::<T, V, L, R, C>();
    // SAFETY: z has the rows and columns of the tile, biases have the columns, and the caller's.
    unsafe {
        if first > 0 {
            unrolled!(r < R {
                sums[r] = read::<T, V, L, C, PART>(z.wrapping_add(r * n), last);
            });
        } else if let Some(biases) = product.biases {
            let biases = biases.as_ptr().wrapping_add(column);
            sums = [read::<T, V, L, C, PART>(biases, last); R];
        }
        let mut x = [const { &[] as &[T] }; R];
        unrolled!(r < R {
            x[r] = &product.x.row(row + r)[first..first + len];
        });
        let sums = add_up::<T, V, L, R, C, PART>(
            len,
            sums,
            |r, p| *x[r].get_unchecked(p),
            |p| from.wrapping_add(p.wrapping_mul(step)),
            last,
        );
        unrolled!(r < R {
            write::<T, V, L, C, PART>(sums[r], z.wrapping_add(r * n), last);
        });
    }
}

/// z = b + x·w of one unit: L rows at a time, term p in lane p mod L, then lanes added in halves.
#[inline(always)]
fn dots<T: Scalar, V: Vector<T, L>, const L: usize>(product: &mut Forward<'_, T>) {
    let (m, k) = (product.x.len(), product.x.width());
    let bias = product.biases.map_or(T::zero(), |biases| biases[0]);
    let w = product.w;
    let mut row = 0;
    while row < m {
        // Rows beyond the last are the last once more; what they come to is not written.
        let mut x = [const { &[] as &[T] }; L];
        unrolled!(r < L {
            x[r] = &product.x.row((row + r).min(m - 1))[..k];
        });
        let mut sums = [V::splat(T::zero()); L];
        let (mut p, rest) = (0, V::lanes(k % L));
        // SAFETY: x and w have k numbers, of which the last k mod L are read by lanes; z has a number for each row.
        unsafe {
            while p + L <= k {
                let y = V::load(w.as_ptr().add(p));
                unrolled!(r < L {
                    sums[r] = sums[r].add_product(V::load(x[r].as_ptr().add(p)), y);
                });
                p += L;
            }
            if p < k {
                let y = V::load_lanes(w.as_ptr().add(p), rest);
                unrolled!(r < L {
                    sums[r] = sums[r].add_product(V::load_lanes(x[r].as_ptr().add(p), rest), y);
                });
            }
            let z = V::totals(sums).add(V::splat(bias));
            z.store_lanes(product.z[row..].as_mut_ptr(), V::lanes(m - row));
        }
        row += L;
    }
}
