//! Declarations of models that must be refused.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, post, rule, shape, with};
use crate::server::xor_model;

const PATH: &str = "/v1/models";

/// Every refused declaration.
pub(crate) fn all() -> Vec<Bad> {
    [
        names(),
        ranges(),
        labels(),
        parameters(),
        shapes(),
        field_shapes(),
        words(),
        numbers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A good model with fields laid over it.
fn model(more: Value) -> Value {
    with(xor_model("bad"), more)
}

fn layer(units: u64, activation: &str) -> Value {
    json!({"units": units, "activation": activation})
}

fn names() -> Vec<Bad> {
    let long = "a".repeat(65);
    let names = [
        "", "-a", ".a", "_a", "a b", " a", "a\n", "a/b", "ä", "a\u{0}", "a:b", "../a", &long,
    ];
    let of = |name: &str| {
        rule(
            PATH,
            &model(json!({"name": name})),
            &["/name"],
            "must be 1 to 64 of the letters",
        )
    };
    names.into_iter().map(of).collect()
}

fn ranges() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| rule(PATH, &model(more), pointers, detail);
    let wide = json!([
        layer(65_536, "tanh"),
        layer(65_536, "tanh"),
        layer(1, "tanh")
    ]);
    let last = |activation| json!({"loss": "cross_entropy", "layers": [layer(2, "tanh"), layer(2, activation)]});
    vec![
        of(
            json!({"inputs": 0}),
            &["/inputs"],
            "must be in [1, 100000], got 0",
        ),
        of(
            json!({"inputs": 100_001}),
            &["/inputs"],
            "must be in [1, 100000], got 100001",
        ),
        of(
            json!({"inputs": u64::MAX}),
            &["/inputs"],
            "got 18446744073709551615",
        ),
        of(
            json!({"layers": []}),
            &["/layers"],
            "must have 1 to 64 layers, got 0",
        ),
        of(
            json!({"layers": vec![layer(1, "tanh"); 65]}),
            &["/layers"],
            "must have 1 to 64 layers, got 65",
        ),
        of(
            json!({"layers": [layer(0, "tanh")]}),
            &["/layers/0/units"],
            "must be in [1, 65536], got 0",
        ),
        of(
            json!({"layers": [layer(65_537, "tanh")]}),
            &["/layers/0/units"],
            "must be in [1, 65536], got 65537",
        ),
        of(
            json!({"layers": [layer(1, "tanh"), layer(u64::MAX, "tanh")]}),
            &["/layers/1/units"],
            "must be in [1, 65536]",
        ),
        of(
            json!({"layers": wide.clone()}),
            &["/layers"],
            "must have at most 50000000 parameters (400000000 bytes), got 4295294977",
        ),
        of(
            json!({"name": "-", "layers": wide}),
            &["/name", "/layers"],
            "2 violations",
        ),
        of(
            last("identity"),
            &["/layers/1/activation"],
            "must be softmax or sigmoid in the last layer for loss cross_entropy, got identity",
        ),
        of(last("tanh"), &["/layers/1/activation"], "got tanh"),
        of(last("relu"), &["/layers/1/activation"], "got relu"),
    ]
}

fn labels() -> Vec<Bad> {
    let of = |more: Value, pointer, detail| rule(PATH, &model(more), pointer, detail);
    let many: serde_json::Map<_, _> = (0..65).map(|key| (key.to_string(), json!(""))).collect();
    vec![
        of(
            json!({"description": "a".repeat(4097)}),
            &["/description"],
            "must have at most 4096 bytes, got 4097",
        ),
        of(
            json!({"metadata": many}),
            &["/metadata"],
            "must have at most 64 entries, got 65",
        ),
        of(
            json!({"metadata": {"": "a"}}),
            &["/metadata"],
            "must have keys and values of 1 to 512 bytes",
        ),
        of(
            json!({"metadata": {"a": "b".repeat(513)}}),
            &["/metadata"],
            "got another at \"a\"",
        ),
        of(
            json!({"metadata": {"a".repeat(513): "b"}}),
            &["/metadata"],
            "1 to 512 bytes",
        ),
    ]
}

fn parameters() -> Vec<Bad> {
    let line = |more: Value| {
        with(
            json!({"name": "bad", "inputs": 2, "layers": [layer(1, "identity")]}),
            more,
        )
    };
    let of = |parameters: Value, pointers, detail| {
        rule(
            PATH,
            &line(json!({"parameters": parameters})),
            pointers,
            detail,
        )
    };
    let good = json!([{"weights": [[1, 2]], "biases": [0]}]);
    let mut own = line(json!({"parameters": good}));
    own["layers"][0]["initializer"] = json!("zeros");
    vec![
        of(
            json!([]),
            &["/parameters"],
            "must have one entry for each of the 1 layers, got 0",
        ),
        of(
            json!([good[0], good[0]]),
            &["/parameters"],
            "must have one entry for each of the 1 layers, got 2",
        ),
        of(
            json!([{"weights": [[1]], "biases": [0]}]),
            &["/parameters/0/weights"],
            "must be 1 rows (units) of 2 numbers (inputs), got 1 of 1",
        ),
        of(
            json!([{"weights": [[1], [2]], "biases": [0]}]),
            &["/parameters/0/weights"],
            "got 2 of 1",
        ),
        of(
            json!([{"weights": [], "biases": [0]}]),
            &["/parameters/0/weights"],
            "got 0 of 0",
        ),
        of(
            json!([{"weights": [[1, 2]], "biases": []}]),
            &["/parameters/0/biases"],
            "must be 1 numbers (units), got 0",
        ),
        of(
            json!([{"weights": [[1, 2]], "biases": [1, 2]}]),
            &["/parameters/0/biases"],
            "must be 1 numbers (units), got 2",
        ),
        of(
            json!([{"weights": [[1, 1e39]], "biases": [-1e39]}]),
            &["/parameters/0/weights/0/1", "/parameters/0/biases/0"],
            "must fit float32",
        ),
        rule(
            PATH,
            &line(json!({"parameters": good, "initializer": "zeros"})),
            &["/initializer"],
            "must be left out where parameters are given",
        ),
        rule(
            PATH,
            &line(json!({"name": "-", "parameters": [{"weights": [[1, 2]], "biases": []}]})),
            &["/name", "/parameters/0/biases"],
            "2 violations",
        ),
        rule(
            PATH,
            &own,
            &["/layers/0/initializer"],
            "must be left out where parameters are given",
        ),
    ]
}

fn shapes() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| shape(PATH, model(more).to_string(), pointers, detail);
    let layers = |layer: Value| json!({"layers": [layer]});
    let parameters = |weights: Value, biases: Value| json!({"parameters": [{"weights": weights, "biases": biases}]});
    vec![
        shape(PATH, "{}", &["/name"], "must be given"),
        shape(PATH, "null", &[""], "must be an object, got null"),
        shape(PATH, "1", &[""], "must be an object, got 1"),
        shape(
            PATH,
            "\"xor\"",
            &[""],
            "must be an object, got the string \"xor\"",
        ),
        shape(PATH, "[]", &[""], "must be an object, got an array"),
        shape(
            PATH,
            r#"["bad",2,[{"units":1,"activation":"tanh"}]]"#,
            &[""],
            "must be an object, got an array",
        ),
        rule(
            PATH,
            &json!({"name": "bad", "inputs": 2}),
            &["/layers"],
            "must be given, or a dataset and its target",
        ),
        shape(
            PATH,
            r#"{"name":"bad","name":"worse","inputs":2,"layers":[]}"#,
            &["/name"],
            "must be given once",
        ),
        of(json!({"colour": 1}), &["/colour"], "unknown field `colour`"),
        of(
            layers(json!({"units": 1, "activation": "tanh", "bias": true})),
            &["/layers/0/bias"],
            "unknown field `bias`",
        ),
        of(
            layers(json!({"units": 1})),
            &["/layers/0/activation"],
            "must be given",
        ),
        of(layers(json!(3)), &["/layers/0"], "must be an object, got 3"),
        of(
            layers(json!([3, "tanh"])),
            &["/layers/0"],
            "must be an object, got an array",
        ),
        of(
            layers(layer(1, "swish")),
            &["/layers/0/activation"],
            "unknown activation `swish`: known: sigmoid, tanh, relu, identity, softmax",
        ),
        of(
            layers(json!({"units": "1", "activation": "tanh"})),
            &["/layers/0/units"],
            "must be a whole number, got the string \"1\"",
        ),
        of(
            parameters(json!([[1, "2"]]), json!([0])),
            &["/parameters/0/weights/0/1"],
            "must be a number, got the string \"2\"",
        ),
        of(
            parameters(json!([[1, 2], [3]]), json!([0])),
            &["/parameters/0/weights/1"],
            "as many numbers as the first, 2, got 1",
        ),
        of(
            parameters(json!([[]]), json!([0])),
            &["/parameters/0/weights/0"],
            "must have at least one number",
        ),
        of(
            parameters(json!([[1, 2]]), json!([null])),
            &["/parameters/0/biases/0"],
            "must be a number, got null",
        ),
        of(
            json!({"parameters": [[[[1, 2]], [0]]]}),
            &["/parameters/0"],
            "must be an object, got an array",
        ),
        of(
            json!({"parameters": [{"weights": [[1, 2]]}]}),
            &["/parameters/0/biases"],
            "must be given",
        ),
    ]
}

fn field_shapes() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| shape(PATH, model(more).to_string(), pointers, detail);
    let mut rows = vec![
        of(
            json!({"metadata": {"a": 1}}),
            &["/metadata/a"],
            "must be a string, got 1",
        ),
        of(
            json!({"metadata": {"a/b~": null}}),
            &["/metadata/a~1b~0"],
            "must be a string, got null",
        ),
        shape(
            PATH,
            format!("{{\"name\":{}", "[".repeat(60_000)),
            &["/name"],
            "must be a string, got an array",
        ),
    ];
    let fields: [(&str, &[&str]); 6] = [
        ("name", &["/name"]),
        ("inputs", &["/inputs"]),
        ("layers", &["/layers"]),
        ("seed", &["/seed"]),
        ("description", &["/description"]),
        ("metadata", &["/metadata"]),
    ];
    for (field, pointers) in fields {
        rows.push(of(json!({field: null}), pointers, "got null"));
        rows.push(of(json!({field: true}), pointers, "got true"));
    }
    rows
}

/// Fields that take one of a few words. What else JSON has is JSON all the same, so none of it is a 400.
fn words() -> Vec<Bad> {
    let of = |field: &str, value: Value, pointers, detail| {
        shape(
            PATH,
            model(json!({field: value})).to_string(),
            pointers,
            detail,
        )
    };
    let fields: [(&str, &[&str]); 4] = [
        ("dtype", &["/dtype"]),
        ("preprocess", &["/preprocess"]),
        ("loss", &["/loss"]),
        ("initializer", &["/initializer"]),
    ];
    let mut rows = Vec::new();
    for (field, pointers) in fields {
        rows.push(of(field, json!("Sigmoid"), pointers, " `Sigmoid`: known: "));
        rows.push(of(field, json!(true), pointers, ""));
        rows.push(of(field, json!(1.5), pointers, ""));
        rows.push(of(field, json!(["zeros"]), pointers, ""));
    }
    for (field, pointers) in fields.into_iter().take(2) {
        rows.push(of(field, json!(null), pointers, ""));
        rows.push(of(field, json!({"zeros": 1}), pointers, ""));
    }
    let activation = |value: Value| json!([{"units": 1, "activation": value}]);
    for value in [json!(null), json!(1), json!([])] {
        rows.push(of(
            "layers",
            activation(value),
            &["/layers/0/activation"],
            "",
        ));
    }
    rows
}

fn numbers() -> Vec<Bad> {
    let of = |text: &str, pointers, detail| {
        shape(
            PATH,
            format!(r#"{{"name":"bad","layers":[{{"units":1,"activation":"tanh"}}],{text}}}"#),
            pointers,
            detail,
        )
    };
    let no_number = |text: &str, detail| {
        post(
            PATH,
            format!(r#"{{"name":"bad","layers":[],"inputs":{text}}}"#),
            400,
            "invalid-json",
            (&[], detail),
        )
    };
    vec![
        of(
            r#""inputs":-1"#,
            &["/inputs"],
            "must be a whole number, 0 or more, got -1",
        ),
        of(
            r#""inputs":2.5"#,
            &["/inputs"],
            "must be a whole number, got 2.5",
        ),
        of(
            r#""inputs":2.0"#,
            &["/inputs"],
            "must be a whole number without point or exponent, got 2.0",
        ),
        of(
            r#""inputs":2e0"#,
            &["/inputs"],
            "must be a whole number without point or exponent, got 2.0",
        ),
        of(
            r#""inputs":18446744073709551616"#,
            &["/inputs"],
            "must be a whole number of at most 18446744073709551615, got 1.8446744073709552e19",
        ),
        of(
            r#""inputs":2,"seed":-1"#,
            &["/seed"],
            "must be a whole number, 0 or more, got -1",
        ),
        of(
            r#""inputs":2,"seed":18446744073709551616"#,
            &["/seed"],
            "must be a whole number of at most 18446744073709551615, got 1.8446744073709552e19",
        ),
        no_number("1e999", "a number must be within ±1.7976931348623157e308"),
        no_number("-1e999", "a number must be within ±1.7976931348623157e308"),
        no_number("NaN", "NaN is not JSON, which has finite numbers alone"),
        no_number("Infinity", "Infinity is not JSON"),
        no_number("-Infinity", "-Infinity is not JSON"),
        no_number("01", "invalid number"),
        no_number("+1", "a JSON value must stand here"),
        no_number(".5", "a JSON value must stand here"),
        no_number("1.", "invalid number"),
        no_number("0x1", "must have `,` or `}`"),
        post(
            PATH,
            "{\"name\":\"\\ud800\"}",
            400,
            "invalid-json",
            (&[], "at line 1, column"),
        ),
        post(
            PATH,
            b"{\"name\":\"\xff\"}".to_vec(),
            400,
            "invalid-json",
            (&[], "the text is not UTF-8"),
        ),
        post(
            PATH,
            "{\"name\":\"a\nb\"}",
            400,
            "invalid-json",
            (&[], "control character"),
        ),
        post(
            PATH,
            format!("{} x", xor_model("bad")),
            400,
            "invalid-json",
            (&[], "nothing may follow after the value"),
        ),
        post(
            PATH,
            format!("{0} {0}", xor_model("bad")),
            400,
            "invalid-json",
            (&[], "nothing may follow after the value"),
        ),
    ]
}
