//! Rows and classes that weigh more or less than others: what is learned by them, and what figures make of them.

use serde_json::{Value, json};

use crate::server::{TestServer, number, pointers, text, xor_job, xor_model, xor_rows};

/// A float64 model of one softmax or sigmoid layer.
fn flat(name: &str, inputs: u64, units: u64, activation: &str) -> Value {
    json!({
        "name": name, "inputs": inputs, "dtype": "float64", "seed": 1, "loss": "cross_entropy",
        "layers": [{"units": units, "activation": activation}],
    })
}

/// A job in full batches, in the order of the rows, from the first version.
fn full(model: &str, data: &Value, more: Value) -> Value {
    let mut job = json!({
        "model": model, "data": data, "epochs": 40, "batch_size": "full", "shuffle": false, "from": {"initial": true},
        "optimizer": {"type": "gradient_descent", "learning_rate": 0.5},
    });
    if let (Some(job), Value::Object(more)) = (job.as_object_mut(), more) {
        job.extend(more);
    }
    job
}

/// The parameters that a job has published, and its history.
async fn learned(server: &TestServer, job: Value) -> (Vec<u8>, Vec<Value>) {
    let model = text(&job["model"]);
    let trained = server.train(job).await;
    let version = trained["version"].to_string();
    let mut losses = server.losses(&text(&trained["id"])).await;
    for row in &mut losses {
        row["seconds"].take();
    }
    (server.parameters(&model, &version).await, losses)
}

/// x, a class, and a weight: one row in nine is of class `rare`, and x alone cannot tell it.
fn imbalanced() -> String {
    let rows = (0..180).map(|row| {
        let rare = row % 9 == 0;
        let x = f64::from(row * 7 % 20) / 10.0 + if rare { 0.9 } else { 0.0 };
        let (class, weight) = if rare { ("rare", 8) } else { ("usual", 1) };
        format!("{x},{class},{weight}\n")
    });
    format!("x,class,w\n{}", rows.collect::<String>())
}

#[tokio::test]
async fn balanced_classes_raise_the_recall_of_a_rare_one() {
    let server = TestServer::start().await;
    server.upload("rare", imbalanced()).await.expect(201);
    let data = json!({"dataset": "rare", "features": ["x"], "target": "class"});
    let mut recalls = Vec::new();
    for (name, class_weight) in [
        ("plain", json!(null)),
        ("balanced", json!("balanced")),
        ("map", json!({"rare": 8})),
    ] {
        server.create(flat(name, 1, 2, "softmax")).await;
        let job = full(
            name,
            &data,
            json!({"class_weight": class_weight, "epochs": 400}),
        );
        let trained = server.train(job).await;
        assert_eq!(
            trained["spec"]["class_weight"].as_str(),
            class_weight.as_str()
        );
        let path = format!("/v1/models/{name}/versions/2/evaluate");
        let figures = server.post(&path, json!({"dataset": "rare"})).await;
        let figures = figures.expect(200);
        let rare = &figures["metrics"]["confusion_matrix"][0];
        recalls.push(number(&rare[0]) / 20.0);
    }
    // The x of a rare row is 0.9 more on the average; to weigh as much as the usual ones moves the bound down to it.
    assert!(recalls[0] < 0.5, "{recalls:?}");
    assert!(recalls[1] > 0.7 && recalls[2] == recalls[1], "{recalls:?}");
    server.stop().await;
}

#[tokio::test]
async fn classes_balanced_by_hand_and_by_a_column_of_weights_are_learned_alike() {
    let server = TestServer::start().await;
    server.upload("rare", imbalanced()).await.expect(201);
    server.create(flat("m", 1, 2, "softmax")).await;
    let data = json!({"dataset": "rare", "features": ["x"], "target": "class"});
    let column =
        json!({"dataset": "rare", "features": ["x"], "target": "class", "sample_weight": "w"});
    // 160 usual and 20 rare rows: 180 / (2 · 160) and 180 / (2 · 20), which is as 1 to 8.
    let by_hand = json!({"class_weight": {"usual": 0.5625, "rare": 4.5}});
    let (balanced, history) = learned(
        &server,
        full("m", &data, json!({"class_weight": "balanced"})),
    )
    .await;
    let (given, _) = learned(&server, full("m", &data, by_hand)).await;
    let (weighted, weighted_history) = learned(&server, full("m", &column, json!({}))).await;
    assert_eq!(balanced, given, "to the last bit");
    for (by_class, by_row) in history.iter().zip(&weighted_history) {
        let (by_class, by_row) = (&by_class["train"], &by_row["train"]);
        let (by_class, by_row) = (number(&by_class["loss"]), number(&by_row["loss"]));
        assert!((by_class - by_row).abs() < 1e-12, "{by_class} {by_row}");
    }
    // Weights of rows count in figures, those of classes do not. At first all is taken for usual, or all for rare.
    let (first, weighed) = (&history[0]["train"], &weighted_history[0]["train"]);
    let accuracy = (number(&first["accuracy"]), number(&weighed["accuracy"]));
    assert!(accuracy.0 != accuracy.1, "{accuracy:?}");
    // Rows balanced already are left as they are by balanced classes.
    let (both, _) = learned(
        &server,
        full("m", &column, json!({"class_weight": "balanced"})),
    )
    .await;
    assert_eq!(both, weighted, "to the last bit");
    server.stop().await;
}

#[tokio::test]
async fn a_column_of_weights_is_no_feature_and_rows_of_weight_0_are_as_if_left_out() {
    let server = TestServer::start().await;
    let row = |row: usize| format!("{},{},{}", row % 7, row * 3 % 5, (row * row) % 4);
    let every: Vec<_> = (0..90).map(|n| format!("{},{}\n", row(n), n % 3)).collect();
    let some: Vec<_> = (0..90)
        .filter(|n| n % 3 > 0)
        .map(|n| every[n].clone())
        .collect();
    for (name, rows) in [("every", every.concat()), ("some", some.concat())] {
        let csv = format!("a,b,y,w\n{rows}");
        server.upload(name, csv).await.expect(201);
    }
    let layers =
        json!([{"units": 3, "activation": "tanh"}, {"units": 1, "activation": "identity"}]);
    server
        .create(json!({"name": "m", "inputs": 2, "dtype": "float64", "seed": 4, "layers": layers}))
        .await;
    let data = |name: &str| json!({"dataset": name, "target": "y", "sample_weight": "w"});
    let more = || {
        json!({"validation": {"dataset": "every"}, "metrics": ["r2", "mean_absolute_error"],
                         "optimizer": {"type": "adam", "learning_rate": 0.05}})
    };
    let trained = server.train(full("m", &data("every"), more())).await;
    let spec = &trained["spec"]["data"];
    assert_eq!(
        (&spec["features"], &spec["sample_weight"]),
        (&json!(["a", "b"]), &json!("w"))
    );
    let whole = server.losses(&text(&trained["id"])).await;
    let others = server.train(full("m", &data("some"), more())).await;
    let left = server.losses(&text(&others["id"])).await;
    // The chunks that rows are summed in are others: the last bits may differ.
    for (whole, left) in whole.iter().zip(&left) {
        for split in ["train", "validation"] {
            for figure in ["loss", "r2", "mean_absolute_error"] {
                let (a, b) = (number(&whole[split][figure]), number(&left[split][figure]));
                assert!(
                    (a - b).abs() < 1e-10 * b.abs().max(1.0),
                    "{split} {figure}: {a} {b}"
                );
            }
        }
    }
    // The evaluation of the same rows, by the column or by the same numbers, is that of the validation.
    let path = "/v1/models/m/versions/2/evaluate";
    let body = json!({"dataset": "every", "sample_weight": "w"});
    let figures = server.post(path, body).await.expect(200);
    let last = &whole.last().expect("epochs")["validation"];
    assert_eq!(figures["metrics"]["loss"], last["loss"], "to the last bit");
    assert_eq!(figures["metrics"]["r2"], last["r2"], "to the last bit");
    let plain = server.post(path, json!({"dataset": "every"})).await;
    assert_ne!(plain.expect(200)["metrics"]["loss"], last["loss"]);
    server.stop().await;
}

#[tokio::test]
async fn rows_given_twice_and_rows_of_weight_2_are_one_and_the_same() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let twice = json!({"inputs": [[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [1, 1], [1, 1]],
                       "targets": [[0], [1], [1], [1], [0], [0], [0]]});
    let weights = |scale: f64| {
        json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]],
               "sample_weight": [scale, 2.0 * scale, scale, 3.0 * scale]})
    };
    let more = |data: &Value| {
        let metrics = ["accuracy", "log_loss", "roc_auc", "mean_squared_error"];
        json!({"metrics": metrics, "validation": data})
    };
    let (_, repeated) = learned(&server, full("xor", &twice, more(&twice))).await;
    let (bits, weighted) = learned(&server, full("xor", &weights(1.0), more(&weights(1.0)))).await;
    for (repeated, weighted) in repeated.iter().zip(&weighted) {
        for split in ["train", "validation"] {
            for (name, figure) in repeated[split].as_object().expect("figures") {
                let (a, b) = (number(figure), number(&weighted[split][name]));
                assert!((a - b).abs() < 1e-12, "{split} {name}: {a} {b}");
            }
        }
    }
    // Only the proportions count; weights of 1 are none.
    for scale in [2.0, 0.25, 2f64.powi(1000), 2f64.powi(-1000)] {
        let (scaled, history) =
            learned(&server, full("xor", &weights(scale), more(&weights(scale)))).await;
        assert_eq!(scaled, bits, "{scale}: to the last bit");
        assert_eq!(history, weighted);
    }
    let mut ones = xor_rows(40);
    let (plain, history) = learned(&server, full("xor", &ones, more(&ones))).await;
    ones["sample_weight"] = json!(vec![1; 40]);
    assert_eq!(
        learned(&server, full("xor", &ones, more(&ones))).await,
        (plain, history)
    );
    server.stop().await;
}

/// The bytes of each layer's arrays.
fn weights_of(artifact: &[u8]) -> Vec<Vec<u8>> {
    let tensors = safetensors::SafeTensors::deserialize(artifact).expect("an artifact");
    let mut names = tensors.names();
    names.retain(|name| name.starts_with("layers."));
    names.sort_unstable();
    assert_eq!(names.len(), 4);
    let bytes = names
        .iter()
        .map(|name| tensors.tensor(name).expect("its own name").data().to_vec());
    bytes.collect()
}

#[tokio::test]
async fn a_batch_that_weighs_nothing_changes_nothing() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let data = json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]],
                      "sample_weight": [0, 1, 0, 1]});
    let two = json!({"inputs": [[0, 1], [1, 1]], "targets": [[1], [0]]});
    let more =
        || json!({"batch_size": 1, "regularization": {"l2": 0.01}, "optimizer": {"type": "adam"}});
    let (bits, history) = learned(&server, full("xor", &data, more())).await;
    let (others, left) = learned(&server, full("xor", &two, more())).await;
    // The golden sets are of other rows.
    assert_eq!(weights_of(&bits), weights_of(&others), "to the last bit");
    assert_eq!(history[39]["train"], left[39]["train"]);
    assert_eq!(
        (&history[39]["step"], &left[39]["step"]),
        (&json!(160), &json!(80))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_job_whose_rows_are_left_without_weight_fails_and_says_why() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    // Both classes have rows that weigh, but none that weighs in its class.
    let data = json!({"inputs": [[0, 0], [0, 1]], "targets": [[0], [1]], "sample_weight": [1, 0]});
    let job = xor_job("xor", json!({"data": data, "class_weight": {"0": 0}}));
    let id = server.submit(job).await;
    let failed = server.ended(&id).await;
    assert_eq!(failed["error"]["code"], "unusable_data");
    let detail = text(&failed["error"]["detail"]);
    assert!(
        detail.ends_with("every row of a split weighs 0"),
        "{detail}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_column_of_weights_is_checked_in_both_datasets_at_once() {
    let server = TestServer::start().await;
    let tables = [
        ("good", "x,y,w\n1,2,1\n2,3,0\n"),
        ("below", "x,y,w\n1,2,1\n2,3,-1\n"),
        ("none", "x,y,w\n1,2,0\n2,3,0\n"),
        ("words", "x,y,w\n1,2,a\n2,3,b\n"),
        ("gaps", "x,y,w\n1,2,\n2,3,2\n3,4,0\n"),
        ("without", "x,y\n1,2\n2,3\n"),
    ];
    for (name, csv) in tables {
        server.upload(name, csv).await.expect(201);
    }
    server
        .create(
            json!({"name": "m", "inputs": 1, "layers": [{"units": 1, "activation": "identity"}]}),
        )
        .await;
    let job = |data: &str, validation: &str| {
        json!({"model": "m", "data": {"dataset": data, "target": "y", "sample_weight": "w"},
               "validation": {"dataset": validation}, "epochs": 0})
    };
    let cases = [
        (
            "below",
            "/data/sample_weight",
            "must be at least 0, got column \"w\" in [-1, 1]",
        ),
        (
            "none",
            "/data/sample_weight",
            "must have a number above 0, got 0 in every row of column \"w\"",
        ),
        (
            "words",
            "/data/sample_weight",
            "must be a numeric column, got \"w\", which holds words",
        ),
        ("gaps", "/data/missing", "column \"w\" has 1 missing value"),
    ];
    for (name, pointer, detail) in cases {
        let refused = server.post("/v1/jobs", job(name, "good")).await;
        let problem = refused.problem(422, "invalid-spec");
        assert_eq!(pointers(&problem), ["/epochs", pointer], "{name}");
        assert!(
            text(&problem["errors"][1]["detail"]).starts_with(detail),
            "{problem}"
        );
    }
    let cases = [
        ("below", "must be at least 0, got column \"w\" in [-1, 1]"),
        ("none", "must have a number above 0"),
        ("words", "must be a numeric column"),
        ("gaps", "column \"w\" has 1 missing values"),
        ("without", "must have column \"w\", as data has"),
    ];
    for (name, detail) in cases {
        let refused = server.post("/v1/jobs", job("good", name)).await;
        let problem = refused.problem(422, "invalid-spec");
        assert_eq!(
            pointers(&problem),
            ["/epochs", "/validation/dataset"],
            "{name}"
        );
        assert!(
            text(&problem["errors"][1]["detail"]).starts_with(detail),
            "{problem}"
        );
    }
    // Rows without a weight can be left out, also where the features are named.
    let data = json!({"dataset": "gaps", "target": "y", "features": ["x"], "sample_weight": "w", "missing": "drop_rows"});
    let trained = server
        .train(json!({"model": "m", "data": data, "validation": {"dataset": "gaps"}}))
        .await;
    assert_eq!(trained["spec"]["train_rows"], json!(2));
    server.stop().await;
}

#[tokio::test]
async fn lbfgs_finds_the_same_minimum_by_weights_as_by_repeated_rows() {
    let server = TestServer::start().await;
    server.create(flat("m", 2, 1, "sigmoid")).await;
    let weighted = json!({"inputs": [[0, 1], [1, 0], [2, 1], [1, 2]], "targets": [[0], [1], [1], [0]],
        "sample_weight": [3, 1, 2, 0]});
    let repeated = json!({"inputs": [[0, 1], [0, 1], [0, 1], [1, 0], [2, 1], [2, 1]],
        "targets": [[0], [0], [0], [1], [1], [1]]});
    let mut answers = Vec::new();
    for data in [weighted, repeated] {
        let more = json!({"optimizer": {"type": "lbfgs", "tolerance": 1e-10}, "epochs": 200,
            "regularization": {"l2": 0.1}});
        server.train(full("m", &data, more)).await;
        let outputs = server
            .predict("m", json!([[0, 1], [1, 0], [2, 1], [5, -5]]))
            .await;
        answers.push(outputs);
    }
    let pairs = answers[0].as_array().into_iter().flatten();
    for (one, other) in pairs.zip(answers[1].as_array().into_iter().flatten()) {
        let (one, other) = (number(&one[0]), number(&other[0]));
        assert!((one - other).abs() < 1e-7, "{one} and {other}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_class_that_no_row_has_takes_no_weight_from_the_others() {
    let server = TestServer::start().await;
    server.create(flat("m", 2, 3, "softmax")).await;
    let data = json!({"inputs": [[0, 1], [1, 0], [2, 1], [1, 2]],
        "targets": [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]});
    let (plain, _) = learned(&server, full("m", &data, json!({}))).await;
    let absent = json!({"class_weight": {"2": 1e30}});
    let (weighed, _) = learned(&server, full("m", &data, absent)).await;
    assert_eq!(plain, weighed);
    server.stop().await;
}

#[tokio::test]
async fn the_shares_of_a_label_are_of_weights_and_its_counts_are_of_rows() {
    let server = TestServer::start().await;
    let mut model = flat("m", 1, 1, "sigmoid");
    model["parameters"] = json!([{"weights": [[10]], "biases": [0]}]);
    model.as_object_mut().expect("a model").remove("seed");
    server.create(model).await;
    // Said of 1, 2 and 3, true of 1, 2 and −1: two hits, one of weight 3, one false alarm of weight 2, one miss of weight 1.
    let data = json!({"inputs": [[1], [2], [3], [-1]], "targets": [[1], [1], [0], [1]], "target_kind": "labels",
        "sample_weight": [3, 1, 2, 1]});
    let more =
        json!({"epochs": 1, "optimizer": {"type": "gradient_descent", "learning_rate": 1e-9}});
    let job = server.train(full("m", &data, more)).await;
    let path = format!("/v1/jobs/{}/report", text(&job["id"]));
    let report = server.get(&path).await.expect(200);
    let metrics = &report["train"]["metrics"];
    let label = &metrics["labels"][0];
    for (name, count) in [
        ("true_positives", 2),
        ("false_positives", 1),
        ("false_negatives", 1),
    ] {
        assert_eq!(label[name], count, "{label}");
    }
    assert!(
        (number(&label["precision"]) - 4.0 / 6.0).abs() < 1e-12,
        "{label}"
    );
    assert!(
        (number(&label["recall"]) - 4.0 / 5.0).abs() < 1e-12,
        "{label}"
    );
    assert_eq!(label["f1"], metrics["f1"]);
    server.stop().await;
}
