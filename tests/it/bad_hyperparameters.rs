//! Optimizers, schedules and regularization that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape};
use crate::server::xor_job;

const PATH: &str = "/v1/jobs";

/// Every refused job of its hyperparameters.
pub(crate) fn all() -> Vec<Bad> {
    [optimizers(), hyperparameters(), chances()]
        .into_iter()
        .flatten()
        .collect()
}

/// A good job of `xor` with fields laid over it breaks rules.
fn of(more: Value, pointers: &'static [&'static str], detail: &'static str) -> Bad {
    rule(PATH, &xor_job("xor", more), pointers, detail)
}

fn optimizers() -> Vec<Bad> {
    let rate = |rate: Value, detail| {
        of(
            json!({"optimizer": {"type": "gradient_descent", "learning_rate": rate}}),
            &["/optimizer/learning_rate"],
            detail,
        )
    };
    let odd = |optimizer: Value, pointers, detail| {
        shape(
            PATH,
            xor_job("xor", json!({"optimizer": optimizer})).to_string(),
            pointers,
            detail,
        )
    };
    vec![
        rate(json!(0), "must be in (0, 1000000], got 0"),
        rate(json!(-1), "must be in (0, 1000000], got -1"),
        rate(json!(-0.0), "must be in (0, 1000000], got -0"),
        rate(json!(1_000_001), "must be in (0, 1000000], got 1000001"),
        rate(json!(1e300), "must be in (0, 1000000]"),
        odd(json!({}), &["/optimizer/type"], "must be given"),
        odd(
            json!({"type": "adma"}),
            &["/optimizer/type"],
            "unknown optimizer `adma`: did you mean `adam`?",
        ),
        odd(
            json!({"type": 1}),
            &["/optimizer/type"],
            "must be a string, got 1",
        ),
        odd(
            json!({"type": "gradient_descent", "beta1": 0.9}),
            &["/optimizer/beta1"],
            "unknown field `beta1`: known: learning_rate, momentum, nesterov",
        ),
        odd(
            json!({"type": "gradient_decent"}),
            &["/optimizer/type"],
            "unknown optimizer `gradient_decent`: did you mean `gradient_descent`? known: gradient_descent, adagrad, adadelta, rmsprop, adam",
        ),
        odd(
            json!({"type": "gradient_descent", "learning_rates": 1}),
            &["/optimizer/learning_rates"],
            "unknown field `learning_rates`: did you mean `learning_rate`? known: learning_rate, momentum, nesterov",
        ),
        odd(
            json!({"type": "gradient_descent", "learning_rate": null}),
            &["/optimizer/learning_rate"],
            "must be a number, got null",
        ),
        odd(
            json!({"type": "gradient_descent", "learning_rate": true}),
            &["/optimizer/learning_rate"],
            "must be a number, got true",
        ),
        odd(
            json!({"type": "gradient_descent", "learning_rate": "0.1"}),
            &["/optimizer/learning_rate"],
            "must be a number, got the string \"0.1\"",
        ),
        odd(json!("adm"), &["/optimizer"], "unknown optimizer `adm`"),
        odd(
            json!(["gradient_descent", 0.1]),
            &["/optimizer"],
            "must be a name or an object with a type, got an array",
        ),
    ]
}

/// Hyperparameters out of their ranges: each by its name, all at once.
fn hyperparameters() -> Vec<Bad> {
    let layer = |rules: Value, pointers, detail| of(json!({"layers": rules}), pointers, detail);
    let frozen = json!({"frozen": true});
    vec![
        of(
            json!({"optimizer": {"type": "adam", "learning_rate": 0, "beta1": 1, "epsilon": 0, "weight_decay": -1},
                   "regularization": {"l1": -1, "l2": 1e300, "clip_norm": 0}}),
            &[
                "/optimizer/learning_rate",
                "/optimizer/beta1",
                "/optimizer/epsilon",
                "/optimizer/weight_decay",
                "/regularization/l1",
                "/regularization/l2",
                "/regularization/clip_norm",
            ],
            "7 violations",
        ),
        of(
            json!({"optimizer": {"type": "rmsprop", "rho": 1.5}}),
            &["/optimizer/rho"],
            "must be in [0, 1), got 1.5",
        ),
        of(
            json!({"optimizer": {"type": "gradient_descent", "nesterov": true}}),
            &["/optimizer/nesterov"],
            "must be false where momentum is 0",
        ),
        of(
            json!({"schedule": {"type": "cosine", "end": 2, "restart_epochs": 0}, "warmup_epochs": 11}),
            &[
                "/schedule/end",
                "/schedule/restart_epochs",
                "/warmup_epochs",
            ],
            "3 violations",
        ),
        shape(
            PATH,
            xor_job("xor", json!({"schedule": "step"})).to_string(),
            &["/schedule/epochs"],
            "must be given",
        ),
        layer(
            json!([{"learning_rate_multiplier": -1}, {}]),
            &["/layers/0/learning_rate_multiplier"],
            "must be in [0, 1000000], got -1",
        ),
        layer(
            json!([{}]),
            &["/layers"],
            "must have one entry for each of the 2 layers, got 1",
        ),
        layer(
            json!([frozen.clone(), frozen]),
            &["/layers"],
            "must leave a layer to train: all are frozen",
        ),
        shape(
            PATH,
            xor_job("xor", json!({"regularization": {"l3": 1}})).to_string(),
            &["/regularization/l3"],
            "unknown field `l3`",
        ),
    ]
}

/// Dropout and noise: a number, or a list of the right length, each number of it in range.
fn chances() -> Vec<Bad> {
    let regularization =
        |parts: Value, pointers, detail| of(json!({"regularization": parts}), pointers, detail);
    let misshapen = |parts: Value, pointers, detail| {
        let job = xor_job("xor", json!({"regularization": parts}));
        shape(PATH, job.to_string(), pointers, detail)
    };
    vec![
        regularization(
            json!({"dropout": 1, "input_dropout": -0.5, "input_noise": -1}),
            &[
                "/regularization/dropout",
                "/regularization/input_dropout",
                "/regularization/input_noise",
            ],
            "3 violations",
        ),
        regularization(
            json!({"dropout": 1}),
            &["/regularization/dropout"],
            "must be in [0, 1), got 1",
        ),
        regularization(
            json!({"dropout": [1.5]}),
            &["/regularization/dropout/0"],
            "must be in [0, 1), got 1.5",
        ),
        regularization(
            json!({"dropout": [0.5, 0.3]}),
            &["/regularization/dropout"],
            "must be a number, or have one entry for each hidden layer, 1 in all, got 2",
        ),
        regularization(
            json!({"dropout": []}),
            &["/regularization/dropout"],
            "must be a number, or have one entry for each hidden layer, 1 in all, got 0",
        ),
        misshapen(
            json!({"dropout": "0.5"}),
            &["/regularization/dropout"],
            "must be a number or an array of numbers, got the string \"0.5\"",
        ),
        misshapen(
            json!({"dropout": ["a"]}),
            &["/regularization/dropout/0"],
            "must be a number, got the string \"a\"",
        ),
        misshapen(
            json!({"dropout": null}),
            &["/regularization/dropout"],
            "must be a number or an array of numbers, got null",
        ),
        misshapen(
            json!({"input_noise": "a"}),
            &["/regularization/input_noise"],
            "must be a number, got the string \"a\"",
        ),
    ]
}
