//! Jobs: submitted with every default shown, run in order, listed, started from any version, failed, moved and deleted.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::server::{
    TestServer, long_job, number, pointers, text, until, xor_job, xor_model, xor_rows,
};

/// A server with models of these names.
pub(crate) async fn with_models(names: &[&str]) -> TestServer {
    let server = TestServer::start().await;
    for name in names {
        server.create(xor_model(name)).await;
    }
    server
}

async fn page(server: &TestServer, query: &str) -> (Vec<String>, bool) {
    let page = server.get(&format!("/v1/jobs{query}")).await.expect(200);
    let jobs = page["data"].as_array().expect("a list");
    let ids = jobs.iter().map(|job| text(&job["id"])).collect();
    (ids, page["has_more"] == true)
}

/// The numbers that were fitted for the inputs' preprocessing: what is subtracted.
fn offsets(artifact: &[u8]) -> Vec<f64> {
    let tensors = SafeTensors::deserialize(artifact).expect("safetensors");
    let tensor = tensors.tensor("preprocess.offset").expect("offsets");
    let bytes = tensor.data().chunks_exact(8);
    bytes
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect()
}

#[tokio::test]
async fn a_job_is_queued_then_running_then_succeeded() {
    let server = with_models(&["long", "xor"]).await;
    let long = server.submit(long_job("long")).await;
    let running = server.running(&long).await;
    assert_eq!(
        (&running["attempt"], &running["version"]),
        (&json!(1), &json!(null))
    );
    assert!(running["started_at"].is_string() && running["finished_at"].is_null());
    let going = |job: &Value| job["progress"]["epoch"].as_u64() > Some(0);
    let progress = server.job_once(&long, going).await["progress"].take();
    let fraction = number(&progress["epoch"]) / 100_000.0;
    assert_eq!(
        (number(&progress["fraction"]), &progress["epochs"]),
        (fraction, &json!(100_000))
    );
    assert!(number(&progress["samples_per_second"]) > 0.0);
    assert!(progress["estimated_finish_at"].is_string(), "{progress}");

    let more = json!({"metadata": {"run": "1"}, "metrics": ["accuracy"]});
    let answer = server.post("/v1/jobs", xor_job("xor", more)).await;
    let location = answer.header("location").to_owned();
    let mut queued = answer.expect(202);
    assert_eq!(location, format!("/v1/jobs/{}", text(&queued["id"])));
    assert_eq!(server.get(&location).await.expect(200), queued);
    let (id, created) = (
        text(&queued["id"].take()),
        text(&queued["created_at"].take()),
    );
    queued["spec"].take();
    let expected = json!({
        "id": null, "model": "xor", "status": "queued", "waiting_for": null, "base_version": 1, "version": null, "attempt": 0, "spec": null,
        "progress": {"epoch": 0, "epochs": 10, "fraction": 0.0, "samples_per_second": null, "estimated_finish_at": null},
        "metrics": {"train": {"loss": null}, "validation": null},
        "created_at": null, "started_at": null, "finished_at": null, "ended_by": null, "error": null, "waiting_for": null, "priority": 0,
        "metadata": {"run": "1"},
    });
    assert_eq!(queued, expected);

    assert_eq!(server.cancel(&long).await["status"], "cancelled");
    let ended = server.succeeded(&id).await;
    let (started, finished) = (text(&ended["started_at"]), text(&ended["finished_at"]));
    assert!(created <= started && started <= finished, "{ended}");
    assert_eq!(
        (&ended["attempt"], &ended["version"]),
        (&json!(1), &json!(2))
    );
    let progress = &ended["progress"];
    assert_eq!(
        (&progress["epoch"], &progress["fraction"]),
        (&json!(10), &json!(1.0))
    );
    assert!(progress["estimated_finish_at"].is_null());
    let last = &server.losses(&id).await[9];
    assert_eq!(ended["metrics"]["train"], last["train"]);
    assert!(last["train"]["accuracy"].is_number(), "{last}");
    server.stop().await;
}

#[tokio::test]
async fn jobs_are_run_in_the_order_they_came_and_listed_the_other_way_round() {
    let server = with_models(&["long", "a", "b"]).await;
    let mut ids = vec![server.submit(long_job("long")).await];
    server.running(&ids[0]).await;
    for model in ["a", "b", "a", "a"] {
        ids.push(server.submit(xor_job(model, json!({}))).await);
    }
    let list = |picked: &[usize]| {
        picked
            .iter()
            .map(|&index| ids[index].clone())
            .collect::<Vec<_>>()
    };
    for (query, expected, more) in [
        ("", &[4, 3, 2, 1, 0][..], false),
        ("?limit=2", &[4, 3], true),
        ("?order=asc&limit=3", &[0, 1, 2], true),
        ("?model=a", &[4, 3, 1], false),
        ("?model=nobody", &[], false),
        ("?status=running", &[0], false),
        ("?status=queued&limit=3", &[4, 3, 2], true),
        ("?status=queued&model=a&order=asc", &[1, 3, 4], false),
        ("?status=succeeded", &[], false),
    ] {
        assert_eq!(
            page(&server, query).await,
            (list(expected), more),
            "{query}"
        );
    }
    let after = format!("?model=a&limit=1&after={}", ids[4]);
    assert_eq!(page(&server, &after).await, (list(&[3]), true));
    let after = format!("?model=a&order=asc&after={}", ids[2]);
    assert_eq!(page(&server, &after).await, (list(&[3, 4]), false));
    let refused = server.get("/v1/jobs?status=done").await;
    assert_eq!(
        pointers(&refused.problem(422, "invalid-query")),
        ["/status"]
    );

    server.cancel(&ids[0]).await;
    let mut started = Vec::new();
    for (id, version) in [(&ids[1], 2), (&ids[2], 2), (&ids[3], 3), (&ids[4], 4)] {
        let job = server.succeeded(id).await;
        assert_eq!(job["version"], version);
        started.push(text(&job["started_at"]));
    }
    assert!(started.is_sorted(), "{started:?}");
    assert_eq!(
        page(&server, "?status=succeeded").await,
        (list(&[4, 3, 2, 1]), false)
    );
    assert_eq!(
        page(&server, "?status=cancelled").await,
        (list(&[0]), false)
    );
    server.stop().await;
}

#[tokio::test]
async fn whoever_has_seen_succeeded_is_answered_by_the_new_version() {
    let server = with_models(&["xor"]).await;
    for version in 2..=20 {
        let id = server.submit(xor_job("xor", json!({"epochs": 1}))).await;
        // Asked without a pause, to meet the moment between the commit and the handing over.
        let mut job = Value::Null;
        while job["status"] != "succeeded" {
            job = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
        }
        let rows = json!({"inputs": [[0, 1]]});
        let answer = server
            .post("/v1/models/xor/predict", rows)
            .await
            .expect(200);
        assert_eq!(
            (&answer["version"], &job["version"]),
            (&json!(version), &json!(version))
        );
        assert_eq!(
            server.get("/v1/models/xor").await.json()["latest_version"],
            version
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_same_spec_data_and_seed_give_the_same_bytes() {
    let server = TestServer::start_with(2, gradientd::config::Limits::default()).await;
    let job = |model: &str, seed: u64| {
        let more = json!({"data": xor_rows(100), "batch_size": 8, "epochs": 30, "seed": seed});
        xor_job(model, more)
    };
    let mut ids = Vec::new();
    for (name, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        server.create(xor_model(name)).await;
        ids.push(server.submit(job(name, seed)).await);
    }
    let mut losses = Vec::new();
    for id in &ids {
        server.succeeded(id).await;
        let rows = server.losses(id).await;
        losses.push(
            rows.iter()
                .map(|row| number(&row["train"]["loss"]))
                .collect::<Vec<_>>(),
        );
    }
    let a = server.parameters("a", "2").await;
    assert_eq!(server.parameters("b", "2").await, a);
    assert_eq!(losses[0], losses[1]);
    assert_ne!(
        server.parameters("c", "2").await,
        a,
        "the seed orders the rows"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_job_goes_on_from_the_version_that_is_latest_or_named() {
    let server = with_models(&["long", "xor"]).await;
    let long = server.submit(long_job("long")).await;
    // What is latest when the job is made counts, not what is when it runs.
    let half = json!({"epochs": 5, "shuffle": false});
    let first = server.submit(xor_job("xor", half.clone())).await;
    let second = server.submit(xor_job("xor", half.clone())).await;
    server.cancel(&long).await;
    for (id, version) in [(&first, 2), (&second, 3)] {
        let job = server.succeeded(id).await;
        assert_eq!(
            (&job["base_version"], &job["version"]),
            (&json!(1), &json!(version))
        );
    }
    let bytes = server.parameters("xor", "2").await;
    assert_eq!(server.parameters("xor", "3").await, bytes);

    let from = async |from: Value, epochs: u64| {
        let more = json!({"epochs": epochs, "shuffle": false, "from": from});
        let job = server.train(xor_job("xor", more)).await;
        (
            job["base_version"].clone(),
            server.parameters("xor", &job["version"].to_string()).await,
        )
    };
    let whole = from(json!({"initial": true}), 10).await;
    assert_eq!(whole.0, 1);
    // Without a shuffle nothing goes by the epoch's number: five and five epochs are ten.
    let half_again = from(json!({"version": 2}), 5).await;
    assert_eq!(half_again, (json!(2), whole.1));
    let latest = from(json!({}), 5).await;
    assert_eq!(latest.0, 5);

    for (from, pointer) in [
        (json!({"version": 7}), "/from/version"),
        (json!({"version": 0}), "/from/version"),
        (json!({"initial": false}), "/from"),
        (json!({"initial": true, "version": 1}), "/from"),
    ] {
        let refused = server
            .post("/v1/jobs", xor_job("xor", json!({"from": from})))
            .await;
        assert_eq!(pointers(&refused.problem(422, "invalid-spec")), [pointer]);
    }
    server.stop().await;
}

#[tokio::test]
async fn preprocessing_is_kept_by_later_jobs_unless_they_refit() {
    let server = TestServer::start().await;
    let mut model = xor_model("xor");
    model["preprocess"] = json!("standardize");
    server.create(model).await;
    let train = async |rows: Value, refit: bool| {
        let data = json!({"inputs": rows, "targets": [[0], [1]]});
        let job = server
            .train(xor_job("xor", json!({"data": data, "refit": refit})))
            .await;
        assert_eq!(job["spec"]["refit"], refit);
        offsets(&server.parameters("xor", "latest").await)
    };
    assert!(offsets(&server.parameters("xor", "1").await).is_empty());
    // The means of each input over two rows.
    assert_eq!(train(json!([[0, 0], [2, 4]]), false).await, [1.0, 2.0]);
    assert_eq!(train(json!([[10, 10], [20, 30]]), false).await, [1.0, 2.0]);
    assert_eq!(train(json!([[10, 10], [20, 30]]), true).await, [15.0, 20.0]);
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_diverges_fails_and_its_model_keeps_serving() {
    let server = TestServer::start().await;
    let model = json!({
        "name": "line", "inputs": 1, "dtype": "float64", "layers": [{"units": 1, "activation": "identity"}],
        "parameters": [{"weights": [[1]], "biases": [0]}],
    });
    server.create(model).await;
    let rows = json!({"inputs": [[1]]});
    let before = server.post("/v1/models/line/predict", rows.clone()).await;
    let job = json!({
        "model": "line", "data": {"inputs": [[1]], "targets": [[0]]}, "epochs": 50,
        "optimizer": {"type": "gradient_descent", "learning_rate": 1e6},
    });
    let id = server.submit(job).await;
    let failed = server.ended(&id).await;
    // The output w + b is multiplied by 1 − 2η = −1999999 in each epoch. Its half square is beyond 1.8e308 where it is
    // beyond 1.9e154, which is after ln(1.9e154) / ln(1999999) = 24.5 epochs: the 26th sees it.
    let expected = json!({
        "code": "diverged", "epoch": 26, "step": 1,
        "detail": "the loss became NaN or infinite in epoch 26, step 1: lower the learning rate, or scale the inputs (preprocess) or the targets",
    });
    assert_eq!(
        (&failed["status"], &failed["error"]),
        (&json!("failed"), &expected)
    );
    assert!(failed["version"].is_null() && failed["finished_at"].is_string());
    let losses = server.losses(&id).await;
    assert_eq!(losses.len(), 25);
    assert_eq!(failed["progress"]["epoch"], 25);
    assert_eq!(failed["metrics"]["train"], losses[24]["train"]);
    assert_eq!(
        server.post("/v1/models/line/predict", rows).await.bytes,
        before.bytes
    );
    let model = server.get("/v1/models/line").await.expect(200);
    assert_eq!(model["latest_version"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_has_ended_never_moves_again_and_may_be_deleted() {
    let server = with_models(&["xor"]).await;
    let succeeded = text(&server.train(xor_job("xor", json!({}))).await["id"]);
    let cancelled = server.submit(long_job("xor")).await;
    server.cancel(&cancelled).await;
    for (id, status, moves) in [
        (
            &succeeded,
            "succeeded",
            &[
                ("cancel", "cancelled"),
                ("pause", "paused"),
                ("resume", "resumed"),
            ][..],
        ),
        (
            &cancelled,
            "cancelled",
            &[("pause", "paused"), ("resume", "resumed")],
        ),
    ] {
        let path = format!("/v1/jobs/{id}");
        let before = server.get(&path).await.expect(200);
        for (asked, to) in moves {
            let refused = server.tell(&format!("{path}/{asked}")).await;
            let refused = refused.problem(409, "illegal-move");
            let expected = format!("a job that is {status} cannot be {to}: ");
            assert!(text(&refused["detail"]).starts_with(&expected), "{refused}");
        }
        assert_eq!(server.get(&path).await.expect(200), before);
    }
    let before = server
        .get(&format!("/v1/jobs/{cancelled}"))
        .await
        .expect(200);
    assert_eq!(
        server.cancel(&cancelled).await,
        before,
        "asked twice, it is cancelled once"
    );

    for id in [&succeeded, &cancelled] {
        let path = format!("/v1/jobs/{id}");
        server.delete(&path).await.expect(204);
        for part in ["", "/loss", "/gradients", "/checkpoints"] {
            let gone = server.get(&format!("{path}{part}")).await;
            assert_eq!(
                gone.problem(404, "not-found")["detail"],
                format!("there is no job {id:?}")
            );
        }
        server.delete(&path).await.problem(404, "not-found");
    }
    assert_eq!(page(&server, "").await, (vec![], false));
    let version = server.get("/v1/models/xor/versions/2").await.expect(200);
    assert_eq!(
        version["job"], succeeded,
        "the version stays and says whose it is"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_has_not_ended_is_not_deleted_and_moves_along_the_table_only() {
    let server = with_models(&["xor"]).await;
    let running = server.submit(long_job("xor")).await;
    server.running(&running).await;
    let queued = server.submit(xor_job("xor", json!({}))).await;
    let paused = server.submit(xor_job("xor", json!({}))).await;
    let told = server
        .tell(&format!("/v1/jobs/{paused}/pause"))
        .await
        .expect(200);
    assert_eq!(
        (&told["status"], &told["attempt"]),
        (&json!("paused"), &json!(0))
    );
    for (id, status) in [
        (&running, "running"),
        (&queued, "queued"),
        (&paused, "paused"),
    ] {
        let path = format!("/v1/jobs/{id}");
        let refused = server.delete(&path).await.problem(409, "in-use");
        let expected = format!("job \"{id}\" is in use: it is {status}; cancel it first");
        assert_eq!(refused["detail"], expected);
        if status != "paused" {
            let refused = server.tell(&format!("{path}/resume")).await;
            refused.problem(409, "illegal-move");
        }
        assert_eq!(server.get(&path).await.json()["status"], status);
    }
    assert_eq!(server.cancel(&paused).await["status"], "cancelled");
    assert_eq!(server.cancel(&queued).await["status"], "cancelled");
    let never = server.get(&format!("/v1/jobs/{queued}")).await.expect(200);
    assert!(never["started_at"].is_null() && never["finished_at"].is_string());
    server.cancel(&running).await;
    until("the queue to be empty", async || {
        let left = page(&server, "?status=queued").await;
        if left.0.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(
        server.get("/v1/models/xor").await.json()["latest_version"],
        1
    );
    server.stop().await;
}

#[tokio::test]
async fn a_job_that_there_is_not_is_not_found() {
    let server = TestServer::start().await;
    for (id, detail) in [
        (
            "01a20adb-7748-7577-ba20-38b559553eb2",
            "there is no job \"01a20adb-7748-7577-ba20-38b559553eb2\"",
        ),
        (
            "17",
            "there is no job \"17\": ids are UUIDs, hyphenated and in lower case",
        ),
    ] {
        for part in ["", "/loss", "/gradients", "/checkpoints"] {
            let gone = server.get(&format!("/v1/jobs/{id}{part}")).await;
            assert_eq!(gone.problem(404, "not-found")["detail"], detail);
        }
        for asked in ["cancel", "pause", "resume"] {
            let gone = server.tell(&format!("/v1/jobs/{id}/{asked}")).await;
            gone.problem(404, "not-found");
        }
        server
            .delete(&format!("/v1/jobs/{id}"))
            .await
            .problem(404, "not-found");
    }
    let refused = server.post("/v1/jobs", xor_job("nobody", json!({}))).await;
    assert_eq!(pointers(&refused.problem(422, "invalid-spec")), ["/model"]);
    server.stop().await;
}
