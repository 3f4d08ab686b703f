//! Models: declared with every default shown, given parameters kept to the bit, listed, aliased and deleted.

use serde_json::{Value, json};

use crate::server::{TestServer, long_job, number, pointers, text, xor_job, xor_model};

/// Two inputs and one layer of one unit with its parameters given.
fn given(name: &str, dtype: &str, weights: [f64; 2], bias: f64) -> Value {
    json!({
        "name": name, "inputs": 2, "dtype": dtype, "layers": [{"units": 1, "activation": "identity"}],
        "parameters": [{"weights": [weights], "biases": [bias]}],
    })
}

fn names(page: &Value) -> Vec<String> {
    let models = page["data"].as_array().expect("a list");
    models.iter().map(|model| text(&model["name"])).collect()
}

async fn page(server: &TestServer, query: &str) -> (Vec<String>, bool) {
    let page = server.get(&format!("/v1/models{query}")).await.expect(200);
    (names(&page), page["has_more"] == true)
}

/// The version that answers under a name of versions.
async fn answering(server: &TestServer, model: &str, version: &str) -> Value {
    let path = format!("/v1/models/{model}/versions/{version}/predict");
    let rows = json!({"inputs": [[0, 1]]});
    server.post(&path, rows).await.expect(200)["version"].take()
}

#[tokio::test]
async fn a_new_model_is_answered_with_every_default_and_where_it_is() {
    let server = TestServer::start().await;
    let declared = json!({
        "name": "plain", "inputs": 2,
        "layers": [{"units": 3, "activation": "relu"}, {"units": 1, "activation": "sigmoid"}],
    });
    let answer = server.post("/v1/models", declared).await;
    assert_eq!(answer.header("location"), "/v1/models/plain");
    let mut model = answer.expect(201);
    let shown = server.get("/v1/models/plain").await.expect(200);
    assert_eq!(shown, model);
    let created = text(&model["created_at"].take());
    // RFC 3339 in UTC with milliseconds: 2026-11-24T00:01:24.766Z
    assert!(
        created.len() == 24 && created.ends_with('Z') && &created[19..20] == ".",
        "{created}"
    );
    let expected = json!({
        "name": "plain", "inputs": 2,
        "layers": [{"units": 3, "activation": "relu", "initializer": "he_uniform"},
                   {"units": 1, "activation": "sigmoid", "initializer": "glorot_uniform"}],
        "loss": "quadratic", "initializer": null, "dtype": "float32", "seed": 0, "preprocess": "none",
        "description": "", "metadata": {},
        "parameter_count": 13, // 3 · (2 + 1) + 1 · (3 + 1)
        "created_at": null, "latest_version": 1, "aliases": {},
    });
    assert_eq!(model, expected);
    server.stop().await;
}

#[tokio::test]
async fn what_is_declared_is_what_is_shown() {
    let server = TestServer::start().await;
    let mut declared = json!({
        "name": "full", "inputs": 3, "loss": "cross_entropy", "initializer": "lecun_normal", "dtype": "float64",
        "seed": 42, "preprocess": "minmax", "description": "zwei Wörter", "metadata": {"team": "a", "ticket": "7"},
        "layers": [{"units": 5, "activation": "tanh", "initializer": "zeros"}, {"units": 2, "activation": "softmax"}],
    });
    let model = server.create(declared.clone()).await;
    declared["layers"][1]["initializer"] = json!("lecun_normal");
    for (field, value) in declared.as_object().expect("an object") {
        assert_eq!(&model[field], value, "{field}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_layer_is_drawn_by_its_own_initializer_and_from_the_seed() {
    let server = TestServer::start().await;
    let model = |name: &str, seed: u64| {
        json!({
            "name": name, "inputs": 4, "seed": seed, "initializer": "glorot_uniform", "dtype": "float64",
            "layers": [{"units": 3, "activation": "tanh", "initializer": "zeros"}, {"units": 6, "activation": "tanh"}],
        })
    };
    for (name, seed) in [("one", 1), ("again", 1), ("two", 2)] {
        server.create(model(name, seed)).await;
    }
    let path = "/v1/models/one/versions/1/parameters";
    let parameters = server.get(path).await.expect(200);
    let [first, second] = [&parameters["parameters"][0], &parameters["parameters"][1]];
    assert_eq!(first["weights"], json!(vec![[0.0; 4]; 3]));
    assert_eq!(second["biases"], json!(vec![0.0; 6]));
    // Glorot's r = √(6 / (3 + 6))
    let limit = (6.0_f64 / 9.0).sqrt();
    let rows = second["weights"].as_array().expect("rows");
    let weights: Vec<f64> = rows
        .iter()
        .flat_map(|row| row.as_array().expect("a row"))
        .map(number)
        .collect();
    assert_eq!(weights.len(), 18);
    assert!(weights.iter().all(|weight| weight.abs() <= limit));
    assert!(weights.iter().any(|weight| weight.abs() > limit / 2.0));

    let bytes = server.parameters("one", "1").await;
    assert_eq!(server.parameters("again", "1").await, bytes);
    assert_ne!(server.parameters("two", "1").await, bytes);
    server.stop().await;
}

#[tokio::test]
async fn given_parameters_come_back_exactly_in_float64_and_rounded_in_float32() {
    let server = TestServer::start().await;
    // 16777217 = 2²⁴ + 1 is the first whole number that float32 does not have; 5e-324 is the least float64.
    let (weights, bias) = ([0.1, 16_777_217.0], 5e-324);
    server
        .create(given("double", "float64", weights, bias))
        .await;
    server
        .create(given("single", "float32", weights, bias))
        .await;
    let double = server.get("/v1/models/double/versions/1/parameters").await;
    let expected = json!({
        "model": "double", "version": 1, "dtype": "float64",
        "parameters": [{"weights": [[0.1, 16_777_217.0]], "biases": [5e-324]}],
    });
    assert_eq!(double.expect(200), expected);
    let single = server.get("/v1/models/single/versions/1/parameters").await;
    // The shortest digits that mean the float32 nearest to 0.1 are 0.1 again.
    assert!(
        single.text().contains("[[0.1,16777216.0]]"),
        "{}",
        single.text()
    );
    assert_eq!(single.json()["parameters"][0]["biases"], json!([0.0]));
    assert_eq!(
        server.predict("double", json!([[1, 1]])).await,
        json!([[16_777_217.1]])
    );
    server.stop().await;
}

#[tokio::test]
async fn a_number_too_large_for_the_dtype_is_refused_where_it_stands() {
    let server = TestServer::start().await;
    // The largest float32 is (2 − 2⁻²³) · 2¹²⁷ = 3.4028234663852886e38.
    let largest = f64::from(f32::MAX);
    let refused = server
        .post("/v1/models", given("big", "float32", [1.0, -1e39], 3.5e38))
        .await;
    let problem = refused.problem(422, "invalid-spec");
    assert_eq!(
        pointers(&problem),
        ["/parameters/0/weights/0/1", "/parameters/0/biases/0"]
    );
    assert_eq!(
        problem["errors"][0]["detail"],
        "must fit float32, within ±3.4028234663852886e38, got -1e39"
    );
    server.get("/v1/models/big").await.problem(404, "not-found");
    server
        .create(given("big", "float32", [1.0, 0.0], 0.0))
        .await;
    server
        .create(given("edge", "float32", [largest, 0.0], -largest))
        .await;

    let rows = json!({"inputs": [[0, 0], [0, 1e39]]});
    let refused = server.post("/v1/models/big/predict", rows).await;
    assert_eq!(
        pointers(&refused.problem(422, "invalid-spec")),
        ["/inputs/1/1"]
    );
    let rows = json!({"inputs": [[largest, 0]]});
    let answer = server.post("/v1/models/big/predict", rows).await;
    assert_eq!(
        number(&answer.expect(200)["outputs"][0][0]) as f32,
        f32::MAX
    );
    server.stop().await;
}

#[tokio::test]
async fn models_are_listed_newest_first_in_pages_and_either_order() {
    let server = TestServer::start().await;
    assert_eq!(page(&server, "").await, (vec![], false));
    // No order of the alphabet in them, so that it cannot be mistaken for that of time.
    for name in ["m", "z", "a", "k"] {
        server.create(xor_model(name)).await;
    }
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        page(&server, "").await,
        (list(&["k", "a", "z", "m"]), false)
    );
    assert_eq!(
        page(&server, "?limit=3").await,
        (list(&["k", "a", "z"]), true)
    );
    assert_eq!(
        page(&server, "?limit=4").await,
        (list(&["k", "a", "z", "m"]), false)
    );
    assert_eq!(
        page(&server, "?limit=3&after=z").await,
        (list(&["m"]), false)
    );
    assert_eq!(
        page(&server, "?after=k&limit=1").await,
        (list(&["a"]), true)
    );
    assert_eq!(
        page(&server, "?order=asc&limit=2").await,
        (list(&["m", "z"]), true)
    );
    assert_eq!(
        page(&server, "?order=asc&after=z").await,
        (list(&["a", "k"]), false)
    );
    assert_eq!(page(&server, "?order=desc&after=m").await, (vec![], false));
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_models_has_twenty_where_nothing_is_said() {
    let server = TestServer::start().await;
    for number in 0..21 {
        server.create(xor_model(&format!("m{number}"))).await;
    }
    let (names, has_more) = page(&server, "").await;
    assert_eq!((names.len(), has_more), (20, true));
    assert_eq!(
        page(&server, "?after=m1").await,
        (vec!["m0".to_owned()], false)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_name_is_given_once_and_is_free_again_when_its_model_is_deleted() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let job = server.train(xor_job("xor", json!({}))).await;
    let again = server.post("/v1/models", xor_model("xor")).await;
    let problem = again.problem(409, "already-exists");
    assert_eq!(problem["detail"], "there is a model \"xor\" already");
    assert_eq!(
        server.get("/v1/models/xor").await.json()["latest_version"],
        2
    );

    let deleted = server.delete("/v1/models/xor").await;
    assert!(deleted.bytes.is_empty());
    deleted.expect(204);
    server
        .delete("/v1/models/xor")
        .await
        .problem(404, "not-found");
    let gone = server.get("/v1/models/xor").await.problem(404, "not-found");
    assert_eq!(gone["detail"], "there is no model \"xor\"");
    for path in [
        "versions",
        "versions/1",
        "versions/latest",
        "versions/2/parameters",
    ] {
        let gone = server.get(&format!("/v1/models/xor/{path}")).await;
        gone.problem(404, "not-found");
    }
    let rows = json!({"inputs": [[0, 1]]});
    let gone = server.post("/v1/models/xor/predict", rows).await;
    gone.problem(404, "not-found");
    let job = server.get(&format!("/v1/jobs/{}", text(&job["id"]))).await;
    assert_eq!(job.expect(200)["status"], "succeeded", "ended jobs stay");

    assert_eq!(server.create(xor_model("xor")).await["latest_version"], 1);
    assert_eq!(answering(&server, "xor", "latest").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_model_that_an_unfinished_job_trains_is_not_deleted() {
    let server = TestServer::start().await;
    for name in ["trained", "waiting", "paused"] {
        server.create(xor_model(name)).await;
    }
    let running = server.submit(long_job("trained")).await;
    server.running(&running).await;
    let queued = server.submit(xor_job("waiting", json!({}))).await;
    let paused = server.submit(xor_job("paused", json!({}))).await;
    server
        .tell(&format!("/v1/jobs/{paused}/pause"))
        .await
        .expect(200);
    for (name, job) in [
        ("trained", &running),
        ("waiting", &queued),
        ("paused", &paused),
    ] {
        let refused = server.delete(&format!("/v1/models/{name}")).await;
        assert_eq!(
            refused.problem(409, "in-use")["detail"],
            format!("model {name:?} is in use: job {job} trains it; cancel the job first")
        );
    }
    for id in [&queued, &paused, &running] {
        server.cancel(id).await;
    }
    for name in ["trained", "waiting", "paused"] {
        server
            .delete(&format!("/v1/models/{name}"))
            .await
            .expect(204);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_alias_answers_for_the_version_that_it_was_moved_to_last() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    for _ in 0..2 {
        server.train(xor_job("xor", json!({}))).await;
    }
    let alias = "/v1/models/xor/aliases/champion";
    for version in [1, 3, 2] {
        let set = server
            .put(alias, json!({"version": version}))
            .await
            .expect(200);
        assert_eq!(
            set,
            json!({"model": "xor", "alias": "champion", "version": version})
        );
        assert_eq!(answering(&server, "xor", "champion").await, version);
        let shown = server.get("/v1/models/xor").await.json();
        assert_eq!(shown["aliases"], json!({"champion": version}));
    }
    server
        .put("/v1/models/xor/aliases/v1.0", json!({"version": 1}))
        .await
        .expect(200);
    assert_eq!(
        server.parameters("xor", "champion").await,
        server.parameters("xor", "2").await
    );

    let server = server.restart().await;
    assert_eq!(answering(&server, "xor", "champion").await, 2);
    let shown = server.get("/v1/models").await.json();
    assert_eq!(
        shown["data"][0]["aliases"],
        json!({"champion": 2, "v1.0": 1})
    );
    server.delete(alias).await.expect(204);
    server.delete(alias).await.problem(404, "not-found");
    let rows = json!({"inputs": [[0, 1]]});
    let gone = server
        .post("/v1/models/xor/versions/champion/predict", rows)
        .await;
    gone.problem(404, "not-found");
    assert_eq!(answering(&server, "xor", "v1.0").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn an_alias_is_a_name_that_nothing_else_can_mean() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    for bad in ["latest", "2", "007", ".hidden", "a%20b", "-"] {
        let path = format!("/v1/models/xor/aliases/{bad}");
        let refused = server.put(&path, json!({"version": 1})).await;
        refused.problem(422, "invalid-spec");
    }
    let unknown = server
        .put("/v1/models/xor/aliases/a", json!({"version": 2}))
        .await;
    unknown.problem(404, "not-found");
    let unknown = server
        .put("/v1/models/nor/aliases/a", json!({"version": 1}))
        .await;
    unknown.problem(404, "not-found");
    server
        .delete("/v1/models/xor/aliases/a")
        .await
        .problem(404, "not-found");
    server
        .delete("/v1/models/nor/aliases/a")
        .await
        .problem(404, "not-found");
    assert_eq!(
        server.get("/v1/models/xor").await.json()["aliases"],
        json!({})
    );
    server.stop().await;
}
