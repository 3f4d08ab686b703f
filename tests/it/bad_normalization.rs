//! Normalizations, and parameters of them, that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape, with};
use crate::server::{xor_job, xor_model};

const PATH: &str = "/v1/models";
const MOMENTUM: &[&str] = &["/layers/0/normalization/momentum"];
const EPSILON: &[&str] = &["/layers/0/normalization/epsilon"];

/// Every refused normalization.
pub(crate) fn all() -> Vec<Bad> {
    [choices(), parameters(), jobs()]
        .into_iter()
        .flatten()
        .collect()
}

fn model(normalization: &Value, more: Value) -> Value {
    let layer = json!({"units": 2, "activation": "sigmoid", "normalization": normalization});
    with(with(xor_model("bad"), json!({"layers": [layer]})), more)
}

fn choices() -> Vec<Bad> {
    let broken = |normalization: Value, pointers, detail| {
        rule(PATH, &model(&normalization, json!({})), pointers, detail)
    };
    let odd = |normalization: Value, pointers, detail| {
        let body = model(&normalization, json!({})).to_string();
        shape(PATH, body, pointers, detail)
    };
    let batch = |name: &str, value: f64| {
        let mut normalization = json!({"type": "batch"});
        normalization[name] = json!(value);
        normalization
    };
    vec![
        broken(batch("momentum", 0.0), MOMENTUM, "must be in (0, 1], got 0"),
        broken(
            batch("momentum", 1.01),
            MOMENTUM,
            "must be in (0, 1], got 1.01",
        ),
        broken(batch("epsilon", 0.0), EPSILON, "1], got 0"),
        broken(batch("epsilon", 1.5), EPSILON, "1], got 1.5"),
        broken(
            json!({"type": "batch", "momentum": 2, "epsilon": -1}),
            &[
                "/layers/0/normalization/momentum",
                "/layers/0/normalization/epsilon",
            ],
            "must be in (0, 1], got 2",
        ),
        broken(json!({"type": "layer", "epsilon": 2}), EPSILON, "1], got 2"),
        rule(
            PATH,
            &with(
                xor_model("bad"),
                json!({"layers": [{"units": 1, "activation": "tanh", "normalization": "layer"}]}),
            ),
            &["/layers/0/units"],
            "must be at least 2 for layer normalization",
        ),
        odd(
            json!("bach"),
            &["/layers/0/normalization"],
            "did you mean `batch`?",
        ),
        odd(
            json!({"type": "layer", "momentum": 0.1}),
            MOMENTUM,
            "unknown field `momentum`",
        ),
        odd(json!(1), &["/layers/0/normalization"], "got 1"),
    ]
}

fn parameters() -> Vec<Bad> {
    let given = |normalization: Value, beside: Value, pointers, detail| {
        let layer = with(
            json!({"weights": [[1, 2], [3, 4]], "biases": [0, 0]}),
            beside,
        );
        let body = model(
            &normalization,
            json!({"dtype": "float32", "parameters": [layer]}),
        );
        rule(PATH, &body, pointers, detail)
    };
    let all = json!({"scales": [1, 1], "running_mean": [0, 0], "running_variance": [1, 1]});
    vec![
        given(
            json!(null),
            all.clone(),
            &[
                "/parameters/0/scales",
                "/parameters/0/running_mean",
                "/parameters/0/running_variance",
            ],
            "must be left out where the layer has no normalization",
        ),
        given(
            json!("layer"),
            all,
            &[
                "/parameters/0/running_mean",
                "/parameters/0/running_variance",
            ],
            "must be left out where the layer has no batch normalization",
        ),
        given(
            json!("batch"),
            json!({"scales": [1], "running_mean": [0, 0, 0], "running_variance": []}),
            &[
                "/parameters/0/scales",
                "/parameters/0/running_mean",
                "/parameters/0/running_variance",
            ],
            "must be 2 numbers (units), got",
        ),
        given(
            json!("batch"),
            json!({"running_variance": [1, -0.5]}),
            &["/parameters/0/running_variance/1"],
            "must be at least 0, got -0.5",
        ),
        given(
            json!("batch"),
            json!({"scales": [1e39, 1], "running_mean": [0, -1e39]}),
            &["/parameters/0/scales/0", "/parameters/0/running_mean/1"],
            "must fit float32",
        ),
    ]
}

fn jobs() -> Vec<Bad> {
    let job = |more: Value, pointers, detail| {
        rule("/v1/jobs", &xor_job("normal", more), pointers, detail)
    };
    let rows = |count: usize| json!({"inputs": vec![[0, 1]; count], "targets": vec![[1]; count]});
    let one = json!({"data": {"inputs": [[0, 1]], "targets": [[1]]}});
    vec![
        job(
            json!({"batch_size": 1}),
            &["/batch_size"],
            "must be at least 2 for batch normalization: one row has no variance, got 1",
        ),
        job(
            json!({"optimizer": "lbfgs", "batch_size": "full"}),
            &["/optimizer/type"],
            "must be another for batch normalization",
        ),
        job(
            json!({"data": rows(21), "batch_size": "full"}),
            &["/batch_size"],
            "must be at most 20 for batch normalization, which holds 1 units of each row at once, got 21",
        ),
        job(
            json!({"data": rows(30), "batch_size": 21}),
            &["/batch_size"],
            "must be at most 20 for batch normalization",
        ),
        job(
            one,
            &["/data"],
            "must leave at least 2 rows to train on for batch normalization, got 1",
        ),
    ]
}
