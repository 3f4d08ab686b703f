//! Versions: where each comes from, its parameters in both forms, that it never changes, and when it may be deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gradientd::config::Kept;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{TestServer, long_job, number, text, xor_job, xor_model};

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}

async fn version(server: &TestServer, number: u64) -> Value {
    let path = format!("/v1/models/xor/versions/{number}");
    server.get(&path).await.expect(200)
}

/// A server with a model `xor` of so many versions.
async fn trained(versions: u64) -> TestServer {
    let kept = Kept {
        keep_versions: 0,
        ..Kept::default()
    };
    let server = TestServer::start_keeping(1, kept).await;
    server.create(xor_model("xor")).await;
    for _ in 1..versions {
        server.train(xor_job("xor", json!({}))).await;
    }
    server
}

/// The numbers of JSON parameters as little-endian bytes, layer by layer, weights before biases.
fn bytes_of(parameters: &Value, to_bytes: impl Fn(f64) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for layer in parameters["parameters"].as_array().expect("layers") {
        let weights = layer["weights"].as_array().expect("rows");
        let rows = weights.iter().chain([&layer["biases"]]);
        for value in rows.flat_map(|row| row.as_array().expect("numbers")) {
            bytes.extend(to_bytes(number(value)));
        }
    }
    bytes
}

/// The same bytes as the tensors have them.
fn bytes_in(tensors: &SafeTensors, layers: usize, dtype: Dtype) -> Vec<u8> {
    let mut bytes = Vec::new();
    for layer in 1..=layers {
        for part in ["weights", "biases"] {
            let tensor = tensors.tensor(&format!("layers.{layer}.{part}"));
            let tensor = tensor.expect("a tensor for each part of a layer");
            assert_eq!(tensor.dtype(), dtype);
            bytes.extend(tensor.data());
        }
    }
    bytes
}

#[tokio::test]
async fn the_first_version_comes_from_the_seed_and_from_no_job() {
    let server = trained(1).await;
    let first = version(&server, 1).await;
    assert_eq!(
        (&first["model"], &first["version"], &first["job"]),
        (&json!("xor"), &json!(1), &json!(null))
    );
    let mut lineage = first["lineage"].clone();
    assert!(text(&lineage["build"].take()).starts_with("gradientd "));
    let expected = json!({
        "base_version": null, "data_digests": [], "seed": 7, "epochs": 0,
        "metrics": {"train": null, "validation": null}, "build": null,
    });
    assert_eq!(lineage, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_trained_version_names_its_job_data_seed_and_figures() {
    let server = trained(2).await;
    let more = json!({"seed": 11, "epochs": 3, "validation": {"inputs": [[0, 1]], "targets": [[1]]},
                      "metrics": ["loss", "accuracy"]});
    let job = server.train(xor_job("xor", more)).await;
    let third = version(&server, 3).await;
    let lineage = &third["lineage"];
    assert_eq!(third["job"], job["id"]);
    assert_eq!(third["created_at"], job["finished_at"]);
    assert_eq!(lineage["base_version"], 2);
    assert_eq!(
        (&lineage["seed"], &lineage["epochs"]),
        (&json!(11), &json!(3))
    );
    let digests = [
        &job["spec"]["data"]["digest"],
        &job["spec"]["validation"]["digest"],
    ];
    assert_eq!(lineage["data_digests"], json!(digests));
    assert_eq!(lineage["metrics"], job["metrics"]);
    let last = &server.losses(&text(&job["id"])).await[2];
    assert_eq!(lineage["metrics"]["train"], last["train"]);
    assert_eq!(lineage["metrics"]["validation"], last["validation"]);
    assert!(last["validation"]["accuracy"].is_number());
    for named in ["latest", "3"] {
        let path = format!("/v1/models/xor/versions/{named}");
        assert_eq!(server.get(&path).await.expect(200), third);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_versions_digests_are_those_of_its_bytes() {
    let server = trained(2).await;
    let shown = version(&server, 2).await;
    let artifact = server.parameters("xor", "2").await;
    assert_eq!(shown["artifact_digest"], sha256(&artifact));
    assert_eq!(shown["artifact_bytes"], artifact.len());
    let parameters = server.get("/v1/models/xor/versions/2/parameters").await;
    let bytes = bytes_of(&parameters.expect(200), |value| {
        value.to_le_bytes().to_vec()
    });
    assert_eq!(bytes.len(), 13 * 8);
    assert_eq!(shown["parameter_digest"], sha256(&bytes));
    server.stop().await;
}

#[tokio::test]
async fn both_forms_of_the_parameters_hold_the_same_bits() {
    let server = trained(2).await;
    let mut single = xor_model("single");
    single["dtype"] = json!("float32");
    server.create(single).await;
    server.train(xor_job("single", json!({}))).await;
    let (f32s, f64s) = (
        |value: f64| (value as f32).to_le_bytes().to_vec(),
        |value: f64| value.to_le_bytes().to_vec(),
    );

    let read = server
        .get("/v1/models/xor/versions/latest/parameters")
        .await;
    assert_eq!(read.header("content-type"), "application/json");
    let artifact = server.parameters("xor", "latest").await;
    let tensors = SafeTensors::deserialize(&artifact).expect("safetensors");
    assert_eq!(
        bytes_of(&read.expect(200), f64s),
        bytes_in(&tensors, 2, Dtype::F64)
    );
    let weights = tensors.tensor("layers.1.weights").expect("weights");
    assert_eq!(weights.shape(), [3, 2], "units × inputs");

    let read = server
        .get("/v1/models/single/versions/latest/parameters")
        .await;
    let artifact = server.parameters("single", "latest").await;
    let tensors = SafeTensors::deserialize(&artifact).expect("safetensors");
    assert_eq!(
        bytes_of(&read.expect(200), f32s),
        bytes_in(&tensors, 2, Dtype::F32)
    );
    server.stop().await;
}

#[tokio::test]
async fn a_published_version_never_changes() {
    let server = trained(2).await;
    let question = json!({"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]]});
    let mut before = Vec::new();
    for number in ["1", "2"] {
        let path = format!("/v1/models/xor/versions/{number}");
        let answer = server
            .post(&format!("{path}/predict"), question.clone())
            .await;
        let shown = server.get(&path).await.expect(200);
        let bytes = server.parameters("xor", number).await;
        before.push((number, answer.bytes, shown, bytes));
    }
    assert_ne!(before[0].3, before[1].3, "training changes the parameters");
    // More versions than are kept in memory, so that these are read from the store again.
    for _ in 0..6 {
        server.train(xor_job("xor", json!({}))).await;
    }
    server
        .train(xor_job(
            "xor",
            json!({"refit": true, "from": {"version": 2}}),
        ))
        .await;
    let server = server.restart().await;
    for (number, answer, shown, bytes) in before {
        let path = format!("/v1/models/xor/versions/{number}");
        let again = server
            .post(&format!("{path}/predict"), question.clone())
            .await;
        assert_eq!(again.bytes, answer, "{path}");
        assert_eq!(server.get(&path).await.expect(200), shown);
        assert_eq!(server.parameters("xor", number).await, bytes);
    }
    server.stop().await;
}

#[tokio::test]
async fn versions_are_listed_newest_first_in_pages_and_either_order() {
    let server = trained(4).await;
    for (query, expected, more) in [
        ("", vec![4, 3, 2, 1], false),
        ("?limit=2", vec![4, 3], true),
        ("?limit=2&after=3", vec![2, 1], false),
        ("?after=4&limit=1", vec![3], true),
        ("?order=asc&limit=3", vec![1, 2, 3], true),
        ("?order=asc&after=3", vec![4], false),
        ("?after=1", vec![], false),
    ] {
        let page = server
            .get(&format!("/v1/models/xor/versions{query}"))
            .await
            .expect(200);
        let rows = page["data"].as_array().expect("a list");
        let numbers: Vec<u64> = rows
            .iter()
            .filter_map(|row| row["version"].as_u64())
            .collect();
        assert_eq!(
            (numbers, page["has_more"] == true),
            (expected, more),
            "{query}"
        );
        for row in rows {
            assert_eq!(
                *row,
                version(&server, row["version"].as_u64().expect("a number")).await
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_version_is_deleted_unless_it_is_the_latest_or_aliased() {
    let server = trained(4).await;
    let alias = "/v1/models/xor/aliases/champion";
    server.put(alias, json!({"version": 2})).await.expect(200);
    for (named, by) in [
        (
            "4",
            "it is the latest; delete the model, or train it on first",
        ),
        (
            "latest",
            "it is the latest; delete the model, or train it on first",
        ),
        (
            "2",
            "alias \"champion\" names it; move or delete the alias first",
        ),
        (
            "champion",
            "alias \"champion\" names it; move or delete the alias first",
        ),
    ] {
        let refused = server
            .delete(&format!("/v1/models/xor/versions/{named}"))
            .await;
        let detail = text(&refused.problem(409, "in-use")["detail"]);
        assert!(detail.ends_with(&format!(" is in use: {by}")), "{detail}");
    }
    server.put(alias, json!({"version": 4})).await.expect(200);
    for number in [1, 2] {
        // Asked for just before, so that it is in memory too.
        let path = format!("/v1/models/xor/versions/{number}");
        let rows = json!({"inputs": [[0, 1]]});
        server
            .post(&format!("{path}/predict"), rows.clone())
            .await
            .expect(200);
        server.delete(&path).await.expect(204);
        server.delete(&path).await.problem(404, "not-found");
        server.get(&path).await.problem(404, "not-found");
        server
            .get(&format!("{path}/parameters"))
            .await
            .problem(404, "not-found");
        let gone = server.post(&format!("{path}/predict"), rows).await;
        gone.problem(404, "not-found");
        let gone = server.put(alias, json!({"version": number})).await;
        gone.problem(404, "not-found");
    }
    let page = server.get("/v1/models/xor/versions").await.expect(200);
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
    // A number is never given twice, and a job still starts from what is left.
    let job = server
        .train(xor_job("xor", json!({"from": {"version": 3}})))
        .await;
    assert_eq!(job["version"], 5);
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_an_unfinished_job_starts_from_is_not_deleted() {
    let server = trained(3).await;
    let mut long = long_job("xor");
    long["from"] = json!({"version": 1});
    let running = server.submit(long).await;
    server.running(&running).await;
    let queued = server
        .submit(xor_job("xor", json!({"from": {"version": 2}})))
        .await;
    // The queued one first: where the running one is cancelled, the other has the slot.
    for (number, job) in [(2, &queued), (1, &running)] {
        let refused = server
            .delete(&format!("/v1/models/xor/versions/{number}"))
            .await;
        assert_eq!(
            refused.problem(409, "in-use")["detail"],
            format!(
                "version \"xor/{number}\" is in use: job {job} starts from it; cancel the job first"
            )
        );
        server.cancel(job).await;
        server
            .delete(&format!("/v1/models/xor/versions/{number}"))
            .await
            .expect(204);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_there_is_not_is_not_found_under_any_name() {
    let server = trained(2).await;
    for path in [
        "xor/versions/3",
        "xor/versions/0",
        "xor/versions/champion",
        "nor/versions/1",
        "nor/versions/latest",
    ] {
        let path = format!("/v1/models/{path}");
        server.get(&path).await.problem(404, "not-found");
        server
            .get(&format!("{path}/parameters"))
            .await
            .problem(404, "not-found");
        server.delete(&path).await.problem(404, "not-found");
        for asked in ["predict", "gradients"] {
            let rows = json!({"inputs": [[0, 1]], "targets": [[1]]});
            let rows = if asked == "predict" {
                json!({"inputs": rows["inputs"]})
            } else {
                rows
            };
            let gone = server.post(&format!("{path}/{asked}"), rows).await;
            gone.problem(404, "not-found");
        }
    }
    server
        .get("/v1/models/nor/versions")
        .await
        .problem(404, "not-found");
    server.stop().await;
}

/// Asks for a version and five after it, more than are kept in memory, until a few rounds after it was deleted, and
/// counts the answers of the version that were asked for after that.
async fn asked_on(server: Arc<TestServer>, version: u64, deleted: Arc<AtomicBool>) -> usize {
    let (mut answered, mut rounds) = (0, 0);
    while rounds < 5 {
        let gone = deleted.load(Ordering::SeqCst);
        rounds += usize::from(gone);
        for number in version..=version + 5 {
            let path = format!("/v1/models/xor/versions/{number}/predict");
            let answer = server.post(&path, json!({"inputs": [[0, 1]]})).await;
            answered += usize::from(gone && number == version && answer.status == 200);
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_deleted_while_it_is_read_is_gone_all_the_same() {
    let server = Arc::new(trained(1).await);
    for _ in 0..30 {
        server.train(xor_job("xor", json!({"epochs": 1}))).await;
    }
    let mut answered = 0;
    for version in 1..=24 {
        let deleted = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4)
            .map(|_| tokio::spawn(asked_on(Arc::clone(&server), version, Arc::clone(&deleted))))
            .collect();
        server
            .delete(&format!("/v1/models/xor/versions/{version}"))
            .await
            .expect(204);
        deleted.store(true, Ordering::SeqCst);
        for reader in readers {
            answered += reader.await.expect("a reader");
        }
    }
    assert_eq!(
        answered, 0,
        "answers of versions that were deleted before they were asked for"
    );
    let server = Arc::into_inner(server).expect("the readers have ended");
    server.stop().await;
}
