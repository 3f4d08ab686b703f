//! ∂C/∂w = Σ a δ over samples, in the fixed tree of `nn::reduce`, tile by tile.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::nn::kernel::Matrix;
use crate::nn::kernel::product::tile::{Tile, add_up, by_rows, unrolled, write, zeros};
use crate::nn::kernel::product::{Panel, WORTH_A_PANEL, is_far_apart};
use crate::nn::kernel::vector::Vector;
use crate::nn::{BLOCK, CHUNK, Scalar};

/// Levels of the tree over the chunks of a block.
const LEVELS: usize = (BLOCK / CHUNK).ilog2() as usize + 1;

/// Vectors of a tile where a layer has one unit.
const WIDE: usize = 4;

/// g (c × n) = xᵀ·δ, of c columns of x (m × k), with δ (m × n), m at most `BLOCK`.
pub struct WeightGradient<'a, T> {
    pub(in crate::nn::kernel) x: Matrix<'a, T>,
    pub(in crate::nn::kernel) columns: Range<usize>,
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) gradient: &'a mut [T],
}

#[inline(always)]
pub(super) fn weight_gradient<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: WeightGradient<'_, T>,
    panel: &mut Panel,
) {
    let WeightGradient {
        x,
        columns,
        deltas,
        gradient,
    } = product;
    let (m, n) = (deltas.len(), deltas.width());
    assert!(
        x.len() == m
            && m <= BLOCK
            && columns.start <= columns.end
            && columns.end <= x.width()
            && gradient.len() == columns.len() * n,
        "operands of {m} × {columns:?} × {n}"
    );
    if n == 1 {
        let deltas = deltas.numbers();
        return add_up_rows::<T, V, L>(|p| deltas[p], x, columns, gradient);
    }
    let copies = columns.len() >= WORTH_A_PANEL && is_far_apart::<T>(n);
    let mut unit = 0;
    while unit < n {
        let width = (n - unit).min(2 * L);
        let mut from = (deltas.numbers()[unit.min(m * n)..].as_ptr(), n);
        if copies {
            // SAFETY: δ has m rows of n numbers, of which these are `width` from `unit` on.
            from = unsafe { (panel.copy::<T, V, L>(from, m, width), 2 * L) };
        }
        let tiles = columns.len().div_ceil(MOST);
        let mut column = columns.start;
        for done in 0..tiles {
            let rows = (columns.end - column).div_ceil(tiles - done);
            let to = gradient[(column - columns.start) * n + unit..].as_mut_ptr();
            if width == 2 * L {
                by_rows!(rows; tile::<T, V, L, MOST, _, 2, false>(x, column, from, (to, n), V::lanes(L)));
            } else if width > L {
                let last = V::lanes(width - L);
                by_rows!(rows; tile::<T, V, L, MOST, _, 2, true>(x, column, from, (to, n), last));
            } else {
                let last = V::lanes(width);
                by_rows!(rows; tile::<T, V, L, MOST, _, 1, true>(x, column, from, (to, n), last));
            }
            column += rows;
        }
        unit += width;
    }
}

/// # Safety
/// R columns from `column` on are of x; for each of its rows, C vectors can be read from `from` on, rows apart by its second;
/// C vectors can be written from `to` on in R rows apart by its second; of the last only the lanes `last` where `PART`.
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
    x: Matrix<'_, T>,
    column: usize,
    (from, step): (*const T, usize),
    (to, n): (*mut T, usize),
    last: V::Lanes,
) {
    // Never called: it is compiled for heights up to the highest of all sets.
    if R > MOST {
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        let sums = in_tree::<T, V, L, R, C>(x.len(), |rows| {
            let from = from.wrapping_add(rows.start * step);
            add_up::<T, V, L, R, C, PART>(
                rows.len(),
                zeros::<T, V, L, R, C>(),
                |r, p| {
                    *x.row(rows.start.wrapping_add(p))
                        .get_unchecked(column.wrapping_add(r))
                },
                |p| from.wrapping_add(p.wrapping_mul(step)),
                last,
            )
        });
        unrolled!(r < R {
            write::<T, V, L, C, PART>(sums[r], to.wrapping_add(r * n), last);
        });
    }
}

/// sums (n) = Σ of the rows of δ (m × n), m at most `BLOCK`.
pub struct BiasGradient<'a, T> {
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) sums: &'a mut [T],
}

#[inline(always)]
pub(super) fn bias_gradient<T: Scalar, V: Vector<T, L>, const L: usize>(
    product: BiasGradient<'_, T>,
) {
    let BiasGradient { deltas, sums } = product;
    let (m, n) = (deltas.len(), deltas.width());
    assert!(m <= BLOCK && sums.len() == n, "operands of {m} × {n}");
    add_up_rows::<T, V, L>(|_| T::one(), deltas, 0..n, sums);
}

/// Σ factor(p) · row p of x, of some of its columns, which stand side by side in vectors.
#[inline(always)]
fn add_up_rows<T: Scalar, V: Vector<T, L>, const L: usize>(
    factor: impl Fn(usize) -> T,
    x: Matrix<'_, T>,
    columns: Range<usize>,
    sums: &mut [T],
) {
    let mut column = columns.start;
    while column < columns.end {
        let to = sums[column - columns.start..].as_mut_ptr();
        let a = |first: usize| {
            let factor = &factor;
            move |_: usize, p: usize| factor(first + p)
        };
        let b = |first: usize| move |p: usize| x.row(first + p)[column..].as_ptr();
        let width = columns.end - column;
        // SAFETY: rows of x, and the sums, have `width` numbers from the column on.
        unsafe {
            if width >= WIDE * L {
                let last = V::lanes(L);
                let sums = in_tree::<T, V, L, 1, WIDE>(x.len(), |rows| {
                    let (a, b) = (a(rows.start), b(rows.start));
                    let zeros = zeros::<T, V, L, 1, WIDE>();
                    add_up::<T, V, L, 1, WIDE, false>(rows.len(), zeros, a, b, last)
                });
                write::<T, V, L, WIDE, false>(sums[0], to, last);
                column += WIDE * L;
            } else {
                let last = V::lanes(width);
                let sums = in_tree::<T, V, L, 1, 1>(x.len(), |rows| {
                    let (a, b) = (a(rows.start), b(rows.start));
                    let zeros = zeros::<T, V, L, 1, 1>();
                    add_up::<T, V, L, 1, 1, true>(rows.len(), zeros, a, b, last)
                });
                write::<T, V, L, 1, true>(sums[0], to, last);
                column += width.min(L);
            }
        }
    }
}

/// Σ over samples of what `leaf(rows)` is over the rows of a chunk, in the tree of `FixedTree`.
#[inline(always)]
fn in_tree<T: Scalar, V: Vector<T, L>, const L: usize, const R: usize, const C: usize>(
    samples: usize,
    leaf: impl Fn(Range<usize>) -> Tile<V, R, C>,
) -> Tile<V, R, C> {
    if samples <= CHUNK {
        return leaf(0..samples);
    }
    let add = |mut sums: Tile<V, R, C>, other: &Tile<V, R, C>| {
        unrolled!(r < R {
            unrolled!(s < C {
                sums[r][s] = sums[r][s].add(other[r][s]);
            });
        });
        sums
    };
    // Level i holds, while bit i of the number of finished chunks is 1, the sum of 2ⁱ chunks.
    let mut levels = [const { MaybeUninit::<Tile<V, R, C>>::uninit() }; LEVELS];
    let chunks = samples.div_ceil(CHUNK);
    for chunk in 0..chunks {
        let mut sums = leaf(chunk * CHUNK..samples.min((chunk + 1) * CHUNK));
        let mut level = 0;
        while chunk >> level & 1 == 1 {
            // SAFETY: bit `level` of the number of finished chunks is 1, so that the level was written.
            sums = add(sums, unsafe { levels[level].assume_init_ref() });
            level += 1;
        }
        levels[level].write(sums);
    }
    let mut level = chunks.trailing_zeros() as usize;
    // SAFETY: bit `level` of the number of chunks is 1, here and below.
    let mut sums = unsafe { levels[level].assume_init() };
    while chunks >> (level + 1) > 0 {
        level += 1;
        if chunks >> level & 1 == 1 {
            sums = add(sums, unsafe { levels[level].assume_init_ref() });
        }
    }
    sums
}
