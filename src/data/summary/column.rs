//! A column at a glance: quartiles and a histogram of numbers, and the most frequent values.

use serde::Serialize;

use crate::data::summary::association::Association;
use crate::data::{Column, ColumnDescription, Kind, MISSING};

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
    /// The ten most frequent values; of equally frequent ones, those that sort first.
    pub top: Vec<Frequency>,
    /// How strongly it goes together with the target, where one is named and it is another column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association: Option<Association>,
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

/// A value and how often it stands in a column.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Frequency {
    /// The value.
    pub value: TopValue,
    /// How often.
    pub count: usize,
}

/// A present value of a column.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum TopValue {
    /// Of a categorical column.
    Word(String),
    /// Of a numeric one.
    Number(f64),
}

/// Summarizes a column. Quartiles and histogram are those of numpy's `percentile` and `histogram` with their defaults.
pub(super) fn summarize(column: &Column) -> ColumnSummary {
    let mut numeric = None;
    let (distinct, top) = if let Some(codes) = column.codes() {
        let categories = column.categories();
        top(words(codes, categories.len()), |code| {
            TopValue::Word(categories[code].clone())
        })
    } else {
        let sorted = sorted(column);
        numeric = distribution(column.description(), &sorted);
        let runs = sorted.chunk_by(|a, b| a == b);
        let runs = runs.map(|run| (run[0] + 0.0, run.len())); // −0 is 0
        top(runs.collect(), TopValue::Number)
    };
    ColumnSummary {
        name: column.name().to_owned(),
        kind: column.kind(),
        count: column.rows() - column.missing(),
        missing: column.missing(),
        distinct,
        numeric,
        top,
        association: None,
    }
}

/// The codes of the words that stand in a column, rising, each with how often it does.
fn words(codes: &[u32], categories: usize) -> Vec<(usize, usize)> {
    let mut counts = vec![0; categories];
    for &code in codes.iter().filter(|&&code| code != MISSING) {
        counts[code as usize] += 1;
    }
    let counted = counts.into_iter().enumerate();
    counted.filter(|&(_, count)| count > 0).collect()
}

/// How many values there are, and the most frequent of them, which come in their order.
fn top<V>(mut counted: Vec<(V, usize)>, value: impl Fn(V) -> TopValue) -> (usize, Vec<Frequency>) {
    let distinct = counted.len();
    // The sort is stable, so equally frequent values stay in their order.
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = counted.into_iter().take(TOP).map(|(one, count)| Frequency {
        value: value(one),
        count,
    });
    (distinct, most.collect())
}

/// The present numbers, rising.
fn sorted(column: &Column) -> Vec<f64> {
    let mut numbers = column.numbers().unwrap_or_default();
    numbers.retain(|number| !number.is_nan());
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// How a column's present numbers are distributed, where there are any.
fn distribution(description: &ColumnDescription, sorted: &[f64]) -> Option<NumericSummary> {
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    Some(NumericSummary {
        mean: description.mean?,
        std: description.std?,
        min,
        q1: quantile(sorted, 0.25),
        median: quantile(sorted, 0.5),
        q3: quantile(sorted, 0.75),
        max,
        histogram: histogram(sorted, min, max),
    })
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
