//! A column at a glance: quartiles and a histogram of numbers, the most frequent words.

use serde::Serialize;

use crate::data::{Column, Kind, MISSING};

const BINS: usize = 10;
const TOP: usize = 10;

/// A column at a glance.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct ColumnSummary {
    /// The column's name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// How many values are present.
    pub count: usize,
    /// How many values are missing.
    pub missing: usize,
    /// How many of the present values differ.
    pub distinct: usize,
    /// The distribution of numbers, if there are any.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub numeric: Option<NumericSummary>,
    /// The most frequent words of a categorical column, of equal ones those that sort first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<Frequency>>,
}

/// The distribution of a column's present numbers.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct NumericSummary {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation as a population.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// A quarter of the way from the smallest to the largest in order, interpolated linearly between two.
    pub q1: f64,
    /// Half of the way.
    pub median: f64,
    /// Three quarters of the way.
    pub q3: f64,
    /// The largest.
    pub max: f64,
    /// How many fall where.
    pub histogram: Histogram,
}

/// Counts of numbers in ten bins of equal width; a bin holds its lower edge, the last one also its upper edge.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The eleven edges, rising; of equal numbers, half below to half above.
    pub edges: Vec<f64>,
    /// The ten counts.
    pub counts: Vec<usize>,
}

/// A word and how often it stands in a column.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// The word.
    pub value: String,
    /// How often.
    pub count: usize,
}

/// Summarizes a column. Quartiles and histogram are those of numpy's `percentile` and `histogram` with their defaults.
pub fn summarize(column: &Column) -> ColumnSummary {
    let (distinct, numeric, top) = if let Some(codes) = column.codes() {
        let (distinct, top) = frequencies(codes, column.categories());
        (distinct, None, Some(top))
    } else {
        let (distinct, numeric) = distribution(column);
        (distinct, numeric, None)
    };
    ColumnSummary {
        name: column.name().to_owned(),
        kind: column.kind(),
        count: column.rows() - column.missing(),
        missing: column.missing(),
        distinct,
        numeric,
        top,
    }
}

fn frequencies(codes: &[u32], categories: &[String]) -> (usize, Vec<Frequency>) {
    let mut counts = vec![0; categories.len()];
    for &code in codes.iter().filter(|&&code| code != MISSING) {
        counts[code as usize] += 1;
    }
    let mut used: Vec<usize> = (0..counts.len()).filter(|&code| counts[code] > 0).collect();
    let distinct = used.len();
    used.sort_by_key(|&code| std::cmp::Reverse(counts[code]));
    let frequency = |code: &usize| Frequency {
        value: categories[*code].clone(),
        count: counts[*code],
    };
    (distinct, used.iter().take(TOP).map(frequency).collect())
}

fn distribution(column: &Column) -> (usize, Option<NumericSummary>) {
    let mut sorted = column.numbers().unwrap_or_default();
    sorted.retain(|number| !number.is_nan());
    sorted.sort_unstable_by(f64::total_cmp);
    let distinct = sorted.chunk_by(|a, b| a == b).count();
    let description = column.description();
    let (Some(mean), Some(std), Some(&min), Some(&max)) = (
        description.mean,
        description.std,
        sorted.first(),
        sorted.last(),
    ) else {
        return (distinct, None);
    };
    let numeric = NumericSummary {
        mean,
        std,
        min,
        q1: quantile(&sorted, 0.25),
        median: quantile(&sorted, 0.5),
        q3: quantile(&sorted, 0.75),
        max,
        histogram: histogram(&sorted, min, max),
    };
    (distinct, Some(numeric))
}

/// The value at place q·(n − 1) of n sorted numbers, between two of them on the straight line.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (low, share) = (place.floor() as usize, place.fract());
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    if share == 0.0 {
        a
    } else if (b - a).is_finite() {
        a + (b - a) * share
    } else {
        a * (1.0 - share) + b * share
    }
}

fn histogram(sorted: &[f64], min: f64, max: f64) -> Histogram {
    let (low, high) = if min == max {
        (min - 0.5, max + 0.5)
    } else {
        (min, max)
    };
    // Dividing first keeps a range wider than float64 finite.
    let width = if (high - low).is_finite() {
        (high - low) / BINS as f64
    } else {
        high / BINS as f64 - low / BINS as f64
    };
    let mut edges: Vec<f64> = (0..BINS).map(|bin| low + bin as f64 * width).collect();
    edges.push(high);
    let below: Vec<usize> = edges[1..BINS]
        .iter()
        .map(|edge| sorted.partition_point(|number| number < edge))
        .collect();
    let ends = below.iter().copied().chain([sorted.len()]);
    let starts = [0].into_iter().chain(below.iter().copied());
    Histogram {
        counts: starts.zip(ends).map(|(start, end)| end - start).collect(),
        edges,
    }
}
