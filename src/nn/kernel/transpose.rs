//! As many registers as each has lanes, turned over: lane r of register c becomes lane c of register r.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]
#![expect(unsafe_code, reason = "the processor's own instructions")]

use std::arch::x86_64 as x86;

use crate::nn::kernel::vector::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn transpose_avx2_f64([a, b, c, d]: [Avx2F64; 4]) -> [Avx2F64; 4] {
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
#[inline(always)]
unsafe fn four_avx2(a: Avx2F32, b: Avx2F32, c: Avx2F32, d: Avx2F32) -> [x86::__m256; 4] {
    use x86::{
        _mm256_castpd_ps, _mm256_castps_pd, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
        _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's.
    unsafe {
        let ab = _mm256_castps_pd(_mm256_unpacklo_ps(a.0, b.0));
        let cd = _mm256_castps_pd(_mm256_unpacklo_ps(c.0, d.0));
        let ab2 = _mm256_castps_pd(_mm256_unpackhi_ps(a.0, b.0));
        let cd2 = _mm256_castps_pd(_mm256_unpackhi_ps(c.0, d.0));
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
#[inline(always)]
pub(super) unsafe fn transpose_avx2_f32(rows: [Avx2F32; 8]) -> [Avx2F32; 8] {
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
#[inline(always)]
pub(super) unsafe fn transpose_avx512_f64(rows: [Avx512F64; 8]) -> [Avx512F64; 8] {
    use x86::{_mm512_castpd_ps, _mm512_castps_pd, _mm512_unpackhi_pd, _mm512_unpacklo_pd};
    let [a, b, c, d, e, f, g, h] = rows;
    // SAFETY: the caller's.
    unsafe {
        let [ab, cd] = [_mm512_unpacklo_pd(a.0, b.0), _mm512_unpacklo_pd(c.0, d.0)];
        let [ef, gh] = [_mm512_unpacklo_pd(e.0, f.0), _mm512_unpacklo_pd(g.0, h.0)];
        let [c0, c2, c4, c6] = quarters(
            _mm512_castpd_ps(ab),
            _mm512_castpd_ps(cd),
            _mm512_castpd_ps(ef),
            _mm512_castpd_ps(gh),
        );
        let [ab, cd] = [_mm512_unpackhi_pd(a.0, b.0), _mm512_unpackhi_pd(c.0, d.0)];
        let [ef, gh] = [_mm512_unpackhi_pd(e.0, f.0), _mm512_unpackhi_pd(g.0, h.0)];
        let [c1, c3, c5, c7] = quarters(
            _mm512_castpd_ps(ab),
            _mm512_castpd_ps(cd),
            _mm512_castpd_ps(ef),
            _mm512_castpd_ps(gh),
        );
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
#[inline(always)]
unsafe fn four_avx512(a: Avx512F32, b: Avx512F32, c: Avx512F32, d: Avx512F32) -> [x86::__m512; 4] {
    use x86::{
        _mm512_castpd_ps, _mm512_castps_pd, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // SAFETY: the caller's.
    unsafe {
        let ab = _mm512_castps_pd(_mm512_unpacklo_ps(a.0, b.0));
        let cd = _mm512_castps_pd(_mm512_unpacklo_ps(c.0, d.0));
        let ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a.0, b.0));
        let cd2 = _mm512_castps_pd(_mm512_unpackhi_ps(c.0, d.0));
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
#[inline(always)]
pub(super) unsafe fn transpose_avx512_f32(rows: [Avx512F32; 16]) -> [Avx512F32; 16] {
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
