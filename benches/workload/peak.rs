//! The most multiply-adds that the machine makes in registers: what shares of the peak are shares of.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Sums that do not wait for each other: more than the latency of a multiply-add times those begun in a cycle.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in a try: some milliseconds, so that others leave a whole one undisturbed.
const LENGTH: u64 = 1 << 20;
/// Tries, of which the fastest counts.
const TRIES: usize = 100;

/// Multiplies and adds in vectors of some width.
type Work = fn(u64) -> f32;

/// 10⁹ additions and multiplications in f32 per second, on so many threads, and the width of the vectors in numbers.
pub(crate) fn peak(threads: usize) -> (f64, usize) {
    let fastest = |(width, work): (usize, Work)| {
        let seconds = (0..TRIES).map(|_| seconds(threads, work));
        let best = seconds.fold(f64::INFINITY, f64::min);
        let operations = 2 * CHAINS * width * threads;
        (operations as f64 * LENGTH as f64 / best / 1e9, width)
    };
    let each = widths().into_iter().map(fastest);
    each.max_by(|one, other| one.0.total_cmp(&other.0))
        .expect("there is a width")
}

/// From when all threads are there until the last is done.
fn seconds(threads: usize, work: Work) -> f64 {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let spent = || {
            barrier.wait();
            let began = Instant::now();
            black_box(work(LENGTH));
            began.elapsed().as_secs_f64()
        };
        let each: Vec<_> = (0..threads).map(|_| scope.spawn(spent)).collect();
        let each = each.into_iter().map(|one| one.join().expect("no panic"));
        each.fold(0.0, f64::max)
    })
}

#[cfg(target_arch = "x86_64")]
fn widths() -> Vec<(usize, Work)> {
    let mut found: Vec<(usize, Work)> = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        found.push((8, x86::of_eight));
    }
    if is_x86_feature_detected!("avx512f") {
        found.push((16, x86::of_sixteen));
    }
    if found.is_empty() {
        found.push((4, of_four));
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn widths() -> Vec<(usize, Work)> {
    vec![(4, of_four)]
}

/// Four numbers at once, in the vectors that every processor of the target has. Where the target has no multiply-add, it
/// is a multiplication and an addition.
fn of_four(length: u64) -> f32 {
    let (x, y) = (black_box(0.999), black_box(0.001));
    let mut sums: [[f32; 4]; CHAINS] = black_box(std::array::from_fn(|chain| [chain as f32; 4]));
    for _ in 0..length {
        for sum in sums.as_flattened_mut() {
            *sum = if cfg!(target_arch = "x86_64") {
                *sum * x + y
            } else {
                sum.mul_add(x, y)
            };
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_cvtss_f32, _mm512_fmadd_ps,
        _mm512_set1_ps,
    };
    use std::hint::black_box;

    use super::CHAINS;

    #[expect(unsafe_code, reason = "a function compiled for AVX2 and FMA")]
    pub(super) fn of_eight(length: u64) -> f32 {
        // SAFETY: `widths` names this function only after the processor has said that it has AVX2 and FMA.
        unsafe { with_avx2(length) }
    }

    #[expect(unsafe_code, reason = "a function compiled for AVX-512")]
    pub(super) fn of_sixteen(length: u64) -> f32 {
        // SAFETY: `widths` names this function only after the processor has said that it has AVX-512F.
        unsafe { with_avx512(length) }
    }

    // The chains begin at different numbers, or they would be one to the compiler.

    #[target_feature(enable = "avx2,fma")]
    fn with_avx2(length: u64) -> f32 {
        let (x, y) = (
            _mm256_set1_ps(black_box(0.999)),
            _mm256_set1_ps(black_box(0.001)),
        );
        let starts: [f32; CHAINS] = black_box(std::array::from_fn(|chain| chain as f32));
        let mut sums = starts.map(|start| _mm256_set1_ps(start));
        for _ in 0..length {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        sums.iter().map(|&sum| _mm256_cvtss_f32(sum)).sum()
    }

    #[target_feature(enable = "avx512f")]
    fn with_avx512(length: u64) -> f32 {
        let (x, y) = (
            _mm512_set1_ps(black_box(0.999)),
            _mm512_set1_ps(black_box(0.001)),
        );
        let starts: [f32; CHAINS] = black_box(std::array::from_fn(|chain| chain as f32));
        let mut sums = starts.map(|start| _mm512_set1_ps(start));
        for _ in 0..length {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        sums.iter().map(|&sum| _mm512_cvtss_f32(sum)).sum()
    }
}
