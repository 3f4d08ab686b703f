//! The weights of prepared rows: what was declared, multiplied, and brought to one scale.

use crate::model::Header;
use crate::nn::RowWeight;
use crate::train::Error;
use crate::train::weights::{ClassWeight, class_names};

/// Beside the largest weight, one below this share of it counts as 0: in float32 its gradient would be lost, or the mean
/// over a batch of such rows infinite.
const LEAST_SHARE: f64 = 1.0 / (1_u128 << 64) as f64;

/// What prepared rows weigh; all alike, where there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    /// In the loss that is trained by, and in its gradient.
    loss: Option<Vec<f64>>,
    /// In figures.
    pub(crate) figures: Option<Vec<f64>>,
}

impl Weights {
    /// Of rows that are not trained on: their sample weights, where there are any.
    ///
    /// Errors: all are 0.
    pub(crate) fn of_figures(samples: Option<Vec<f64>>) -> Result<Self, Error> {
        Ok(Self {
            loss: None,
            figures: relative(samples)?,
        })
    }

    /// Of rows trained on: also those of their `classes`, one for each row.
    ///
    /// Errors: nothing is left that weighs; the classes are not to be had.
    pub(crate) fn of_training(
        samples: Option<Vec<f64>>,
        class_weight: Option<&ClassWeight>,
        header: &Header,
        classes: impl FnOnce() -> Result<Vec<usize>, Error>,
    ) -> Result<Self, Error> {
        let figures = relative(samples)?;
        let Some(class_weight) = class_weight else {
            let loss = figures.clone();
            return Ok(Self { loss, figures });
        };
        let names = class_names(header);
        let classes = classes()?;
        let sample = |row: usize| figures.as_ref().map_or(1.0, |weights| weights[row]);
        let of_class = match class_weight {
            ClassWeight::Balanced(_) => {
                let rows = classes.iter().enumerate();
                balanced(names.len(), rows.map(|(row, &class)| (class, sample(row))))
            }
            ClassWeight::Of(weights) => {
                let weight = |name: &String| weights.get(name).copied().unwrap_or(1.0);
                // A class that no row has is of no account to the others.
                let mut occurs = vec![false; names.len()];
                for &class in &classes {
                    occurs[class] = true;
                }
                let weights = names.iter().map(weight).zip(occurs);
                let weights = weights.map(|(weight, occurs)| if occurs { weight } else { 0.0 });
                relative(Some(weights.collect()))?.unwrap_or_else(|| vec![1.0; names.len()])
            }
        };
        let rows = classes.iter().enumerate();
        let loss = rows.map(|(row, &class)| sample(row) * of_class[class]);
        Ok(Self {
            loss: relative(Some(loss.collect()))?,
            figures,
        })
    }

    /// Those of some of the rows, after those that others have at some places.
    pub(super) fn after(
        &self,
        (before, places): (&Self, &[u32]),
        rows: &(impl Iterator<Item = usize> + Clone),
    ) -> Self {
        let joined = |all: &Option<Vec<f64>>, before: &Option<Vec<f64>>| {
            let (all, before) = (all.as_ref()?, before.as_deref().unwrap_or_default());
            let before = places.iter().map(|&place| before[place as usize]);
            Some(before.chain(rows.clone().map(|row| all[row])).collect())
        };
        Self {
            loss: joined(&self.loss, &before.loss),
            figures: joined(&self.figures, &before.figures),
        }
    }

    /// Those of some of the rows; nothing, where all weigh the same.
    pub(crate) fn of(&self, rows: &[u32]) -> impl Iterator<Item = RowWeight> {
        let rows = match (&self.loss, &self.figures) {
            (None, None) => &[],
            _ => rows,
        };
        let weight = |of: &Option<Vec<f64>>, row: u32| {
            of.as_ref().map_or(1.0, |weights| weights[row as usize])
        };
        rows.iter().map(move |&row| RowWeight {
            loss: weight(&self.loss, row),
            figures: weight(&self.figures, row),
        })
    }
}

/// Σ v / (k Σ v over the rows of a class) of each class, from the class and the weight of each row; 1 of a class that no row
/// has. k counts the others.
fn balanced(classes: usize, rows: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
    let mut sums = vec![0.0; classes];
    for (class, weight) in rows {
        sums[class] += weight;
    }
    let total: f64 = sums.iter().sum();
    let occurring = sums.iter().filter(|sum| **sum > 0.0).count() as f64;
    let weight = |sum: f64| {
        if sum > 0.0 {
            total / (occurring * sum)
        } else {
            1.0
        }
    };
    sums.into_iter().map(weight).collect()
}

/// The weights divided by the power of two that brings the largest into [1, 2): loss, gradient and figures are quotients of
/// sums of weights, so that it changes no bit of them, and no sum overflows. None where all are alike.
///
/// Errors: all are 0, or there are none.
fn relative(weights: Option<Vec<f64>>) -> Result<Option<Vec<f64>>, Error> {
    let Some(mut weights) = weights else {
        return Ok(None);
    };
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Err(Error::Data {
            detail: "every row of a split weighs 0".to_owned(),
        });
    }
    if weights.iter().all(|weight| *weight == largest) {
        return Ok(None);
    }
    let unit = f64::from_bits(largest.to_bits() >> 52 << 52).max(f64::MIN_POSITIVE);
    for weight in &mut weights {
        *weight /= unit;
        if *weight < LEAST_SHARE {
            *weight = 0.0;
        }
    }
    Ok(Some(weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_weigh_the_same_together() {
        // Rows a a a b: 4 / (2 · 3) and 4 / (2 · 1). A third class has no row and does not count.
        let rows = [(0, 1.0), (0, 1.0), (0, 1.0), (1, 1.0)];
        let weights = balanced(3, rows.into_iter());
        assert_eq!(weights, [4.0 / 6.0, 2.0, 1.0]);
        // Weights 1 1 1 and 6: 9 / (2 · 3), 9 / (2 · 6).
        let rows = [(0, 1.0), (0, 1.0), (0, 1.0), (1, 6.0)];
        assert_eq!(balanced(2, rows.into_iter()), [1.5, 0.75]);
    }

    #[derive(serde::Deserialize)]
    struct Fixture {
        balanced: Vec<Case>,
    }

    /// What scikit-learn's `compute_class_weight` answers; `tests/fixtures/weights/make_fixture.py` says how it was made.
    #[derive(serde::Deserialize)]
    struct Case {
        classes: Vec<usize>,
        weights: Option<Vec<f64>>,
        found: Vec<usize>,
        expected: Vec<f64>,
    }

    #[test]
    fn balanced_classes_weigh_what_they_do_in_scikit_learn() {
        let fixture = include_str!("../../tests/fixtures/weights/weights.json");
        let fixture: Fixture = serde_json::from_str(fixture).expect("the fixture parses");
        for case in fixture.balanced {
            let weight = |row: usize| case.weights.as_ref().map_or(1.0, |weights| weights[row]);
            let rows = case.classes.iter().enumerate();
            let weights = balanced(9, rows.map(|(row, &class)| (class, weight(row))));
            for (&class, expected) in case.found.iter().zip(&case.expected) {
                assert!(
                    (weights[class] - expected).abs() < 1e-12 * expected,
                    "{class}"
                );
            }
        }
    }

    #[test]
    fn weights_come_to_one_scale_and_lose_no_bit() {
        let of = |weights: &[f64]| relative(Some(weights.to_vec())).ok().flatten();
        assert_eq!(of(&[3.0, 0.1, 0.0]), Some(vec![1.5, 0.05, 0.0]));
        assert_eq!(of(&[6.0, 0.2, 0.0]), Some(vec![1.5, 0.05, 0.0]));
        assert_eq!(
            of(&[f64::MAX, f64::MAX / 4.0]).expect("two")[1]
                .log2()
                .floor(),
            -2.0
        );
        let tiny = of(&[f64::MIN_POSITIVE / 4.0, 0.0]).expect("two");
        assert_eq!(tiny, [0.25, 0.0]);
        assert_eq!(
            of(&[1.0, 2f64.powi(-64), 2f64.powi(-65)]),
            Some(vec![1.0, 2f64.powi(-64), 0.0])
        );
        // All alike are none; all 0 are an error.
        assert_eq!(of(&[0.3, 0.3]), None);
        assert!(relative(Some(vec![0.3, 0.3])).is_ok_and(|none| none.is_none()));
        assert!(relative(Some(vec![0.0, 0.0])).is_err());
        assert!(relative(Some(Vec::new())).is_err());
    }
}
