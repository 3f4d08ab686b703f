//! A batch prediction names the row that it cannot predict, wherever it comes, and ends when it is told to.

use std::ops::ControlFlow;

use crate::data::{CHUNK_ROWS, Column, Kind, TableFormat};
use crate::model::{Model, ModelLimits, ModelSpec, Preprocess, Preprocessing, Scaling, Targets};
use crate::train::{CheckedPrediction, Kept, Predicting, PredictionError};

/// y = w x in float32, by the names of the columns.
fn model(w: f32) -> Model {
    let spec = format!(
        r#"{{"name":"m","inputs":1,"layers":[{{"units":1,"activation":"identity"}}],"parameters":[{{"weights":[[{w}]],"biases":[0]}}]}}"#
    );
    let spec: ModelSpec = serde_json::from_str(&spec).expect("a spec");
    let limits = ModelLimits {
        layers: 9,
        units: 9,
        inputs: 9,
        parameters: 9,
    };
    Model {
        preprocessing: Preprocessing::Inputs {
            scaling: Scaling::unfitted(Preprocess::None),
            features: Some(vec!["x".to_owned()]),
        },
        targets: Targets::Values {
            names: Some(vec!["y".to_owned()]),
        },
        ..spec.check(&limits).expect("a good spec").build()
    }
}

fn spec() -> CheckedPrediction {
    CheckedPrediction {
        format: TableFormat::Csv,
        top_k: None,
        features: vec!["x".to_owned()],
        keep: Vec::new(),
    }
}

fn column(values: impl IntoIterator<Item = f64>) -> Vec<Column> {
    vec![Column::numeric("x", values).expect("finite numbers")]
}

/// What comes of these columns, read one after the other.
fn predicted(w: f32, reads: &[Vec<Column>]) -> Result<String, PredictionError> {
    let (model, spec) = (model(w), spec());
    let mut predicting = Predicting::begin(&model, &spec, Vec::new())?;
    let mut rows = 0;
    for read in reads {
        let pushed = predicting.push(read, |done| {
            assert!(done >= rows, "rows that are done are not undone");
            rows = done;
            ControlFlow::Continue(())
        })?;
        assert!(pushed.is_continue());
    }
    let text = String::from_utf8(predicting.finish()?);
    Ok(text.expect("UTF-8"))
}

#[test]
fn the_rows_follow_one_another_however_they_are_read() {
    let numbers = |rows: std::ops::Range<usize>| column(rows.map(|row| row as f64));
    let whole = predicted(0.5, &[numbers(0..3000)]).expect("rows");
    let parts = [numbers(0..1), numbers(1..2047), numbers(2047..3000)];
    assert_eq!(predicted(0.5, &parts).expect("rows"), whole);
    assert!(whole.starts_with("y\n0\n0.5\n1\n1.5\n"), "{whole}");
    assert_eq!(whole.lines().last(), Some("1499.5"));
}

#[test]
fn a_row_that_does_not_fit_is_told_by_its_place_in_the_dataset() {
    let first = column(std::iter::repeat_n(1.0, CHUNK_ROWS));
    let second = |odd: f64| column((0..2000).map(move |row| if row == 1500 { odd } else { 1.0 }));
    let error = predicted(1.0, &[first.clone(), second(1e300)]).expect_err("too large");
    assert_eq!(error.code(), "unusable_row");
    let told = "row 17885, column \"x\": must fit float32, within ±3.4028234663852886e38, once scaled, got 1e300";
    assert_eq!(error.to_string(), told);
    let error = predicted(2.0, &[first, second(3e38)]).expect_err("too large");
    assert_eq!(error.code(), "not_finite");
    let told = "row 17885: the model answers it with NaN or infinity: its values are far from those that the model was trained on";
    assert_eq!(error.to_string(), told);
}

#[test]
fn a_denormal_number_is_kept_as_it_is_and_is_zero_to_the_network() {
    let model = model(1e10);
    let spec = CheckedPrediction {
        keep: vec![Kept {
            name: "k".to_owned(),
            kind: Kind::Numeric,
            longest: 0,
        }],
        ..spec()
    };
    // Few enough bits that the column is held in f32, of which they are denormal.
    let tiny = f64::from(f32::from_bits(3));
    let mut columns = column([tiny, 0.5]);
    columns.push(Column::numeric("k", [tiny, 0.5]).expect("finite numbers"));
    let mut predicting = Predicting::begin(&model, &spec, Vec::new()).expect("room");
    let pushed = predicting.push(&columns, |_| ControlFlow::Continue(()));
    assert!(pushed.expect("rows").is_continue());
    let text = String::from_utf8(predicting.finish().expect("room")).expect("UTF-8");
    let rows: Vec<Vec<f64>> = text.lines().skip(1).map(numbers).collect();
    assert_eq!(rows, [[tiny, 0.0], [0.5, 5e9]]);
}

fn numbers(line: &str) -> Vec<f64> {
    let cells = line.split(',');
    cells.map(|cell| cell.parse().expect("a number")).collect()
}

#[test]
fn it_ends_between_two_batches_when_it_is_told_to() {
    let (model, spec) = (model(1.0), spec());
    let mut predicting = Predicting::begin(&model, &spec, Vec::new()).expect("room");
    let rows = column(std::iter::repeat_n(1.0, CHUNK_ROWS));
    let mut polls = 0;
    let pushed = predicting.push(&rows, |_| {
        polls += 1;
        if polls == 3 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert!(pushed.expect("rows").is_break());
    assert_eq!(polls, 3);
}
