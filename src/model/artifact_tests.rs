//! Artifacts whose bytes say what no program of ours has written: each is refused, before anything is made for it.

use serde_json::{Value, json};

use crate::model::{Model, ModelDeclaration, ModelLimits, Tensors};

const LIMITS: ModelLimits = ModelLimits {
    layers: 9,
    units: 99,
    inputs: 99,
    parameters: 999,
};

const COLUMNS: &str = r#"{"name":"m","target":"y","columns":[{"name":"t","kind":"timestamp"},
    {"name":"h","kind":"categorical","encode":{"type":"hashed","buckets":4}},{"name":"y","kind":"numeric"}]}"#;
const LAYERS: &str =
    r#"{"name":"m","inputs":2,"layers":[{"units":3,"activation":"tanh","normalization":"layer"}]}"#;

/// A model without a golden set.
fn model(declaration: &str) -> Model {
    let declared: ModelDeclaration = serde_json::from_str(declaration).expect("a declaration");
    let checked = declared.check(None, &LIMITS).expect("a good declaration");
    Model {
        golden: None,
        ..checked.build()
    }
}

/// Why the bytes of a model are refused whose header was changed, and to which tensors were added.
#[track_caller]
fn refusal(
    declaration: &str,
    change: impl FnOnce(&mut Value),
    add: impl FnOnce(&mut Tensors),
) -> String {
    let model = model(declaration);
    let mut header = serde_json::to_value(model.header()).expect("plain data");
    header["format"] = json!(1);
    let mut tensors = model.tensors();
    let read = Model::decode(&tensors.encode(&header)).expect("its own bytes");
    assert_eq!(read, model);
    change(&mut header);
    add(&mut tensors);
    let error = Model::decode(&tensors.encode(&header)).expect_err("they do not fit");
    error.to_string()
}

#[test]
fn nothing_is_made_for_units_that_the_tensors_have_not() {
    let units = u64::MAX / 16;
    let change = |header: &mut Value| header["layers"][0]["units"] = json!(units);
    let told = refusal(LAYERS, change, |_| {});
    assert!(
        told.ends_with(&format!("layer 1 must have {units} units")),
        "{told}"
    );
}

#[test]
fn a_matrix_of_no_numbers_is_refused_however_many_rows_it_has() {
    for shape in [[0, 1 << 63], [1 << 63, 0], [0, 0]] {
        let add = |tensors: &mut Tensors| {
            tensors.push("golden.outputs".to_owned(), &[1, 3], [0_f32; 3].iter());
            tensors.push("golden.inputs".to_owned(), &shape, [0_f64; 0].iter());
        };
        let told = refusal(LAYERS, |_| {}, add);
        assert!(
            told.ends_with("tensor golden.inputs must have numbers"),
            "{told}"
        );
    }
}

#[test]
fn a_golden_set_of_more_rows_than_there_are_ever_is_refused() {
    let add = |tensors: &mut Tensors| {
        tensors.push("golden.outputs".to_owned(), &[1, 3], [0_f32; 3].iter());
        tensors.push_bytes(
            "golden.instances".to_owned(),
            b"[{},{},{},{},{},{},{},{},{}]".to_vec(),
        );
    };
    let told = refusal(LAYERS, |_| {}, add);
    assert!(
        told.ends_with("the golden set must have at most 8 rows"),
        "{told}"
    );
}

#[test]
fn columns_that_no_row_can_be_read_by_are_refused() {
    let changes: [fn(&mut Value); 3] = [
        |columns| {
            drop(
                columns[0]
                    .as_object_mut()
                    .expect("an object")
                    .remove("kind"),
            );
        },
        |columns| columns[0]["scale"] = json!("quantile_normal"),
        |columns| columns[1]["encode"]["buckets"] = json!(0),
    ];
    for change in changes {
        let told = refusal(COLUMNS, |header| change(&mut header["columns"]), |_| {});
        assert!(told.ends_with("its columns are not filled in"), "{told}");
    }
}
