//! What is learned of a column's values in the rows that are trained on: what stands for missing ones, and how they are scaled.

use crate::model::columns::normal::quantile_of_normal;
use crate::model::columns::spec::Scale;
use crate::nn::sum_over_samples;

/// x′ = (x − offset) / scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// What is subtracted.
    pub offset: f64,
    /// What is divided by after that.
    pub scale: f64,
}

/// Values whose ranks the quantiles are, at most: scikit-learn's default.
const QUANTILES: usize = 1000;
/// The least share of rows that is told from none: scikit-learn's bound.
const LEAST_SHARE: f64 = 1e-7 - f64::EPSILON;

impl Affine {
    /// It changes nothing.
    pub const IDENTITY: Self = Self {
        offset: 0.0,
        scale: 1.0,
    };

    /// One whose scale is what it is given, or 1 where that cannot be divided by.
    pub(crate) fn by(offset: f64, scale: f64) -> Self {
        let divides = scale > 0.0 && scale.is_finite();
        Self {
            offset,
            scale: if divides { scale } else { 1.0 },
        }
    }

    /// What brings values, none of them missing, to the scale; `None` and `QuantileNormal` leave them.
    pub(crate) fn fitted(scale: Scale, values: &[f64]) -> Self {
        match scale {
            Scale::None | Scale::QuantileNormal => Self::IDENTITY,
            Scale::Standard | Scale::Log => {
                let (mean, std) = mean_and_std(values);
                Self::by(mean, std)
            }
            Scale::Minmax => {
                let (low, high) = range(values);
                Self::by(low, high - low)
            }
            Scale::Robust => {
                let sorted = sorted(values);
                let quartiles = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
                Self::by(quartiles[1], quartiles[2] - quartiles[0])
            }
        }
    }

    /// x′.
    #[inline]
    pub fn apply(self, value: f64) -> f64 {
        (value - self.offset) / self.scale
    }

    /// x of x′.
    #[inline]
    pub fn undo(self, value: f64) -> f64 {
        value * self.scale + self.offset
    }
}

/// sign(x) ln(1 + |x|).
pub(super) fn logarithm(value: f64) -> f64 {
    value.abs().ln_1p().copysign(value)
}

/// The values at 1000 shares of the rows, evenly apart from 0 to 1; fewer where there are fewer rows.
pub(super) fn quantiles(values: &[f64]) -> Vec<f64> {
    let sorted = sorted(values);
    let count = sorted.len().min(QUANTILES);
    let mut quantiles: Vec<f64> = (0..count)
        .map(|place| quantile(&sorted, share(place, count)))
        .collect();
    // Interpolation may round below its neighbour.
    for place in 1..count {
        quantiles[place] = quantiles[place].max(quantiles[place - 1]);
    }
    quantiles
}

/// Φ⁻¹ of the share of rows below a value, halfway where the value is that of several quantiles; of a column without spread, 0.
///
/// Differs from scikit-learn where a value lies within 1e-7 of the least or the largest, which is taken for that one there.
pub(super) fn normalized(value: f64, quantiles: &[f64]) -> f64 {
    let (first, last) = (quantiles[0], quantiles[quantiles.len() - 1]);
    if first == last {
        return 0.0;
    }
    if value <= first {
        return quantile_of_normal(LEAST_SHARE);
    }
    if value >= last {
        return quantile_of_normal(1.0 - LEAST_SHARE);
    }
    let count = quantiles.len();
    let above = quantiles.partition_point(|&quantile| quantile <= value);
    let below = quantiles.partition_point(|&quantile| quantile < value);
    let share = if above > below {
        0.5 * (share(above - 1, count) + share(below, count))
    } else {
        let (low, high) = (quantiles[above - 1], quantiles[above]);
        let (from, to) = (share(above - 1, count), share(above, count));
        from + (to - from) * ((value - low) / (high - low))
    };
    quantile_of_normal(share.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE))
}

/// The share of rows at a place among so many quantiles, with the rounding of numpy's `linspace`.
fn share(place: usize, count: usize) -> f64 {
    if place + 1 == count {
        return 1.0;
    }
    place as f64 * ((count - 1) as f64).recip()
}

/// The mean of values; 0 of none.
pub(super) fn mean(values: &[f64]) -> f64 {
    sum_over_samples(values.len(), |row| values[row]) / values.len().max(1) as f64
}

/// The median of values, of an even number of them the mean of the middle two; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    quantile(&sorted(values), 0.5)
}

/// The value that stands most often, of several the least; 0 of none.
pub(super) fn most_frequent(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let runs = sorted.chunk_by(|a, b| a == b);
    // Of runs of one length the last is the largest, and the first is wanted.
    let longest = runs.rev().max_by_key(|run| run.len());
    longest.map_or(0.0, |run| run[0])
}

/// Mean and population standard deviation, by two passes; of values that are all alike, themselves and 0.
pub(crate) fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let (low, high) = range(values);
    if low == high {
        return (low, 0.0);
    }
    let count = values.len() as f64;
    let mean = sum_over_samples(values.len(), |row| values[row]) / count;
    let variance = sum_over_samples(values.len(), |row| (values[row] - mean).powi(2)) / count;
    (mean, variance.sqrt())
}

/// The least and the largest.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The value at place share · (n − 1) of n sorted ones, between two of them on the straight line, with the rounding of
/// numpy's `percentile`: of a tie, one rank more or less is another share.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * (share * 100.0 / 100.0);
    let (low, share) = (place.floor() as usize, place.fract());
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    let step = b - a;
    if !step.is_finite() {
        a * (1.0 - share) + b * share
    } else if share < 0.5 {
        a + step * share
    } else {
        b - step * (1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_values_that_stand_equally_often_the_least_is_taken() {
        assert_eq!(most_frequent(&[3.0, 1.0, 2.0, 2.0, 1.0]), 1.0);
        assert_eq!(most_frequent(&[3.0, 3.0, 1.0]), 3.0);
        assert_eq!(
            (most_frequent(&[]), median(&[]), mean(&[])),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn a_column_without_spread_is_only_shifted() {
        // 0.1 added up has another mean than 0.1, and so a spread that is only rounding.
        let same = [0.1; 49];
        for scale in [Scale::Standard, Scale::Minmax, Scale::Robust] {
            let fitted = Affine::fitted(scale, &same);
            assert_eq!((fitted.offset, fitted.scale), (0.1, 1.0), "{scale:?}");
        }
        assert_eq!(normalized(0.1, &quantiles(&same)), 0.0);
        assert_eq!(normalized(9.0, &quantiles(&same)), 0.0);
    }

    #[test]
    fn values_beyond_those_that_were_fitted_are_as_far_out_as_can_be() {
        let fitted = quantiles(&[1.0, 2.0, 3.0]);
        for (values, expected) in [
            ([3.0, 9.0], 5.199_337_582_7),
            ([1.0, -9.0], -5.199_337_582_6),
        ] {
            let found = values.map(|value| normalized(value, &fitted));
            assert_eq!(found[0], found[1]);
            assert!((found[0] - expected).abs() < 1e-9, "{}", found[0]);
        }
        assert_eq!(normalized(2.0, &fitted), 0.0);
    }
}
