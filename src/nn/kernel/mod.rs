//! The matrix products of backpropagation, for the instruction sets that the machine may have.
//!
//! Advice for those who change this: every element of a product is one sum over k, whose order depends on k, the scalar
//! and the instruction set, never on m, n or the element's place. That is what gives a row the same prediction alone as
//! in any batch. The arithmetic (`product.rs`) is written once, over the vectors (`vector.rs`) of an instruction set, and
//! inlined into a function compiled for that set. Unsafe are only the instructions themselves and the call of such a
//! function, below, after the processor has been asked. Measure in release: debug assertions cost a factor of five.

mod product;
mod vector;
mod vectorize;

use crate::nn::Scalar;
use crate::nn::kernel::vector::{Fused, Plain};
pub(crate) use crate::nn::kernel::vectorize::{Arithmetic, Loops, vectorize};

/// The sizes of a product: the result is m × n, the sums have k terms.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of the result.
    pub m: usize,
    /// Terms of each sum.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

/// Which of the operands is transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// A · Bᵀ.
    Nt,
    /// Aᵀ · B.
    Tn,
    /// A · B: neither is.
    Nn,
}

/// The instruction sets that the products are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// What every machine of the target has; multiplies and adds are rounded apart.
    Portable,
    /// Vectors of 32 bytes and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Vectors of 64 bytes and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The widest that this machine has. The standard library asks the processor once and remembers.
    #[inline]
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if Self::has_avx512() {
                return Self::Avx512;
            }
            if Self::has_avx2() {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Every one that this machine has.
    #[cfg(test)]
    fn available() -> Vec<Self> {
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if Self::has_avx2() {
                sets.push(Self::Avx2);
            }
            if Self::has_avx512() {
                sets.push(Self::Avx512);
            }
        }
        sets
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// AVX-512 with all the parts that came with it on servers.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn has_avx512() -> bool {
        Self::has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }
}

/// z = a·wᵀ: C (m × n) = A (m × k) · B (n × k)ᵀ. All row-major.
pub(crate) fn nt<T: Scalar>(shape: Shape, a: &[T], b: &[T], c: &mut [T]) {
    T::multiply(InstructionSet::best(), Product::Nt, shape, a, b, c);
}

/// ∂C/∂w = δᵀ·a: C (m × n) = A (k × m)ᵀ · B (k × n). All row-major.
pub(crate) fn tn<T: Scalar>(shape: Shape, a: &[T], b: &[T], c: &mut [T]) {
    T::multiply(InstructionSet::best(), Product::Tn, shape, a, b, c);
}

/// δ·w: C (m × n) = A (m × k) · B (k × n). All row-major.
pub(crate) fn nn<T: Scalar>(shape: Shape, a: &[T], b: &[T], c: &mut [T]) {
    T::multiply(InstructionSet::best(), Product::Nn, shape, a, b, c);
}

/// A scalar that has products. Being out of reach, it seals `Scalar`.
pub trait Multiply: Sized {
    /// The product with the instructions of a set, which this machine must have.
    ///
    /// Panics: where the operands are not of the shape, the caller's bug.
    fn multiply(
        set: InstructionSet,
        product: Product,
        shape: Shape,
        a: &[Self],
        b: &[Self],
        c: &mut [Self],
    );
}

macro_rules! implement {
    ($scalar:ty, $plain:literal, $avx2:ident of $avx2_lanes:literal, $avx512:ident of $avx512_lanes:literal) => {
        impl Multiply for $scalar {
            #[cfg_attr(
                target_arch = "x86_64",
                expect(
                    unsafe_code,
                    reason = "functions compiled for more than the target's instructions"
                )
            )]
            fn multiply(
                set: InstructionSet,
                product: Product,
                shape: Shape,
                a: &[Self],
                b: &[Self],
                c: &mut [Self],
            ) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2(
                    product: Product,
                    shape: Shape,
                    a: &[$scalar],
                    b: &[$scalar],
                    c: &mut [$scalar],
                ) {
                    product::multiply::<$scalar, vector::$avx2, Fused<$scalar>, $avx2_lanes>(
                        product, shape, a, b, c,
                    );
                }

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn avx512(
                    product: Product,
                    shape: Shape,
                    a: &[$scalar],
                    b: &[$scalar],
                    c: &mut [$scalar],
                ) {
                    product::multiply::<$scalar, vector::$avx512, Fused<$scalar>, $avx512_lanes>(
                        product, shape, a, b, c,
                    );
                }

                let Shape { m, k, n } = shape;
                assert!(
                    a.len() == m * k && b.len() == k * n && c.len() == m * n,
                    "operands of {shape:?}"
                );
                match set {
                    InstructionSet::Portable => {
                        product::multiply::<
                            $scalar,
                            Plain<$scalar, $plain>,
                            Plain<$scalar, 1>,
                            $plain,
                        >(product, shape, a, b, c);
                    }
                    // SAFETY: `best` alone makes this value outside of tests, after the processor has said that it has
                    // AVX2 and FMA; tests ask in the same way.
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => unsafe { avx2(product, shape, a, b, c) },
                    // SAFETY: as above, with AVX-512F, AVX2 and FMA.
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => unsafe { avx512(product, shape, a, b, c) },
                }
            }
        }
    };
}

implement!(f32, 4, Avx2F32 of 8, Avx512F32 of 16);
implement!(f64, 2, Avx2F64 of 4, Avx512F64 of 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::{keyed, uniform};

    fn matrix<T: Scalar>(len: usize, purpose: u64) -> Vec<T> {
        let mut random = keyed(7, purpose, len as u64, 0);
        (0..len)
            .map(|_| T::from_f64(uniform(&mut random, -1.0, 1.0)))
            .collect()
    }

    /// The product and, for a bound on the error, the sum of the absolute values of its terms; both in f64.
    fn naive<T: Scalar>(
        product: Product,
        Shape { m, k, n }: Shape,
        a: &[T],
        b: &[T],
    ) -> Vec<(f64, f64)> {
        let term = |i: usize, j: usize, p: usize| {
            let (a, b) = match product {
                Product::Nt => (a[i * k + p], b[j * k + p]),
                Product::Tn => (a[p * m + i], b[p * n + j]),
                Product::Nn => (a[i * k + p], b[p * n + j]),
            };
            a.to_f64() * b.to_f64()
        };
        let element = |i, j| {
            (0..k).fold((0.0, 0.0), |(sum, size), p| {
                (sum + term(i, j, p), size + term(i, j, p).abs())
            })
        };
        (0..m)
            .flat_map(|i| (0..n).map(move |j| element(i, j)))
            .collect()
    }

    fn check<T: Scalar>(shape: Shape) {
        let Shape { m, k, n } = shape;
        let (a, b) = (matrix::<T>(m * k, 1), matrix::<T>(k * n, 2));
        let mut c = vec![T::nan(); m * n];
        for product in [Product::Nt, Product::Tn, Product::Nn] {
            let expected = naive(product, shape, &a, &b);
            for set in InstructionSet::available() {
                c.fill(T::nan());
                T::multiply(set, product, shape, &a, &b, &mut c);
                for (&c, &(expected, size)) in c.iter().zip(&expected) {
                    // |error| ≤ k ε Σ |terms| for any order of addition: Higham (2002), equation 3.5.
                    let bound = (k as f64 + 1.0) * T::epsilon().to_f64() * size;
                    let error = (c.to_f64() - expected).abs();
                    assert!(
                        error <= bound,
                        "{set:?} {product:?} {shape:?}: {c} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_triple_loop_for_all_small_shapes() {
        for m in 0..=20 {
            for k in 0..=20 {
                for n in 0..=20 {
                    check::<f32>(Shape { m, k, n });
                    check::<f64>(Shape { m, k, n });
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_triple_loop_for_odd_large_shapes() {
        for [m, k, n] in [
            [10, 784, 30],
            [30, 10, 784],
            [64, 257, 129],
            [63, 100, 37],
            [1, 1000, 3],
            [129, 1, 65],
        ] {
            check::<f32>(Shape { m, k, n });
            check::<f64>(Shape { m, k, n });
        }
    }

    #[test]
    fn an_element_has_the_same_bits_whatever_rows_and_columns_are_computed_with_it() {
        fn check<T: Scalar>() {
            const ROWS: usize = 23;
            const COLUMNS: usize = 43;
            for k in [1, 3, 8, 19, 100] {
                let (a, b) = (matrix::<T>(ROWS * k, 1), matrix::<T>(k * COLUMNS, 2));
                for set in InstructionSet::available() {
                    for product in [Product::Nt, Product::Nn] {
                        let mut whole = vec![T::zero(); ROWS * COLUMNS];
                        T::multiply(
                            set,
                            product,
                            Shape {
                                m: ROWS,
                                k,
                                n: COLUMNS,
                            },
                            &a,
                            &b,
                            &mut whole,
                        );
                        for m in 1..ROWS {
                            // The last m rows of A, so that they stand elsewhere in a tile.
                            let mut part = vec![T::zero(); m * COLUMNS];
                            let shape = Shape { m, k, n: COLUMNS };
                            T::multiply(set, product, shape, &a[(ROWS - m) * k..], &b, &mut part);
                            assert_eq!(
                                part,
                                whole[(ROWS - m) * COLUMNS..],
                                "{set:?} {product:?} k = {k}, {m} rows"
                            );
                        }
                    }
                    // Fewer columns: the last n rows of B are the last n columns of the product.
                    let mut whole = vec![T::zero(); ROWS * COLUMNS];
                    T::multiply(
                        set,
                        Product::Nt,
                        Shape {
                            m: ROWS,
                            k,
                            n: COLUMNS,
                        },
                        &a,
                        &b,
                        &mut whole,
                    );
                    for n in 1..COLUMNS {
                        let mut part = vec![T::zero(); ROWS * n];
                        T::multiply(
                            set,
                            Product::Nt,
                            Shape { m: ROWS, k, n },
                            &a,
                            &b[(COLUMNS - n) * k..],
                            &mut part,
                        );
                        for (part, whole) in part.chunks_exact(n).zip(whole.chunks_exact(COLUMNS)) {
                            assert_eq!(part, &whole[COLUMNS - n..], "{set:?} k = {k}, {n} columns");
                        }
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    #[should_panic(expected = "operands of Shape")]
    fn operands_of_the_wrong_size_are_a_bug() {
        nn(
            Shape { m: 2, k: 2, n: 2 },
            &[0.0_f32; 4],
            &[0.0; 4],
            &mut [0.0; 3],
        );
    }
}
