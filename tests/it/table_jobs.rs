//! Jobs on tables: classes and numbers learned, columns chosen and scaled, missing values dropped, rows asked by name.

use serde_json::{Value, json};

use crate::server::{TestServer, long_job, number, pointers, xor_job, xor_model};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");
const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");
/// The numeric columns of the penguins.
const MEASURES: [&str; 4] = [
    "bill_length_mm",
    "bill_depth_mm",
    "flipper_length_mm",
    "body_mass_g",
];

/// A model of classes: one tanh layer and softmax over standardized inputs.
fn classifier(name: &str, inputs: u64, classes: u64) -> Value {
    json!({
        "name": name, "inputs": inputs, "loss": "cross_entropy", "preprocess": "standardize", "seed": 3,
        "layers": [{"units": 16, "activation": "tanh"}, {"units": classes, "activation": "softmax"}],
    })
}

/// A float64 model whose outputs are its scaled inputs plus 1: its only layer is the identity.
fn mirror(name: &str, preprocess: &str) -> Value {
    json!({
        "name": name, "inputs": 2, "dtype": "float64", "preprocess": preprocess,
        "layers": [{"units": 2, "activation": "identity"}],
        "parameters": [{"weights": [[1, 0], [0, 1]], "biases": [1, 1]}],
    })
}

/// A job on a dataset; `more` is laid over it.
fn job(model: &str, data: &Value, more: Value) -> Value {
    let mut job = json!({
        "model": model, "data": data, "epochs": 1,
        "optimizer": {"type": "gradient_descent", "learning_rate": 0.3},
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

async fn refused(server: &TestServer, job: Value) -> Value {
    let answer = server.post("/v1/jobs", job).await;
    answer.problem(422, "invalid-spec")
}

#[tokio::test]
async fn iris_is_learned_and_asked_by_the_names_of_its_columns() {
    let server = TestServer::start().await;
    let dataset = server.upload("iris", IRIS).await.expect(201);
    server.create(classifier("iris", 4, 3)).await;
    let rows = json!({"inputs": [[5.1, 3.5, 1.4, 0.2]]});
    let early = server.post("/v1/models/iris/predict", rows).await;
    early.problem(409, "not-fitted");

    let more = json!({"epochs": 100, "batch_size": 10, "seed": 5,
                      "validation": {"fraction": 0.2, "stratified": true}});
    let data = json!({"dataset": "iris", "target": "species"});
    let trained = server.train(job("iris", &data, more)).await;
    let spec = &trained["spec"];
    let features = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let expected = json!({
        "dataset": "iris", "digest": dataset["digest"], "features": features, "targets": ["species"],
        "target_kind": "categorical", "missing": "error", "sample_weight": null,
    });
    assert_eq!(spec["data"], expected);
    assert_eq!(spec["metrics"], json!(["loss", "accuracy"]));
    // round(0.2 · 150) = 30 rows are kept back.
    assert_eq!(spec["train_rows"], 120);
    let (train, kept) = (
        &trained["metrics"]["train"],
        &trained["metrics"]["validation"],
    );
    let right = number(&kept["accuracy"]) * 30.0;
    assert!((right - right.round()).abs() < 1e-9, "{right} of 30");
    // Of Fisher's three species one is apart and two overlap by a few flowers; any sound classifier gets 9 of 10 right.
    assert!(
        number(&train["accuracy"]) > 0.95 && right >= 27.0,
        "{train} {kept}"
    );

    // The first flower of each species in the file.
    let flowers = [
        ("setosa", [5.1, 3.5, 1.4, 0.2]),
        ("versicolor", [7.0, 3.2, 4.7, 1.4]),
        ("virginica", [6.3, 3.3, 6.0, 2.5]),
    ];
    let instances = flowers.map(|(_, row)| {
        json!({"petal_width": row[3], "petal_length": row[2], "sepal_width": row[1], "sepal_length": row[0]})
    });
    let path = "/v1/models/iris/predict";
    let named = server.post(path, json!({"instances": instances})).await;
    let inputs = flowers.map(|(_, row)| row);
    let plain = server.post(path, json!({"inputs": inputs})).await;
    assert_eq!(named.text(), plain.text());
    let answer = named.expect(200);
    for (row, (species, _)) in flowers.iter().enumerate() {
        let (outputs, prediction) = (&answer["outputs"][row], &answer["predictions"][row]);
        assert_eq!(prediction["class"], *species);
        assert_eq!(
            prediction["probability"],
            prediction["probabilities"][species]
        );
        let classes = ["setosa", "versicolor", "virginica"];
        let probabilities = classes.map(|class| prediction["probabilities"][class].clone());
        assert_eq!(json!(probabilities), *outputs);
        // Three float32 roundings of numbers up to 1.
        let sum: f64 = probabilities.iter().map(number).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
    let body = json!({"inputs": inputs, "targets": ["setosa", "versicolor", "virginica"]});
    let seen = server
        .post("/v1/models/iris/gradients", body)
        .await
        .expect(200);
    assert!(number(&seen["loss"]) < 1.0, "class words are targets too");
    server.stop().await;
}

#[tokio::test]
async fn an_instance_has_every_feature_and_no_other_name() {
    let server = TestServer::start().await;
    server.upload("t", "x,y\n1,2\n2,4\n").await.expect(201);
    let mut model = xor_model("t");
    model["inputs"] = json!(1);
    server.create(model).await;
    let path = "/v1/models/t/predict";
    let early = server.post(path, json!({"instances": [{"x": 1}]})).await;
    assert_eq!(
        pointers(&early.problem(422, "invalid-spec")),
        ["/instances"]
    );
    server
        .train(job("t", &json!({"dataset": "t", "target": "y"}), json!({})))
        .await;
    server
        .post(path, json!({"instances": [{"x": 1}]}))
        .await
        .expect(200);
    let wrong = server
        .post(path, json!({"instances": [{"x": 1}, {}, {"x": 1, "z": 2}]}))
        .await;
    let problem = wrong.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/instances/1", "/instances/2"]);
    assert_eq!(problem["errors"][0]["detail"], "must have feature \"x\"");
    assert_eq!(
        problem["errors"][1]["detail"],
        "has no feature \"z\": known: x"
    );
    server.stop().await;
}

#[tokio::test]
async fn words_and_missing_values_are_refused_by_column_and_dropped_on_demand() {
    let server = TestServer::start().await;
    server.upload("penguins", PENGUINS).await.expect(201);
    server.create(classifier("penguins", 4, 3)).await;
    let mut data = json!({"dataset": "penguins", "target": "species",
                          "features": ["year", "island", "sex", "body_mass_g"]});
    let problem = refused(&server, job("penguins", &data, json!({}))).await;
    let expected = json!([
        {"pointer": "/data/features/1",
         "detail": "must be numeric columns, got \"island\", which is categorical (its first word is \"Torgersen\" on line 2): name the features to use, without it, or declare the model from the dataset, which encodes it"},
        {"pointer": "/data/features/2",
         "detail": "must be numeric columns, got \"sex\", which is categorical (its first word is \"male\" on line 2): name the features to use, without it, or declare the model from the dataset, which encodes it"},
        {"pointer": "/data/missing",
         "detail": "column \"sex\" has 11 missing values: give \"missing\":\"drop_rows\" or leave it out"},
        {"pointer": "/data/missing",
         "detail": "column \"body_mass_g\" has 2 missing values: give \"missing\":\"drop_rows\" or leave it out"},
    ]);
    assert_eq!(problem["errors"], expected);

    data["features"] = json!(MEASURES);
    let problem = refused(&server, job("penguins", &data, json!({}))).await;
    assert_eq!(pointers(&problem), ["/data/missing"; 4]);
    data["missing"] = json!("drop_rows");
    let more = json!({"epochs": 60, "batch_size": 10, "validation": {"fraction": 0.2, "stratified": true}});
    let trained = server.train(job("penguins", &data, more)).await;
    // 344 birds less 2 without measures; round(0.2 · 342) = 68 of them are kept back.
    assert_eq!(trained["spec"]["train_rows"], 342 - 68);
    assert_eq!(trained["spec"]["data"]["missing"], "drop_rows");
    // The species differ clearly in bill and body; nine of ten is the least to expect.
    let accuracy = number(&trained["metrics"]["validation"]["accuracy"]);
    assert!(accuracy > 0.9, "{accuracy}");
    server.stop().await;
}

#[tokio::test]
async fn features_are_scaled_as_their_training_rows_were() {
    let server = TestServer::start().await;
    // Column c is constant. Of x the mean is 5 and the population's standard deviation 2 (the textbook's eight numbers).
    let csv = "x,c,y,z\n2,3,0,0\n4,3,0,0\n4,3,0,0\n4,3,0,0\n5,3,0,0\n5,3,0,0\n7,3,0,0\n9,3,0,0\n";
    server.upload("t", csv).await.expect(201);
    for (preprocess, expected) in [
        ("none", json!([[3.0, 4.0], [10.0, 4.0], [17.0, 6.0]])),
        ("minmax", json!([[1.0, 1.0], [2.0, 1.0], [3.0, 3.0]])),
        ("standardize", json!([[-0.5, 1.0], [3.0, 1.0], [6.5, 3.0]])),
    ] {
        server.create(mirror(preprocess, preprocess)).await;
        // Steps of 1e-300 are lost beside the bias of 1.
        let more = json!({"optimizer": {"type": "gradient_descent", "learning_rate": 1e-300}});
        let data = json!({"dataset": "t", "features": ["x", "c"], "targets": ["y", "z"]});
        server.train(job(preprocess, &data, more)).await;
        let path = format!("/v1/models/{preprocess}/predict");
        let rows = json!({"inputs": [[2, 3], [9, 3], [16, 5]]});
        let answer = server.post(&path, rows).await.expect(200);
        assert_eq!(answer["outputs"], expected, "{preprocess}");
        let (y, z) = (&expected[2][0], &expected[2][1]);
        assert_eq!(answer["predictions"][2], json!({"y": y, "z": z}));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_numeric_target_is_predicted_in_its_own_units() {
    let server = TestServer::start().await;
    let rows: Vec<_> = (0..10).map(|x| format!("{x},{}", 1000 + 100 * x)).collect();
    server
        .upload("line", format!("x,grams\n{}\n", rows.join("\n")))
        .await
        .expect(201);
    let model = json!({"name": "line", "inputs": 1, "dtype": "float64", "preprocess": "standardize",
                       "layers": [{"units": 1, "activation": "identity"}]});
    server.create(model).await;
    // Over standardized rows the Hessian of ½(wx + b − y)² is the identity: each step of 0.5 halves the error, and
    // 2⁻¹⁰⁰ of it is left.
    let more = json!({"epochs": 100, "batch_size": "full",
                      "optimizer": {"type": "gradient_descent", "learning_rate": 0.5}});
    let trained = server
        .train(job(
            "line",
            &json!({"dataset": "line", "target": "grams"}),
            more,
        ))
        .await;
    assert_eq!(trained["spec"]["data"]["target_kind"], "numeric");
    assert_eq!(trained["spec"]["metrics"], json!(["loss"]));
    let path = "/v1/models/line/predict";
    let answer = server
        .post(path, json!({"instances": [{"x": 4}, {"x": 20}]}))
        .await
        .expect(200);
    let grams = [
        number(&answer["predictions"][0]),
        number(&answer["predictions"][1]),
    ];
    assert!(
        (grams[0] - 1400.0).abs() < 1e-8 && (grams[1] - 3000.0).abs() < 1e-8,
        "{grams:?}"
    );
    assert_eq!(answer["outputs"], json!([[grams[0]], [grams[1]]]));
    server.stop().await;
}

#[tokio::test]
async fn numbers_are_classes_in_numeric_order_where_there_are_several_outputs() {
    let server = TestServer::start().await;
    server
        .upload("t", "x,y,w\n1,10,b\n2,9,a\n3,-2,b\n4,10,a\n")
        .await
        .expect(201);
    server.create(classifier("t", 1, 3)).await;
    let wrong = json!({"dataset": "t", "features": ["x"], "target": "w"});
    let problem = refused(&server, job("t", &wrong, json!({}))).await;
    let detail = "has 2 classes (a, b), so the last layer must have 2 units, got 3";
    assert_eq!(
        problem["errors"],
        json!([{"pointer": "/data/target", "detail": detail}])
    );
    let data = json!({"dataset": "t", "features": ["x"], "target": "y"});
    let trained = server.train(job("t", &data, json!({}))).await;
    let expected = json!({"kind": "classes", "name": "y", "classes": ["-2", "9", "10"]});
    assert_eq!(trained["spec"]["targets"], expected);
    server.stop().await;
}

#[tokio::test]
async fn a_table_that_an_unfinished_job_reads_is_not_deleted() {
    let server = TestServer::start().await;
    server.create(xor_model("other")).await;
    server.create(classifier("iris", 4, 3)).await;
    for name in ["train", "validate", "free"] {
        server.upload(name, IRIS).await.expect(201);
    }
    let running = server.submit(long_job("other")).await;
    let data = json!({"dataset": "train", "target": "species"});
    let queued = server
        .submit(job(
            "iris",
            &data,
            json!({"validation": {"dataset": "validate"}}),
        ))
        .await;
    for name in ["train", "validate"] {
        let refused = server.delete(&format!("/v1/datasets/{name}")).await;
        assert_eq!(
            refused.problem(409, "in-use")["detail"],
            format!("dataset {name:?} is in use: job {queued} reads it; cancel the job first")
        );
    }
    server.delete("/v1/datasets/free").await.expect(204);
    server.cancel(&running).await;
    let ended = server.succeeded(&queued).await;
    let kept = &ended["metrics"]["validation"];
    assert!(
        kept["loss"].is_number() && kept["accuracy"].is_number(),
        "{ended}"
    );
    for name in ["train", "validate"] {
        server
            .delete(&format!("/v1/datasets/{name}"))
            .await
            .expect(204);
    }
    assert_eq!(
        server.get(&format!("/v1/jobs/{queued}")).await.expect(200),
        ended
    );
    server.train(xor_job("other", json!({}))).await;
    server.stop().await;
}
