//! Orthonormal vectors, drawn uniformly.

use rand_core::Rng;

use crate::nn::random::normal;

/// Numbers that are multiplied and added apart from each other, so that a processor may do so at once.
const LANES: usize = 8;

/// `count` orthonormal vectors of `width` numbers, one after another: the first of an orthogonal matrix that is as likely
/// as any other.
///
/// The Gram–Schmidt process over vectors from N(0, 1). It gives the Q of a QR factorisation whose R has a positive
/// diagonal, and that Q is uniform; PyTorch has it by Householder reflections and a correction of signs. Each vector is
/// freed of the earlier ones twice, which leaves it orthogonal to the last digits.
///
/// Source: Mezzadri (2007), "How to generate random matrices from the classical compact groups", section 5; Giraud et al.
/// (2005), "Rounding error analysis of the classical Gram-Schmidt orthogonalization process", for twice being enough.
///
/// Panics: where `count` exceeds `width`, the caller's bug.
pub(super) fn orthonormal(count: usize, width: usize, random: &mut impl Rng) -> Vec<f64> {
    assert!(count <= width, "no more orthogonal vectors than dimensions");
    let mut vectors: Vec<f64> = (0..count * width).map(|_| normal(random)).collect();
    for index in 0..count {
        let (earlier, rest) = vectors.split_at_mut(index * width);
        let vector = &mut rest[..width];
        for _ in 0..2 {
            for earlier in earlier.chunks_exact(width) {
                let along = inner(earlier, vector);
                for (v, &e) in vector.iter_mut().zip(earlier) {
                    *v -= along * e;
                }
            }
        }
        let norm = inner(vector, vector).sqrt();
        for v in vector {
            *v /= norm;
        }
    }
    vectors
}

/// Σ x y, in lanes whose order is the same on every machine.
fn inner(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (y, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::random::{INITIALIZE, keyed};

    #[test]
    fn vectors_are_of_length_1_and_at_right_angles() {
        for (count, width) in [(1, 1), (3, 7), (40, 40), (100, 130)] {
            let vectors = orthonormal(count, width, &mut keyed(3, INITIALIZE, 0, 0));
            for (i, x) in vectors.chunks_exact(width).enumerate() {
                for (j, y) in vectors.chunks_exact(width).enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((inner(x, y) - expected).abs() < 1e-14, "{count} {width}");
                }
            }
        }
    }

    #[test]
    fn no_direction_is_preferred() {
        // Over 4,000 matrices of 3 × 3, every entry of the last row has mean 0 and variance 1/3; five standard errors.
        // Without R's positive diagonal the mean would not be 0.
        let (mut sums, mut squares) = ([0.0; 3], [0.0; 3]);
        for seed in 0..4000 {
            let vectors = orthonormal(3, 3, &mut keyed(seed, INITIALIZE, 0, 0));
            for (column, value) in vectors[6..].iter().enumerate() {
                sums[column] += value / 4000.0;
                squares[column] += value * value / 4000.0;
            }
        }
        assert!(sums.iter().all(|mean| mean.abs() < 0.046), "{sums:?}");
        let near = |square: &f64| (square - 1.0 / 3.0).abs() < 0.024;
        assert!(squares.iter().all(near), "{squares:?}");
    }
}
