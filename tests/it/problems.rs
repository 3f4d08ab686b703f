//! Every bad request is answered with a problem that says what is wrong, and leaves everything as it was.

use gradientd::http::PROBLEMS;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bad_requests::{Bad, all, low_limits};
use crate::contract::text as file;
use crate::server::{Answer, TestServer, pointers, send, text, xor_job, xor_model};

/// The server that the table asks, with the ids of a job that has succeeded and of one that is paused.
struct Scene {
    server: TestServer,
    ended: String,
    paused: String,
}

fn layers(units: u64, activation: &str) -> Value {
    json!([{"units": units, "activation": activation}])
}

impl Scene {
    async fn set() -> Self {
        let server = TestServer::start_with(1, low_limits()).await;
        for model in models() {
            server.post("/v1/models", model).await.expect(201);
        }
        let classes: Vec<_> = (0..12).map(|class| format!("{class},{class}")).collect();
        let tables = [
            ("iris", file("tests/fixtures/tables/iris.csv")),
            (
                "penguins",
                some_lines(&file("tests/fixtures/tables/penguins.csv"), 3),
            ),
            ("gaps", "a,b,y,word\n1,2,3,up\n4,,6,down\n".to_owned()),
            ("many", format!("a,class\n{}\n", classes.join("\n"))),
            ("flags", "a,p,q\n1,0,1\n2,1,1\n".to_owned()),
            ("marks", "a,p,q\n1,0,1\n2,1,0.5\n".to_owned()),
            ("held", format!("a,y\n{}", "1,2\n3,4\n".repeat(200))),
            (
                "flowers",
                "sepal_length,sepal_width,petal_length,petal_width,species\n1,2,3,4,rose\n"
                    .to_owned(),
            ),
        ];
        for (name, csv) in tables {
            server.upload(name, csv).await.expect(201);
        }
        let ended = text(&server.train(xor_job("xor", json!({}))).await["id"]);
        server
            .train(json!({"model": "iris", "data": {"dataset": "iris", "target": "species"}}))
            .await;
        server.create(birds()).await;
        let whole = json!({"dataset": "penguins", "missing": "drop_rows"});
        server.train(json!({"model": "birds", "data": whole})).await;
        let data = json!({"inputs": vec![[0, 1]; 400], "targets": vec![[1]; 400]});
        let first = json!({"from": {"initial": true}, "data": data});
        let paused = Self::paused(&server, xor_job("xor", first)).await;
        Self::paused(
            &server,
            json!({"model": "iris", "data": {"dataset": "iris", "target": "species"}}),
        )
        .await;
        Self::paused(
            &server,
            json!({"model": "line", "data": {"dataset": "held", "target": "y"}}),
        )
        .await;
        Self {
            server,
            ended,
            paused,
        }
    }

    /// A job that is paused while it trains or waits: it has steps for many seconds.
    async fn paused(server: &TestServer, mut spec: Value) -> String {
        (spec["epochs"], spec["batch_size"]) = (json!(75_000), json!(1));
        let id = server.submit(spec).await;
        let pause = format!("/v1/jobs/{id}/pause");
        server.tell(&pause).await.expect(200);
        server.job_once(&id, |job| job["status"] == "paused").await;
        id
    }

    async fn ask(&self, bad: &Bad) -> Answer {
        let path = bad
            .path
            .replace("{ended}", &self.ended)
            .replace("{paused}", &self.paused);
        let method = Method::from_bytes(bad.method.as_bytes()).expect("a method");
        let mut request = self
            .server
            .request(method, &path)
            .header("X-Request-Id", "told-by-the-test");
        if !bad.media_type.is_empty() {
            request = request.header("Content-Type", bad.media_type);
        }
        send(request.body(bad.body.clone())).await
    }

    /// Everything that a request could have made or changed.
    async fn everything(&self) -> Vec<Value> {
        let lists = [
            "/v1/models",
            "/v1/jobs",
            "/v1/datasets",
            "/v1/models/xor/versions",
            "/v1/models/iris/versions",
        ];
        let mut all = Vec::new();
        for list in lists {
            all.push(
                self.server
                    .get(&format!("{list}?limit=100"))
                    .await
                    .expect(200),
            );
        }
        all
    }
}

/// The header and every so many rows one.
fn some_lines(text: &str, every: usize) -> String {
    let mut lines = text.lines();
    let rows = lines.clone().skip(1).step_by(every);
    let chosen = lines.next().into_iter().chain(rows);
    chosen.flat_map(|line| [line, "\n"]).collect()
}

/// A model of a table that reads islands and years.
fn birds() -> Value {
    let ignored = [
        "species",
        "bill_length_mm",
        "bill_depth_mm",
        "flipper_length_mm",
        "body_mass_g",
    ];
    let ignored = ignored.map(|name| json!({"name": name, "role": "ignore"}));
    json!({"name": "birds", "dataset": "penguins", "target": "sex", "columns": ignored, "hidden": []})
}

/// Models whose numbers `bad_rows.rs` and `bad_jobs.rs` go by.
fn models() -> [Value; 11] {
    let huge = json!([{"weights": [[1e308]], "biases": [0]}]);
    let narrow = json!([{"weights": [[3e38, 3e38]], "biases": [0]}]);
    let softmax = json!({"name": "iris", "inputs": 4, "loss": "cross_entropy", "layers": layers(3, "softmax")});
    let mut fresh = softmax.clone();
    fresh["name"] = json!("fresh");
    [
        xor_model("xor"),
        softmax,
        fresh,
        json!({"name": "narrow", "inputs": 2, "layers": layers(1, "identity"), "parameters": narrow}),
        json!({"name": "huge", "inputs": 1, "dtype": "float64", "layers": layers(1, "identity"), "parameters": huge}),
        json!({"name": "scaled", "inputs": 2, "preprocess": "standardize", "layers": layers(1, "identity")}),
        json!({"name": "pair", "inputs": 1, "layers": layers(2, "identity")}),
        json!({"name": "signs", "inputs": 1, "layers": layers(2, "sigmoid")}),
        json!({"name": "line", "inputs": 1, "layers": layers(1, "identity")}),
        json!({"name": "broad", "inputs": 2, "layers": [{"units": 100, "activation": "tanh"}, {"units": 1, "activation": "tanh"}]}),
        json!({"name": "normal", "inputs": 2, "layers": [{"units": 1, "activation": "sigmoid", "normalization": "batch"}]}),
    ]
}

/// What is wrong with the answer to a bad request.
fn faults(bad: &Bad, answer: &Answer) -> Vec<String> {
    let Ok(problem) = serde_json::from_slice::<Value>(&answer.bytes) else {
        return vec![format!(
            "{} is no problem: {:?}",
            answer.status,
            answer.text()
        )];
    };
    let kind = PROBLEMS
        .iter()
        .find(|kind| kind.slug == bad.slug)
        .expect("a type that the server has");
    let detail = problem["detail"].as_str().unwrap_or("");
    let (mut got, mut pointers) = (pointers(&problem), bad.pointers.clone());
    got.sort_unstable();
    pointers.sort_unstable();
    let instance = "told-by-the-test";
    let checks = [
        (answer.status.as_u16() == bad.status, "status"),
        (kind.status == bad.status, "status of the type"),
        (problem["status"] == bad.status, "status in the body"),
        (
            answer.header("content-type") == "application/problem+json",
            "media type",
        ),
        (problem["type"] == format!("/problems/{}", bad.slug), "type"),
        (problem["title"] == kind.title, "title"),
        (
            problem["instance"] == instance && answer.header("x-request-id") == instance,
            "instance",
        ),
        (!detail.is_empty() && detail.contains(bad.detail), "detail"),
        (got == pointers, "pointers"),
        (
            problem["errors"].is_null() == bad.pointers.is_empty(),
            "errors",
        ),
        (
            bad.status != 405 || !answer.header("allow").is_empty(),
            "Allow",
        ),
    ];
    let broken: Vec<_> = checks
        .iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, what)| *what)
        .collect();
    if broken.is_empty() {
        return Vec::new();
    }
    let (slug, detail) = (bad.slug, bad.detail);
    vec![format!(
        "{}: want {} {slug} {pointers:?} {detail:?}\n   got {problem}",
        broken.join(", "),
        bad.status
    )]
}

#[tokio::test]
async fn every_bad_request_is_answered_with_the_problem_that_the_table_says() {
    let table = all();
    assert!(table.len() > 700, "only {} rows", table.len());
    let scene = Scene::set().await;
    let before = scene.everything().await;
    let mut wrong = Vec::new();
    for bad in &table {
        let answer = scene.ask(bad).await;
        let body: String = String::from_utf8_lossy(&bad.body)
            .chars()
            .take(160)
            .collect();
        let asked = format!("{} {} {body}", bad.method, bad.path);
        wrong.extend(
            faults(bad, &answer)
                .into_iter()
                .map(|fault| format!("{asked}\n   {fault}")),
        );
    }
    scene.server.get("/readyz").await.expect(200);
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );
    assert_eq!(
        scene.everything().await,
        before,
        "a refused request changed something"
    );
}

/// The pointers of a problem, sorted.
fn sorted(problem: &Value) -> Vec<String> {
    let mut pointers = pointers(problem);
    pointers.sort_unstable();
    pointers
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_model_is_said_at_once() {
    let server = TestServer::start().await;
    let mut model = xor_model("-");
    model["inputs"] = json!(0);
    model["layers"] =
        json!([{"units": 0, "activation": "tanh"}, {"units": 65_537, "activation": "relu"}]);
    model["loss"] = json!("cross_entropy");
    model["description"] = json!("a".repeat(4097));
    model["metadata"] = json!({"": "", "a": "b".repeat(513)});
    let problem = server
        .post("/v1/models", model)
        .await
        .problem(422, "invalid-spec");
    let expected = [
        "/description",
        "/inputs",
        "/layers/0/units",
        "/layers/1/activation",
        "/layers/1/units",
        "/metadata",
        "/metadata",
        "/name",
    ];
    assert_eq!(sorted(&problem), expected);
    assert!(
        text(&problem["detail"]).starts_with("8 violations, the first: /name must be"),
        "{problem}"
    );
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_job_is_said_at_once() {
    let server = TestServer::start().await;
    server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    let mut job = xor_job("xor", json!({"epochs": 0, "batch_size": 0, "metrics": []}));
    job["optimizer"]["learning_rate"] = json!(0);
    job["metadata"] = json!({"": ""});
    job["data"] = json!({"inputs": [[0], [1]], "targets": [[0, 1]], "missing": "error"});
    job["validation"] = json!({"fraction": 2, "targets": [[1]]});
    let expected = [
        "/batch_size",
        "/data/inputs/0",
        "/data/missing",
        "/data/targets",
        "/data/targets/0",
        "/epochs",
        "/metadata",
        "/metrics",
        "/optimizer/learning_rate",
        "/validation/fraction",
        "/validation/targets",
    ];
    let problem = server
        .post("/v1/jobs", job)
        .await
        .problem(422, "invalid-spec");
    assert_eq!(sorted(&problem), expected);
}

#[tokio::test]
async fn no_more_than_a_hundred_violations_are_listed() {
    let server = TestServer::start().await;
    let weights = vec![vec![1e39; 200]; 1];
    let model = json!({"name": "wide", "inputs": 200, "layers": layers(1, "identity"),
        "parameters": [{"weights": weights, "biases": [0]}]});
    let problem = server
        .post("/v1/models", model)
        .await
        .problem(422, "invalid-spec");
    assert_eq!(pointers(&problem).len(), 100);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let mut limits = low_limits();
    limits.queued_jobs = 1;
    limits.epochs = u64::MAX;
    limits.steps = u64::MAX;
    let server = TestServer::start_with(1, limits).await;
    server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    let endless = xor_job("xor", json!({"epochs": 1_000_000_000_u64}));
    let running = server.submit(endless.clone()).await;
    server
        .job_once(&running, |job| job["status"] == "running")
        .await;
    let queued = server.submit(endless.clone()).await;
    let refused = server.post("/v1/jobs", endless).await;
    assert_eq!(refused.header("retry-after"), "10");
    let problem = refused.problem(503, "queue-full");
    assert_eq!(problem["detail"], "the queue is full: 1 jobs wait");
    for id in [queued, running] {
        server
            .tell(&format!("/v1/jobs/{id}/cancel"))
            .await
            .expect(200);
        server.ended(&id).await;
    }
}

#[tokio::test]
async fn a_request_id_that_does_not_fit_a_log_line_is_replaced() {
    let server = TestServer::start().await;
    for (given, is_kept) in [
        ("a", true),
        (&"a".repeat(128), true),
        (&"a".repeat(129), false),
        ("a b", false),
        ("", false),
    ] {
        let request = server
            .request(Method::GET, "/v1/models/none")
            .header("X-Request-Id", given);
        let answer = send(request).await;
        let answered = answer.header("x-request-id").to_owned();
        assert_eq!(answered == given, is_kept, "{given:?}: {answered:?}");
        assert!(!answered.is_empty());
        assert_eq!(answer.problem(404, "not-found")["instance"], answered);
    }
}

#[tokio::test]
async fn a_probe_may_add_what_no_cache_has_seen() {
    let server = TestServer::start().await;
    for path in ["/healthz?1700000000", "/readyz?t=1"] {
        server.get(path).await.expect(200);
    }
    server.stop().await;
}
