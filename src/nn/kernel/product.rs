//! The arithmetic of the products, in tiles that fit the registers, over vectors of L numbers.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]

use crate::nn::Scalar;
use crate::nn::kernel::vector::Vector;
use crate::nn::kernel::{Product, Shape};

/// Rows of a tile of `nn` and `tn`, which is two vectors wide.
const TILE_ROWS: usize = 4;

/// Rows and columns of a tile of `nt`.
const DOT_ROWS: usize = 2;
const DOT_COLUMNS: usize = 4;

const _: () = assert!(
    TILE_ROWS <= 4 && DOT_ROWS <= 4 && DOT_COLUMNS <= 4,
    "`unrolled` ends at 4"
);

/// Runs the body for `$index` = 0, 1, … below `$count`, which is at most 4, without a loop: only so does the compiler see
/// that the tile's sums can stay in registers.
macro_rules! unrolled {
    ($index:ident < $count:ident $body:block) => {
        unrolled!(@ 0 1 2 3; $index < $count $body)
    };
    (@ $($value:literal)*; $index:ident < $count:ident $body:block) => {
        $(if $value < $count {
            let $index: usize = $value;
            $body
        })*
    };
}

/// Multiplies in vectors of type `V`; columns that do not fill one are computed by `One`, which rounds in the same way.
#[inline(always)]
pub(super) fn multiply<T: Scalar, V: Vector<T, L>, One: Vector<T, 1>, const L: usize>(
    product: Product,
    shape: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    match product {
        Product::Nt => dots::<T, V, L>(shape, a, b, c),
        Product::Tn => sums::<T, V, One, L, true>(shape, a, b, c),
        Product::Nn => sums::<T, V, One, L, false>(shape, a, b, c),
    }
}

/// A · Bᵀ: every element is a dot product of two rows.
#[inline(always)]
fn dots<T: Scalar, V: Vector<T, L>, const L: usize>(shape: Shape, a: &[T], b: &[T], c: &mut [T]) {
    // Columns outside: the rows of B, the larger operand as a rule, are then read once.
    let mut j = 0;
    while j + DOT_COLUMNS <= shape.n {
        dot_rows::<T, V, DOT_COLUMNS, L>(j, shape, a, b, c);
        j += DOT_COLUMNS;
    }
    while j < shape.n {
        dot_rows::<T, V, 1, L>(j, shape, a, b, c);
        j += 1;
    }
}

#[inline(always)]
fn dot_rows<T: Scalar, V: Vector<T, L>, const C: usize, const L: usize>(
    j: usize,
    shape: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let mut i = 0;
    while i + DOT_ROWS <= shape.m {
        dot_tile::<T, V, DOT_ROWS, C, L>([i, j], shape, a, b, c);
        i += DOT_ROWS;
    }
    while i < shape.m {
        dot_tile::<T, V, 1, C, L>([i, j], shape, a, b, c);
        i += 1;
    }
}

/// R × C dot products: term p goes into lane p mod L, lanes are added in halves, the last k mod L terms one by one.
#[inline(always)]
fn dot_tile<T: Scalar, V: Vector<T, L>, const R: usize, const C: usize, const L: usize>(
    [i, j]: [usize; 2],
    Shape { k, n, .. }: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let whole = k / L;
    let mut a_vectors = [const { &[] as &[[T; L]] }; R];
    let mut a_rest = [const { &[] as &[T] }; R];
    for r in 0..R {
        let (vectors, rest) = a[(i + r) * k..][..k].as_chunks::<L>();
        (a_vectors[r], a_rest[r]) = (&vectors[..whole], &rest[..k % L]);
    }
    let mut b_vectors = [const { &[] as &[[T; L]] }; C];
    let mut b_rest = [const { &[] as &[T] }; C];
    for s in 0..C {
        let (vectors, rest) = b[(j + s) * k..][..k].as_chunks::<L>();
        (b_vectors[s], b_rest[s]) = (&vectors[..whole], &rest[..k % L]);
    }
    let mut lanes = [[V::splat(T::zero()); C]; R];
    for p in 0..whole {
        unrolled!(r < R {
            let x = V::load(&a_vectors[r][p]);
            unrolled!(s < C {
                lanes[r][s] = lanes[r][s].add_product(x, V::load(&b_vectors[s][p]));
            });
        });
    }
    unrolled!(r < R {
        unrolled!(s < C {
            let mut sum = lanes[r][s].total();
            for p in 0..k % L {
                sum = V::add_product_of_one(sum, a_rest[r][p], b_rest[s][p]);
            }
            c[(i + r) * n + j + s] = sum;
        });
    });
}

/// A · B, or Aᵀ · B where `TRANSPOSED`: every element is added up over k in order, one element per lane.
#[inline(always)]
fn sums<T: Scalar, V: Vector<T, L>, One: Vector<T, 1>, const L: usize, const TRANSPOSED: bool>(
    shape: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let mut i = 0;
    while i + TILE_ROWS <= shape.m {
        sum_columns::<T, V, One, TILE_ROWS, L, TRANSPOSED>(i, shape, a, b, c);
        i += TILE_ROWS;
    }
    while i < shape.m {
        sum_columns::<T, V, One, 1, L, TRANSPOSED>(i, shape, a, b, c);
        i += 1;
    }
}

#[inline(always)]
fn sum_columns<
    T: Scalar,
    V: Vector<T, L>,
    One: Vector<T, 1>,
    const R: usize,
    const L: usize,
    const TRANSPOSED: bool,
>(
    i: usize,
    shape: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let n = shape.n;
    let mut j = 0;
    while j + 2 * L <= n {
        sum_tile::<T, V, R, 2, L, TRANSPOSED>([i, j], shape, a, b, c);
        j += 2 * L;
    }
    if j + L <= n {
        sum_tile::<T, V, R, 1, L, TRANSPOSED>([i, j], shape, a, b, c);
        j += L;
    }
    if j < n && n >= L {
        // The last vector overlaps the one before it and computes some elements again, to the same bits.
        sum_tile::<T, V, R, 1, L, TRANSPOSED>([i, n - L], shape, a, b, c);
    } else {
        while j < n {
            sum_tile::<T, One, R, 1, 1, TRANSPOSED>([i, j], shape, a, b, c);
            j += 1;
        }
    }
}

/// R rows of C vectors.
#[inline(always)]
fn sum_tile<
    T: Scalar,
    V: Vector<T, L>,
    const R: usize,
    const C: usize,
    const L: usize,
    const TRANSPOSED: bool,
>(
    [i, j]: [usize; 2],
    Shape { m, k, n }: Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let mut a_rows = [const { &[] as &[T] }; R];
    if !TRANSPOSED {
        for (r, row) in a_rows.iter_mut().enumerate() {
            *row = &a[(i + r) * k..][..k];
        }
    }
    let mut sums = [[V::splat(T::zero()); C]; R];
    for p in 0..k {
        let vectors = &b[p * n + j..][..C * L].as_chunks::<L>().0[..C];
        unrolled!(r < R {
            let x = V::splat(if TRANSPOSED { a[p * m + i..][..R][r] } else { a_rows[r][p] });
            unrolled!(s < C {
                sums[r][s] = sums[r][s].add_product(x, V::load(&vectors[s]));
            });
        });
    }
    unrolled!(r < R {
        let (vectors, _) = c[(i + r) * n + j..][..C * L].as_chunks_mut::<L>();
        unrolled!(s < C {
            sums[r][s].store(&mut vectors[s]);
        });
    });
}
