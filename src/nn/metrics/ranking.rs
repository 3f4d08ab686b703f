//! How good outputs are as scores and as probabilities: area under the ROC curve, log loss, Brier score.

use ndarray::ArrayView2;

use crate::nn::metrics::{Average, Rows, finite, is_yes};
use crate::nn::{Dtype, Team};

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
    RocAreas::new(outputs, targets, weights)?.average(average, &Team::alone())
}

/// The areas under the ROC curves of the same rows, of which those of the single outputs are computed once for all averages.
pub struct RocAreas<'a> {
    rows: Rows<'a>,
    /// The largest weight of a row.
    heaviest: f64,
    /// The area of each output, once it was asked for.
    each: Option<Vec<Option<f64>>>,
}

impl<'a> RocAreas<'a> {
    /// The areas of outputs against targets; none where the rows allow no figure.
    ///
    /// Shapes: outputs and targets (N × J), weights (N).
    pub fn new(
        outputs: ArrayView2<'a, f64>,
        targets: ArrayView2<'a, f64>,
        weights: Option<&'a [f64]>,
    ) -> Option<Self> {
        let rows = Rows::new(outputs, targets, weights)?;
        let heaviest = (0..rows.len).fold(0.0, |most: f64, row| most.max(rows.weight(row)));
        Some(Self {
            rows,
            heaviest,
            each: None,
        })
    }

    /// What [`roc_auc`] answers, the outputs divided among the threads of a team.
    pub fn average(&mut self, average: Average, team: &Team) -> Option<f64> {
        match average {
            Average::Micro => {
                let columns = 0..self.rows.columns;
                area(&columns.flat_map(|j| self.column(j)).collect::<Vec<_>>())
            }
            Average::Macro => {
                let mut sum = 0.0;
                for area in self.each(team) {
                    sum += (*area)?;
                }
                Some(sum / self.rows.columns as f64)
            }
            Average::Weighted => {
                let columns = 0..self.rows.columns;
                let support: Vec<f64> = columns.map(|j| self.support(j)).collect();
                let (mut sum, mut supports) = (0.0, 0.0);
                for (area, support) in self.each(team).iter().zip(support) {
                    if support > 0.0 {
                        sum += support * (*area)?;
                        supports += support;
                    }
                }
                finite(sum / supports)
            }
        }
    }

    fn each(&mut self, team: &Team) -> &[Option<f64>] {
        if self.each.is_none() {
            let mut each = vec![None; self.rows.columns];
            let work = self.rows.outputs.len().saturating_mul(WORK);
            let areas = [(each.as_mut_slice(), 1)];
            team.split(self.rows.columns, 1, work, areas, |columns, [areas]| {
                for (place, j) in areas.iter_mut().zip(columns) {
                    *place = area(&self.column(j).collect::<Vec<_>>());
                }
            });
            self.each = Some(each);
        }
        self.each.as_deref().expect("it was just made")
    }

    /// The entries of an output.
    fn column(&self, j: usize) -> impl Iterator<Item = Scored> {
        (0..self.rows.len).map(move |row| Scored {
            score: self.rows.output(row)[j],
            is_true: is_yes(self.rows.target(row)[j]),
            // Only the proportions of weights matter; those of at most 1 have products that stay within f64.
            weight: self.rows.weight(row) / self.heaviest,
        })
    }

    /// By weight, how much of an output is true.
    fn support(&self, j: usize) -> f64 {
        let entries = self.column(j).filter(|one| one.is_true);
        entries.map(|one| one.weight).sum()
    }
}

/// The time that an entry takes to be ranked, in multiply-adds.
const WORK: usize = 1000;

/// An entry of the outputs, what it should say, and how much it counts.
struct Scored {
    score: f64,
    is_true: bool,
    weight: f64,
}

/// Σ over groups of equal scores, from the lowest, of true weight · (untrue weight below + ½ untrue weight in the group),
/// over all true weight and all untrue weight.
fn area(entries: &[Scored]) -> Option<f64> {
    let order = rising(entries);
    let entries = order.iter().map(|&place| &entries[place as usize]);
    let mut entries = entries.peekable();
    let (mut sum, mut true_weight, mut untrue_weight) = (0.0, 0.0, 0.0);
    while let Some(score) = entries.peek().map(|one| one.score) {
        let (mut true_here, mut untrue_here) = (0.0, 0.0);
        while let Some(one) = entries.next_if(|one| one.score == score) {
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

/// The places of the entries by rising score, as `f64::total_cmp` has it, those of the same in their order.
fn rising(entries: &[Scored]) -> Vec<u64> {
    let places = 0..entries.len() as u64;
    let is_single = |one: &Scored| f64::from(one.score as f32).to_bits() == one.score.to_bits();
    if u32::try_from(entries.len()).is_ok() && entries.iter().all(is_single) {
        // Score and place in one number, for which there is a faster sort.
        let keys = entries.iter().zip(places);
        let mut keys: Vec<u64> = keys
            .map(|(one, place)| key(one.score as f32) | place)
            .collect();
        keys.sort_unstable();
        for key in &mut keys {
            *key &= u64::from(u32::MAX);
        }
        return keys;
    }
    let mut places: Vec<u64> = places.collect();
    let score = |place: u64| entries[place as usize].score;
    places.sort_by(|&one, &other| score(one).total_cmp(&score(other)));
    places
}

/// In the upper half, a number that rises as the score does.
fn key(score: f32) -> u64 {
    let bits = score.to_bits();
    let negative = bits >> 31 == 1;
    u64::from(if negative { !bits } else { bits | 1 << 31 }) << 32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_rise_as_in_a_stable_sort_whether_or_not_they_are_exact_in_f32() {
        let single: [f64; 11] = [
            0.5,
            -0.0,
            0.25,
            0.0,
            -1.5,
            0.25,
            -0.0,
            3.0,
            -1.5,
            0.000_976_562_5,
            0.5,
        ];
        let double = single.map(|score| score * 1.000_000_000_1);
        for scores in [single, double] {
            let entry = |score| Scored {
                score,
                is_true: false,
                weight: 1.0,
            };
            let mut expected: Vec<u64> = (0..scores.len() as u64).collect();
            expected
                .sort_by(|&one, &other| scores[one as usize].total_cmp(&scores[other as usize]));
            assert_eq!(rising(&scores.map(entry)), expected);
        }
    }
}
