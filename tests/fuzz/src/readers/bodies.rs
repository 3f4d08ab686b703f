//! Bodies of JSON: each type that a route reads, and what is made of it where it can be read.

use gradientd::http::parse;
use gradientd::jobs::VerificationSpec;
use gradientd::model::columns::Instance;
use gradientd::model::{InputRows, ModelDeclaration, Rows, Violations};
use gradientd::train::{EvaluationSpec, JobSpec, PredictionSpec};

use super::example::{
    DECLARED, Example, JOBS, MODEL_LIMITS, PLAIN, checked, example, view_of_declaration,
};

const BODIES: [&str; 12] = [
    "[[0.5,-1e-3],[1,2]]",
    r#"[{"city":"Bonn","area":50,"built":"2001-03-01","lift":true,"rooms":2,"price":null}]"#,
    r#"{"inputs":[[0,1],[1,1]],"targets":[[1],[0]],"metrics":["accuracy"],"sample_weight":[1,0]}"#,
    r#"{"dataset":"houses","target":"city","missing":"drop_rows"}"#,
    r#"{"dataset":"houses","version":"latest","format":"csv","top_k":2,"keep":["city"],"metadata":{"a":"b"}}"#,
    r#"{"from_epoch":0,"to_epoch":2}"#,
    r#"{"name":"p","inputs":1,"layers":[{"units":1,"activation":"softplus"}],"loss":"poisson","initializer":"zeros"}"#,
    r#"{"name":"g","inputs":1,"layers":[{"units":2,"activation":"softmax"}],"loss":{"type":"focal","gamma":2},
        "parameters":[{"weights":[[0.1],[0.2]],"biases":[0,0]}]}"#,
    r#"{"model":"xor","data":{"inputs":[[0,1],[1,1],[0,0],[1,0]],"targets":[[1],[0],[0],[1]]},
        "cross_validation":{"folds":2},"optimizer":{"type":"lbfgs"},"batch_size":"full"}"#,
    r#"{"model":"city","data":{"dataset":"houses","features":["area","rooms"],"target":"city"},"validation":{"fraction":0.5,
        "group":"rooms"},"schedule":{"type":"reduce_on_plateau"},"layers":[{"frozen":true},{}],"priority":-1}"#,
    r#"{"model":"xor","data":{"dataset":"houses","features":["area","rooms"],"target":"lift","missing":"drop_rows"},
        "from":{"version":1},"refit":true,"window_rows":4,"max_seconds":1.5,"class_weight":{"true":2}}"#,
    r#"{"model":"xor","data":{"dataset":"houses","features":["area","rooms"],"targets":["price"]},"validation":{
        "dataset":"houses"}}"#,
];

/// Reads a body as each of the types.
pub(super) fn read(bytes: &[u8]) {
    let Example {
        columns, models, ..
    } = example();
    if let Ok(declaration) = parse::<ModelDeclaration>(bytes) {
        let view = view_of_declaration(columns, &declaration);
        if let Ok(spec) = declaration.check(Some(&view), &MODEL_LIMITS) {
            assert!(spec.parameter_count() <= MODEL_LIMITS.parameters);
            spec.build();
        }
    }
    if let Ok(spec) = parse::<JobSpec>(bytes) {
        for model in models {
            let _ = checked(columns, model, spec.clone());
        }
    }
    if let Ok(spec) = parse::<EvaluationSpec>(bytes) {
        evaluate(&spec);
    }
    if let Ok(inputs) = parse::<Rows>(bytes) {
        predict(&InputRows::Inputs(inputs));
    }
    if let Ok(instances) = parse::<Vec<Instance>>(bytes) {
        predict(&InputRows::Instances(instances));
    }
    // Read, and no more: they name what is in the store.
    let _ = parse::<PredictionSpec>(bytes);
    let _ = parse::<VerificationSpec>(bytes);
}

fn evaluate(spec: &EvaluationSpec) {
    let Example {
        columns, models, ..
    } = example();
    let columns: Vec<_> = columns
        .iter()
        .map(|column| column.description().clone())
        .collect();
    for model in models {
        let (header, mut violations) = (model.header(), Violations::default());
        spec.check(&mut violations);
        spec.check_metrics(&header, &mut violations);
        let _ = spec.rows(&header, &mut violations);
        let _ = spec.columns(&header, &columns);
    }
}

fn predict(rows: &InputRows) {
    for model in &example().models {
        let _ = model.predict(rows);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let all = [PLAIN, DECLARED].into_iter().chain(JOBS).chain(BODIES);
    all.map(|text| text.as_bytes().to_vec()).collect()
}
