//! z = b + x·w.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use std::marker::PhantomData;

use crate::nn::Scalar;
use crate::nn::kernel::Matrix;
use crate::nn::kernel::pauses::worked;
use crate::nn::kernel::product::tile::{add_up, by_rows, height, read, unrolled, write, zeros};
use crate::nn::kernel::product::{
    PANEL_ROWS, Panel, SINGLE, WORTH_A_PANEL, is_far_apart, without_pause,
};
use crate::nn::kernel::select;
use crate::nn::kernel::vector::{Vector, Work};

/// Vectors of a tile of one row: enough sums at a time that none waits for the one before it; or half as many, where there are
/// no more columns.
const WIDE: usize = 8;
const HALF_WIDE: usize = WIDE / 2;

/// z (m × n) = b (n), or 0, + x (m × k) · w (k × n).
pub struct Forward<'a, T> {
    x: Matrix<'a, T>,
    w: &'a [T],
    biases: Option<&'a [T]>,
    units: usize,
    /// m · n numbers, borrowed for 'a.
    z: *mut T,
    after: After<T>,
    borrowed: PhantomData<&'a mut [T]>,
}

/// What becomes of a sum before it is written. Addresses are of m · n numbers, borrowed as long as the product is.
#[derive(Clone, Copy)]
enum After<T> {
    Nothing,
    /// It is 0 where it is at most 0; a NaN stays one.
    Rectify,
    /// It is also written here, rectified.
    RectifyInto(*mut T),
    /// It is 0 where the number here is at most 0.
    KeepWherePositive(*const T),
}

impl<'a, T> Forward<'a, T> {
    /// Panics: where the shapes do not fit.
    pub(in crate::nn::kernel) fn new(
        x: Matrix<'a, T>,
        w: &'a [T],
        biases: Option<&'a [T]>,
        units: usize,
        z: &'a mut [T],
    ) -> Self {
        let (m, k, n) = (x.len(), x.width(), units);
        assert!(
            w.len() == k * n && biases.is_none_or(|biases| biases.len() == n) && z.len() == m * n,
            "operands of {m} × {k} × {n}"
        );
        Self {
            x,
            w,
            biases,
            units,
            z: z.as_mut_ptr(),
            after: After::Nothing,
            borrowed: PhantomData,
        }
    }

    /// The same, with a = max(z, 0) written where z would be.
    pub(in crate::nn::kernel) fn rectified(mut self) -> Self {
        self.after = After::Rectify;
        self
    }

    /// The same, with a = max(z, 0) written beside z. Panics: where there is not room for as many.
    pub(in crate::nn::kernel) fn rectified_into(mut self, a: &'a mut [T]) -> Self {
        self.check(a.len());
        self.after = After::RectifyInto(a.as_mut_ptr());
        self
    }

    /// The same, with 0 for z where a is at most 0. Panics: where there are not as many.
    pub(in crate::nn::kernel) fn where_positive(mut self, a: &'a [T]) -> Self {
        self.check(a.len());
        self.after = After::KeepWherePositive(a.as_ptr());
        self
    }

    fn check(&self, len: usize) {
        assert_eq!(len, self.x.len() * self.units, "as many numbers as z has");
    }
}

/// Where the numbers of w are that belong to some columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In w (k × n), where they stand.
    Rows,
    /// There, but to be copied into a panel.
    FarRows,
    /// In w (n × k), to be turned over into a panel.
    Columns,
}

/// Some terms of the sums of some columns.
#[derive(Clone, Copy)]
struct Terms<T> {
    /// The first column.
    column: usize,
    /// The first term.
    first: usize,
    /// How many terms.
    len: usize,
    /// Where the numbers of w for the first of both are.
    from: *const T,
    /// How far apart those of two terms are.
    step: usize,
}

#[inline(always)]
pub(super) fn forward<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &Forward<'_, T>,
    panel: &mut Panel,
) {
    let (m, n) = (product.x.len(), product.units);
    if n == 1 {
        return dots::<T, V, L>(product);
    }
    let source = if m >= WORTH_A_PANEL && is_far_apart::<T>(n) {
        Source::FarRows
    } else {
        Source::Rows
    };
    columns::<T, V, L, MOST>(product, source, panel);
}

/// All columns of the product: two vectors of them at a time, or more where there is but one row.
#[inline(always)]
pub(super) fn columns<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &Forward<'_, T>,
    source: Source,
    panel: &mut Panel,
) {
    let (m, k, n) = (product.x.len(), product.x.width(), product.units);
    let mut column = 0;
    while column < n {
        let vectors = if m == 1 && source == Source::Rows {
            (n - column) / L
        } else {
            0
        };
        let width = match vectors {
            WIDE.. => WIDE * L,
            HALF_WIDE.. => HALF_WIDE * L,
            _ => (n - column).min(2 * L),
        };
        let mut first = 0;
        while first < k {
            // SAFETY: w has k rows of n numbers, or n of k: of these, `len` of `width` from the first and the column on are
            // read where they are, or as many into the panel.
            unsafe {
                let terms = match source {
                    Source::Rows => Terms {
                        column,
                        first,
                        len: k,
                        from: product.w.as_ptr().wrapping_add(column),
                        step: n,
                    },
                    Source::FarRows => {
                        let from = product.w.as_ptr().wrapping_add(first * n + column);
                        let len = (k - first).min(PANEL_ROWS);
                        Terms {
                            column,
                            first,
                            len,
                            from: panel.copy::<T, V, L>((from, n), len, width),
                            step: 2 * L,
                        }
                    }
                    Source::Columns => {
                        let from = product.w.as_ptr().wrapping_add(column * k + first);
                        let len = (k - first).min(PANEL_ROWS);
                        Terms {
                            column,
                            first,
                            len,
                            from: panel.turn_over::<T, V, L>((from, k), width, len),
                            step: 2 * L,
                        }
                    }
                };
                let work = ForwardTile::<T, V, L, MOST> {
                    product,
                    row: 0,
                    terms,
                    last: V::lanes(if width > L { width - L } else { width }),
                };
                match vectors {
                    WIDE.. => V::compute::<_, 1, WIDE, false>(&work),
                    HALF_WIDE.. => V::compute::<_, 1, HALF_WIDE, false>(&work),
                    _ => rows(work, width),
                }
                if vectors >= HALF_WIDE {
                    worked(SINGLE * terms.len * width);
                }
                first += terms.len;
            }
        }
        column += width;
    }
}

/// Adds terms to the sums of all rows.
///
/// # Safety
/// As `ForwardTile` for all rows.
#[inline(always)]
unsafe fn rows<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    mut work: ForwardTile<'_, '_, T, V, L, MOST>,
    width: usize,
) {
    let m = work.product.x.len();
    while work.row < m {
        let (first, end) = (work.row, without_pause(work.row, m));
        while work.row < end {
            let rows = height(end - work.row, MOST);
            if width <= L {
                by_rows!(rows, V, 1, true, &work);
            } else if V::LANES_ARE_FREE || width < 2 * L {
                by_rows!(rows, V, 2, true, &work);
            } else {
                by_rows!(rows, V, 2, false, &work);
            }
            work.row += rows;
        }
        worked((end - first).max(SINGLE) * work.terms.len * width);
    }
}

/// Terms of the sums of a tile, whose first row is given.
///
/// x has the rows of the tile and the terms, z and what `After` has the rows and columns, biases the columns; as many numbers
/// as there are columns can be read from the address of each of the terms; of the last vector of columns there are the lanes
/// `last`.
struct ForwardTile<'a, 'b, T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize> {
    product: &'a Forward<'b, T>,
    row: usize,
    terms: Terms<T>,
    last: V::Lanes,
}

impl<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize> Work
    for ForwardTile<'_, '_, T, V, L, MOST>
{
    #[inline(always)]
    unsafe fn tile<const R: usize, const C: usize, const PART: bool>(&self) {
        // Never called so.
        if R > MOST || V::LANES_ARE_FREE && C == 2 && !PART {
            return;
        }
        let Self {
            product, row, last, ..
        } = *self;
        let Terms {
            column,
            first,
            len,
            from,
            step,
        } = self.terms;
        let n = product.units;
        let z = product
            .z
            .wrapping_add(row.wrapping_mul(n).wrapping_add(column));
        let mut sums = zeros::<T, V, L, R, C>();
        // SAFETY: what `ForwardTile` says of itself.
        unsafe {
            if first > 0 {
                unrolled!(r < R {
                    sums[r] = read::<T, V, L, C, PART>(z.wrapping_add(n.wrapping_mul(r)), last);
                });
            } else if let Some(biases) = product.biases {
                let biases = biases.as_ptr().wrapping_add(column);
                sums = [read::<T, V, L, C, PART>(biases, last); R];
            }
            let mut x = [std::ptr::null::<T>(); R];
            unrolled!(r < R {
                x[r] = product.x.start(row + r).wrapping_add(first);
            });
            let mut sums = add_up::<T, V, L, R, C, PART>(
                len,
                sums,
                |r, p| *x[r].wrapping_add(p),
                |p| from.wrapping_add(p.wrapping_mul(step)),
                last,
            );
            if first.wrapping_add(len) == product.x.width() {
                let beside = |address: *const T| {
                    let first = row.wrapping_mul(n).wrapping_add(column);
                    address.wrapping_add(first)
                };
                match product.after {
                    After::Nothing => {}
                    After::Rectify => {
                        unrolled!(r < R {
                            unrolled!(s < C {
                                sums[r][s] = sums[r][s].where_positive(sums[r][s]);
                            });
                        });
                    }
                    After::RectifyInto(a) => {
                        let a = beside(a.cast_const()).cast_mut();
                        unrolled!(r < R {
                            let mut rectified = sums[r];
                            unrolled!(s < C {
                                rectified[s] = rectified[s].where_positive(sums[r][s]);
                            });
                            write::<T, V, L, C, PART>(rectified, a.wrapping_add(n.wrapping_mul(r)), last);
                        });
                    }
                    After::KeepWherePositive(a) => {
                        let a = beside(a);
                        unrolled!(r < R {
                            let signs = read::<T, V, L, C, PART>(a.wrapping_add(n.wrapping_mul(r)), last);
                            unrolled!(s < C {
                                sums[r][s] = sums[r][s].where_positive(signs[s]);
                            });
                        });
                    }
                }
            }
            unrolled!(r < R {
                write::<T, V, L, C, PART>(sums[r], z.wrapping_add(n.wrapping_mul(r)), last);
            });
        }
    }
}

/// z = b + x·w of one unit: L rows at a time, term p in lane p mod L, then lanes added in halves.
#[inline(always)]
fn dots<T: Scalar, V: Vector<T, L>, const L: usize>(product: &Forward<'_, T>) {
    let (m, k) = (product.x.len(), product.x.width());
    let bias = product.biases.map_or(T::zero(), |biases| biases[0]);
    let w = product.w;
    let mut row = 0;
    while row < m {
        if row + 1 == m {
            // SAFETY: x and w have k numbers, and z, and what `After` has, a number for each row.
            unsafe { dot::<T, V, L>(product, row, bias) };
            return;
        }
        // Rows beyond the last are the last once more; what they come to is not written.
        let mut x = [const { &[] as &[T] }; L];
        unrolled!(r < L {
            x[r] = &product.x.row((row + r).min(m - 1))[..k];
        });
        let mut sums = [V::splat(T::zero()); L];
        let (mut p, rest) = (0, V::lanes(k % L));
        // SAFETY: x and w have k numbers, of which the last k mod L are read by lanes; z, and what `After` has, have a number
        // for each row.
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
            let mut z = V::totals(sums).add(V::splat(bias));
            let left = V::lanes(m - row);
            match product.after {
                After::Nothing => {}
                After::Rectify => z = z.where_positive(z),
                After::RectifyInto(a) => z.where_positive(z).store_lanes(a.wrapping_add(row), left),
                After::KeepWherePositive(a) => {
                    z = z.where_positive(V::load_lanes(a.wrapping_add(row), left));
                }
            }
            z.store_lanes(product.z.wrapping_add(row), left);
        }
        row += L;
    }
}

/// One number of z, to the same bits.
///
/// # Safety
/// There is such a row of x and of what is written and read with it, and w has as many numbers as x is wide.
#[inline(always)]
unsafe fn dot<T: Scalar, V: Vector<T, L>, const L: usize>(
    product: &Forward<'_, T>,
    row: usize,
    bias: T,
) {
    let (x, k) = (product.x.row(row).as_ptr(), product.x.width());
    let w = product.w.as_ptr();
    let mut sum = V::splat(T::zero());
    // SAFETY: the caller's; of the last vector the lanes that are left are read.
    unsafe {
        let mut p = 0;
        while p + L <= k {
            sum = sum.add_product(V::load(x.add(p)), V::load(w.add(p)));
            p += L;
        }
        if p < k {
            let rest = V::lanes(k - p);
            let (x, y) = (V::load_lanes(x.add(p), rest), V::load_lanes(w.add(p), rest));
            sum = sum.add_product(x, y);
        }
        let mut z = sum.total() + bias;
        let rectify = |z: T, sign: T| select(sign <= T::zero(), T::zero(), z);
        match product.after {
            After::Nothing => {}
            After::Rectify => z = rectify(z, z),
            After::RectifyInto(a) => a.add(row).write(rectify(z, z)),
            After::KeepWherePositive(a) => z = rectify(z, a.add(row).read()),
        }
        product.z.add(row).write(z);
    }
}
