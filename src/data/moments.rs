//! Mean, standard deviation and range of numbers that come in pieces.

/// The moments of numbers of which at least one is present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    /// How many there are.
    pub(super) count: usize,
    pub(super) min: f64,
    pub(super) max: f64,
    /// μ = (1/n) Σ x.
    pub(super) mean: f64,
    /// √((1/n) Σ (x − μ)²).
    pub(super) std: f64,
}

impl Moments {
    /// The moments of the present numbers, those that are not NaN; `None` if there are none.
    pub(super) fn of(numbers: &(impl Iterator<Item = f64> + Clone)) -> Option<Self> {
        let present = || numbers.clone().filter(|value| !value.is_nan());
        let count = present().count();
        if count == 0 {
            return None;
        }
        let min = present().fold(f64::INFINITY, f64::min);
        let max = present().fold(f64::NEG_INFINITY, f64::max);
        let scale = scale(min, max);
        let mean = (present().map(|value| value / scale).sum::<f64>() / count as f64)
            .clamp(min / scale, max / scale);
        let variance = present()
            .map(|value| (value / scale - mean).powi(2))
            .sum::<f64>()
            / count as f64;
        Some(Self {
            count,
            min,
            max,
            mean: mean * scale,
            std: variance.sqrt() * scale,
        })
    }

    /// The moments of these numbers and of others together: with n = nₐ + n_b and δ = μ_b − μₐ,
    /// μ = μₐ + δ n_b/n and σ² = (nₐ σₐ² + n_b σ_b²)/n + δ² nₐ n_b/n².
    ///
    /// Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", equations 2.1.
    pub(super) fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let share = |of: Self| of.count as f64 / count as f64;
        let (here, there) = (share(self), share(other));
        let (min, max) = (self.min.min(other.min), self.max.max(other.max));
        let scale = scale(min, max);
        let apart = other.mean / scale - self.mean / scale;
        let mean = (self.mean / scale + apart * there).clamp(min / scale, max / scale);
        let variance = here * (self.std / scale).powi(2)
            + there * (other.std / scale).powi(2)
            + apart.powi(2) * here * there;
        Self {
            count,
            min,
            max,
            mean: mean * scale,
            std: variance.sqrt() * scale,
        }
    }
}

/// What numbers of a range are divided by: squares and sums of very large or small ones would leave float64's range,
/// although mean and standard deviation do not.
fn scale(min: f64, max: f64) -> f64 {
    let largest = min.abs().max(max.abs());
    if largest == 0.0 || (1e-120..1e120).contains(&largest) {
        1.0
    } else {
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_pieces_are_those_of_the_whole() {
        let wave = |row: usize| 1e6 + (row as f64 * 0.7).sin() * 1e3;
        let cases: [(Vec<f64>, usize); 4] = [
            ((0..50_000).map(wave).collect(), 999),
            (vec![1e300, -1e300, 3e299, f64::NAN, 1e300], 1),
            (vec![5e-324, 1e-320, 0.0], 2),
            ((0..1000).map(|row| f64::from(row % 2)).collect(), 3),
        ];
        for (numbers, rows) in cases {
            let whole = Moments::of(&numbers.iter().copied()).expect("numbers");
            let pieces = numbers.chunks(rows);
            let pieces = pieces.filter_map(|piece| Moments::of(&piece.iter().copied()));
            let merged = pieces.reduce(Moments::with).expect("numbers");
            assert_eq!(
                (merged.count, merged.min, merged.max),
                (whole.count, whole.min, whole.max)
            );
            for (merged, whole) in [(merged.mean, whole.mean), (merged.std, whole.std)] {
                // 5e-324 is all that lies between two of the smallest numbers.
                let tolerance = (1e-13 * whole.abs()).max(5e-324);
                assert!((merged - whole).abs() <= tolerance, "{merged} {whole}");
            }
        }
    }
}
