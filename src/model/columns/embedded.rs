//! Columns whose categories are embedded: the tables of vectors that the network needs for them, and their first numbers.

use ndarray::Array2;
use serde::Deserialize;

use crate::model::columns::spec::ColumnSpec;
use crate::model::{Rows, Violations, shortened};
use crate::nn::{Dtype, Embedding, Scalar, draw_vectors, random};

/// The table of a column whose categories are embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingShape {
    /// The column.
    pub column: String,
    /// Its place among the network's inputs, from 0.
    pub input: usize,
    /// Vectors in the table.
    pub categories: usize,
    /// Numbers of a vector.
    pub dimensions: usize,
}

/// The vectors of one embedding as they stand in a body.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingParameters {
    /// The column.
    pub column: String,
    /// E (categories × dimensions), in the order of the column's categories.
    pub weights: Rows,
}

/// The tables of columns that are filled in, in the order of the network's inputs.
pub fn embeddings(columns: &[ColumnSpec]) -> Vec<EmbeddingShape> {
    let mut inputs = 0;
    let mut shapes = Vec::new();
    for column in columns {
        if let Some(dimensions) = column.dimensions() {
            shapes.push(EmbeddingShape {
                column: column.name.clone(),
                input: inputs,
                categories: column.categories().len(),
                dimensions,
            });
        }
        inputs = inputs.saturating_add(column.width());
    }
    shapes
}

impl EmbeddingShape {
    /// Numbers in the table; `None` where they overflow.
    pub(crate) fn numbers(&self) -> Option<u64> {
        (self.categories as u64).checked_mul(self.dimensions as u64)
    }

    /// Where the network looks its vectors up.
    pub(crate) fn place(&self) -> Embedding {
        Embedding {
            column: self.column.clone(),
            input: self.input,
        }
    }

    /// The first vectors, drawn by the key (seed, [`random::EMBED`], number of the embedding from 1, 0).
    pub(crate) fn draw<T: Scalar>(&self, seed: u64, number: usize) -> Array2<T> {
        let mut random = random::keyed(seed, random::EMBED, number as u64, 0);
        draw_vectors((self.categories, self.dimensions), &mut random)
    }
}

/// Notes what is wrong with the vectors that are given, or left out, for these tables.
pub(crate) fn check_vectors(
    shapes: &[EmbeddingShape],
    given: Option<&[EmbeddingParameters]>,
    dtype: Dtype,
    violations: &mut Violations,
) {
    let wanted: Vec<_> = shapes.iter().map(|shape| &shape.column).collect();
    let of = || shortened(&wanted);
    let Some(given) = given else {
        if !shapes.is_empty() {
            let detail = format!("must be given with parameters, for {}", of());
            violations.add("/embeddings", detail);
        }
        return;
    };
    let got: Vec<_> = given.iter().map(|given| &given.column).collect();
    if wanted != got {
        let got = shortened(&got);
        let detail = match shapes {
            [] => format!("must be left out where no column is embedded, got one of {got}"),
            _ => format!(
                "must have one entry for each column that is embedded, in this order: {}, got {got}",
                of()
            ),
        };
        violations.add("/embeddings", detail);
        return;
    }
    for (index, (shape, given)) in shapes.iter().zip(given).enumerate() {
        let (categories, dimensions) = (shape.categories, shape.dimensions);
        let (rows, width) = (given.weights.len(), given.weights.width());
        if (rows, width) != (categories, dimensions) {
            violations.add(
                format!("/embeddings/{index}/weights"),
                format!("must be {categories} rows (categories) of {dimensions} numbers (dimensions), got {rows} of {width}"),
            );
        }
        let (name, most) = (dtype.name(), dtype.max());
        for ((row, column), value) in given.weights.view().indexed_iter() {
            if !dtype.holds(*value) && !violations.is_full() {
                let detail = format!("must fit {name}, within ±{most:e}, got {value:e}");
                violations.add(
                    format!("/embeddings/{index}/weights/{row}/{column}"),
                    detail,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ModelDeclaration, ModelLimits};

    const DECLARED: &str = r#"{"name":"m","target":"y","columns":[
        {"name":"x","kind":"numeric","impute":"mean","indicator":true},
        {"name":"a","kind":"categorical","categories":["p","q"],"encode":{"type":"embedding","dimensions":3}},
        {"name":"skipped","kind":"numeric","role":"ignore"},
        {"name":"h","kind":"categorical","encode":{"type":"hashed","buckets":4}},
        {"name":"b","kind":"categorical","categories":["r","s","t"],"encode":"embedding",
         "impute":"most_frequent","indicator":true},
        {"name":"y","kind":"numeric"}]}"#;

    fn model() -> Model {
        let declared: ModelDeclaration = serde_json::from_str(DECLARED).expect("a declaration");
        let limits = ModelLimits {
            layers: 9,
            units: 99,
            inputs: 99,
            parameters: 999,
        };
        let checked = declared.check(None, &limits).expect("a good declaration");
        let model = checked.build();
        assert_eq!(
            checked.parameter_count(),
            model.network.parameter_count() as u64
        );
        model
    }

    #[test]
    fn tables_stand_where_their_columns_are_among_the_inputs() {
        let header = model().header();
        let found = header.embeddings().into_iter().map(|shape| {
            let EmbeddingShape {
                column,
                input,
                categories,
                dimensions,
            } = shape;
            (column, input, categories, dimensions)
        });
        // Inputs: x and its indicator, a, four buckets, b and its indicator.
        let expected = [("a".to_owned(), 2, 2, 3), ("b".to_owned(), 7, 3, 2)];
        assert!(found.eq(expected));
        assert_eq!((header.inputs, header.reads()), (9, 12));
        assert_eq!(model().network.reads(), 12);
    }

    #[test]
    fn vectors_are_drawn_by_the_seed_and_the_number_of_the_embedding_alike_in_both_dtypes() {
        let shape = |categories| EmbeddingShape {
            column: "a".to_owned(),
            input: 0,
            categories,
            dimensions: 20,
        };
        let drawn = shape(500).draw::<f64>(3, 1);
        assert_eq!(
            shape(500).draw::<f32>(3, 1),
            drawn.mapv(|number| number as f32)
        );
        assert_eq!(
            shape(2).draw::<f64>(3, 1),
            drawn.slice(ndarray::s![..2, ..])
        );
        for (seed, number) in [(4, 1), (3, 2)] {
            assert_ne!(shape(500).draw::<f64>(seed, number), drawn);
        }
        // Of 10,000 numbers from N(0, 1) the mean is within 0.04 and the variance within 0.06, four standard deviations.
        let mean = drawn.mean().expect("numbers");
        let variance = drawn
            .mapv(|number| number * number)
            .mean()
            .expect("numbers");
        assert!(
            mean.abs() < 0.04 && (variance - 1.0).abs() < 0.06,
            "{mean} {variance}"
        );
    }

    #[test]
    fn bytes_whose_tables_are_not_those_of_their_columns_are_refused() {
        let bytes = model().encode();
        assert_eq!(Model::decode(&bytes).expect("its own bytes"), model());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for (from, to) in [
            (r#"\"dimensions\":3"#, r#"\"dimensions\":4"#),
            (r#"\"dimensions\":3"#, r#"\"dimensions\":0"#),
            (r#"[\"p\",\"q\"]"#, r#"[\"ppppppp\"]"#),
            ("embeddings.2.weights", "embeddings.3.weights"),
        ] {
            assert!(text.contains(from) && from.len() == to.len(), "{from}");
            let place = bytes
                .windows(from.len())
                .position(|part| part == from.as_bytes());
            let mut changed = bytes.clone();
            changed[place.expect("it is there")..][..to.len()].copy_from_slice(to.as_bytes());
            let error = Model::decode(&changed)
                .expect_err("they do not fit")
                .to_string();
            let said = ["the embedding of \"a\" must have", "embeddings.2.weights"];
            assert!(said.iter().any(|said| error.contains(said)), "{error}");
        }
    }

    #[test]
    fn bytes_with_more_inputs_than_can_be_counted_are_refused() {
        let bytes = model().encode();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let most = u64::MAX;
        for (from, to) in [
            (
                r#"\"encode\":{\"type\":\"hashed\",\"buckets\":4"#,
                format!(
                    r#"\"indicator\":true,\"encode\":{{\"type\":\"hashed\",\"buckets\":{most}"#
                ),
            ),
            (r#"\"dimensions\":3"#, format!(r#"\"dimensions\":{most}"#)),
            (r#"\"inputs\":9"#, format!(r#"\"inputs\":{most}"#)),
        ] {
            let place = bytes
                .windows(from.len())
                .position(|part| part == from.as_bytes());
            let place = place.unwrap_or_else(|| panic!("{from} is there: {text}"));
            let mut changed = bytes.clone();
            changed.splice(place..place + from.len(), to.bytes());
            // The length of the header, which stands before it.
            let header = u64::from_le_bytes(*bytes.first_chunk().expect("a length"));
            let header = header + (to.len() - from.len()) as u64;
            changed[..8].copy_from_slice(&header.to_le_bytes());
            let error = Model::decode(&changed).expect_err("they do not fit");
            let error = error.to_string();
            let said = "the bytes are no artifact of this program";
            assert!(error.starts_with(said), "{to}: {error}");
        }
    }
}
