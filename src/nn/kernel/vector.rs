//! What a processor adds and multiplies at once: one vector type per instruction set and scalar.
#![expect(
    clippy::inline_always,
    reason = "a method must be compiled with the features of the function that calls it"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

use crate::nn::Scalar;

/// L numbers of type T.
///
/// The types of an instruction set are used only by the products that `kernel` calls after it has asked the processor
/// for that set: this is what the proofs below rest on.
pub(super) trait Vector<T: Scalar, const L: usize>: Copy {
    /// x in every lane.
    fn splat(x: T) -> Self;

    /// The numbers of an array.
    fn load(numbers: &[T; L]) -> Self;

    /// Writes the numbers to an array.
    fn store(self, numbers: &mut [T; L]);

    /// self + x·y in every lane.
    fn add_product(self, x: Self, y: Self) -> Self;

    /// sum + x·y of single numbers, rounded as in `add_product`.
    fn add_product_of_one(sum: T, x: T, y: T) -> T;

    /// The sum of the lanes: the upper half is added onto the lower until one lane is left.
    #[inline(always)]
    fn total(self) -> T {
        let mut lanes = [T::zero(); L];
        self.store(&mut lanes);
        let mut half = L / 2;
        while half > 0 {
            for lane in 0..half {
                let upper = lanes[lane + half];
                lanes[lane] += upper;
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// An array, for processors of which nothing is known; multiply and add are rounded apart.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const L: usize>([T; L]);

impl<T: Scalar, const L: usize> Vector<T, L> for Plain<T, L> {
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; L])
    }

    #[inline(always)]
    fn load(numbers: &[T; L]) -> Self {
        Self(*numbers)
    }

    #[inline(always)]
    fn store(self, numbers: &mut [T; L]) {
        *numbers = self.0;
    }

    #[inline(always)]
    fn add_product(mut self, x: Self, y: Self) -> Self {
        for lane in 0..L {
            self.0[lane] = Self::add_product_of_one(self.0[lane], x.0[lane], y.0[lane]);
        }
        self
    }

    #[inline(always)]
    fn add_product_of_one(sum: T, x: T, y: T) -> T {
        sum + x * y
    }
}

/// One number whose multiply and add are rounded once, for the columns that do not fill a vector.
#[derive(Clone, Copy)]
pub(super) struct Fused<T>(T);

impl<T: Scalar> Vector<T, 1> for Fused<T> {
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self(x)
    }

    #[inline(always)]
    fn load(numbers: &[T; 1]) -> Self {
        Self(numbers[0])
    }

    #[inline(always)]
    fn store(self, numbers: &mut [T; 1]) {
        numbers[0] = self.0;
    }

    #[inline(always)]
    fn add_product(self, x: Self, y: Self) -> Self {
        Self(Self::add_product_of_one(self.0, x.0, y.0))
    }

    #[inline(always)]
    fn add_product_of_one(sum: T, x: T, y: T) -> T {
        x.mul_add(y, sum)
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! vector {
    ($name:ident: $register:ident of $lanes:literal $scalar:ty, $splat:ident, $load:ident, $store:ident, $fma:ident) => {
        #[doc = concat!("A register of ", stringify!($lanes), " ", stringify!($scalar), ".")]
        #[derive(Clone, Copy)]
        pub(super) struct $name(x86::$register);

        #[expect(unsafe_code, reason = "the processor's own instructions")]
        impl Vector<$scalar, $lanes> for $name {
            #[inline(always)]
            fn splat(x: $scalar) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$splat(x) })
            }

            #[inline(always)]
            fn load(numbers: &[$scalar; $lanes]) -> Self {
                // SAFETY: as above; the array is as long as the register, and the load asks for no alignment.
                Self(unsafe { x86::$load(numbers.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, numbers: &mut [$scalar; $lanes]) {
                // SAFETY: as above; the array is as long as the register, and the store asks for no alignment.
                unsafe { x86::$store(numbers.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn add_product(self, x: Self, y: Self) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$fma(x.0, y.0, self.0) })
            }

            #[inline(always)]
            fn add_product_of_one(sum: $scalar, x: $scalar, y: $scalar) -> $scalar {
                x.mul_add(y, sum)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector!(Avx2F32: __m256 of 8 f32, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector!(Avx2F64: __m256d of 4 f64, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd);
#[cfg(target_arch = "x86_64")]
vector!(Avx512F32: __m512 of 16 f32, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector!(Avx512F64: __m512d of 8 f64, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd);
