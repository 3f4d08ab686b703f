//! A tile: R rows of C vectors, whose sums stay in registers while the terms pass by.
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

/// Calls a function over tiles with as many rows as `$rows` says, 1 to 12.
macro_rules! by_rows {
    ($rows:expr; $name:ident::<$t:ty, $v:ty, $l:ident, $most:ident, _, $c:literal, $part:literal> $arguments:tt) => {
        by_rows!(@ $rows; [1 2 3 4 5 6 7 8 9 10 11 12]; $name::<$t, $v, $l, $most, $c, $part> $arguments)
    };
    (@ $rows:expr; [$($n:literal)*]; $name:ident::<$t:ty, $v:ty, $l:ident, $most:ident, $c:literal, $part:literal> $arguments:tt) => {
        match $rows {
            $($n => by_rows!(! $n; $name::<$t, $v, $l, $most, $c, $part> $arguments),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
    (! $n:literal; $name:ident::<$t:ty, $v:ty, $l:ident, $most:ident, $c:literal, $part:literal> ($($argument:expr),*)) => {
        // SAFETY: what the caller of this macro proves.
        unsafe { $name::<$t, $v, $l, $most, $n, $c, $part>($($argument),*) }
    };
}

pub(super) use {by_rows, unrolled};

/// R rows of C vectors.
pub(super) type Tile<V, const R: usize, const C: usize> = [[V; C]; R];

/// The start of every sum.
#[inline(always)]
pub(super) fn zeros<T: Scalar, V: Vector<T, L>, const L: usize, const R: usize, const C: usize>()
-> Tile<V, R, C> {
    [[V::splat(T::zero()); C]; R]
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
