//! Activations, initializers and losses with parameters that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, shape, with};
use crate::server::xor_model;

const PATH: &str = "/v1/models";

/// Every refused choice.
pub(crate) fn all() -> Vec<Bad> {
    let groups = [
        activations(),
        shapes_of_activations(),
        initializers(),
        losses(),
        last_layers(),
    ];
    groups.into_iter().flatten().collect()
}

/// A good model with fields laid over it.
fn model(more: Value) -> Value {
    with(xor_model("bad"), more)
}

fn activation(activation: &Value) -> Value {
    model(json!({"layers": [{"units": 1, "activation": activation}]}))
}

fn activations() -> Vec<Bad> {
    let slope = |slope: f64, detail| {
        let body = activation(&json!({"type": "leaky_relu", "slope": slope}));
        rule(PATH, &body, &["/layers/0/activation/slope"], detail)
    };
    let alpha = |alpha: f64, detail| {
        let body = activation(&json!({"type": "elu", "alpha": alpha}));
        rule(PATH, &body, &["/layers/0/activation/alpha"], detail)
    };
    let two = json!([
        {"units": 0, "activation": {"type": "leaky_relu", "slope": 2}},
        {"units": 1, "activation": {"type": "elu", "alpha": -1}}
    ]);
    vec![
        slope(1.5, "must be in [0, 1), got 1.5"),
        slope(1.0, "must be in [0, 1), got 1"),
        slope(-0.1, "must be in [0, 1), got -0.1"),
        alpha(0.0, "must be in (0, 100], got 0"),
        alpha(1e300, "must be in (0, 100], got 1"),
        rule(
            PATH,
            &model(json!({"layers": two})),
            &[
                "/layers/0/units",
                "/layers/0/activation/slope",
                "/layers/1/activation/alpha",
            ],
            "3 violations",
        ),
    ]
}

fn shapes_of_activations() -> Vec<Bad> {
    let of = |given: Value, pointers, detail| {
        shape(PATH, activation(&given).to_string(), pointers, detail)
    };
    vec![
        of(
            json!({"type": "leaky_relu", "slope": "0.1"}),
            &["/layers/0/activation/slope"],
            "must be a number, got the string \"0.1\"",
        ),
        of(
            json!({"type": "leaky_relu", "slope": null}),
            &["/layers/0/activation/slope"],
            "must be a number, got null",
        ),
        of(
            json!({"type": "leaky_relu", "slop": 0.1}),
            &["/layers/0/activation/slop"],
            "unknown field `slop`: did you mean `slope`? known: slope",
        ),
        of(
            json!({"type": "tanh", "slope": 0.1}),
            &["/layers/0/activation/slope"],
            "unknown field `slope`: known: none",
        ),
        of(
            json!({"type": "leaky_rely"}),
            &["/layers/0/activation/type"],
            "unknown activation `leaky_rely`: did you mean `leaky_relu`? known: sigmoid, ",
        ),
        of(
            json!({"slope": 0.1}),
            &["/layers/0/activation/type"],
            "must be given",
        ),
        of(
            json!({"type": "gelu", "approximation": "erf"}),
            &["/layers/0/activation/approximation"],
            "unknown approximation `erf`: known: none, tanh",
        ),
        of(
            json!({"type": "gelu", "approximation": 1}),
            &["/layers/0/activation/approximation"],
            "",
        ),
    ]
}

fn initializers() -> Vec<Bad> {
    let of = |initializer: Value| model(json!({"initializer": initializer}));
    let odd = |given: Value, pointers, detail| shape(PATH, of(given).to_string(), pointers, detail);
    let own =
        json!([{"units": 1, "activation": "tanh", "initializer": {"type": "normal", "std": 0}}]);
    let wide =
        json!([{"units": 1291, "activation": "tanh"}, {"units": 1291, "activation": "tanh"}]);
    vec![
        rule(
            PATH,
            &of(json!({"type": "uniform", "low": 0.5, "high": 0.5})),
            &["/initializer/high"],
            "must be in (0.5, 1000000], got 0.5",
        ),
        rule(
            PATH,
            &of(json!({"type": "truncated_normal", "mean": 1e7, "std": -1})),
            &["/initializer/mean", "/initializer/std"],
            "2 violations",
        ),
        rule(
            PATH,
            &of(json!({"type": "constant", "value": -1e300})),
            &["/initializer/value"],
            "must be in [-1000000, 1000000], got -1",
        ),
        rule(
            PATH,
            &model(json!({"layers": own})),
            &["/layers/0/initializer/std"],
            "must be in (0, 1000000], got 0",
        ),
        rule(
            PATH,
            &model(json!({"layers": wide, "initializer": "orthogonal"})),
            &["/layers"],
            "must have orthogonal weights of at most 2147483648 multiplications",
        ),
        odd(
            json!({"type": "constant", "value": "0"}),
            &["/initializer/value"],
            "must be a number, got the string \"0\"",
        ),
        odd(
            json!({"type": "orthogonal", "gain": 2}),
            &["/initializer/gain"],
            "unknown field `gain`: known: none",
        ),
        odd(
            json!({"type": "uniform", "hi": 2}),
            &["/initializer/hi"],
            "unknown field `hi`: known: low, high",
        ),
        odd(
            json!({"type": "ortogonal"}),
            &["/initializer/type"],
            "unknown initializer `ortogonal`: did you mean `orthogonal`?",
        ),
    ]
}

fn losses() -> Vec<Bad> {
    let of = |loss: Value, pointers, detail| {
        let body = model(json!({"loss": loss}));
        rule(PATH, &body, pointers, detail)
    };
    let odd = |loss: Value, pointers, detail| {
        let body = model(json!({"loss": loss}));
        shape(PATH, body.to_string(), pointers, detail)
    };
    vec![
        of(
            json!({"type": "cross_entropy", "label_smoothing": 1}),
            &["/loss/label_smoothing"],
            "must be in [0, 1), got 1",
        ),
        of(
            json!({"type": "huber", "delta": 0}),
            &["/loss/delta"],
            "must be in [0.000001, 1000000], got 0",
        ),
        of(
            json!({"type": "quantile", "q": 0}),
            &["/loss/q"],
            "must be in (0, 1), got 0",
        ),
        of(
            json!({"type": "focal", "gamma": 10.5}),
            &["/loss/gamma"],
            "must be in [0, 10], got 10.5",
        ),
        odd(
            json!({"type": "huber", "delta": "1"}),
            &["/loss/delta"],
            "must be a number, got the string \"1\"",
        ),
        odd(
            json!({"type": "huber", "gamma": 1}),
            &["/loss/gamma"],
            "unknown field `gamma`: known: delta",
        ),
        odd(
            json!({"type": "quadratic", "delta": 1}),
            &["/loss/delta"],
            "unknown field `delta`: known: none",
        ),
        odd(
            json!({"type": "hubert"}),
            &["/loss/type"],
            "unknown loss `hubert`: did you mean `huber`?",
        ),
        odd(json!({"delta": 1}), &["/loss/type"], "must be given"),
        odd(
            json!(null),
            &["/loss"],
            "must be a name or an object with a type, got null",
        ),
        odd(
            json!("mse"),
            &["/loss"],
            "unknown loss `mse`: did you mean `mean_squared_error`? known: ",
        ),
    ]
}

fn last_layers() -> Vec<Bad> {
    let of = |loss: &str, last: &str, detail| {
        let layers = json!([{"units": 2, "activation": "tanh"}, {"units": 2, "activation": last}]);
        let body = model(json!({"loss": loss, "layers": layers}));
        rule(PATH, &body, &["/layers/1/activation"], detail)
    };
    let both = json!({
        "loss": {"type": "focal", "gamma": -1},
        "layers": [{"units": 2, "activation": "tanh"}],
    });
    vec![
        of(
            "focal",
            "softplus",
            "must be softmax or sigmoid in the last layer for loss focal, got softplus",
        ),
        of(
            "poisson",
            "leaky_relu",
            "must be softplus, relu, sigmoid, softmax or hard_sigmoid in the last layer for loss poisson, got leaky_relu",
        ),
        rule(
            PATH,
            &model(both),
            &["/loss/gamma", "/layers/0/activation"],
            "2 violations",
        ),
    ]
}
