//! What a processor adds and multiplies at once: one vector type per instruction set and scalar.
#![expect(
    clippy::inline_always,
    reason = "a method must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "the processor's own instructions")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

use crate::nn::Scalar;

/// L numbers of type T.
///
/// The types of an instruction set are used only by the products that `kernel` calls after it has asked the processor
/// for that set: this is what the proofs below rest on.
pub(super) trait Vector<T: Scalar, const L: usize>: Copy {
    /// Which of the lanes are there: the first so many.
    type Lanes: Copy;

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

    /// self + x in every lane.
    fn add(self, x: Self) -> Self;

    /// Lane r of vector c of the result is lane c of vector r.
    fn transpose(rows: [Self; L]) -> [Self; L];

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

/// An array, for processors of which nothing is known; multiply and add are rounded apart.
#[derive(Clone, Copy)]
pub(super) struct Plain<T, const L: usize>([T; L]);

impl<T: Scalar, const L: usize> Vector<T, L> for Plain<T, L> {
    type Lanes = usize;

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
    fn add(mut self, x: Self) -> Self {
        for lane in 0..L {
            self.0[lane] += x.0[lane];
        }
        self
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
        $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident,
        $load_lanes:ident, $store_lanes:ident, $which:ident, $transpose:ident
    ) => {
        #[doc = concat!("A register of ", stringify!($lanes), " ", stringify!($scalar), ".")]
        #[derive(Clone, Copy)]
        pub(super) struct $name(x86::$register);

        impl Vector<$scalar, $lanes> for $name {
            type Lanes = $mask;

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
            fn add(self, x: Self) -> Self {
                // SAFETY: the processor has the instruction, see `Vector`.
                Self(unsafe { x86::$add(self.0, x.0) })
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
    _mm256_add_ps, load_lanes_avx2_f32, _mm256_maskstore_ps, lanes_avx2_f32, transpose_avx2_f32);
#[cfg(target_arch = "x86_64")]
vector!(Avx2F64: __m256d of 4 f64, x86::__m256i, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd,
    _mm256_add_pd, load_lanes_avx2_f64, _mm256_maskstore_pd, lanes_avx2_f64, transpose_avx2_f64);
#[cfg(target_arch = "x86_64")]
vector!(Avx512F32: __m512 of 16 f32, x86::__mmask16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
    _mm512_add_ps, load_lanes_avx512_f32, _mm512_mask_storeu_ps, lanes_avx512_f32, transpose_avx512_f32);
#[cfg(target_arch = "x86_64")]
vector!(Avx512F64: __m512d of 8 f64, x86::__mmask8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd,
    _mm512_add_pd, load_lanes_avx512_f64, _mm512_mask_storeu_pd, lanes_avx512_f64, transpose_avx512_f64);

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
unsafe fn transpose_avx2_f64([a, b, c, d]: [Avx2F64; 4]) -> [Avx2F64; 4] {
    use x86::{_mm256_permute2f128_pd as halves, _mm256_unpackhi_pd, _mm256_unpacklo_pd};
    // SAFETY: the caller's.
    unsafe {
        let (even, odd) = (_mm256_unpacklo_pd(a.0, b.0), _mm256_unpackhi_pd(a.0, b.0));
        let (even2, odd2) = (_mm256_unpacklo_pd(c.0, d.0), _mm256_unpackhi_pd(c.0, d.0));
        [
            Avx2F64(halves::<0x20>(even, even2)),
            Avx2F64(halves::<0x20>(odd, odd2)),
            Avx2F64(halves::<0x31>(even, even2)),
            Avx2F64(halves::<0x31>(odd, odd2)),
        ]
    }
}

/// Of four rows, columns 0, 1, 2 and 3 of each group of four lanes.
///
/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn four_avx2(a: Avx2F32, b: Avx2F32, c: Avx2F32, d: Avx2F32) -> [x86::__m256; 4] {
    use x86::{
        _mm256_castpd_ps, _mm256_castps_pd, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
        _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's.
    unsafe {
        let low = |x: Avx2F32, y: Avx2F32| _mm256_castps_pd(_mm256_unpacklo_ps(x.0, y.0));
        let high = |x: Avx2F32, y: Avx2F32| _mm256_castps_pd(_mm256_unpackhi_ps(x.0, y.0));
        let (ab, cd, ab2, cd2) = (low(a, b), low(c, d), high(a, b), high(c, d));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab2, cd2)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab2, cd2)),
        ]
    }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_avx2_f32(rows: [Avx2F32; 8]) -> [Avx2F32; 8] {
    use x86::_mm256_permute2f128_ps as halves;
    let [a, b, c, d, e, f, g, h] = rows;
    // SAFETY: the caller's.
    unsafe {
        let ([u0, u1, u2, u3], [v0, v1, v2, v3]) = (four_avx2(a, b, c, d), four_avx2(e, f, g, h));
        [
            Avx2F32(halves::<0x20>(u0, v0)),
            Avx2F32(halves::<0x20>(u1, v1)),
            Avx2F32(halves::<0x20>(u2, v2)),
            Avx2F32(halves::<0x20>(u3, v3)),
            Avx2F32(halves::<0x31>(u0, v0)),
            Avx2F32(halves::<0x31>(u1, v1)),
            Avx2F32(halves::<0x31>(u2, v2)),
            Avx2F32(halves::<0x31>(u3, v3)),
        ]
    }
}

/// Quarter q of each of four registers, in order, for q = 0, 1, 2, 3.
///
/// # Safety
/// The processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn quarters(
    a: x86::__m512,
    b: x86::__m512,
    c: x86::__m512,
    d: x86::__m512,
) -> [x86::__m512; 4] {
    use x86::_mm512_shuffle_f32x4 as pick;
    // SAFETY: the caller's.
    unsafe {
        // Quarters 0 and 2, and 1 and 3, of two registers; then those of two pairs.
        let (even, odd) = (pick::<0x88>(a, b), pick::<0xdd>(a, b));
        let (even2, odd2) = (pick::<0x88>(c, d), pick::<0xdd>(c, d));
        [
            pick::<0x88>(even, even2),
            pick::<0x88>(odd, odd2),
            pick::<0xdd>(even, even2),
            pick::<0xdd>(odd, odd2),
        ]
    }
}

/// # Safety
/// The processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_avx512_f64(rows: [Avx512F64; 8]) -> [Avx512F64; 8] {
    use x86::{_mm512_castpd_ps, _mm512_castps_pd, _mm512_unpackhi_pd, _mm512_unpacklo_pd};
    let [a, b, c, d, e, f, g, h] = rows;
    // SAFETY: the caller's.
    unsafe {
        let low = |x: Avx512F64, y: Avx512F64| _mm512_castpd_ps(_mm512_unpacklo_pd(x.0, y.0));
        let high = |x: Avx512F64, y: Avx512F64| _mm512_castpd_ps(_mm512_unpackhi_pd(x.0, y.0));
        let [c0, c2, c4, c6] = quarters(low(a, b), low(c, d), low(e, f), low(g, h));
        let [c1, c3, c5, c7] = quarters(high(a, b), high(c, d), high(e, f), high(g, h));
        [
            Avx512F64(_mm512_castps_pd(c0)),
            Avx512F64(_mm512_castps_pd(c1)),
            Avx512F64(_mm512_castps_pd(c2)),
            Avx512F64(_mm512_castps_pd(c3)),
            Avx512F64(_mm512_castps_pd(c4)),
            Avx512F64(_mm512_castps_pd(c5)),
            Avx512F64(_mm512_castps_pd(c6)),
            Avx512F64(_mm512_castps_pd(c7)),
        ]
    }
}

/// As `four_avx2`, of registers twice as wide.
///
/// # Safety
/// The processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn four_avx512(a: Avx512F32, b: Avx512F32, c: Avx512F32, d: Avx512F32) -> [x86::__m512; 4] {
    use x86::{
        _mm512_castpd_ps, _mm512_castps_pd, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // SAFETY: the caller's.
    unsafe {
        let low = |x: Avx512F32, y: Avx512F32| _mm512_castps_pd(_mm512_unpacklo_ps(x.0, y.0));
        let high = |x: Avx512F32, y: Avx512F32| _mm512_castps_pd(_mm512_unpackhi_ps(x.0, y.0));
        let (ab, cd, ab2, cd2) = (low(a, b), low(c, d), high(a, b), high(c, d));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab2, cd2)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab2, cd2)),
        ]
    }
}

/// # Safety
/// The processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_avx512_f32(rows: [Avx512F32; 16]) -> [Avx512F32; 16] {
    let [
        r0,
        r1,
        r2,
        r3,
        r4,
        r5,
        r6,
        r7,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
    ] = rows;
    // SAFETY: the caller's.
    unsafe {
        let [a0, a1, a2, a3] = four_avx512(r0, r1, r2, r3);
        let [b0, b1, b2, b3] = four_avx512(r4, r5, r6, r7);
        let [c0, c1, c2, c3] = four_avx512(r8, r9, r10, r11);
        let [d0, d1, d2, d3] = four_avx512(r12, r13, r14, r15);
        let [t0, t4, t8, t12] = quarters(a0, b0, c0, d0);
        let [t1, t5, t9, t13] = quarters(a1, b1, c1, d1);
        let [t2, t6, t10, t14] = quarters(a2, b2, c2, d2);
        let [t3, t7, t11, t15] = quarters(a3, b3, c3, d3);
        [
            Avx512F32(t0),
            Avx512F32(t1),
            Avx512F32(t2),
            Avx512F32(t3),
            Avx512F32(t4),
            Avx512F32(t5),
            Avx512F32(t6),
            Avx512F32(t7),
            Avx512F32(t8),
            Avx512F32(t9),
            Avx512F32(t10),
            Avx512F32(t11),
            Avx512F32(t12),
            Avx512F32(t13),
            Avx512F32(t14),
            Avx512F32(t15),
        ]
    }
}
