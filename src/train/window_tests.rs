//! Tests of tables that are read in parts: every row is trained on once an epoch, and where parts change nothing, no bit changes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::data::{Column, ColumnDescription};
use crate::model::Model;
use crate::model::columns::{ModelDeclaration, TableView};
use crate::nn::Team;
use crate::train::tests::{JOB_LIMITS, MODEL_LIMITS, Witness, reported, unmoved_by_breaks};
use crate::train::{
    CheckedSpec, Context, DatasetView, Error, Features, JobSpec, Outcome, RawSamples, Source,
    StoredColumns, check, train,
};

const ROWS: usize = 3000;

/// Columns of a table that gives out parts of them.
#[derive(Debug)]
struct Parts {
    columns: Vec<Column>,
    descriptions: Vec<ColumnDescription>,
}

impl StoredColumns for Parts {
    fn columns(&self) -> &[ColumnDescription] {
        &self.descriptions
    }

    fn column(&self, place: usize) -> Result<Column, Error> {
        Ok(self.columns[place].clone())
    }

    fn part(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), Error> {
        // Some rows before them, too, and none after.
        let before = rows.start.min(7);
        let rows = rows.start - before..rows.end;
        let part = |column: &Column| {
            let name = column.name();
            if let Some(codes) = column.codes() {
                let words = column.categories();
                let word = |&code: &u32| words.get(code as usize).map(String::as_str);
                let words: Vec<_> = codes[rows.clone()].iter().map(word).collect();
                return Column::categorical(name, &words);
            }
            let numbers = column.numbers().expect("numbers");
            Column::numeric(name, numbers[rows.clone()].iter().copied()).expect("finite numbers")
        };
        Ok((self.columns[columns].iter().map(part).collect(), before))
    }
}

/// Numbers with gaps, words, days and weights, and a class and a number to be learned of them.
fn table() -> Vec<Column> {
    let numbers = |name: &str, number: &dyn Fn(usize) -> f64| {
        Column::numeric(name, (0..ROWS).map(number)).expect("no infinite number")
    };
    let words = |name: &str, word: &dyn Fn(usize) -> &'static str| {
        let words: Vec<_> = (0..ROWS).map(|row| Some(word(row))).collect();
        Column::categorical(name, &words)
    };
    let x = |row: usize| ((row * 7919) % 1009) as f64 / 100.0 - 5.0;
    let gap = |row: usize, number| if row % 41 == 3 { f64::NAN } else { number };
    let word = |row: usize| ["red", "green", "blue", "violet"][(row * 31 / 7) % 4];
    let class = move |row: usize| match (x(row) > 0.0, word(row)) {
        (true, "red") => "one",
        (true, _) => "two",
        (false, _) => "three",
    };
    vec![
        numbers("x", &|row| gap(row, x(row))),
        numbers("z", &|row| ((row * 104_729) % 997) as f64),
        words("w", &word),
        numbers("day", &|row| ((row * 17) % ROWS) as f64),
        numbers("weight", &|row| {
            f64::from(u8::from(row % 5 > 0)) + (row % 3) as f64 / 4.0
        }),
        words("class", &class),
        numbers("y", &|row| 3.0 * x(row) + 40.0),
    ]
}

/// The columns x, z and w of the table.
fn read_columns() -> [Column; 3] {
    ["x", "z", "w"].map(|name| {
        let mut columns = table().into_iter();
        let column = columns.find(|column| column.name() == name);
        column.expect("a column of the table")
    })
}

fn descriptions(columns: &[Column]) -> Vec<ColumnDescription> {
    let each = columns.iter();
    each.map(|column| column.description().clone()).collect()
}

/// A model of a target of the table, whose columns x, z and w it reads.
fn model(target: &str, dtype: &str) -> Model {
    scaled_model(target, dtype, "standard")
}

/// The same, with z scaled so.
fn scaled_model(target: &str, dtype: &str, scale: &str) -> Model {
    let ignored = ["day", "weight", "class", "y"];
    let ignored = ignored.iter().filter(|name| **name != target);
    let columns: Vec<_> = ignored
        .map(|name| serde_json::json!({"name": name, "role": "ignore"}))
        .chain([serde_json::json!({"name": "z", "scale": scale})])
        .collect();
    let declared = serde_json::json!({
        "name": "m", "dataset": "d", "target": target, "dtype": dtype, "columns": columns,
        "hidden": [{"units": 6, "activation": "tanh"}],
    });
    let declared: ModelDeclaration = serde_json::from_value(declared).expect("a declaration");
    let view = TableView {
        columns: descriptions(&table()),
        words: std::collections::BTreeMap::default(),
    };
    let checked = declared.check(Some(&view), &MODEL_LIMITS);
    checked.expect("a good declaration").build()
}

fn job(base: &Model, target: &str, rest: &str) -> CheckedSpec {
    let text = format!(
        r#"{{"model":"m","data":{{"dataset":"d","features":["x","z","w"],"target":"{target}","sample_weight":"weight"}},{rest}}}"#
    );
    let spec: JobSpec = serde_json::from_str(&text).expect("a job");
    let columns = table();
    let split_by = spec.split_column().map(str::to_owned);
    let view = DatasetView {
        name: "d".to_owned(),
        digest: String::new(),
        columns: descriptions(&columns),
        loaded: columns
            .into_iter()
            .map(|column| (column.name().to_owned(), column))
            .collect(),
        split_by,
    };
    let context = Context {
        base: &base.header(),
        base_version: 1,
        continued: None,
        data: Some(view),
        validation: None,
        limits: JOB_LIMITS,
    };
    check(spec, &context).expect("a good job").spec
}

/// What a job reads: with its features held, or given out in parts.
fn source(spec: &CheckedSpec, target: &str, in_parts: bool) -> Source {
    let columns = table();
    let column = |name: &str| {
        let found = columns.iter().find(|column| column.name() == name);
        found.expect("a column of the table").clone()
    };
    let features = Vec::from(read_columns());
    let features = if in_parts {
        Features::Stored(Arc::new(Parts {
            descriptions: descriptions(&features),
            columns: features,
        }))
    } else {
        Features::Held(features)
    };
    Source {
        split_by: spec.split_column().map(|name| column(name)),
        ..Source::of(RawSamples::Columns {
            features,
            targets: vec![column(target)],
            weights: spec.data.weight_column().map(|name| column(name)),
        })
    }
}

/// What comes of a job whose table is read in windows of so many rows, or held: the model and its report, and what is told on
/// the way, every number to its last bit.
fn outcome(
    base: &Model,
    (target, rest): (&str, &str),
    window: Option<usize>,
    team: &Team,
) -> (String, String) {
    let mut spec = job(base, target, rest);
    spec.window_rows = window;
    let source = source(&spec, target, window.is_some());
    let mut witness = Witness::default();
    let trained = train(&spec, base.clone(), source, None, team, &mut witness);
    let ended = written(trained.expect("trains"));
    (ended, format!("{:?}", witness.reports))
}

fn written(outcome: Outcome) -> String {
    format!("{:?}", reported(outcome))
}

/// What splits, weighs and evaluates a job in each of its ways.
const KINDS: [&str; 5] = [
    r#""validation":{"fraction":0.3},"metrics":["accuracy","f1","roc_auc"],"class_weight":"balanced""#,
    r#""validation":{"fraction":0.2,"stratified":true},"early_stopping":{"restore_best":true}"#,
    r#""validation":{"fraction":0.25,"time":"day"},"class_weight":{"one":3}"#,
    r#""validation":{"fraction":0.2,"group":"day"},"regularization":{"dropout":0.2,"input_noise":0.1}"#,
    r#""cross_validation":{"folds":3,"stratified":true}"#,
];

#[test]
fn rows_that_come_in_parts_and_in_their_own_order_come_to_the_bits_of_a_table_that_is_held() {
    for (number, kind) in KINDS.iter().enumerate() {
        let dtype = ["float64", "float32"][number % 2];
        for target in ["class", "y"] {
            if target == "y" && (kind.contains("class_weight") || kind.contains("stratified")) {
                continue;
            }
            let base = model(target, dtype);
            let rest = format!(r#""epochs":2,"batch_size":50,"seed":4,"shuffle":false,{kind}"#);
            let of = (target, rest.as_str());
            let held = outcome(&base, of, None, &Team::alone());
            for window in [64, 700, 2000] {
                let parts = outcome(&base, of, Some(window), &Team::alone());
                assert!(parts == held, "{kind}, {target}, {window} rows");
            }
        }
    }
}

#[test]
fn a_window_of_all_rows_shuffles_them_as_a_table_that_is_held() {
    let base = model("class", "float32");
    let of = (
        "class",
        r#""epochs":3,"batch_size":50,"seed":4,"validation":{"fraction":0.2}"#,
    );
    let held = outcome(&base, of, None, &Team::alone());
    for window in [2400, 2999, 5000] {
        let parts = outcome(&base, of, Some(window), &Team::alone());
        assert!(parts == held, "{window} rows");
    }
    assert!(outcome(&base, of, Some(2399), &Team::alone()) != held);
}

#[test]
fn windows_come_to_the_same_bits_with_any_number_of_threads_and_to_others_than_a_held_table() {
    let base = model("class", "float32");
    for (kind, window) in KINDS.iter().zip([64, 300, 1000, 700, 900]) {
        let rest = format!(r#""epochs":4,"batch_size":50,"seed":4,"optimizer":"adam",{kind}"#);
        let of = ("class", rest.as_str());
        let alone = outcome(&base, of, Some(window), &Team::alone());
        for threads in [2, 3] {
            let team = Team::new(threads, || {}).expect("threads");
            assert!(outcome(&base, of, Some(window), &team) == alone, "{kind}");
        }
        assert!(alone != outcome(&base, of, None, &Team::alone()), "{kind}");
    }
}

#[test]
fn windows_learn_as_well_as_a_table_that_is_held() {
    let base = model("class", "float32");
    let rest =
        r#""epochs":20,"batch_size":50,"seed":4,"optimizer":"adam","validation":{"fraction":0.3}"#;
    let spec = |window| CheckedSpec {
        window_rows: window,
        ..job(&base, "class", rest)
    };
    let right = |window: Option<usize>| {
        let spec = spec(window);
        let source = source(&spec, "class", window.is_some());
        let witness = &mut Witness::default();
        let trained = train(&spec, base.clone(), source, None, &Team::alone(), witness);
        let validation = reported(trained.expect("trains")).1.validation;
        validation
            .expect("a report")
            .metrics
            .metrics
            .accuracy
            .expect("classes")
    };
    let held = right(None);
    assert!(held > 0.95, "{held}");
    for window in [100, 500] {
        let windowed = right(Some(window));
        assert!(
            windowed > held - 0.01,
            "{windowed} of {held}, {window} rows"
        );
    }
}

#[test]
fn a_number_that_does_not_fit_is_told_with_its_row_in_the_table() {
    let base = scaled_model("class", "float32", "none");
    let spec = job(
        &base,
        "class",
        r#""epochs":1,"batch_size":50,"window_rows":500"#,
    );
    let mut source = source(&spec, "class", true);
    let RawSamples::Columns { features, .. } = &mut source.data else {
        unreachable!("columns")
    };
    let [x, z, w] = read_columns();
    let mut numbers = z.numbers().expect("numbers");
    numbers[2500] = 1e300;
    let z = Column::numeric("z", numbers).expect("finite numbers");
    let columns = vec![x, z, w];
    *features = Features::Stored(Arc::new(Parts {
        descriptions: descriptions(&columns),
        columns,
    }));
    let ended = train(
        &spec,
        base.clone(),
        source,
        None,
        &Team::alone(),
        &mut Witness::default(),
    );
    let error = ended.expect_err("a number beyond float32").to_string();
    let told = "row 2501 has 1e300 in column \"z\", which does not fit float32 once scaled";
    assert!(error.ends_with(told), "{error}");
}

/// Columns whose parts cannot be read after so many.
#[derive(Debug)]
struct Failing {
    parts: Parts,
    left: AtomicUsize,
    for_now: bool,
}

impl StoredColumns for Failing {
    fn columns(&self) -> &[ColumnDescription] {
        self.parts.columns()
    }

    fn column(&self, place: usize) -> Result<Column, Error> {
        self.parts.column(place)
    }

    fn part(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), Error> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            let detail = "no such page".to_owned();
            let for_now = self.for_now;
            return Err(Error::Unreadable { detail, for_now });
        }
        self.parts.part(columns, rows)
    }
}

#[test]
fn rows_that_cannot_be_read_end_the_run_and_say_whether_for_now() {
    let base = model("class", "float32");
    let rest = r#""epochs":2,"batch_size":50,"window_rows":500,"cross_validation":{"folds":2}"#;
    let spec = job(&base, "class", rest);
    // Golden rows, the windows of an epoch, those of a report, and those of another fold.
    for (left, for_now) in [(3, true), (9, false), (14, true), (40, false)] {
        let mut source = source(&spec, "class", true);
        let RawSamples::Columns { features, .. } = &mut source.data else {
            unreachable!("columns")
        };
        let columns = read_columns();
        *features = Features::Stored(Arc::new(Failing {
            parts: Parts {
                descriptions: descriptions(&columns),
                columns: columns.into(),
            },
            left: left.into(),
            for_now,
        }));
        let witness = &mut Witness::default();
        let ended = train(&spec, base.clone(), source, None, &Team::alone(), witness);
        let error = ended.expect_err("a row that cannot be read");
        assert_eq!(
            (error.code(), error.may_pass()),
            ("unreadable_data", for_now)
        );
        assert!(
            error
                .to_string()
                .ends_with("the data cannot be read: no such page"),
            "{error}"
        );
    }
}

#[test]
fn a_run_of_windows_broken_off_anywhere_ends_with_the_bits_of_an_undisturbed_one() {
    let base = model("class", "float32");
    for kind in [KINDS[0], KINDS[1]] {
        let rest = format!(r#""epochs":2,"seed":4,"batch_size":900,"window_rows":1000,{kind}"#);
        let spec = job(&base, "class", &rest);
        assert_eq!(spec.window_rows, Some(1000));
        let source = || source(&spec, "class", true);
        unmoved_by_breaks((&spec, &base), source, written, kind);
    }
}
