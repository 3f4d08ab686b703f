//! What may spoil what is trained on a table: columns that tell nothing, or too much, and rows that stand there twice.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::data::summary::association::{Association, Shared, Values};
use crate::data::summary::column::{ColumnSummary, TopValue};

/// Something that may spoil what is trained on a table.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The column; none where it is of the rows.
    pub column: Option<String>,
    /// What it is.
    pub code: Code,
    /// The same in a sentence, with what to do.
    pub detail: String,
}

/// What a warning is of.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Every present value of the column is the same.
    Constant,
    /// The column has no value.
    AllMissing,
    /// The column's values, words or whole numbers, differ in every one of at least 20 rows.
    IdLike,
    /// Rows repeat others in every column.
    DuplicateRows,
    /// Rows are equal in every column but the target, and differ there.
    ConflictingLabels,
    /// The column goes together with the target as nothing does that is known before it.
    Leakage,
}

/// Present rows from which on a column may look like an id or a leak: of fewer, anything does.
const LEAST_ROWS: usize = 20;
/// How strong an association is suspicious.
const LEAK: f64 = 0.98;
/// Rows for each category, on average, from which on a strong association is suspicious: with fewer the categories come close to
/// numbering the rows, and Cramér's V and the correlation ratio are near 1 by chance.
const ROWS_PER_CATEGORY: usize = 5;

/// A hash of each row over the columns taken so far: SipHash with its keys 0, of what came before and the value, 64 bits.
///
/// Equal rows have equal hashes. Of n different rows two have the same one with a probability below n² / 2⁶⁴ for each column, a
/// millionth for 100,000 rows of 1,000 columns; the counts of the warnings would then be too large by those rows, and nothing
/// else goes by them.
#[derive(Debug, Default)]
pub(super) struct RowHashes(Vec<u64>);

/// What is to be said of a column by itself.
pub(super) fn of_column(
    summary: &ColumnSummary,
    values: &Values,
    is_target: bool,
) -> Option<Warning> {
    let cure = if is_target {
        "choose another target"
    } else {
        "leave it out of the features"
    };
    let (code, detail) = match (summary.count, summary.distinct) {
        (0, _) => (Code::AllMissing, format!("it has no value: {cure}")),
        (_, 1) => {
            let value = match summary.top.first().map(|first| &first.value) {
                Some(TopValue::Word(word)) => format!("{word:?}"),
                Some(TopValue::Number(number)) => number.to_string(),
                None => String::new(),
            };
            let detail = format!("every present value is {value}, which teaches nothing: {cure}");
            (Code::Constant, detail)
        }
        (count, distinct) if count >= LEAST_ROWS && distinct == count => {
            let what = match values {
                Values::Codes(_) => "words",
                // A measure may well differ in every row, and a target may be one.
                Values::Numbers(_) if is_target => return None,
                Values::Numbers(numbers) if numbers.iter().any(|x| x.fract() != 0.0) => {
                    return None;
                }
                Values::Numbers(_) => "whole numbers",
            };
            let detail = format!(
                "its {count} present values are {what} of which no two are equal, as if they named the rows: where they do, {cure}"
            );
            (Code::IdLike, detail)
        }
        _ => return None,
    };
    Some(Warning {
        column: Some(summary.name.clone()),
        code,
        detail,
    })
}

/// A column that goes together with the target as nothing does that is known before it.
pub(super) fn of_leakage(
    summary: &ColumnSummary,
    target: &str,
    (shared, association): (&Shared, Association),
) -> Option<Warning> {
    let value = association.value.filter(|value| value.abs() >= LEAK)?;
    let rows = shared.rows();
    if rows < LEAST_ROWS || shared.categories() * ROWS_PER_CATEGORY > rows {
        return None;
    }
    let measure = association.measure.prose();
    Some(Warning {
        column: Some(summary.name.clone()),
        code: Code::Leakage,
        detail: format!(
            "{measure} with target {target:?} is {value:.3} over {rows} rows: where it is made from the target, or known only after it, leave it out of the features"
        ),
    })
}

impl RowHashes {
    /// Takes the next column.
    ///
    /// Panics: it has other rows than the columns before it, the caller's bug.
    pub(super) fn add(&mut self, values: &Values) {
        if self.0.is_empty() {
            self.0.resize(values.len(), 0);
        }
        assert_eq!(self.0.len(), values.len(), "columns of one table");
        for (row, hash) in self.0.iter_mut().enumerate() {
            *hash = hashed(*hash, values.key(row));
        }
    }

    /// What is to be said of the rows, whose hashes are of all columns but the target.
    pub(super) fn warnings(mut self, target: Option<(String, Values)>) -> Vec<Warning> {
        let mut conflicting = None;
        if let Some((name, values)) = target {
            conflicting = Some((self.conflicts(&values), name));
            self.add(&values);
        }
        let repeated = self.repeated();
        let duplicates = (repeated > 0).then(|| {
            let rows = counted(repeated, "repeats", "repeat");
            let detail = format!(
                "{rows} an earlier row in every column: where they are the same samples, drop them, or a split puts one among the rows to train on and its like among those to validate on"
            );
            (Code::DuplicateRows, detail)
        });
        let conflicting = conflicting.filter(|(count, _)| *count > 0);
        let conflicts = conflicting.map(|(count, target)| {
            let rows = counted(count, "is", "are");
            let detail = format!(
                "{rows} equal to another in every column but target {target:?}, and different there: no model is right on all of them; mend the targets, or add a feature that tells the rows apart"
            );
            (Code::ConflictingLabels, detail)
        });
        let each = duplicates.into_iter().chain(conflicts);
        each.map(|(code, detail)| Warning {
            column: None,
            code,
            detail,
        })
        .collect()
    }

    /// Rows that an earlier one has been equal to.
    fn repeated(self) -> usize {
        let Self(mut hashes) = self;
        let rows = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        rows - hashes.len()
    }

    /// Rows with a target that are equal to one with another target.
    fn conflicts(&self, target: &Values) -> usize {
        let rows = self.0.iter().enumerate();
        let with_target = rows.filter_map(|(row, hash)| Some((*hash, target.key(row)?)));
        let mut rows: Vec<(u64, u64)> = with_target.collect();
        rows.sort_unstable();
        let equal = rows.chunk_by(|one, next| one.0 == next.0);
        // Sorted by the target, too: where the ends are equal, all between are.
        equal
            .filter(|rows| rows[0] != rows[rows.len() - 1])
            .map(<[_]>::len)
            .sum()
    }
}

fn hashed(before: u64, key: Option<u64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (before, key).hash(&mut hasher);
    hasher.finish()
}

fn counted(count: usize, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 row {one}"),
        _ => format!("{count} rows {several}"),
    }
}
