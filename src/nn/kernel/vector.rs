//! What a processor adds and multiplies at once: one vector type per instruction set and scalar.
#![expect(
    clippy::inline_always,
    reason = "a method must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "the processor's own instructions")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

use crate::nn::Scalar;
use crate::nn::kernel::select;
#[cfg(target_arch = "x86_64")]
use crate::nn::kernel::transpose::{
    transpose_avx2_f32, transpose_avx2_f64, transpose_avx512_f32, transpose_avx512_f64,
};

/// L numbers of type T.
///
/// The types of an instruction set are used only by the products that `kernel` calls after it has asked the processor
/// for that set: this is what the proofs below rest on.
pub(super) trait Vector<T: Scalar, const L: usize>: Copy {
    /// Which of the lanes are there: the first so many.
    type Lanes: Copy;

    /// Whether reading and writing some lanes takes no longer than all of them.
    const LANES_ARE_FREE: bool;

    /// The first `count` lanes; all, where it is more.
    fn lanes(count: usize) -> Self::Lanes;

    /// x in every lane.
    fn splat(x: T) -> Self;

    /// The L numbers from an address on, which needs no alignment.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn load(from: *const T) -> Self;

    /// Writes L numbers from an address on.
    ///
    /// # Safety
    /// They can be written.
    unsafe fn store(self, to: *mut T);

    /// The numbers of the lanes that are there, and 0 in others, for which nothing is read.
    ///
    /// # Safety
    /// Those of the lanes can be read.
    unsafe fn load_lanes(from: *const T, lanes: Self::Lanes) -> Self;

    /// Writes the numbers of the lanes that are there, and nothing for others.
    ///
    /// # Safety
    /// Those of the lanes can be written.
    unsafe fn store_lanes(self, to: *mut T, lanes: Self::Lanes);

    /// self + x·y in every lane.
    fn add_product(self, x: Self, y: Self) -> Self;

    /// self − x·y in every lane, the product rounded by itself.
    fn less_product(self, x: Self, y: Self) -> Self;

    /// self + x in every lane.
    fn add(self, x: Self) -> Self;

    /// self where `sign` is not ≤ 0, which NaN is not; else 0.
    fn where_positive(self, sign: Self) -> Self;

    /// Lane r of vector c of the result is lane c of vector r.
    fn transpose(rows: [Self; L]) -> [Self; L];

    /// Computes a tile in a function of its own, compiled with the instructions of the set.
    ///
    /// # Safety
    /// As [`Work::tile`].
    unsafe fn compute<K: Work, const R: usize, const C: usize, const PART: bool>(work: &K);

    /// The sum of all lanes, added as in [`Vector::totals`].
    #[inline(always)]
    fn total(self) -> T {
        let mut lanes = [T::zero(); L];
        // SAFETY: there is room for L numbers.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut half = L / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// The sum of all lanes of each of L vectors: the upper half is added onto the lower until one is left.
    #[inline(always)]
    fn totals(rows: [Self; L]) -> Self {
        let mut lanes = Self::transpose(rows);
        let mut half = L / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] = lanes[lane].add(lanes[lane + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// What is computed tile by tile: R rows of C vectors, of the last only some lanes where `PART`.
///
/// Each size of a tile is a function of its own. All of them in one function, the compiler takes minutes.
pub(super) trait Work {
    /// Computes a tile. To be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions, and what the work says of itself holds for a tile of this size.
    unsafe fn tile<const R: usize, const C: usize, const PART: bool>(&self);
}

/// An array, for processors of which nothing is known; multiply and add are rounded apart.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const L: usize>([T; L]);

impl<T: Scalar, const L: usize> Vector<T, L> for Plain<T, L> {
    type Lanes = usize;

    const LANES_ARE_FREE: bool = false;

    #[inline(always)]
    fn lanes(count: usize) -> usize {
        count.min(L)
    }

    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; L])
    }

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller says that L numbers can be read.
        Self(unsafe { from.cast::<[T; L]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller says that L numbers can be written.
        unsafe { to.cast::<[T; L]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn load_lanes(from: *const T, lanes: usize) -> Self {
        let mut numbers = [T::zero(); L];
        for (lane, number) in numbers.iter_mut().enumerate().take(lanes) {
            // SAFETY: the caller says that the first `lanes` can be read.
            *number = unsafe { from.add(lane).read() };
        }
        Self(numbers)
    }

    #[inline(always)]
    unsafe fn store_lanes(self, to: *mut T, lanes: usize) {
        for (lane, number) in self.0.into_iter().enumerate().take(lanes) {
            // SAFETY: the caller says that the first `lanes` can be written.
            unsafe { to.add(lane).write(number) };
        }
    }

    #[inline(always)]
    fn add_product(mut self, x: Self, y: Self) -> Self {
        for lane in 0..L {
            self.0[lane] += x.0[lane] * y.0[lane];
        }
        self
    }

    #[inline(always)]
    fn less_product(mut self, x: Self, y: Self) -> Self {
        for lane in 0..L {
            self.0[lane] -= x.0[lane] * y.0[lane];
        }
        self
    }

    #[inline(always)]
    fn add(mut self, x: Self) -> Self {
        for lane in 0..L {
            self.0[lane] += x.0[lane];
        }
        self
    }

    #[inline(always)]
    fn where_positive(mut self, sign: Self) -> Self {
        for lane in 0..L {
            self.0[lane] = select(sign.0[lane] <= T::zero(), T::zero(), self.0[lane]);
        }
        self
    }

    #[inline(never)]
    unsafe fn compute<K: Work, const R: usize, const C: usize, const PART: bool>(work: &K) {
        // SAFETY: the caller's.
        unsafe { work.tile::<R, C, PART>() }
    }

    #[inline(always)]
    fn transpose(rows: [Self; L]) -> [Self; L] {
        std::array::from_fn(|lane| Self(std::array::from_fn(|row| rows[row].0[lane])))
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! vector {
    (
        $name:ident: $register:ident of $lanes:literal $scalar:ty, $mask:ty,
        $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $sub:ident, $mul:ident,
        $load_lanes:ident, $store_lanes:ident, $which:ident, $positive:ident, $transpose:ident, $features:literal
    ) => {
        #[doc = concat!("A register of ", stringify!($lanes), " ", stringify!($scalar), ".")]
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) x86::$register);

        impl Vector<$scalar, $lanes> for $name {
            type Lanes = $mask;

            const LANES_ARE_FREE: bool = size_of::<$mask>() <= 2;

            #[inline(always)]
            fn lanes(count: usize) -> $mask {
                $which(count.min($lanes))
            }

            #[inline(always)]
            fn splat(x: $scalar) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$splat(x) })
            }

            #[inline(always)]
            unsafe fn load(from: *const $scalar) -> Self {
                // SAFETY: as above; the caller says that the numbers can be read, and the load asks for no alignment.
                Self(unsafe { x86::$load(from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: as above; the caller says that the numbers can be written, and the store asks for no alignment.
                unsafe { x86::$store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn load_lanes(from: *const $scalar, lanes: $mask) -> Self {
                // SAFETY: as above; memory of other lanes is not accessed.
                Self(unsafe { $load_lanes(from, lanes) })
            }

            #[inline(always)]
            unsafe fn store_lanes(self, to: *mut $scalar, lanes: $mask) {
                // SAFETY: as above; memory of other lanes is not accessed.
                unsafe { x86::$store_lanes(to, lanes, self.0) }
            }

            #[inline(always)]
            fn add_product(self, x: Self, y: Self) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$fma(x.0, y.0, self.0) })
            }

            #[inline(always)]
            fn less_product(self, x: Self, y: Self) -> Self {
                // SAFETY: the processor has the instructions, see `Vector`.
                Self(unsafe { x86::$sub(self.0, x86::$mul(x.0, y.0)) })
            }

            #[inline(always)]
            fn add(self, x: Self) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$add(self.0, x.0) })
            }

            #[inline(always)]
            fn where_positive(self, sign: Self) -> Self {
                // SAFETY: the processor has the instructions, see `Vector`.
                Self(unsafe { $positive(self.0, sign.0) })
            }

            #[inline(always)]
            unsafe fn compute<K: Work, const R: usize, const C: usize, const PART: bool>(work: &K) {
                #[inline(never)]
                #[target_feature(enable = $features)]
                unsafe fn compiled<K: Work, const R: usize, const C: usize, const PART: bool>(
                    work: &K,
                ) {
                    // SAFETY: the caller's.
                    unsafe { work.tile::<R, C, PART>() }
                }
                // SAFETY: the caller's; the processor has the instructions, see `Vector`.
                unsafe { compiled::<K, R, C, PART>(work) }
            }

            #[inline(always)]
            fn transpose(rows: [Self; $lanes]) -> [Self; $lanes] {
                // SAFETY: the processor has the instructions, see `Vector`.
                unsafe { $transpose(rows) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector!(Avx2F32: __m256 of 8 f32, x86::__m256i, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
    _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, load_lanes_avx2_f32, _mm256_maskstore_ps, lanes_avx2_f32, where_positive_avx2_f32,
    transpose_avx2_f32, "avx2,fma");
#[cfg(target_arch = "x86_64")]
vector!(Avx2F64: __m256d of 4 f64, x86::__m256i, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, load_lanes_avx2_f64, _mm256_maskstore_pd, lanes_avx2_f64, where_positive_avx2_f64,
    transpose_avx2_f64, "avx2,fma");
#[cfg(target_arch = "x86_64")]
vector!(Avx512F32: __m512 of 16 f32, x86::__mmask16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
    _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, load_lanes_avx512_f32, _mm512_mask_storeu_ps, lanes_avx512_f32, where_positive_avx512_f32,
    transpose_avx512_f32,
    "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma");
#[cfg(target_arch = "x86_64")]
vector!(Avx512F64: __m512d of 8 f64, x86::__mmask8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, load_lanes_avx512_f64, _mm512_mask_storeu_pd, lanes_avx512_f64, where_positive_avx512_f64,
    transpose_avx512_f64,
    "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma");

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lanes_avx2_f32(count: usize) -> x86::__m256i {
    // SAFETY: only called where the processor has AVX2, see `Vector`.
    unsafe {
        let numbers = x86::_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        x86::_mm256_cmpgt_epi32(x86::_mm256_set1_epi32(count as i32), numbers)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lanes_avx2_f64(count: usize) -> x86::__m256i {
    // SAFETY: only called where the processor has AVX2, see `Vector`.
    unsafe {
        let numbers = x86::_mm256_setr_epi64x(0, 1, 2, 3);
        x86::_mm256_cmpgt_epi64(x86::_mm256_set1_epi64x(count as i64), numbers)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lanes_avx512_f32(count: usize) -> x86::__mmask16 {
    ((1_u32 << count) - 1) as x86::__mmask16
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lanes_avx512_f64(count: usize) -> x86::__mmask8 {
    ((1_u32 << count) - 1) as x86::__mmask8
}

/// # Safety
/// As `Vector::load_lanes`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn load_lanes_avx2_f32(from: *const f32, lanes: x86::__m256i) -> x86::__m256 {
    // SAFETY: the caller's.
    unsafe { x86::_mm256_maskload_ps(from, lanes) }
}

/// # Safety
/// As `Vector::load_lanes`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn load_lanes_avx2_f64(from: *const f64, lanes: x86::__m256i) -> x86::__m256d {
    // SAFETY: the caller's.
    unsafe { x86::_mm256_maskload_pd(from, lanes) }
}

/// # Safety
/// As `Vector::load_lanes`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn load_lanes_avx512_f32(from: *const f32, lanes: x86::__mmask16) -> x86::__m512 {
    // SAFETY: the caller's.
    unsafe { x86::_mm512_maskz_loadu_ps(lanes, from) }
}

/// # Safety
/// As `Vector::load_lanes`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn load_lanes_avx512_f64(from: *const f64, lanes: x86::__mmask8) -> x86::__m512d {
    // SAFETY: the caller's.
    unsafe { x86::_mm512_maskz_loadu_pd(lanes, from) }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn where_positive_avx2_f32(x: x86::__m256, sign: x86::__m256) -> x86::__m256 {
    // SAFETY: the caller's.
    unsafe {
        let positive = x86::_mm256_cmp_ps::<{ x86::_CMP_NLE_UQ }>(sign, x86::_mm256_setzero_ps());
        x86::_mm256_and_ps(x, positive)
    }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn where_positive_avx2_f64(x: x86::__m256d, sign: x86::__m256d) -> x86::__m256d {
    // SAFETY: the caller's.
    unsafe {
        let positive = x86::_mm256_cmp_pd::<{ x86::_CMP_NLE_UQ }>(sign, x86::_mm256_setzero_pd());
        x86::_mm256_and_pd(x, positive)
    }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn where_positive_avx512_f32(x: x86::__m512, sign: x86::__m512) -> x86::__m512 {
    // SAFETY: the caller's.
    unsafe {
        let positive =
            x86::_mm512_cmp_ps_mask::<{ x86::_CMP_NLE_UQ }>(sign, x86::_mm512_setzero_ps());
        x86::_mm512_maskz_mov_ps(positive, x)
    }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn where_positive_avx512_f64(x: x86::__m512d, sign: x86::__m512d) -> x86::__m512d {
    // SAFETY: the caller's.
    unsafe {
        let positive =
            x86::_mm512_cmp_pd_mask::<{ x86::_CMP_NLE_UQ }>(sign, x86::_mm512_setzero_pd());
        x86::_mm512_maskz_mov_pd(positive, x)
    }
}
