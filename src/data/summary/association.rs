//! How strongly two columns go together: Pearson's correlation, Cramér's V, and the correlation ratio between a number and a
//! category.

use serde::Serialize;

use crate::data::{Column, MISSING};

/// How strongly two columns go together, over the rows in which both are present.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Association {
    /// What the value is.
    pub measure: Measure,
    /// The value; none where either column has only one value in those rows.
    pub value: Option<f64>,
}

/// A measure of association.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Of two numeric columns, in [−1, 1]: r = Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² Σ (y − ȳ)²).
    Pearson,
    /// Of two categorical columns of r and c values, in [0, 1]: V = √(φ² / (min(r, c) − 1)) with φ² = Σ n²_ij / (n_i n_j) − 1
    /// over the counts of pairs and of values, not corrected for bias. It is 1 where one column determines the other.
    ///
    /// Source: Cramér (1946), Mathematical Methods of Statistics, 21.9; scipy's `association` with `method="cramer"`.
    CramersV,
    /// Of a numeric and a categorical column, in [0, 1]: η = √(Σ_g n_g (x̄_g − x̄)² / Σ (x − x̄)²) over the groups g of rows with
    /// the same category.
    ///
    /// Source: Fisher (1925), Statistical Methods for Research Workers, chapter 7; η² is the share of variance between groups.
    CorrelationRatio,
}

impl Measure {
    /// Its name in prose.
    pub(super) fn prose(self) -> &'static str {
        match self {
            Self::Pearson => "pearson's correlation",
            Self::CramersV => "cramér's v",
            Self::CorrelationRatio => "the correlation ratio",
        }
    }
}

/// The values of a column as measures and hashes read them.
#[derive(Debug)]
pub(super) enum Values {
    /// Numbers, NaN where missing.
    Numbers(Vec<f64>),
    /// Codes of categories, [`MISSING`] where missing.
    Codes(Vec<u32>),
}

/// The values of two columns in the rows in which both are present.
#[derive(Debug)]
pub(super) enum Shared {
    Numbers(Vec<(f64, f64)>),
    Codes(Vec<(u32, u32)>),
    Both(Vec<(u32, f64)>),
}

impl Values {
    pub(super) fn of(column: &Column) -> Self {
        match column.codes() {
            Some(codes) => Self::Codes(codes.to_vec()),
            None => Self::Numbers(column.numbers().unwrap_or_default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Codes(codes) => codes.len(),
        }
    }

    /// What is the same of equal values and differs between others, a missing one among them; none of a missing one.
    pub(super) fn key(&self, row: usize) -> Option<u64> {
        match self {
            Self::Numbers(numbers) => {
                let number = numbers[row] + 0.0; // −0 is 0
                (!number.is_nan()).then(|| number.to_bits())
            }
            Self::Codes(codes) => (codes[row] != MISSING).then(|| u64::from(codes[row])),
        }
    }
}

impl Shared {
    pub(super) fn of(one: &Values, other: &Values) -> Self {
        match (one, other) {
            (Values::Numbers(x), Values::Numbers(y)) => {
                let pairs = x.iter().copied().zip(y.iter().copied());
                Self::Numbers(pairs.filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect())
            }
            (Values::Codes(x), Values::Codes(y)) => {
                let pairs = x.iter().copied().zip(y.iter().copied());
                Self::Codes(
                    pairs
                        .filter(|&(x, y)| x != MISSING && y != MISSING)
                        .collect(),
                )
            }
            (Values::Codes(codes), Values::Numbers(numbers))
            | (Values::Numbers(numbers), Values::Codes(codes)) => {
                let pairs = codes.iter().copied().zip(numbers.iter().copied());
                Self::Both(
                    pairs
                        .filter(|&(code, number)| code != MISSING && !number.is_nan())
                        .collect(),
                )
            }
        }
    }

    /// The rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Numbers(pairs) => pairs.len(),
            Self::Codes(pairs) => pairs.len(),
            Self::Both(pairs) => pairs.len(),
        }
    }

    /// How many categories stand in the rows: of two categorical columns, in that which has more; of numbers, none.
    pub(super) fn categories(&self) -> usize {
        match self {
            Self::Numbers(_) => 0,
            Self::Codes(pairs) => usize::max(
                used(&counts(pairs.iter().map(|pair| pair.0))),
                used(&counts(pairs.iter().map(|pair| pair.1))),
            ),
            Self::Both(pairs) => used(&counts(pairs.iter().map(|pair| pair.0))),
        }
    }

    pub(super) fn association(&self) -> Association {
        let (measure, value) = match self {
            Self::Numbers(pairs) => (Measure::Pearson, pearson(pairs)),
            Self::Codes(pairs) => (Measure::CramersV, cramers_v(pairs)),
            Self::Both(pairs) => (Measure::CorrelationRatio, correlation_ratio(pairs)),
        };
        Association { measure, value }
    }
}

fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let x = centred(pairs.iter().map(|pair| pair.0).collect())?;
    let y = centred(pairs.iter().map(|pair| pair.1).collect())?;
    let covariance: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    let r = covariance / (squares(&x) * squares(&y)).sqrt();
    Some(r.clamp(-1.0, 1.0))
}

fn cramers_v(pairs: &[(u32, u32)]) -> Option<f64> {
    let rows = counts(pairs.iter().map(|pair| pair.0));
    let columns = counts(pairs.iter().map(|pair| pair.1));
    let least = usize::min(used(&rows), used(&columns));
    if least < 2 {
        return None;
    }
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let cells = sorted.chunk_by(|one, next| one == next).map(|cell| {
        let (row, column) = cell[0];
        let together = cell.len() as f64;
        let (row, column) = (rows[row as usize], columns[column as usize]);
        (together / row as f64) * (together / column as f64)
    });
    let phi_squared = cells.sum::<f64>() - 1.0;
    let v = (phi_squared / (least - 1) as f64).max(0.0).sqrt();
    Some(v.min(1.0))
}

fn correlation_ratio(pairs: &[(u32, f64)]) -> Option<f64> {
    let groups = counts(pairs.iter().map(|pair| pair.0));
    if used(&groups) < 2 {
        return None;
    }
    let x = centred(pairs.iter().map(|pair| pair.1).collect())?;
    let mut sums = vec![0.0; groups.len()];
    for ((group, _), x) in pairs.iter().zip(&x) {
        sums[*group as usize] += x;
    }
    let sums = groups.iter().zip(&sums).filter(|(rows, _)| **rows > 0);
    let between: f64 = sums.map(|(rows, sum)| sum * sum / *rows as f64).sum();
    Some((between / squares(&x)).sqrt().min(1.0))
}

/// (x − x̄) / max |x|, so that no square leaves float64's range; none where there are not two different x.
fn centred(mut x: Vec<f64>) -> Option<Vec<f64>> {
    let first = *x.first()?;
    if x.iter().all(|&x| x == first) {
        return None;
    }
    let largest = x.iter().fold(0.0, |largest, x| f64::max(largest, x.abs()));
    // A divisor, not a factor: that of a subnormal number would be infinite.
    for x in &mut x {
        *x /= largest;
    }
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    for x in &mut x {
        *x -= mean;
    }
    Some(x)
}

fn squares(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// How often each code is there.
fn counts(codes: impl Iterator<Item = u32>) -> Vec<usize> {
    let mut counts = Vec::new();
    for code in codes {
        let code = code as usize;
        if code >= counts.len() {
            counts.resize(code + 1, 0);
        }
        counts[code] += 1;
    }
    counts
}

fn used(counts: &[usize]) -> usize {
    counts.iter().filter(|&&count| count > 0).count()
}
