//! Which classes or labels were taken for which: accuracy, precision, recall and F1.

use ndarray::ArrayView2;
use serde::Serialize;

use crate::nn::class_of;
use crate::nn::metrics::{Average, Rows, is_yes};

/// How often each class was taken for each: K × K counts, a row per true class and a column per predicted one.
///
/// A count is a number of samples, or the sum of their weights. As scikit-learn's `confusion_matrix` with all K classes
/// as its `labels`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Confusion {
    counts: Vec<Vec<f64>>,
}

/// How one class, or one label, fared against all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Predicted, and true.
    pub true_positives: f64,
    /// Predicted, and not true.
    pub false_positives: f64,
    /// True, and not predicted.
    pub false_negatives: f64,
}

/// The tallies of all classes, or of all labels, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tallies {
    each: Vec<Tally>,
    kind: Kind,
}

/// Of what tallies are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Classes,
    Labels,
}

impl Confusion {
    /// The counts of J classes, or of two where there is one output; none where the rows allow no figure.
    ///
    /// Shapes: outputs and targets (N × J), weights (N).
    pub fn of(
        outputs: ArrayView2<'_, f64>,
        targets: ArrayView2<'_, f64>,
        weights: Option<&[f64]>,
    ) -> Option<Self> {
        let rows = Rows::new(outputs, targets, weights)?;
        let classes = rows.columns.max(2);
        let mut counts = vec![vec![0.0; classes]; classes];
        for row in 0..rows.len {
            counts[class_of(rows.target(row))][class_of(rows.output(row))] += rows.weight(row);
        }
        Some(Self { counts })
    }

    /// A row per true class, and in it an entry per predicted one.
    pub fn counts(&self) -> &[Vec<f64>] {
        &self.counts
    }

    /// The share of samples whose class was predicted: the diagonal over all counts.
    pub fn accuracy(&self) -> f64 {
        let right: f64 = (0..self.counts.len()).map(|k| self.counts[k][k]).sum();
        right / self.counts.iter().flatten().sum::<f64>()
    }

    /// Each class against all others. In a macro average, a class that is neither true nor predicted does not count.
    pub fn tallies(&self) -> Tallies {
        let classes = 0..self.counts.len();
        let others = |class: usize| classes.clone().filter(move |&other| other != class);
        let tally = |class: usize| Tally {
            true_positives: self.counts[class][class],
            false_positives: others(class).map(|truth| self.counts[truth][class]).sum(),
            false_negatives: others(class).map(|said| self.counts[class][said]).sum(),
        };
        Tallies {
            each: classes.clone().map(tally).collect(),
            kind: Kind::Classes,
        }
    }
}

impl Tally {
    /// How much of what was predicted is true; 0 where nothing was predicted.
    pub fn precision(&self) -> f64 {
        let predicted = self.true_positives + self.false_positives;
        ratio(self.true_positives, predicted)
    }

    /// How much of what is true was predicted; 0 where nothing is true.
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.support())
    }

    /// The harmonic mean of precision and recall, tp / (tp + ½(fp + fn)); 0 where nothing is true or predicted.
    pub fn f1(&self) -> f64 {
        let wrong = self.false_positives + self.false_negatives;
        ratio(self.true_positives, self.true_positives + 0.5 * wrong)
    }

    /// How much is true.
    pub fn support(&self) -> f64 {
        self.true_positives + self.false_negatives
    }
}

impl Tallies {
    /// Each of J labels by itself; none where the rows allow no figure.
    ///
    /// Shapes: outputs and targets (N × J), weights (N).
    pub fn of_labels(
        outputs: ArrayView2<'_, f64>,
        targets: ArrayView2<'_, f64>,
        weights: Option<&[f64]>,
    ) -> Option<Self> {
        let rows = Rows::new(outputs, targets, weights)?;
        let mut each = vec![Tally::default(); rows.columns];
        for row in 0..rows.len {
            let entries = rows.output(row).iter().zip(rows.target(row));
            for (tally, (&a, &y)) in each.iter_mut().zip(entries) {
                let weight = rows.weight(row);
                match (is_yes(a), is_yes(y)) {
                    (true, true) => tally.true_positives += weight,
                    (true, false) => tally.false_positives += weight,
                    (false, true) => tally.false_negatives += weight,
                    (false, false) => {}
                }
            }
        }
        let kind = Kind::Labels;
        Some(Self { each, kind })
    }

    /// One per class or label. Where there are two classes, the second's figures are what scikit-learn calls binary.
    pub fn each(&self) -> &[Tally] {
        &self.each
    }

    /// Precision, as scikit-learn's `precision_score` with a `zero_division` of 0, which is its default with a warning.
    pub fn precision(&self, average: Average) -> f64 {
        self.average(average, Tally::precision)
    }

    /// Recall, as scikit-learn's `recall_score` with a `zero_division` of 0. Micro recall of classes is the accuracy.
    pub fn recall(&self, average: Average) -> f64 {
        self.average(average, Tally::recall)
    }

    /// F1, as scikit-learn's `f1_score` with a `zero_division` of 0. The macro average is the mean of the classes' F1, not
    /// the F1 of mean precision and mean recall.
    pub fn f1(&self, average: Average) -> f64 {
        self.average(average, Tally::f1)
    }

    /// Which tallies a macro average is over: scikit-learn takes all labels, but of classes only those that it meets.
    fn is_met(&self, tally: &Tally) -> bool {
        match self.kind {
            Kind::Labels => true,
            Kind::Classes => tally.support() + tally.false_positives > 0.0,
        }
    }

    fn average(&self, average: Average, figure: impl Fn(&Tally) -> f64) -> f64 {
        match average {
            Average::Macro => {
                let met = || self.each.iter().filter(|tally| self.is_met(tally));
                ratio(met().map(figure).sum(), met().count() as f64)
            }
            Average::Micro => figure(&Tally {
                true_positives: self.sum(|tally| tally.true_positives),
                false_positives: self.sum(|tally| tally.false_positives),
                false_negatives: self.sum(|tally| tally.false_negatives),
            }),
            Average::Weighted => ratio(
                self.sum(|tally| tally.support() * figure(tally)),
                self.sum(Tally::support),
            ),
        }
    }

    fn sum(&self, part: impl Fn(&Tally) -> f64) -> f64 {
        self.each.iter().map(part).sum()
    }
}

/// The share of rows whose true class is among the k of the largest outputs; with k = 1, the accuracy.
///
/// Of equal outputs the first goes before, as it does wherever a class is named. scikit-learn's `top_k_accuracy_score`
/// puts the last before, so that its value for k = 1 is not its own accuracy where outputs are equal. One output is two
/// classes, of which 2 are all.
pub fn top_k_accuracy(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    k: usize,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    rows.share(|row| {
        let (a, truth) = (rows.output(row), class_of(rows.target(row)));
        let before = match a {
            [_] => usize::from(class_of(a) != truth),
            _ => (a.iter().enumerate())
                .filter(|&(class, &a_k)| a_k > a[truth] || (a_k == a[truth] && class < truth))
                .count(),
        };
        before < k
    })
}

/// The share of rows of which every label is right. As scikit-learn's `accuracy_score` of labels.
pub fn subset_accuracy(
    outputs: ArrayView2<'_, f64>,
    targets: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Option<f64> {
    let rows = Rows::new(outputs, targets, weights)?;
    rows.share(|row| {
        let mut entries = rows.output(row).iter().zip(rows.target(row));
        entries.all(|(&a, &y)| is_yes(a) == is_yes(y))
    })
}

/// part / whole; 0 where there is no whole.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
