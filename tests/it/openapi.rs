//! `openapi.yaml` against the server: the same operations, problems and words, and examples that work.

use std::collections::BTreeSet;

use gradientd::http::PROBLEMS;
use reqwest::Method;
use serde_json::{Value, json};

use crate::conformance::{Conformance, escaped};
use crate::contract::{Contract, Operation, references, text};
use crate::server::{Answer, TestServer, send, xor_job, xor_model};

/// An id that no job has.
const NO_JOB: &str = "01900000-0000-7000-8000-000000000000";

/// Paths and methods as `src/http/routes.rs` writes them.
fn routed() -> BTreeSet<(String, String)> {
    let source = text("src/http/routes.rs");
    for other in [".nest", ".merge(", "_service", "any("] {
        assert!(
            !source.contains(other),
            "{other} hides operations from this test"
        );
    }
    let mut found = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').expect("a path in quotes");
        let (handlers, _) = rest.split_once('\n').expect("a line for each route");
        for method in ["get", "post", "put", "delete", "patch"] {
            let routes = |before: char| handlers.contains(&format!("{before}{method}("));
            if [' ', '(', '.'].into_iter().any(routes) {
                found.insert((path.to_owned(), method.to_uppercase()));
            }
        }
    }
    found
}

/// The operation's path with nothing that exists in its gaps.
fn path_to_nothing(operation: &Operation) -> String {
    let pieces = operation.path.split('/').map(|piece| match piece {
        "{id}" => NO_JOB,
        piece if piece.starts_with('{') => "nothing",
        piece => piece,
    });
    pieces.collect::<Vec<_>>().join("/")
}

async fn ask(server: &TestServer, operation: &Operation) -> Answer {
    let method: Method = operation.method.parse().expect("a method");
    send(server.request(method, &path_to_nothing(operation))).await
}

/// The words that a detail says are accepted.
fn accepted(detail: &str) -> BTreeSet<String> {
    let marks = ["known: ", "must be one of "];
    let list = marks
        .iter()
        .find_map(|mark| Some(detail.split_once(mark)?.1));
    let list = list.unwrap_or_else(|| panic!("no list of words: {detail}"));
    let list = list.split(", got").next().unwrap_or(list);
    let words = list.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// The words of an enum of the contract.
fn words(contract: &Contract, pointer: &str) -> BTreeSet<String> {
    let values = contract.at(pointer).as_array().expect("a list of words");
    values.iter().map(crate::server::text).collect()
}

#[test]
fn the_contract_and_the_routes_have_the_same_operations() {
    let contract = Contract::read();
    let operations = contract.operations().into_iter();
    let described: BTreeSet<_> = operations
        .map(|operation| (operation.path, operation.method))
        .collect();
    assert!(described.len() >= 33, "{described:?}");
    assert_eq!(described, routed());
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_led_to() {
    let contract = Contract::read();
    let mut references: BTreeSet<String> = references(&contract.0).into_iter().collect();
    // A scheme of security is named where it is asked for, not referred to.
    let asked = contract.at("/security").as_array().expect("schemes");
    let schemes = asked
        .iter()
        .flat_map(|of| of.as_object().expect("names").keys());
    references.extend(schemes.map(|name| format!("#/components/securitySchemes/{name}")));
    for reference in &references {
        assert!(reference.starts_with("#/components/"), "{reference}");
        contract.at(reference.trim_start_matches('#'));
    }
    for (kind, components) in contract.at("/components").as_object().expect("components") {
        for name in components.as_object().expect("components").keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(
                references.contains(&reference),
                "nothing refers to {reference}"
            );
        }
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_the_parameters_of_its_path() {
    let contract = Contract::read();
    let mut names = BTreeSet::new();
    for operation in contract.operations() {
        let name = crate::server::text(&operation.description["operationId"]);
        assert!(names.insert(name.clone()), "{name} twice");
        let item = &contract.0["paths"][&operation.path];
        let lists = [&item["parameters"], &operation.description["parameters"]];
        let parameters = lists.into_iter().filter_map(Value::as_array).flatten();
        let resolved = parameters.map(|parameter| contract.resolved(parameter));
        let in_path = resolved.filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<_> = in_path
            .map(|parameter| crate::server::text(&parameter["name"]))
            .collect();
        let gaps = operation
            .path
            .split('/')
            .filter_map(|piece| piece.strip_prefix('{'));
        let gaps: BTreeSet<_> = gaps
            .map(|gap| gap.trim_end_matches('}').to_owned())
            .collect();
        assert_eq!(described, gaps, "{name}");
    }
}

#[tokio::test]
async fn every_operation_of_the_contract_answers_with_a_status_that_it_lists() {
    let server = TestServer::start().await;
    for operation in Contract::read().operations() {
        let answer = ask(&server, &operation).await;
        let asked = format!("{} {}: {}", operation.method, operation.path, answer.text());
        let listed = &operation.description["responses"][answer.status.as_str()];
        assert!(
            listed.is_object(),
            "{} is not listed: {asked}",
            answer.status
        );
        let unknown = answer.text().contains("/problems/no-such-path");
        assert!(answer.status.is_success() || !unknown, "{asked}");
    }
}

#[test]
fn the_contract_has_the_problems_of_the_server_with_their_statuses() {
    let contract = Contract::read();
    let described: Vec<_> = contract
        .at("/components/schemas/ProblemType/oneOf")
        .as_array()
        .expect("types")
        .clone();
    let known: Vec<_> = PROBLEMS
        .iter()
        .map(|kind| json!({"const": format!("/problems/{}", kind.slug), "title": kind.title, "x-status": kind.status}))
        .collect();
    assert_eq!(described, known);
}

#[test]
fn every_example_of_a_problem_is_one_that_the_server_has() {
    let contract = Contract::read();
    let mut examples = 0;
    for (name, response) in contract
        .at("/components/responses")
        .as_object()
        .expect("responses")
    {
        let Some(example) = response.pointer("/content/application~1problem+json/example") else {
            continue;
        };
        let known = PROBLEMS
            .iter()
            .find(|kind| example["type"] == format!("/problems/{}", kind.slug));
        let known = known.unwrap_or_else(|| panic!("{name}: {example}"));
        assert_eq!(
            (&example["title"], &example["status"]),
            (&json!(known.title), &json!(known.status)),
            "{name}"
        );
        examples += 1;
    }
    assert!(examples >= 4, "only {examples} examples");
}

#[tokio::test]
async fn the_server_explains_every_type_of_problem() {
    let server = TestServer::start().await;
    let mut listed = Vec::new();
    for kind in PROBLEMS {
        let path = format!("/problems/{}", kind.slug);
        let explained = server.get(&path).await.expect(200);
        let expected = json!({"type": path, "status": kind.status, "title": kind.title, "cure": kind.cure,
            "example": explained["example"]});
        assert_eq!(explained, expected);
        let example = &explained["example"];
        let (title, status) = (json!(kind.title), json!(kind.status));
        assert_eq!(
            (&example["type"], &example["title"]),
            (&json!(path), &title)
        );
        assert_eq!(example["status"], status, "{example}");
        listed.push(explained);
    }
    let list = server.get("/problems").await.expect(200);
    assert_eq!(list, json!({"data": listed, "has_more": false}));
    let unknown = server.get("/problems/none").await.problem(404, "not-found");
    assert!(
        unknown["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("invalid-spec")),
        "{unknown}"
    );
}

/// The media types of a request or response, each with its examples.
fn bodies<'a>(contract: &'a Contract, place: &str) -> Vec<(String, Vec<&'a Value>)> {
    let place = contract.place(place);
    let content = contract.at(&place)["content"].as_object();
    let each = content
        .into_iter()
        .flatten()
        .map(|(media_type, described)| {
            let named = described["examples"].as_object().into_iter().flatten();
            let named = named.map(|(_, example)| &example["value"]);
            let examples = described.get("example").into_iter().chain(named).collect();
            (format!("{place}/content/{}", escaped(media_type)), examples)
        });
    each.collect()
}

#[test]
fn every_body_has_an_example_that_fits_its_schema() {
    let conformance = Conformance::read();
    let contract = &conformance.contract;
    let mut faults = Vec::new();
    for operation in contract.operations() {
        let at = format!(
            "/paths/{}/{}",
            escaped(&operation.path),
            operation.method.to_lowercase()
        );
        let responses = operation.description["responses"]
            .as_object()
            .expect("responses");
        let mut places: Vec<_> = responses
            .keys()
            .map(|status| format!("{at}/responses/{status}"))
            .collect();
        places.extend(
            operation
                .description
                .get("requestBody")
                .map(|_| format!("{at}/requestBody")),
        );
        for (media, examples) in places.iter().flat_map(|place| bodies(contract, place)) {
            if examples.is_empty() && media.ends_with("json") && !at.contains("openapi.json") {
                faults.push(format!("{media} has no example"));
            }
            let broken = examples
                .into_iter()
                .flat_map(|example| conformance.broken(&format!("{media}/schema"), example));
            faults.extend(broken.map(|fault| format!("{media}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A request with an unknown word where the contract has an enum, and where that enum stands.
async fn with_unknown_word(server: &TestServer, field: &str) -> Answer {
    let (mut model, mut job) = (xor_model("words"), xor_job("xor", json!({})));
    let rows = json!({"inputs": [[0, 1]], "targets": [[1]], "include": ["bogus"]});
    match field {
        "activation" => model["layers"][0]["activation"] = json!("bogus"),
        "approximation" => {
            model["layers"][0]["activation"] = json!({"type": "gelu", "approximation": "bogus"});
        }
        "normalization" => model["layers"][0]["normalization"] = json!("bogus"),
        "layer initializer" => model["layers"][0]["initializer"] = json!("bogus"),
        "optimizer" => job["optimizer"]["type"] = json!("bogus"),
        "schedule" => job["schedule"] = json!("bogus"),
        "metrics" => job["metrics"] = json!(["bogus"]),
        "target_kind" | "missing" => job["data"] = json!({"dataset": "d", field: "bogus"}),
        field => model[field] = json!("bogus"),
    }
    match field {
        "status" | "order" => server.get(&format!("/v1/jobs?{field}=bogus")).await,
        "include" => server.post("/v1/models/xor/gradients", rows).await,
        "optimizer" | "schedule" | "metrics" | "target_kind" | "missing" => {
            server.post("/v1/jobs", job).await
        }
        _ => server.post("/v1/models", model).await,
    }
}

#[tokio::test]
async fn the_server_accepts_just_the_words_of_the_contract() {
    let contract = Contract::read();
    let server = TestServer::start().await;
    server
        .post("/v1/models", xor_model("xor"))
        .await
        .expect(201);
    let places = [
        ("activation", "/components/schemas/ActivationName/enum"),
        (
            "approximation",
            "/components/schemas/Activation/oneOf/4/properties/approximation/enum",
        ),
        (
            "layer initializer",
            "/components/schemas/InitializerName/enum",
        ),
        ("initializer", "/components/schemas/InitializerName/enum"),
        (
            "normalization",
            "/components/schemas/NormalizationName/enum",
        ),
        ("loss", "/components/schemas/LossName/enum"),
        ("dtype", "/components/schemas/Dtype/enum"),
        ("preprocess", "/components/schemas/Preprocess/enum"),
        ("metrics", "/components/schemas/MetricName/enum"),
        ("include", "/components/schemas/Include/enum"),
        (
            "target_kind",
            "/components/schemas/DatasetData/properties/target_kind/enum",
        ),
        (
            "missing",
            "/components/schemas/DatasetData/properties/missing/enum",
        ),
        ("optimizer", "/components/schemas/OptimizerName/enum"),
        ("schedule", "/components/schemas/ScheduleName/enum"),
        ("status", "/components/schemas/JobStatus/enum"),
        ("order", "/components/parameters/Order/schema/enum"),
    ];
    for (field, pointer) in places {
        let problem = with_unknown_word(&server, field).await.expect(422);
        let detail = crate::server::text(&problem["detail"]);
        assert_eq!(
            accepted(&detail),
            words(&contract, pointer),
            "{field}: {detail}"
        );
    }
}

/// The body of an example: of those with names one of JSON, else of CSV where the operation takes several media types.
fn example(contract: &Contract, operation: &str, name: &str) -> Value {
    let body = contract.at(&format!("/paths/{operation}/requestBody"));
    let content = body["content"].as_object().expect("content");
    let csv = content.get("text/csv");
    let first = csv.or_else(|| content.values().next());
    let example = if name.is_empty() {
        &first.expect("a media type")["example"]
    } else {
        &content["application/json"]["examples"][name]["value"]
    };
    assert!(!example.is_null(), "{operation} has no example {name:?}");
    example.clone()
}

#[tokio::test]
async fn the_examples_of_requests_are_accepted() {
    let contract = Contract::read();
    let body = |operation: &str, name: &str| example(&contract, operation, name);
    let server = TestServer::start().await;
    for name in ["a_network", "choices", "given_parameters"] {
        server
            .post("/v1/models", body("~1v1~1models/post", name))
            .await
            .expect(201);
    }
    let iris = json!({"name": "iris", "inputs": 4, "loss": "cross_entropy", "preprocess": "standardize",
        "layers": [{"units": 16, "activation": "tanh"}, {"units": 3, "activation": "softmax"}]});
    server.post("/v1/models", iris).await.expect(201);
    server
        .upload("iris", text("tests/fixtures/tables/iris.csv"))
        .await
        .expect(201);
    let table = crate::server::text(&body("~1v1~1datasets/post", ""));
    server.upload("flowers", table).await.expect(201);
    for name in ["inline", "dataset"] {
        server.train(body("~1v1~1jobs/post", name)).await;
    }
    let predict = "~1v1~1models~1{name}~1predict/post";
    server
        .post("/v1/models/xor/predict", body(predict, "inputs"))
        .await
        .expect(200);
    server
        .post("/v1/models/iris/predict", body(predict, "instances"))
        .await
        .expect(200);
    let evaluate = "~1v1~1models~1{name}~1versions~1{version}~1evaluate/post";
    server
        .post(
            "/v1/models/iris/versions/latest/evaluate",
            body(evaluate, "dataset"),
        )
        .await
        .expect(200);
    let batch = "~1v1~1models~1{name}~1predictions/post";
    for name in ["latest", "all"] {
        let answer = server.post("/v1/models/iris/predictions", body(batch, name));
        let made = answer.await.expect(202);
        let expected = answered(&contract, batch, 202);
        for field in ["model", "version", "dataset", "status", "progress"] {
            assert_eq!(made[field], expected[field], "{name}: {field}");
        }
    }
    let alias = body("~1v1~1models~1{name}~1aliases~1{alias}/put", "");
    server
        .put("/v1/models/xor/aliases/best", alias)
        .await
        .expect(200);
    let check = body("~1v1~1models~1{name}~1gradient-check/post", "");
    server
        .post("/v1/models/xor/gradient-check", check)
        .await
        .expect(200);
    let inspect = body("~1v1~1models~1{name}~1gradients/post", "");
    let gradients = server
        .post("/v1/models/line/gradients", inspect)
        .await
        .expect(200);
    assert_eq!(
        &gradients,
        answered(&contract, "~1v1~1models~1{name}~1gradients/post", 200)
    );
}

/// The example of an operation's answer.
fn answered<'a>(contract: &'a Contract, operation: &str, status: u16) -> &'a Value {
    let content = "content/application~1json/example";
    contract.at(&format!("/paths/{operation}/responses/{status}/{content}"))
}

#[tokio::test]
async fn the_examples_of_answers_are_what_the_server_answers() {
    let contract = Contract::read();
    let server = TestServer::start().await;
    let mut created = Vec::new();
    for name in ["a_network", "given_parameters"] {
        let model = example(&contract, "~1v1~1models/post", name);
        created.push(server.post("/v1/models", model).await.expect(201));
    }
    let mut expected = answered(&contract, "~1v1~1models/post", 201).clone();
    expected["created_at"] = created[0]["created_at"].take();
    created[0]["created_at"] = expected["created_at"].clone();
    assert_eq!(created[0], expected);
    let parameters = server
        .get("/v1/models/line/versions/1/parameters")
        .await
        .expect(200);
    let operation = "~1v1~1models~1{name}~1versions~1{version}~1parameters/get";
    assert_eq!(&parameters, answered(&contract, operation, 200));
    let operation = "~1v1~1models~1{name}~1versions~1{version}~1evaluate/post";
    let rows = example(&contract, operation, "inline");
    let path = "/v1/models/line/versions/latest/evaluate";
    let evaluated = server.post(path, rows).await.expect(200);
    assert_eq!(&evaluated, answered(&contract, operation, 200));
    let job = example(&contract, "~1v1~1jobs/post", "inline");
    let job = server.post("/v1/jobs", job).await.expect(202);
    let expected = answered(&contract, "~1v1~1jobs/post", 202);
    for field in [
        "model",
        "base_version",
        "version",
        "spec",
        "metadata",
        "error",
    ] {
        assert_eq!(job[field], expected[field], "{field}");
    }
    let table = crate::server::text(&example(&contract, "~1v1~1datasets/post", ""));
    let mut dataset = server.upload("flowers", table).await.expect(201);
    let expected = answered(&contract, "~1v1~1datasets/post", 201);
    dataset["created_at"] = expected["created_at"].clone();
    assert_eq!(&dataset, expected);
    let operation = "~1v1~1datasets~1{name}~1rows/post";
    let rows = crate::server::text(&example(&contract, operation, ""));
    let request = server.request(reqwest::Method::POST, "/v1/datasets/flowers/rows");
    let request = request.header("Content-Type", "text/csv").body(rows);
    let mut grown = crate::server::send(request).await.expect(201);
    let expected = answered(&contract, operation, 201);
    grown["created_at"] = expected["created_at"].clone();
    assert_eq!(&grown, expected);
}
