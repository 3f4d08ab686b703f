//! ∂C/∂w = Σ a δ over samples, in the fixed tree of `nn::reduce`, tile by tile.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::nn::kernel::Matrix;
use crate::nn::kernel::pauses::worked;
use crate::nn::kernel::product::panel::{MOST_COLUMNS, copy_columns};
use crate::nn::kernel::product::tile::{
    Tile, add, add_up, add_up_two, by_rows, height, read, unrolled, write, zeros,
};
use crate::nn::kernel::product::{Panel, SINGLE, WORTH_A_PANEL, is_far_apart, without_pause};
use crate::nn::kernel::vector::{Vector, Work};
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
    /// δ as [`Panels`] makes them, where they were.
    pub(in crate::nn::kernel) panels: Option<&'a [T]>,
    pub(in crate::nn::kernel) into: Destination<'a, T>,
}

/// What becomes of a weight gradient.
pub(in crate::nn) enum Destination<'a, T> {
    /// It is written here, (c × n).
    Gradient(&'a mut [T]),
    /// These weights, (c × n), become less by the rate times it, and whether all of them are finite then is written too.
    Weights(&'a mut [T], T, &'a mut bool),
}

/// Some columns of δ (m × n) as panels of 2 L units, one after another, each with its numbers of all samples.
pub struct Panels<'a, T> {
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) columns: Range<usize>,
    pub(in crate::nn::kernel) into: &'a mut [T],
}

#[inline(always)]
pub(super) fn panels<T: Scalar, V: Vector<T, L>, const L: usize>(product: &mut Panels<'_, T>) {
    let Panels {
        deltas,
        columns,
        into: panels,
    } = product;
    let (m, n) = (deltas.len(), deltas.width());
    assert!(
        columns.start <= columns.end
            && columns.end <= n
            && panels.len() >= m * columns.len().next_multiple_of(2 * L),
        "panels of {m} × {columns:?} of {n}"
    );
    for unit in (0..columns.len()).step_by(2 * L) {
        let width = (columns.len() - unit).min(2 * L);
        let from = deltas.numbers()[(columns.start + unit).min(m * n)..].as_ptr();
        let to = panels[m * unit..].as_mut_ptr();
        // SAFETY: δ has m rows of n numbers, of which these are `width` from `unit` on, and there is room for m rows of 2 L
        // numbers in the panels from m · `unit` on.
        unsafe { copy_columns::<T, V, L>((from, n), m, width, to) };
    }
}

#[inline(always)]
pub(super) fn weight_gradient<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize>(
    product: &mut WeightGradient<'_, T>,
    panel: &mut Panel,
) {
    let WeightGradient {
        x,
        columns,
        deltas,
        panels,
        into,
    } = product;
    let (x, columns, deltas, panels) = (*x, columns.clone(), *deltas, *panels);
    let (m, n) = (deltas.len(), deltas.width());
    let (numbers, rate, finite): (&mut [T], _, _) = match into {
        Destination::Gradient(gradient) => (gradient, None, None),
        Destination::Weights(weights, rate, finite) => (weights, Some(*rate), Some(finite)),
    };
    assert!(
        x.len() == m
            && m <= BLOCK
            && panels.is_none_or(|panels| panels.len() >= m * n.next_multiple_of(2 * L))
            && columns.start <= columns.end
            && columns.end <= x.width()
            && numbers.len() == columns.len() * n,
        "operands of {m} × {columns:?} × {n}"
    );
    if let (1, None) = (n, rate) {
        let deltas = deltas.numbers();
        return add_up_rows::<T, V, L>(|p| deltas[p], x, columns, numbers);
    }
    let mut zeros = [T::zero(); L];
    let copies_x =
        panels.is_some() && is_far_apart::<T>(x.width()) && columns.len() <= MOST_COLUMNS;
    let copies_deltas = panels.is_none() && columns.len() >= WORTH_A_PANEL && is_far_apart::<T>(n);
    let (x, columns, mut panel) = if copies_x {
        let count = columns.len();
        (panel.copy_rows(x, columns), 0..count, None)
    } else {
        (x, columns, copies_deltas.then_some(panel))
    };
    let mut unit = 0;
    while unit < n {
        let width = (n - unit).min(2 * L);
        let mut from = (deltas.numbers()[unit.min(m * n)..].as_ptr(), n);
        if let Some(panels) = panels {
            from = (panels[m * unit..].as_ptr(), 2 * L);
        } else if let Some(panel) = &mut panel {
            // SAFETY: δ has m rows of n numbers, of which these are `width` from `unit` on.
            from = unsafe { (panel.copy::<T, V, L>(from, m, width), 2 * L) };
        }
        let mut work = GradientTile::<T, V, L, MOST> {
            x,
            column: columns.start,
            from: from.0,
            step: from.1,
            to: numbers.as_mut_ptr().wrapping_add(unit),
            units: n,
            rate,
            zeros: zeros.as_mut_ptr(),
            last: V::lanes(if width > L { width - L } else { width }),
        };
        while work.column < columns.end {
            let (first, end) = (work.column, without_pause(work.column, columns.end));
            while work.column < end {
                let rows = height(end - work.column, MOST);
                if width <= L {
                    by_rows!(rows, V, 1, true, &work);
                } else if V::LANES_ARE_FREE || width < 2 * L {
                    by_rows!(rows, V, 2, true, &work);
                } else {
                    by_rows!(rows, V, 2, false, &work);
                }
                work.column += rows;
                work.to = work.to.wrapping_add(rows * n);
            }
            worked(m.max(SINGLE) * (end - first) * width);
        }
        unit += width;
    }
    if let Some(finite) = finite {
        **finite = zeros.iter().all(T::is_zero);
    }
}

/// Sums over samples of some columns of x times some of δ.
///
/// x has as many columns as the tile has rows from `column` on; for each sample, as many numbers as the tile has columns can
/// be read from `from` + sample · `step` on, and written from `to` + row · `units` on, and read where there is a rate; of the
/// last vector of columns there are the lanes `last`; L numbers can be read and written at `zeros`.
struct GradientTile<'a, T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize> {
    x: Matrix<'a, T>,
    column: usize,
    from: *const T,
    step: usize,
    to: *mut T,
    units: usize,
    /// What is written becomes less by the rate times the sums; else it is the sums.
    rate: Option<T>,
    /// Sums of 0 · what was written with a rate: 0 of finite numbers, NaN of others.
    zeros: *mut T,
    last: V::Lanes,
}

impl<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize> Work
    for GradientTile<'_, T, V, L, MOST>
{
    #[inline(always)]
    unsafe fn tile<const R: usize, const C: usize, const PART: bool>(&self) {
        // Never called so.
        if R > MOST || V::LANES_ARE_FREE && C == 2 && !PART {
            return;
        }
        // SAFETY: what `GradientTile` says of itself.
        unsafe {
            let mut sums = in_tree::<T, V, L, R, C, PART>(self, self.x.len(), self.last);
            if let Some(rate) = self.rate {
                let (rate, zero) = (V::splat(rate), V::splat(T::zero()));
                let mut zeros = [V::load(self.zeros), zero, zero, zero];
                unrolled!(r < R {
                    let to = self.to.wrapping_add(self.units.wrapping_mul(r));
                    let weights = read::<T, V, L, C, PART>(to, self.last);
                    unrolled!(s < C {
                        sums[r][s] = weights[s].less_product(rate, sums[r][s]);
                        let chain = (2 * r + s) % 4;
                        zeros[chain] = zeros[chain].add_product(sums[r][s], zero);
                    });
                });
                let zeros = zeros[0].add(zeros[1]).add(zeros[2].add(zeros[3]));
                zeros.store(self.zeros);
            }
            unrolled!(r < R {
                let to = self.to.wrapping_add(self.units.wrapping_mul(r));
                write::<T, V, L, C, PART>(sums[r], to, self.last);
            });
        }
    }
}

/// What is added up over samples.
trait Leaves<T: Scalar> {
    /// What the numbers of a sample are multiplied by, for a row of the tile.
    ///
    /// # Safety
    /// There is such a sample and such a row.
    unsafe fn factor(&self, row: usize, sample: usize) -> T;

    /// Where the numbers of a sample are.
    ///
    /// # Safety
    /// There is such a sample.
    unsafe fn numbers(&self, sample: usize) -> *const T;
}

impl<T: Scalar, V: Vector<T, L>, const L: usize, const MOST: usize> Leaves<T>
    for GradientTile<'_, T, V, L, MOST>
{
    #[inline(always)]
    unsafe fn factor(&self, row: usize, sample: usize) -> T {
        // SAFETY: the caller's, and what `GradientTile` says of itself.
        unsafe {
            *self
                .x
                .start(sample)
                .wrapping_add(self.column.wrapping_add(row))
        }
    }

    #[inline(always)]
    unsafe fn numbers(&self, sample: usize) -> *const T {
        self.from.wrapping_add(sample.wrapping_mul(self.step))
    }
}

/// sums (c) = Σ of the rows of δ (m × n), of c columns of it, m at most `BLOCK`.
pub struct BiasGradient<'a, T> {
    pub(in crate::nn::kernel) deltas: Matrix<'a, T>,
    pub(in crate::nn::kernel) columns: Range<usize>,
    pub(in crate::nn::kernel) sums: &'a mut [T],
}

#[inline(always)]
pub(super) fn bias_gradient<T: Scalar, V: Vector<T, L>, const L: usize>(
    product: &mut BiasGradient<'_, T>,
) {
    let BiasGradient {
        deltas,
        columns,
        sums,
    } = product;
    let (m, n) = (deltas.len(), deltas.width());
    assert!(
        m <= BLOCK
            && columns.start <= columns.end
            && columns.end <= n
            && sums.len() == columns.len(),
        "operands of {m} × {columns:?} of {n}"
    );
    add_up_rows::<T, V, L>(|_| T::one(), *deltas, columns.clone(), sums);
}

/// Σ factor(p) · row p of x, of some of its columns, which stand side by side in vectors.
#[inline(always)]
fn add_up_rows<T: Scalar, V: Vector<T, L>, const L: usize>(
    factor: impl Fn(usize) -> T,
    x: Matrix<'_, T>,
    columns: Range<usize>,
    sums: &mut [T],
) {
    let mut rows = Factors {
        factor,
        x,
        column: columns.start,
    };
    while rows.column < columns.end {
        let to = sums[rows.column - columns.start..].as_mut_ptr();
        let width = columns.end - rows.column;
        // SAFETY: rows of x, and the sums, have `width` numbers from the column on.
        unsafe {
            if width >= WIDE * L {
                let last = V::lanes(L);
                let sums = in_tree::<T, V, L, 1, WIDE, false>(&rows, x.len(), last);
                write::<T, V, L, WIDE, false>(sums[0], to, last);
                rows.column += WIDE * L;
            } else {
                let last = V::lanes(width);
                let sums = in_tree::<T, V, L, 1, 1, true>(&rows, x.len(), last);
                write::<T, V, L, 1, true>(sums[0], to, last);
                rows.column += width.min(L);
            }
        }
    }
}

/// Rows of x times a factor of each.
struct Factors<'a, T, F> {
    factor: F,
    x: Matrix<'a, T>,
    column: usize,
}

impl<T: Scalar, F: Fn(usize) -> T> Leaves<T> for Factors<'_, T, F> {
    #[inline(always)]
    unsafe fn factor(&self, _row: usize, sample: usize) -> T {
        (self.factor)(sample)
    }

    #[inline(always)]
    unsafe fn numbers(&self, sample: usize) -> *const T {
        // SAFETY: the caller's.
        unsafe { self.x.start(sample).wrapping_add(self.column) }
    }
}

/// Σ over samples of factor · numbers, in the tree of `FixedTree`.
///
/// # Safety
/// C vectors can be read from the numbers of each sample on, of the last only the lanes `last` where `PART`.
#[inline(always)]
unsafe fn in_tree<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const R: usize,
    const C: usize,
    const PART: bool,
>(
    leaves: &impl Leaves<T>,
    samples: usize,
    last: V::Lanes,
) -> Tile<V, R, C> {
    let chunks = samples.div_ceil(CHUNK).max(1);
    let mut tree = Branches::<V, R, C> {
        levels: [const { MaybeUninit::uninit() }; LEVELS],
        finished: 0,
    };
    while tree.finished < chunks {
        let first = tree.finished * CHUNK;
        if R * C <= FEW && samples - first >= 2 * CHUNK {
            // SAFETY: the caller's.
            let [one, other] = unsafe {
                add_up_two::<T, V, L, R, C, PART>(
                    CHUNK,
                    |r, p| leaves.factor(r, first.wrapping_add(p)),
                    |p| leaves.numbers(first.wrapping_add(p)),
                    last,
                )
            };
            tree.add::<T, L>(one);
            tree.add::<T, L>(other);
            continue;
        }
        // SAFETY: the caller's.
        let sums = unsafe {
            add_up::<T, V, L, R, C, PART>(
                (samples - first).min(CHUNK),
                zeros::<T, V, L, R, C>(),
                |r, p| leaves.factor(r, first.wrapping_add(p)),
                |p| leaves.numbers(first.wrapping_add(p)),
                last,
            )
        };
        if chunks == 1 {
            return sums;
        }
        tree.add::<T, L>(sums);
    }
    tree.total::<T, L>()
}

/// Vectors of a tile so small that its sums wait for themselves: two chunks are then added up at a time.
const FEW: usize = 4;

/// The branches of the tree of a block that are not joined yet.
struct Branches<V, const R: usize, const C: usize> {
    /// Level i holds, while bit i of the number of finished chunks is 1, the sum of 2ⁱ chunks.
    levels: [MaybeUninit<Tile<V, R, C>>; LEVELS],
    /// Chunks, fewer than 2 to the power of `LEVELS`.
    finished: usize,
}

impl<V, const R: usize, const C: usize> Branches<V, R, C> {
    /// Adds the sums of the next chunk.
    #[inline(always)]
    fn add<T: Scalar, const L: usize>(&mut self, mut sums: Tile<V, R, C>)
    where
        V: Vector<T, L>,
    {
        let mut level = 0;
        while self.finished >> level & 1 == 1 {
            // SAFETY: bit `level` of the number of finished chunks is 1, so that the level was written.
            let branch = unsafe { self.levels[level].assume_init_ref() };
            sums = add::<T, V, L, R, C>(sums, branch);
            level += 1;
        }
        self.levels[level].write(sums);
        self.finished += 1;
    }

    /// The sum of all chunks, at least one.
    #[inline(always)]
    fn total<T: Scalar, const L: usize>(&self) -> Tile<V, R, C>
    where
        V: Vector<T, L>,
    {
        let mut level = self.finished.trailing_zeros() as usize;
        // SAFETY: bit `level` of the number of chunks is 1, here and below.
        let mut sums = unsafe { self.levels[level].assume_init() };
        while self.finished >> (level + 1) > 0 {
            level += 1;
            if self.finished >> level & 1 == 1 {
                sums = add::<T, V, L, R, C>(sums, unsafe { self.levels[level].assume_init_ref() });
            }
        }
        sums
    }
}
