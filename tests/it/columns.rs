//! Models declared from a table: raw words and units in, answers in the table's own terms out.

use serde_json::{Value, json};

use crate::server::{TestServer, number};

const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");
const HOUSES: &str = "city,area,built,lift,price\n\
    Bonn,50,2001-03-01,true,100\nKiel,80,1990-07-15,false,\nBonn,,2010-01-31T12:00:00Z,false,130\n\
    Ulm,120,1985-12-24,,260\nKiel,65,1999-05-05,true,140\nUlm,95,2015-10-10,true,230\n\
    Bonn,70,1970-01-01,false,120\nKiel,150,2020-02-29,true,330\n";

/// A job of Adam on the model's own dataset; `more` is laid over it.
fn job(model: &str, more: Value) -> Value {
    let mut job = json!({"model": model, "epochs": 60, "seed": 1, "optimizer": {"type": "adam", "learning_rate": 0.01}});
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

async fn penguins(server: &TestServer, model: Value) -> Value {
    server.upload("penguins", PENGUINS).await.expect(201);
    server.create(model).await
}

async fn ask(server: &TestServer, model: &str, body: Value) -> Value {
    let path = format!("/v1/models/{model}/predict");
    server.post(&path, body).await.expect(200)
}

#[tokio::test]
async fn penguins_are_learned_from_words_and_gaps_and_asked_by_a_raw_row() {
    let server = TestServer::start().await;
    let model = json!({"name": "p", "dataset": "penguins", "target": "species", "hidden": [{"units": 16, "activation": "relu"}]});
    let model = penguins(&server, model).await;
    assert_eq!(model["inputs"], 10, "3 islands, 2 sexes and 5 numbers");
    let layers = json!([{"units": 16, "activation": "relu", "initializer": "he_uniform"},
        {"units": 3, "activation": "softmax", "initializer": "glorot_uniform"}]);
    assert_eq!(
        (&model["layers"], &model["loss"]),
        (&layers, &json!("cross_entropy"))
    );
    let island = json!({"name": "island", "kind": "categorical", "role": "feature", "impute": "none", "encode": "one_hot",
        "unknown": "error", "categories": ["Biscoe", "Dream", "Torgersen"]});
    let mass = json!({"name": "body_mass_g", "kind": "numeric", "role": "feature", "scale": "standard", "impute": "median"});
    assert_eq!(
        (&model["columns"][1], &model["columns"][5]),
        (&island, &mass)
    );

    let early = json!({"instances": [{"island": "Dream"}]});
    let early = server.post("/v1/models/p/predict", early).await;
    early.problem(409, "not-fitted");
    let validation = json!({"validation": {"fraction": 0.25, "stratified": true}});
    let trained = server.train(job("p", validation)).await;
    assert!(
        number(&trained["metrics"]["validation"]["accuracy"]) > 0.97,
        "{trained}"
    );

    let row = json!({"island": "Biscoe", "bill_length_mm": 46.1, "bill_depth_mm": 13.2, "flipper_length_mm": 211,
        "body_mass_g": 4500, "sex": "female", "year": 2007});
    let gaps = json!({"year": 2008, "island": "Torgersen", "sex": null});
    let answer = ask(&server, "p", json!({"instances": [row, gaps]})).await;
    assert_eq!(answer["predictions"][0]["class"], "Gentoo");
    assert_eq!(answer["predictions"][1]["class"], "Adelie");

    let most = ask(&server, "p", json!({"instances": [row], "top_k": 2})).await;
    let probable = &answer["predictions"][0]["probabilities"];
    let top: Vec<_> = most["predictions"][0]["top"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["class"], &one["probability"]))
        .collect();
    assert_eq!(
        top,
        [
            (&json!("Gentoo"), &probable["Gentoo"]),
            (&json!("Chinstrap"), &probable["Chinstrap"])
        ]
    );

    let restarted = server.restart().await;
    let again = ask(&restarted, "p", json!({"instances": [row, gaps]})).await;
    assert_eq!(again, answer);
    let tested = restarted.get("/v1/models/p/versions/latest/selftest").await;
    let expected =
        json!({"model": "p", "version": 2, "passed": true, "rows": 8, "largest_difference": 0.0});
    assert_eq!(tested.expect(200), expected);
    let unfitted = restarted
        .get("/v1/models/p/versions/1/selftest")
        .await
        .expect(200);
    assert_eq!(
        (&unfitted["passed"], &unfitted["rows"]),
        (&json!(true), &json!(0))
    );
}

#[tokio::test]
async fn two_classes_have_one_output_and_the_probability_of_both_is_told() {
    let server = TestServer::start().await;
    let model = penguins(
        &server,
        json!({"name": "sex", "dataset": "penguins", "target": "sex"}),
    )
    .await;
    let last = json!({"units": 1, "activation": "sigmoid", "initializer": "glorot_uniform"});
    assert_eq!(model["layers"][1], last);
    let data = json!({"data": {"dataset": "penguins", "missing": "drop_rows"}, "metrics": ["accuracy", "f1", "roc_auc"],
        "validation": {"fraction": 0.25, "stratified": true}});
    let trained = server.train(job("sex", data)).await;
    assert!(
        number(&trained["metrics"]["validation"]["accuracy"]) > 0.85,
        "{trained}"
    );
    assert_eq!(trained["spec"]["train_rows"], 250);
    let row = json!({"species": "Gentoo", "island": "Biscoe", "bill_length_mm": 50.0, "bill_depth_mm": 16.3,
        "flipper_length_mm": 230, "body_mass_g": 5700, "year": 2007});
    let answer = ask(&server, "sex", json!({"instances": [row]})).await;
    let (p, predicted) = (number(&answer["outputs"][0][0]), &answer["predictions"][0]);
    assert_eq!(predicted["class"], "male");
    assert_eq!(number(&predicted["probabilities"]["male"]), p);
    assert!((number(&predicted["probabilities"]["female"]) - (1.0 - p)).abs() < 1e-6);
    let inspected = json!({"instances": [row], "targets": ["female"], "include": ["deltas"]});
    let inspected = server
        .post("/v1/models/sex/gradients", inspected)
        .await
        .expect(200);
    // δ = a − y of cross entropy after sigmoid, and female is 0.
    assert!((number(&inspected["layers"][1]["deltas"][0][0]) - p).abs() < 1e-6);
    let evaluated = json!({"dataset": "penguins", "missing": "drop_rows"});
    let evaluated = server
        .post("/v1/models/sex/versions/2/evaluate", evaluated)
        .await
        .expect(200);
    assert_eq!(
        (
            &evaluated["rows"],
            evaluated["metrics"]["confusion_matrix"]
                .as_array()
                .map(Vec::len)
        ),
        (&json!(333), Some(2))
    );
}

#[tokio::test]
async fn numbers_are_learned_scaled_and_answered_in_their_own_units() {
    let server = TestServer::start().await;
    server.upload("houses", HOUSES).await.expect(201);
    let columns = json!([
        {"name": "city", "unknown": "zeros"},
        {"name": "area", "scale": "log", "impute": "mean", "indicator": true},
        {"name": "built", "parts": ["year", "month"]},
        {"name": "lift", "impute": {"type": "constant", "value": false}},
    ]);
    let model = json!({"name": "h", "dataset": "houses", "target": "price", "columns": columns, "hidden": [], "dtype": "float64"});
    let model = server.create(model).await;
    assert_eq!(model["inputs"], 3 + 2 + 2 + 1);
    assert_eq!(
        (&model["loss"], &model["layers"][0]["activation"]),
        (&json!("mean_squared_error"), &json!("identity"))
    );
    assert_eq!(
        model["columns"][4],
        json!({"name": "price", "kind": "numeric", "role": "target", "scale": "standard"})
    );
    let more = json!({"data": {"dataset": "houses", "missing": "drop_rows"}, "epochs": 3000, "batch_size": "full",
        "metrics": ["mean_absolute_error"]});
    let trained = server.train(job("h", more)).await;
    assert_eq!(
        trained["spec"]["train_rows"], 7,
        "the row without a price is dropped, those with other gaps are not"
    );
    let row = json!({"city": "Kiel", "area": 150, "built": "2020-02-29", "lift": true});
    let rows = [row, json!({"city": "Paris", "built": 0})];
    let answer = ask(&server, "h", json!({"instances": rows})).await;
    let price = number(&answer["predictions"][0]);
    assert!((price - 330.0).abs() < 20.0, "{price}");
    // What was learned of the prices: their mean and population standard deviation are 187.142857 and 80.305539.
    let output = number(&answer["outputs"][0][0]);
    assert!(
        (output * 80.305_538_986 + 187.142_857_1 - price).abs() < 1e-4,
        "{output} {price}"
    );
    let evaluated = json!({"dataset": "houses", "missing": "drop_rows"});
    let evaluated = server
        .post("/v1/models/h/versions/2/evaluate", evaluated)
        .await
        .expect(200);
    let (loss, error) = (
        number(&evaluated["metrics"]["loss"]),
        number(&evaluated["metrics"]["mean_squared_error"]),
    );
    assert!(
        (loss * 80.305_538_986f64.powi(2) / error - 1.0).abs() < 1e-6,
        "{loss} {error}"
    );
}

#[tokio::test]
async fn several_truths_are_labels_and_many_words_fall_into_buckets() {
    let server = TestServer::start().await;
    let rows = (0..60).map(|row| format!("w{row},{},{},{}\n", row % 7, row % 2 == 0, row % 7 > 3));
    let text = format!("id,x,even,high\n{}", rows.collect::<String>());
    server.upload("t", text).await.expect(201);
    let model = json!({"name": "l", "dataset": "t", "targets": ["even", "high"]});
    let model = server.create(model).await;
    assert_eq!(model["columns"][0]["role"], "ignore", "it names the row");
    assert_eq!(
        (&model["inputs"], &model["layers"][1]["units"]),
        (&json!(1), &json!(2))
    );
    server.train(job("l", json!({}))).await;
    let answer = ask(&server, "l", json!({"instances": [{"x": 6}, {"x": 0}]})).await;
    for (row, is_high) in [(0, true), (1, false)] {
        let labels = answer["predictions"][row]["labels"].as_array();
        let labels = labels.expect("a list");
        assert_eq!(labels.contains(&json!("high")), is_high, "{answer}");
    }

    let hashed = json!([{"name": "id", "role": "feature"}, {"name": "even", "role": "ignore"}]);
    let model = json!({"name": "b", "dataset": "t", "target": "high", "columns": hashed});
    let model = server.create(model).await;
    assert_eq!(
        model["columns"][0]["encode"],
        json!({"type": "hashed", "buckets": 64})
    );
    assert_eq!(model["inputs"], 65);
    server.train(job("b", json!({}))).await;
    let answer = ask(
        &server,
        "b",
        json!({"instances": [{"id": "never seen", "x": 6}]}),
    )
    .await;
    assert_eq!(answer["predictions"][0]["class"], "true", "{answer}");
}

#[tokio::test]
async fn a_table_with_other_columns_is_refused_by_name_and_a_later_job_keeps_what_was_fitted() {
    let server = TestServer::start().await;
    let model = json!({"name": "p", "dataset": "penguins", "target": "species",
        "columns": [{"name": "year", "role": "ignore"}, {"name": "sex", "impute": "most_frequent"}]});
    penguins(&server, model).await;
    server.train(job("p", json!({}))).await;
    let other = PENGUINS
        .replace("Biscoe", "Atlantis")
        .replace("body_mass_g", "mass");
    server.upload("other", other).await.expect(201);
    let refused = server
        .post("/v1/jobs", job("p", json!({"data": {"dataset": "other"}})))
        .await;
    let refused = refused.problem(422, "invalid-spec");
    let details: Vec<_> = refused["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["detail"].as_str().unwrap_or_default())
        .collect();
    assert!(
        details[0].starts_with(
            "must have the model's categories in column \"island\" (Biscoe, Dream, Torgersen)"
        ),
        "{details:?}"
    );
    assert!(details[0].ends_with("got Atlantis"), "{details:?}");
    assert!(
        details[1].starts_with("must name a column of the dataset, got \"body_mass_g\""),
        "{details:?}"
    );

    let heavy = PENGUINS
        .lines()
        .map(|line| line.replace(",male,", ",female,"));
    server
        .upload("heavy", heavy.collect::<Vec<_>>().join("\n"))
        .await
        .expect(201);
    let impute = |bytes: Vec<u8>| {
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("an artifact");
        tensors
            .tensor("preprocess.impute")
            .expect("fitted")
            .data()
            .to_vec()
    };
    let first = impute(server.parameters("p", "2").await);
    server
        .train(job("p", json!({"data": {"dataset": "heavy"}})))
        .await;
    assert_eq!(impute(server.parameters("p", "3").await), first);
    server
        .train(job(
            "p",
            json!({"data": {"dataset": "heavy"}, "refit": true}),
        ))
        .await;
    assert_ne!(
        impute(server.parameters("p", "4").await),
        first,
        "female is the most frequent now"
    );
}
