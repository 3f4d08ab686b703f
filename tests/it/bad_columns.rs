//! Models declared from a table that cannot be: each request, and what is said of it.

use serde_json::{Value, json};

use crate::bad_requests::{Bad, rule, with};

const PATH: &str = "/v1/models";

/// A model of the dataset `penguins`, its species; `more` is laid over it.
fn penguins(more: Value) -> Value {
    let declared = json!({"name": "bad", "dataset": "penguins", "target": "species"});
    with(declared, more)
}

/// The same with one column declared.
fn column(declared: &Value) -> Value {
    penguins(json!({"columns": [declared]}))
}

/// A model of columns without a dataset.
fn alone(columns: &Value) -> Value {
    json!({"name": "bad", "target": "y", "columns": columns})
}

pub(crate) fn all() -> Vec<Bad> {
    let groups = [
        declarations(),
        columns(),
        embeddings(),
        contradictions(),
        layers(),
        jobs_and_rows(),
    ];
    groups.into_iter().flatten().collect()
}

fn declarations() -> Vec<Bad> {
    let of = |body: Value, pointers, detail| rule(PATH, &body, pointers, detail);
    vec![
        of(
            penguins(json!({"dataset": "nothing"})),
            &["/dataset"],
            "must name a dataset, got \"nothing\", and there is none of that name",
        ),
        of(
            penguins(json!({"target": "specie"})),
            &["/target"],
            "must name a column, got \"specie\": did you mean `species`?",
        ),
        of(
            json!({"name": "bad", "dataset": "penguins"}),
            &["/target"],
            "must name the column to predict",
        ),
        of(
            penguins(json!({"targets": ["sex"]})),
            &["/targets"],
            "must be left out where target is given",
        ),
        of(
            json!({"name": "bad", "dataset": "penguins", "targets": ["species", "body_mass_g"]}),
            &["/targets"],
            "must be one column, or all numeric, or all boolean, got species, body_mass_g",
        ),
        of(
            penguins(json!({"preprocess": "standardize"})),
            &["/preprocess"],
            "must be left out where there are columns: each has a scale of its own",
        ),
        of(
            penguins(json!({"inputs": 4})),
            &["/inputs"],
            "must be 10, which the columns come to, or left out, got 4",
        ),
        of(
            json!({"name": "bad", "inputs": 2, "layers": [{"units": 1, "activation": "tanh"}], "target": "y", "hidden": []}),
            &["/target", "/hidden"],
            "must be left out where there is neither dataset nor columns",
        ),
        of(
            penguins(
                json!({"columns": [{"name": "island"}, {"name": "colour"}, {"name": "island"}]}),
            ),
            &["/columns/2/name", "/columns/1/name"],
            "must be declared once, got \"island\" again",
        ),
        of(
            alone(&json!([{"name": "x"}, {"name": "y", "kind": "numeric"}])),
            &["/columns/0/kind"],
            "must be given where there is no dataset: numeric, categorical, boolean or timestamp",
        ),
        of(
            alone(&json!([{"name": "x", "kind": "categorical"}, {"name": "y", "kind": "numeric"}])),
            &["/columns/0/categories"],
            "must be given where there is no dataset, unless encode is hashed",
        ),
        of(
            alone(&json!([{"name": "y", "kind": "numeric"}])),
            &["/columns"],
            "must have at least one feature, got none",
        ),
    ]
}

fn columns() -> Vec<Bad> {
    let of = |declared: Value, pointers, detail| rule(PATH, &column(&declared), pointers, detail);
    vec![
        of(
            json!({"name": "island", "kind": "numeric"}),
            &["/columns/0/kind"],
            "must be categorical, as the dataset has it, got numeric",
        ),
        of(
            json!({"name": "island", "scale": "standard"}),
            &["/columns/0/scale"],
            "it is for numbers, and column \"island\" is none",
        ),
        of(
            json!({"name": "year", "encode": "ordinal", "unknown": "zeros"}),
            &["/columns/0/encode", "/columns/0/unknown"],
            "it is for a categorical feature",
        ),
        of(
            json!({"name": "species", "impute": "most_frequent"}),
            &["/columns/0/impute"],
            "it is for a feature, and column \"species\" is none",
        ),
        of(
            json!({"name": "island", "impute": "mean"}),
            &["/columns/0/impute"],
            "must be none, most_frequent or a constant category for a categorical column",
        ),
        of(
            json!({"name": "year", "impute": {"type": "constant", "value": "x"}}),
            &["/columns/0/impute"],
            "must be none, mean, median, most_frequent or a constant number that fits the dtype for a numeric column",
        ),
        of(
            json!({"name": "island", "impute": {"type": "constant", "value": "Atlantis"}}),
            &["/columns/0/impute/value"],
            "must be one of the categories, got \"Atlantis\"",
        ),
        of(
            json!({"name": "year", "indicator": true}),
            &["/columns/0/indicator"],
            "must be false where impute is none",
        ),
        of(
            json!({"name": "island", "encode": {"type": "hashed", "buckets": 1}}),
            &["/columns/0/encode/buckets"],
            "must be in [2, 65536], got 1",
        ),
        of(
            json!({"name": "island", "encode": {"type": "hashed", "buckets": 8}, "unknown": "error"}),
            &["/columns/0/unknown"],
            "it is for a categorical feature that is not hashed",
        ),
        of(
            json!({"name": "island", "encode": "ordinal", "unknown": "zeros"}),
            &["/columns/0/unknown"],
            "must be error where encode is ordinal: 0 is the first category",
        ),
        of(
            json!({"name": "island", "categories": ["a", "b", "a"]}),
            &["/columns/0/categories"],
            "must differ, got \"a\" twice",
        ),
        of(
            json!({"name": "island", "categories": []}),
            &["/columns/0/categories"],
            "must have at least one category",
        ),
        of(
            json!({"name": "year", "parts": ["hour"]}),
            &["/columns/0/parts"],
            "it is for a timestamp feature",
        ),
        rule(
            PATH,
            &alone(
                &json!([{"name": "x", "kind": "timestamp", "parts": ["day", "day"], "scale": "log"}, {"name": "y", "kind": "numeric", "scale": "quantile_normal"}]),
            ),
            &["/columns/0/scale", "/columns/0/parts", "/columns/1/scale"],
            "must be none, standard, minmax or robust for parts of a time, got log",
        ),
        rule(
            PATH,
            &alone(&json!([{"name": "x", "kind": "numeric"}, {"name": "y", "kind": "timestamp"}])),
            &["/columns/1"],
            "must not be a target: column \"y\" holds times",
        ),
    ]
}

fn layers() -> Vec<Bad> {
    let of = |more: Value, pointers, detail| rule(PATH, &penguins(more), pointers, detail);
    let numbers = json!([{"name": "x", "kind": "numeric"}, {"name": "y", "kind": "numeric", "scale": "minmax"}]);
    let scaled = |more: Value| with(alone(&numbers), more);
    let only_any = "must be none for a target where the last layer is of sigmoid or softmax units, or the loss takes only certain numbers";
    vec![
        rule(
            PATH,
            &scaled(json!({"layers": [{"units": 1, "activation": "sigmoid"}]})),
            &["/columns/1/scale"],
            only_any,
        ),
        rule(
            PATH,
            &scaled(json!({"layers": [{"units": 1, "activation": "softplus"}], "loss": "poisson"})),
            &["/columns/1/scale"],
            only_any,
        ),
        of(
            json!({"layers": [{"units": 2, "activation": "softmax"}]}),
            &["/layers/0/units"],
            "must be 3 in the last layer, as the targets are, got 2",
        ),
        of(
            json!({"layers": [{"units": 3, "activation": "softmax"}], "hidden": []}),
            &["/hidden"],
            "must be left out where layers are given",
        ),
        of(
            json!({"hidden": [{"units": 0, "activation": "tanh"}]}),
            &["/hidden/0/units"],
            "must be in [1, 65536], got 0",
        ),
    ]
}

/// A constant that no column of its kind can hold, and a target that is to be ignored.
fn embeddings() -> Vec<Bad> {
    let of = |declared: Value, pointers, detail| rule(PATH, &column(&declared), pointers, detail);
    vec![
        of(
            json!({"name": "island", "encode": {"type": "embedding", "dimensions": 0}}),
            &["/columns/0/encode/dimensions"],
            "must be in [1, 1024], got 0",
        ),
        of(
            json!({"name": "island", "encode": {"type": "embedding", "dimensions": 1025}}),
            &["/columns/0/encode/dimensions"],
            "must be in [1, 1024], got 1025",
        ),
        of(
            json!({"name": "year", "encode": {"type": "embedding", "dimensions": 8}}),
            &["/columns/0/encode"],
            "must be left out: it is for a categorical feature, and column \"year\" is none",
        ),
        of(
            json!({"name": "species", "encode": "embedding"}),
            &["/columns/0/encode"],
            "must be left out: it is for a categorical feature, and column \"species\" is none",
        ),
        of(
            json!({"name": "island", "encode": "embedding", "scale": "standard"}),
            &["/columns/0/scale"],
            "it is for numbers, and column \"island\" is none",
        ),
    ]
}

fn contradictions() -> Vec<Bad> {
    let time = json!({"type": "constant", "value": 1e18});
    let large = json!({"type": "constant", "value": 1e39});
    vec![
        rule(
            PATH,
            &alone(
                &json!([{"name": "x", "kind": "timestamp", "impute": time}, {"name": "y", "kind": "numeric"}]),
            ),
            &["/columns/0/impute"],
            "must be none, mean, median, most_frequent or a constant time of the years 0 to 9999 for a timestamp column",
        ),
        rule(
            PATH,
            &alone(
                &json!([{"name": "x", "kind": "numeric", "impute": large}, {"name": "y", "kind": "numeric"}]),
            ),
            &["/columns/0/impute"],
            "must be none, mean, median, most_frequent or a constant number that fits the dtype for a numeric column",
        ),
        rule(
            PATH,
            &column(&json!({"name": "species", "role": "ignore"})),
            &["/columns/0/role"],
            "must not be ignored: \"species\" is to be predicted",
        ),
        rule(
            "/v1/jobs",
            &json!({"model": "birds", "data": {"dataset": "penguins", "target": "species"}}),
            &["/data/target"],
            "must be what the model was declared to predict (sex), or left out, got species",
        ),
        rule(
            "/v1/jobs",
            &json!({"model": "birds", "data": {"dataset": "penguins", "target_kind": "labels", "missing": "drop_rows"}}),
            &["/data/target_kind", "/data/target_kind", "/data/target"],
            "3 violations",
        ),
    ]
}

fn jobs_and_rows() -> Vec<Bad> {
    let job = |more: Value, pointers, detail| {
        rule(
            "/v1/jobs",
            &with(json!({"model": "birds"}), more),
            pointers,
            detail,
        )
    };
    let row = |row: Value, pointers, detail| {
        rule(
            "/v1/models/birds/predict",
            &json!({"instances": [row]}),
            pointers,
            detail,
        )
    };
    vec![
        job(
            json!({"data": {"inputs": [[1]], "targets": [[1]]}}),
            &["/data/inputs"],
            "must be left out: this model was declared from a table; upload the rows as a dataset and name it",
        ),
        job(
            json!({"data": {"dataset": "penguins", "features": ["year"]}}),
            &["/data/features"],
            "must be 2 columns, as the model has inputs, got 1: year",
        ),
        job(
            json!({"data": {"dataset": "iris"}}),
            &["/data/target", "/data/features", "/data/features"],
            "must name a column of the dataset, got \"sex\"",
        ),
        job(
            json!({}),
            &["/data/missing"],
            "column \"sex\" has 2 missing values: give \"missing\":\"drop_rows\" or leave it out",
        ),
        rule(
            "/v1/models/birds/predict",
            &json!({"inputs": [[1, 2]]}),
            &["/inputs"],
            "must be left out: this model reads columns (island, year); send them by name as instances",
        ),
        row(
            json!({"island": "Dream"}),
            &["/instances/0/year"],
            "must be given: this model has no value to take in its place",
        ),
        row(
            json!({"island": "Atlantis", "year": 2007}),
            &["/instances/0/island"],
            "got \"Atlantis\": known: Biscoe, Dream, Torgersen",
        ),
        row(
            json!({"island": 3, "year": "x"}),
            &["/instances/0/island", "/instances/0/year"],
            "2 violations",
        ),
        row(
            json!({"island": "Dream", "year": 2007, "Year": 2007}),
            &["/instances/0"],
            "has no feature \"Year\": did you mean `year`?",
        ),
        rule(
            "/v1/models/birds/predict",
            &json!({"instances": [{"island": "Dream", "year": 2007}], "top_k": 3}),
            &["/top_k"],
            "must be in [1, 2], got 3",
        ),
        rule(
            "/v1/models/xor/predict",
            &json!({"inputs": [[0, 1]], "top_k": 1}),
            &["/top_k"],
            "must be left out: the outputs are no probabilities of classes",
        ),
        rule(
            "/v1/models/birds/gradients",
            &json!({"instances": [{"island": "Dream"}], "targets": ["male"]}),
            &["/instances/0/year"],
            "must be given",
        ),
        rule(
            "/v1/models/birds/versions/2/evaluate",
            &json!({"inputs": [[1, 2]], "targets": [[1]]}),
            &["/inputs"],
            "must be left out: this model was declared from a table; name a dataset",
        ),
    ]
}
