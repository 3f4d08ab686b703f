//! Scaling, imputing and encoding against scikit-learn: `tests/fixtures/columns/make_fixture.py` says how the numbers were made.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::data::{Column, Kind};
use crate::model::columns::{ColumnSpec, Encode, Encoder, Impute, Reading, Role, Scale, Unknown};

#[derive(Deserialize)]
struct Fixture {
    every: usize,
    columns: BTreeMap<String, Vec<Option<f64>>>,
    numbers: Vec<NumberCase>,
    words: Vec<WordCase>,
}

#[derive(Deserialize)]
struct NumberCase {
    name: String,
    #[serde(with = "crate::model::choice")]
    impute: Impute,
    scale: Scale,
    train: usize,
    expected: Vec<f64>,
    indicator: Vec<f64>,
}

#[derive(Deserialize)]
struct WordCase {
    #[serde(with = "crate::model::choice")]
    encode: Encode,
    categories: Vec<String>,
    words: Vec<Option<String>>,
    expected: Vec<Vec<f64>>,
}

fn fixture() -> Fixture {
    let fixture = include_str!("../../../tests/fixtures/columns/columns.json");
    serde_json::from_str(fixture).expect("the fixture parses")
}

fn close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(
        error <= 1e-12 * expected.abs().max(1.0),
        "{what}: {found} {expected}"
    );
}

#[test]
fn numbers_become_what_they_become_in_scikit_learn() {
    let fixture = fixture();
    for case in &fixture.numbers {
        let values = fixture.columns[&case.name].iter();
        let values: Vec<f64> = values.map(|value| value.unwrap_or(f64::NAN)).collect();
        let spec = ColumnSpec {
            kind: Some(Kind::Numeric),
            scale: Some(case.scale),
            impute: Some(case.impute.clone()),
            indicator: true,
            ..ColumnSpec::new("x", Role::Feature)
        };
        let encoder = Encoder::new(spec, None).fit(&values[..case.train]);
        let values = values.iter().step_by(fixture.every);
        for (place, &value) in values.enumerate() {
            let what = format!("{} {:?} {:?} {place}", case.name, case.impute, case.scale);
            let mut made = [0.0; 2];
            assert!(encoder.write::<f64>(value, &mut made), "{what}");
            close(made[0], case.expected[place], &what);
            assert_eq!(made[1], case.indicator[place], "{what}");
        }
    }
    assert!(fixture.numbers.len() > 40);
}

#[test]
fn words_become_what_they_become_in_scikit_learn() {
    for case in fixture().words {
        let spec = ColumnSpec {
            kind: Some(Kind::Categorical),
            encode: Some(case.encode),
            impute: Some(Impute::MostFrequent),
            unknown: Some(Unknown::Error),
            categories: Some(case.categories),
            ..ColumnSpec::new("island", Role::Feature)
        };
        let column = Column::categorical("island", &case.words);
        let unfitted = Encoder::new(spec, None);
        let mut values = vec![0.0; case.words.len()];
        let rows: Vec<u32> = (0..values.len() as u32).collect();
        let reading = Reading::new(&unfitted, &column).expect("known categories");
        reading.pick(&rows, &mut values);
        let encoder = unfitted.fit(&values);
        for (value, expected) in values.iter().zip(&case.expected) {
            let mut made = vec![9.0; encoder.width()];
            encoder.write::<f64>(*value, &mut made);
            assert_eq!(&made, expected, "{:?}", case.encode);
        }
    }
}
