//! Rows: a table of numbers as it stands in a JSON body, read into one flat vector.

use std::fmt;

use ndarray::{Array2, ArrayView2};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::model::columns::Instance;

/// Numbers in rows of one width, from a body such as `[[0,1],[1,1]]`.
///
/// Shapes: `rows × width`, row by row in one vector. A ragged table is refused while it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    /// Rows from a flat vector. `None` where the length is no multiple of the width.
    pub fn new(width: usize, values: Vec<f64>) -> Option<Self> {
        (width > 0 && values.len().is_multiple_of(width)).then_some(Self { width, values })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers in each row; 0 where there is no row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows as a matrix (rows × width).
    pub fn view(&self) -> ArrayView2<'_, f64> {
        ArrayView2::from_shape((self.len(), self.width), &self.values).expect("rows have one width")
    }

    /// The rows as an owned matrix (rows × width).
    pub fn into_array(self) -> Array2<f64> {
        Array2::from_shape_vec((self.len(), self.width), self.values).expect("rows have one width")
    }
}

/// Raw rows as they stand in a body: `inputs`, or `instances` of named values.
#[derive(Clone, Debug, PartialEq)]
pub enum InputRows {
    /// Numbers, in the order of the model's inputs.
    Inputs(Rows),
    /// Rows of named values.
    Instances(Vec<Instance>),
}

impl InputRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Inputs(rows) => rows.len(),
            Self::Instances(instances) => instances.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where they stand in the body.
    pub fn pointer(&self) -> &'static str {
        match self {
            Self::Inputs(_) => "/inputs",
            Self::Instances(_) => "/instances",
        }
    }
}

/// Targets of rows as they stand in a body: rows of numbers, or one word for each row.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetRows {
    /// `[[0],[1]]`: the target activations of each row.
    Numbers(Rows),
    /// `["setosa","virginica"]`: the class of each row (or names of columns, where a dataset is trained on).
    Words(Vec<String>),
}

impl TargetRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(rows) => rows.len(),
            Self::Words(words) => words.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct RowSeed<'a>(&'a mut Rows);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row: an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let Rows { width, values } = self.0;
        let before = values.len();
        while let Some(value) = row.next_element::<f64>()? {
            values.push(value);
        }
        let got = values.len() - before;
        if got == 0 {
            return Err(A::Error::custom("a row must have at least one number"));
        }
        if before == 0 {
            *width = got;
        }
        if got != *width {
            return Err(A::Error::custom(format!(
                "every row must have as many numbers as the first, {width}, got {got}"
            )));
        }
        Ok(())
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of rows of numbers, such as [[0,1],[1,1]]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Rows, A::Error> {
        let mut rows = Rows::default();
        while sequence.next_element_seed(RowSeed(&mut rows))?.is_some() {}
        Ok(rows)
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor)
    }
}

enum Target {
    Row,
    Word(String),
}

struct TargetSeed<'a>(&'a mut Rows);

impl<'de> DeserializeSeed<'de> for TargetSeed<'_> {
    type Value = Target;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TargetSeed<'_> {
    type Value = Target;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row of numbers, such as [1], or a class word")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Target, E> {
        Ok(Target::Word(word.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Target, A::Error> {
        RowSeed(self.0).visit_seq(sequence).map(|()| Target::Row)
    }
}

struct TargetRowsVisitor;

impl<'de> Visitor<'de> for TargetRowsVisitor {
    type Value = TargetRows;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "an array of rows of numbers, such as [[0],[1]], or of words, such as [\"y\"]",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<TargetRows, A::Error> {
        let mut rows = Rows::default();
        let mut words = Vec::new();
        while let Some(target) = sequence.next_element_seed(TargetSeed(&mut rows))? {
            if let Target::Word(word) = target {
                words.push(word);
            }
            if !words.is_empty() && !rows.is_empty() {
                return Err(A::Error::custom(
                    "targets must be all rows of numbers or all words, got both",
                ));
            }
        }
        Ok(if words.is_empty() {
            TargetRows::Numbers(rows)
        } else {
            TargetRows::Words(words)
        })
    }
}

impl<'de> Deserialize<'de> for TargetRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TargetRowsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_flat_and_a_ragged_row_is_refused() {
        let rows: Rows = serde_json::from_str("[[0,1.5],[-1,2]]").expect("a table");
        assert_eq!(
            rows,
            Rows {
                width: 2,
                values: vec![0.0, 1.5, -1.0, 2.0]
            }
        );
        let ragged = serde_json::from_str::<Rows>("[[0,1],[2]]")
            .expect_err("ragged")
            .to_string();
        assert!(
            ragged.starts_with("every row must have as many numbers as the first, 2, got 1"),
            "{ragged}"
        );
        assert!(serde_json::from_str::<Rows>("[[0,null]]").is_err());
        assert!(serde_json::from_str::<Rows>("[[]]").is_err());
    }

    #[test]
    fn targets_are_rows_or_words_but_not_both() {
        let words: TargetRows = serde_json::from_str(r#"["a","b"]"#).expect("words");
        assert_eq!(words, TargetRows::Words(vec!["a".into(), "b".into()]));
        let rows: TargetRows = serde_json::from_str("[[1],[0]]").expect("rows");
        assert_eq!(rows.len(), 2);
        assert!(serde_json::from_str::<TargetRows>(r#"[[1],"a"]"#).is_err());
    }
}
