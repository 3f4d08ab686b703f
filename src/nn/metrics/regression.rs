//! How far numbers are from what they should be. A figure of several outputs is the mean of their figures.

use ndarray::ArrayView2;

use crate::nn::metrics::{Rows, finite};
use crate::nn::sum_over_samples;

/// (1/N) Σₙ |a − y|. As scikit-learn's `mean_absolute_error`.
pub fn mean_absolute_error(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    over_outputs(&rows, |j| rows.mean(|row| error(&rows, row, j).abs()))
}

/// (1/N) Σₙ (a − y)². As scikit-learn's `mean_squared_error`; `Loss::Quadratic` is half the sum over the outputs.
pub fn mean_squared_error(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    over_outputs(&rows, |j| rows.mean(|row| error(&rows, row, j).powi(2)))
}

/// √((1/N) Σₙ (a − y)²), the mean of the outputs' roots. As scikit-learn's `root_mean_squared_error`.
pub fn root_mean_squared_error(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    let squared = |j| rows.mean(|row| error(&rows, row, j).powi(2));
    over_outputs(&rows, |j| squared(j).map(f64::sqrt))
}

/// (1/N) Σₙ |a − y| / max(|y|, ε), a share and no percentage, ε the machine epsilon of `f64`, so that a target of 0 makes
/// it huge. As scikit-learn's `mean_absolute_percentage_error`.
pub fn mean_absolute_percentage_error(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    let relative = |row: usize, j: usize| {
        let size = rows.target(row)[j].abs().max(f64::EPSILON);
        error(&rows, row, j).abs() / size
    };
    over_outputs(&rows, |j| rows.mean(|row| relative(row, j)))
}

/// R² = 1 − Σ v(y − a)² / Σ v(y − ȳ)², ȳ = Σ v y / Σ v: the share of the targets' variance that the outputs explain.
///
/// `None` of fewer than two rows, and where the targets of any output are constant, since there is nothing to explain. As
/// scikit-learn's `r2_score` with `force_finite=False`, whose NaN and −∞ those are; its default is 1 for a constant that
/// is met exactly and 0 for one that is not, and where the mean of a constant is rounded it is neither.
pub fn r2(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    over_outputs(&rows, |j| {
        let target = |row: usize| rows.target(row)[j];
        let mut counting = (0..rows.len).filter(|&row| rows.weight(row) > 0.0);
        let first = target(counting.next()?);
        if counting.all(|row| target(row) == first) {
            return None;
        }
        let mean = rows.mean(target)?;
        let sum = |value: &dyn Fn(usize) -> f64| {
            sum_over_samples(rows.len, |row| rows.weight(row) * value(row).powi(2))
        };
        let residual = sum(&|row| error(&rows, row, j));
        let whole = sum(&|row| target(row) - mean);
        finite(1.0 - residual / whole)
    })
}

/// a − y.
fn error(rows: &Rows<'_>, row: usize, output: usize) -> f64 {
    rows.output(row)[output] - rows.target(row)[output]
}

/// The mean of the outputs' figures; none where any has none.
fn over_outputs(rows: &Rows<'_>, figure: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    let mut sum = 0.0;
    for j in 0..rows.columns {
        sum += figure(j)?;
    }
    finite(sum / rows.columns as f64)
}
