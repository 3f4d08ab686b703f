//! A tile: R rows of C vectors, whose sums stay in registers while the terms pass by.
//!
//! Advice: no closure that touches a vector. Where the compiler does not inline one, it is compiled for the oldest processor,
//! and takes thirty times as long. Those that read numbers are small enough.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "numbers are read and written by address")]

use crate::nn::Scalar;
use crate::nn::kernel::vector::Vector;

/// Runs the body for `$index` = 0, 1, … below `$count`, which is at most 16, without a loop: only so does the compiler
/// see that the tile's sums can stay in registers.
macro_rules! unrolled {
    ($index:ident < $count:ident $body:block) => {
        unrolled!(@ 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; $index < $count $body)
    };
    (@ $($value:literal)*; $index:ident < $count:ident $body:block) => {
        $(if $value < $count {
            let $index: usize = $value;
            $body
        })*
    };
}

/// Computes a tile of `$rows` rows, one of the heights of [`height`], of a work.
macro_rules! by_rows {
    ($rows:expr, $v:ty, $c:literal, $part:literal, $work:expr) => {
        by_rows!(@ [1 2 3 4 5 6 8 10 12]; $rows, $v, $c, $part, $work)
    };
    (@ [$($n:literal)*]; $rows:expr, $v:ty, $c:literal, $part:literal, $work:expr) => {
        match $rows {
            // SAFETY: what the caller of this macro proves.
            $($n => unsafe { <$v>::compute::<_, $n, $c, $part>($work) },)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

pub(super) use {by_rows, unrolled};

/// R rows of C vectors.
pub(super) type Tile<V, const R: usize, const C: usize> = [[V; C]; R];

/// Rows of the next tile where so many are left, of at most `most`, which is 4, 6 or 12: few heights, so that there is less
/// to compile, and, where it can be helped, none so low that its sums wait for each other.
#[inline(always)]
pub(super) fn height(left: usize, most: usize) -> usize {
    match (left, most) {
        (7, 12) => 4,
        (9, 12) => 5,
        (11, 12) => 6,
        (13 | 14 | 16, 12) => 8,
        (15 | 18 | 20, 12) => 10,
        _ => left.min(most),
    }
}

/// The start of every sum.
#[inline(always)]
pub(super) fn zeros<T: Scalar, V: Vector<T, L>, const L: usize, const R: usize, const C: usize>()
-> Tile<V, R, C> {
    [[V::splat(T::zero()); C]; R]
}

/// sums + others, one by one.
#[inline(always)]
pub(super) fn add<T: Scalar, V: Vector<T, L>, const L: usize, const R: usize, const C: usize>(
    mut sums: Tile<V, R, C>,
    others: &Tile<V, R, C>,
) -> Tile<V, R, C> {
    unrolled!(r < R {
        unrolled!(s < C {
            sums[r][s] = sums[r][s].add(others[r][s]);
        });
    });
    sums
}

/// sums + Σ a(row, p) · b(p, column) over p = 0, 1, … below `terms`.
///
/// # Safety
/// C vectors can be read from `b(p)` on, of the last only the lanes `last` where `PART`.
#[inline(always)]
pub(super) unsafe fn add_up<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const R: usize,
    const C: usize,
    const PART: bool,
>(
    terms: usize,
    mut sums: Tile<V, R, C>,
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize) -> *const T,
    last: V::Lanes,
) -> Tile<V, R, C> {
    for p in 0..terms {
        // SAFETY: the caller's.
        let y = unsafe { read::<T, V, L, C, PART>(b(p), last) };
        unrolled!(r < R {
            let x = V::splat(a(r, p));
            unrolled!(s < C {
                sums[r][s] = sums[r][s].add_product(x, y[s]);
            });
        });
    }
    sums
}

/// Σ a(row, p) · b(p, column) over p = 0, 1, … below `terms`, and over as many after them, which do not wait for the first.
///
/// # Safety
/// As [`add_up`] from no sums, of twice as many terms.
#[inline(always)]
pub(super) unsafe fn add_up_two<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const R: usize,
    const C: usize,
    const PART: bool,
>(
    terms: usize,
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize) -> *const T,
    last: V::Lanes,
) -> [Tile<V, R, C>; 2] {
    let (mut one, mut other) = (zeros::<T, V, L, R, C>(), zeros::<T, V, L, R, C>());
    for p in 0..terms {
        let q = terms.wrapping_add(p);
        // SAFETY: the caller's.
        let (y, z) = unsafe {
            (
                read::<T, V, L, C, PART>(b(p), last),
                read::<T, V, L, C, PART>(b(q), last),
            )
        };
        unrolled!(r < R {
            let (x, w) = (V::splat(a(r, p)), V::splat(a(r, q)));
            unrolled!(s < C {
                one[r][s] = one[r][s].add_product(x, y[s]);
                other[r][s] = other[r][s].add_product(w, z[s]);
            });
        });
    }
    [one, other]
}

/// C vectors from an address on.
///
/// # Safety
/// They can be read, of the last only the lanes `last` where `PART`.
#[inline(always)]
pub(super) unsafe fn read<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const C: usize,
    const PART: bool,
>(
    from: *const T,
    last: V::Lanes,
) -> [V; C] {
    let mut vectors = [V::splat(T::zero()); C];
    unrolled!(s < C {
        let from = from.wrapping_add(s * L);
        // SAFETY: the caller's.
        vectors[s] = unsafe {
            if PART && s + 1 == C {
                V::load_lanes(from, last)
            } else {
                V::load(from)
            }
        };
    });
    vectors
}

/// Writes C vectors from an address on.
///
/// # Safety
/// They can be written, of the last only the lanes `last` where `PART`.
#[inline(always)]
pub(super) unsafe fn write<
    T: Scalar,
    V: Vector<T, L>,
    const L: usize,
    const C: usize,
    const PART: bool,
>(
    vectors: [V; C],
    to: *mut T,
    last: V::Lanes,
) {
    unrolled!(s < C {
        let to = to.wrapping_add(s * L);
        // SAFETY: the caller's.
        unsafe {
            if PART && s + 1 == C {
                vectors[s].store_lanes(to, last);
            } else {
                vectors[s].store(to);
            }
        }
    });
}
