//! Random numbers that are a function of what they are for: no generator state ever has to be saved.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Purpose: the first parameters of a network.
pub const INITIALIZE: u64 = 1;

/// Purpose: which units a training step leaves out; 2 and 3 are the split and the shuffle of `data`.
pub const DROPOUT: u64 = 4;

/// Purpose: the noise that a training step adds to its inputs.
pub const INPUT_NOISE: u64 = 5;

/// Purpose: the first vectors of an embedding.
pub const EMBED: u64 = 6;

/// Purpose: which parameters a gradient check looks at.
pub const GRADIENT_CHECK: u64 = 101;

/// The generator for one use: ChaCha8 whose 32-byte key is the four numbers, little-endian, in this order.
///
/// Two uses that differ in any of the four draw from unrelated streams, and the same use draws the same numbers after
/// any crash. Source: Bernstein (2008), "ChaCha, a variant of Salsa20", with 8 rounds; nonce and counter start at 0.
pub fn keyed(seed: u64, purpose: u64, epoch: u64, step: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose, epoch, step]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A number in [0, 1): the upper 53 bits of a draw of 64, times 2⁻⁵³.
pub fn uniform01(random: &mut impl Rng) -> f64 {
    const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
    (random.next_u64() >> 11) as f64 * SCALE
}

/// A number in [low, high).
pub fn uniform(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform01(random)
}

/// A number from N(0, 1): √(−2 ln(1 − u₁)) cos(2π u₂), two uniform draws for each.
///
/// Source: Box and Muller (1958). The sine branch is thrown away, so that a draw depends on nothing but its place.
pub fn normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform01(random)).ln()).sqrt();
    radius * (TAU * uniform01(random)).cos()
}

/// A whole number in 0..bound, every one as likely as the others.
///
/// Panics: where `bound` is 0, the caller's bug. Source: Lemire (2019), "Fast random integer generation in an interval".
pub fn below(random: &mut impl Rng, bound: u64) -> u64 {
    assert!(bound > 0, "there is no whole number below 0");
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Where a comment says "by script", the expected numbers were computed by an implementation of ChaCha8 in Python that
    // shares nothing with ours: state = the four constant words, eight key words, the block counter and three zeros; four
    // double rounds; state added; words little-endian, two to a draw of 64 bits. It gives the published vector too.

    #[test]
    fn the_key_of_zeros_gives_the_published_key_stream() {
        // draft-strombergson-chacha-test-vectors-01, TC1, 256-bit key, 8 rounds: 3e00ef2f895f40d6 7f5bb8e81f09a5a1…
        let mut random = keyed(0, 0, 0, 0);
        assert_eq!(
            random.next_u64().to_le_bytes(),
            [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]
        );
        assert_eq!(
            random.next_u64().to_le_bytes(),
            [0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09, 0xa5, 0xa1]
        );
    }

    #[test]
    fn the_key_is_the_four_numbers_in_order() {
        // By script, for the key 1, 2, 3, 4 as little-endian words of 64 bits: draws 0, 1, 2, 8 and 23.
        let mut random = keyed(1, 2, 3, 4);
        let draws: Vec<u64> = (0..24).map(|_| random.next_u64()).collect();
        assert_eq!(
            draws[..3],
            [
                0x10fb_f7e8_ae24_33fc,
                0x5862_c07f_a87d_368e,
                0x4042_b86e_e70f_e64d
            ]
        );
        assert_eq!(
            (draws[8], draws[23]),
            (0xd13f_762c_8f4b_49f1, 0x932f_2ba3_7967_71ab)
        );
    }

    #[test]
    fn each_of_the_four_numbers_changes_the_stream() {
        let first = |seed, purpose, epoch, step| keyed(seed, purpose, epoch, step).next_u64();
        let draws = [
            first(0, 0, 0, 0),
            first(1, 0, 0, 0),
            first(0, 1, 0, 0),
            first(0, 0, 1, 0),
            first(0, 0, 0, 1),
        ];
        for (index, draw) in draws.iter().enumerate() {
            assert!(!draws[..index].contains(draw));
        }
    }

    #[test]
    fn distributions_have_known_first_draws() {
        // By script, from the stream of the key 1, 2, 3, 4.
        let mut random = keyed(1, 2, 3, 4);
        let draws = [(); 3].map(|()| uniform01(&mut random));
        assert_eq!(
            draws,
            [
                0.066_344_732_577_036_99,
                0.345_256_835_142_653_5,
                0.251_018_073_154_284_15
            ]
        );
        assert_eq!(
            uniform(&mut keyed(1, 2, 3, 4), -2.0, 3.0),
            -1.668_276_337_114_815
        );
        let mut random = keyed(1, 2, 3, 4);
        for expected in [
            -0.208_765_705_160_045_64,
            -0.107_413_359_688_104_1,
            0.260_155_115_263_101_3,
        ] {
            // The logarithm and cosine of another machine may differ in the last bit.
            assert!((normal(&mut random) - expected).abs() < 1e-14);
        }
        let mut random = keyed(1, 2, 3, 4);
        assert_eq!(
            [(); 8].map(|()| below(&mut random, 10)),
            [0, 3, 2, 2, 2, 1, 4, 7]
        );
    }

    #[test]
    fn distributions_have_the_moments_of_their_names() {
        const DRAWS: usize = 100_000;
        let mut random = keyed(5, 0, 0, 0);
        let moments = |draw: &mut dyn FnMut() -> f64| {
            let draws: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
            let mean = draws.iter().sum::<f64>() / DRAWS as f64;
            (
                mean,
                draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / DRAWS as f64,
            )
        };
        // Bounds are about five standard errors: of a mean √(variance / n), of the variance of N(0, 1) √(2 / n).
        let (mean, variance) = moments(&mut || normal(&mut random));
        assert!(
            mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023,
            "{mean} {variance}"
        );
        let (mean, variance) = moments(&mut || uniform01(&mut random));
        assert!(
            (mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.0015,
            "{mean} {variance}"
        );
        let (mean, variance) = moments(&mut || below(&mut random, 3) as f64);
        assert!(
            (mean - 1.0).abs() < 0.013 && (variance - 2.0 / 3.0).abs() < 0.01,
            "{mean} {variance}"
        );
    }

    #[test]
    fn every_uniform_number_lies_in_its_half_open_range() {
        let mut random = keyed(6, 0, 0, 0);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&uniform01(&mut random)));
            assert!((-2.0..3.0).contains(&uniform(&mut random, -2.0, 3.0)));
            assert!(below(&mut random, 7) < 7);
            assert!(normal(&mut random).is_finite());
        }
        assert_eq!(below(&mut random, 1), 0);
    }
}
