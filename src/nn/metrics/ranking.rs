//! How good outputs are as scores and as probabilities: area under the ROC curve, log loss, Brier score.

use ndarray::ArrayView2;

use crate::nn::Dtype;
use crate::nn::metrics::{Average, Rows, finite, is_yes};

/// The area under the ROC curve: the chance that a sample of which it is true has a larger output than one of which it is
/// not, where equal outputs count as half.
///
/// One output is one area, whatever the average. Of several, each output is a label, true where its target is at least
/// ½; for classes, whose targets are one-hot, that is one class against the rest. `Macro` and `Weighted` are means of the
/// areas, `Micro` is the area of all entries together. As scikit-learn's `roc_auc_score`, with `multi_class="ovr"`.
///
/// `None` where an area is not defined, because the output is true of all rows or of none: of one output, and in `Macro`
/// of any. In `Weighted` an output that is never true has no weight and may be undefined. (There scikit-learn says NaN
/// too, but 0 where nothing at all is true and the average is weighted; we say `None`.)
///
/// Source: Mann and Whitney (1947), the statistic U / (n₁ n₂), with midranks; Hanley and McNeil (1982) for its being that
/// area.
pub fn roc_auc(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    average: Average,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    // Only the proportions of weights matter; those of at most 1 have products that stay within f64.
    let heaviest = (0..rows.len).fold(0.0, |most: f64, row| most.max(rows.weight(row)));
    let entry = |row: usize, column: usize| Scored {
        score: rows.output(row)[column],
        is_true: is_yes(rows.target(row)[column]),
        weight: rows.weight(row) / heaviest,
    };
    let column = |column: usize| (0..rows.len).map(move |row| entry(row, column));
    let support = |j: usize| -> f64 {
        column(j)
            .filter(|one| one.is_true)
            .map(|one| one.weight)
            .sum()
    };
    match average {
        Average::Micro => area((0..rows.columns).flat_map(column).collect()),
        Average::Macro => {
            let mut sum = 0.0;
            for j in 0..rows.columns {
                sum += area(column(j).collect())?;
            }
            Some(sum / rows.columns as f64)
        }
        Average::Weighted => {
            let (mut sum, mut supports) = (0.0, 0.0);
            for j in 0..rows.columns {
                let support = support(j);
                if support > 0.0 {
                    sum += support * area(column(j).collect())?;
                    supports += support;
                }
            }
            finite(sum / supports)
        }
    }
}

/// An entry of the outputs, what it should say, and how much it counts.
struct Scored {
    score: f64,
    is_true: bool,
    weight: f64,
}

/// Σ over groups of equal scores, from the lowest, of true weight · (untrue weight below + ½ untrue weight in the group),
/// over all true weight and all untrue weight.
fn area(mut entries: Vec<Scored>) -> Option<f64> {
    entries.sort_by(|one, other| one.score.total_cmp(&other.score));
    let (mut sum, mut true_weight, mut untrue_weight) = (0.0, 0.0, 0.0);
    for group in entries.chunk_by(|one, other| one.score == other.score) {
        let (mut true_here, mut untrue_here) = (0.0, 0.0);
        for one in group {
            if one.is_true {
                true_here += one.weight;
            } else {
                untrue_here += one.weight;
            }
        }
        sum += true_here * (untrue_weight + 0.5 * untrue_here);
        true_weight += true_here;
        untrue_weight += untrue_here;
    }
    // Rounding may leave a perfect order a little above 1; `min` would turn NaN into 1.
    finite(sum / true_weight / untrue_weight).map(|area| area.min(1.0))
}

/// −(1/N) Σₙ Σⱼ y ln a, and of one output −(1/N) Σₙ (y ln a + (1 − y) ln(1 − a)).
///
/// Each a is first brought into [ε, 1 − ε], ε the machine epsilon of the numbers that the outputs were computed in; a row is
/// not made to sum to 1. As scikit-learn's `log_loss`, which would also compute the logarithms of `Float32` outputs in
/// that type. Differs from `Loss::CrossEntropy`, which is computed from z and needs no ε.
///
/// It is a figure of probabilities: outputs beyond [0, 1] count as 0 or 1. Source: Good (1952), the logarithmic score.
pub fn log_loss(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    dtype: Dtype,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    let epsilon = match dtype {
        Dtype::Float32 => f64::from(f32::EPSILON),
        Dtype::Float64 => f64::EPSILON,
    };
    let term = |y: f64, a: f64| {
        if y == 0.0 {
            0.0
        } else {
            y * a.clamp(epsilon, 1.0 - epsilon).ln()
        }
    };
    rows.mean(|row| {
        let (a, y) = (rows.output(row), rows.target(row));
        if let (&[a], &[y]) = (a, y) {
            return -(term(1.0 - y, 1.0 - a) + term(y, a));
        }
        let mut sum = 0.0;
        for (&a, &y) in a.iter().zip(y) {
            sum += term(y, a);
        }
        -sum
    })
}

/// (1/N) Σₙ Σⱼ (a − y)², and half of it where there are two outputs, which say the same thing twice.
///
/// In [0, 1] for one and for two outputs, in [0, 2] for more. As scikit-learn's `brier_score_loss` (from 1.7) with its
/// `scale_by_half="auto"`. Source: Brier (1950), whose score is the sum over all classes, never halved.
pub fn brier(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    let scale = if rows.columns == 2 { 0.5 } else { 1.0 };
    rows.mean(|row| {
        let mut sum = 0.0;
        for (a, y) in rows.output(row).iter().zip(rows.target(row)) {
            sum += (a - y) * (a - y);
        }
        scale * sum
    })
}
