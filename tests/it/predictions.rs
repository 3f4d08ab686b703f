//! Batch predictions: every row of a dataset predicted by a job, kept as CSV or Parquet, the same as by `/predict`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Api, TestServer, send, text, until};

const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");

/// A server with a model `p` that has learned the species of the dataset `penguins`.
async fn penguins() -> TestServer {
    let server = TestServer::start().await;
    server.upload("penguins", PENGUINS).await.expect(201);
    let model = json!({"name": "p", "dataset": "penguins", "target": "species"});
    server.create(model).await;
    server.train(json!({"model": "p", "epochs": 5})).await;
    server
}

/// Rows of `a`, `b` and `y`.
pub(crate) fn table(rows: usize) -> String {
    let row = |row: usize| format!("{},{},{}\n", row % 7, row % 11, row % 13);
    "a,b,y\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

/// Declares and trains a model `slow` of 250,000 parameters that reads `a` and `b`, and uploads so many rows as `many`.
pub(crate) async fn slow(api: &Api, rows: usize) {
    api.upload("few", table(8)).await.expect(201);
    api.upload("many", table(rows)).await.expect(201);
    let wide = json!({"units": 500, "activation": "tanh"});
    let layers = json!([wide, wide, {"units": 1, "activation": "identity"}]);
    api.create(json!({"name": "slow", "inputs": 2, "layers": layers}))
        .await;
    let data = json!({"dataset": "few", "target": "y"});
    api.train(json!({"model": "slow", "data": data, "epochs": 1}))
        .await;
}

/// Submits a batch prediction and gives its path.
pub(crate) async fn submit(api: &Api, model: &str, spec: Value) -> String {
    let path = format!("/v1/models/{model}/predictions");
    let answer = api.post(&path, spec).await;
    let location = answer.header("location").to_owned();
    let id = text(&answer.expect(202)["id"]);
    assert_eq!(location, format!("{path}/{id}"));
    location
}

/// The batch prediction once `reached` says so.
pub(crate) async fn once(api: &Api, path: &str, reached: impl Fn(&Value) -> bool) -> Value {
    until(path, async || {
        let shown = api.get(path).await.expect(200);
        if reached(&shown) {
            Ok(shown)
        } else {
            Err(shown)
        }
    })
    .await
}

pub(crate) async fn succeeded(api: &Api, path: &str) -> Value {
    let ended = |shown: &Value| shown["finished_at"] != Value::Null;
    let ended = once(api, path, ended).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    ended
}

/// What `/predict` answers to rows of CSV.
pub(crate) async fn predicted(api: &Api, model: &str, csv: &str) -> String {
    let request = api.request(Method::POST, &format!("/v1/models/{model}/predict"));
    let request = request.header("Content-Type", "text/csv");
    let answer = send(request.body(csv.to_owned())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

pub(crate) async fn result(api: &Api, path: &str) -> Answer {
    api.get(&format!("{path}/result")).await
}

#[tokio::test]
async fn every_row_of_a_dataset_is_answered_as_the_same_row_of_csv() {
    let server = penguins().await;
    let expected = predicted(&server, "p", PENGUINS).await;
    let spec = json!({"dataset": "penguins", "metadata": {"team": "a"}});
    let path = submit(&server, "p", spec).await;
    let ended = succeeded(&server, &path).await;
    let answer = result(&server, &path).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "text/csv")
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-length"), ended["bytes"].to_string());
    let progress = &ended["progress"];
    assert_eq!(
        (
            &progress["rows_done"],
            &progress["rows"],
            &progress["fraction"]
        ),
        (&json!(344), &json!(344), &json!(1.0))
    );
    let dataset = server.get("/v1/datasets/penguins").await.expect(200);
    for (field, expected) in [
        ("model", json!("p")),
        ("version", json!(2)),
        ("dataset", json!("penguins")),
        ("digest", dataset["digest"].clone()),
        ("format", json!("csv")),
        ("top_k", Value::Null),
        ("keep", json!([])),
        ("error", Value::Null),
        ("metadata", json!({"team": "a"})),
    ] {
        assert_eq!(ended[field], expected, "{field}");
    }
    let scraped = server.get("/metrics").await.text();
    let told = "gradientd_batch_predictions{status=\"succeeded\"} 1";
    assert!(scraped.contains(told), "{scraped}");
    server.stop().await;
}

#[tokio::test]
async fn columns_that_are_kept_stand_before_the_answers_as_they_were_uploaded() {
    let server = penguins().await;
    let keep = json!({"dataset": "penguins", "keep": ["body_mass_g", "sex"]});
    let path = submit(&server, "p", keep).await;
    succeeded(&server, &path).await;
    let answers = predicted(&server, "p", PENGUINS).await;
    let rows = PENGUINS.lines().zip(answers.lines());
    let expected = rows.map(|(row, answer)| {
        let cells: Vec<_> = row.split(',').collect();
        let there = |cell: &str| {
            if cell == "NA" {
                String::new()
            } else {
                cell.to_owned()
            }
        };
        format!("{},{},{answer}\n", there(cells[5]), there(cells[6]))
    });
    let text = result(&server, &path).await.text();
    assert_eq!(text, expected.collect::<String>());
    server.stop().await;
}

#[tokio::test]
async fn the_most_probable_classes_are_told_alone_where_that_is_asked() {
    let server = penguins().await;
    let spec = json!({"dataset": "penguins", "top_k": 2, "version": "latest"});
    let path = submit(&server, "p", spec).await;
    succeeded(&server, &path).await;
    let text = result(&server, &path).await.text();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("class,probability,class_1,probability_1,class_2,probability_2")
    );
    let all = predicted(&server, "p", PENGUINS).await;
    for (line, all) in lines.zip(all.lines().skip(1)) {
        let (cells, all): (Vec<_>, Vec<_>) = (line.split(',').collect(), all.split(',').collect());
        assert_eq!((cells[0], cells[1]), (all[0], all[1]));
        assert_eq!((cells[2], cells[3]), (all[0], all[1]));
        let mut probabilities = all[2..].to_vec();
        let number = |text: &&str| text.parse::<f64>().expect("a number");
        probabilities.sort_by(|a, b| number(b).total_cmp(&number(a)));
        assert_eq!(cells[5], probabilities[1]);
    }
    server.stop().await;
}

/// All rows of a dataset, as the server shows them.
async fn rows(api: &Api, dataset: &str) -> Vec<Value> {
    let path = format!("/v1/datasets/{dataset}/rows?limit=1000");
    let mut page = api.get(&path).await.expect(200);
    assert_eq!(page["has_more"], false);
    serde_json::from_value(page["data"].take()).expect("a list")
}

#[tokio::test]
async fn a_parquet_result_has_the_numbers_of_the_csv_one_to_the_last_bit() {
    let server = penguins().await;
    let keep = json!(["sex", "flipper_length_mm"]);
    for format in ["csv", "parquet"] {
        let spec = json!({"dataset": "penguins", "format": format, "keep": keep});
        let path = submit(&server, "p", spec).await;
        let ended = succeeded(&server, &path).await;
        let answer = result(&server, &path).await;
        let media_type = match format {
            "csv" => "text/csv",
            _ => "application/vnd.apache.parquet",
        };
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(ended["bytes"], answer.bytes.len());
        let request = server.request(Method::POST, &format!("/v1/datasets?name={format}"));
        let request = request.header("Content-Type", media_type);
        send(request.body(answer.bytes)).await.expect(201);
    }
    let (csv, parquet) = (rows(&server, "csv").await, rows(&server, "parquet").await);
    assert_eq!(csv.len(), 344);
    assert_eq!(csv, parquet);
    assert_eq!(csv[3]["sex"], Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_is_renamed_where_a_kept_column_has_its_name() {
    let server = TestServer::start().await;
    slow(&server, 20).await;
    let spec = json!({"dataset": "many", "keep": ["y", "a"]});
    let path = submit(&server, "slow", spec).await;
    succeeded(&server, &path).await;
    let text = result(&server, &path).await.text();
    assert!(text.starts_with("y,a,predicted_y\n0,0,"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_prediction_is_made_once_for_a_key() {
    let server = penguins().await;
    let ask = async |body: &str| {
        let request = server.request(Method::POST, "/v1/models/p/predictions");
        let request = request.header("Idempotency-Key", "all-penguins");
        let request = request.header("Content-Type", "application/json");
        send(request.body(body.to_owned())).await
    };
    let first = ask(r#"{"dataset":"penguins"}"#).await;
    let again = ask(r#"{"dataset":"penguins"}"#).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.expect(202), again.expect(202));
    let other = ask(r#"{"dataset":"penguins","format":"parquet"}"#).await;
    other.problem(422, "idempotency-key-reused");
    let list = server.get("/v1/models/p/predictions").await.expect(200);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    server.stop().await;
}

#[tokio::test]
async fn a_row_that_the_model_does_not_take_fails_the_job_with_its_place() {
    let server = TestServer::start().await;
    let rows = |last: &str| {
        let rows = (0..40_000).map(|row| format!("{},{}\n", row % 3, row % 2));
        format!("deck,y\n{}{last}\n", rows.collect::<String>())
    };
    server.upload("t", rows("1,0")).await.expect(201);
    server.upload("odd", rows("7,0")).await.expect(201);
    let columns = json!([{"name": "deck", "kind": "categorical"}]);
    let model =
        json!({"name": "d", "dataset": "t", "target": "y", "hidden": [], "columns": columns});
    server.create(model).await;
    server.train(json!({"model": "d", "epochs": 1})).await;
    let path = submit(&server, "d", json!({"dataset": "odd"})).await;
    let ended = |shown: &Value| shown["finished_at"] != Value::Null;
    let failed = once(&server, &path, ended).await;
    assert_eq!(
        (&failed["status"], &failed["bytes"]),
        (&json!("failed"), &json!(0))
    );
    let error = json!({"code": "unusable_row", "detail": "row 40001, column \"deck\": must be a category that the model knows, or \"unknown\":\"zeros\" must be declared, got \"7\": known: 0, 1, 2"});
    assert_eq!(failed["error"], error);
    let refused = result(&server, &path).await.problem(409, "no-result");
    assert!(text(&refused["detail"]).ends_with("is failed and has no result: its error says why"));
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_result_is_told_and_not_sent() {
    let server = penguins().await;
    let path = submit(&server, "p", json!({"dataset": "penguins"})).await;
    succeeded(&server, &path).await;
    let server = server
        .restart_after(|directory| {
            let database = directory.join("gradientd.db");
            let mut bytes = std::fs::read(&database).expect("a database");
            let header = b"class,probability,probability_Adelie";
            let found = bytes.windows(header.len()).position(|part| part == header);
            bytes[found.expect("the result")] ^= 1;
            std::fs::write(&database, bytes).expect("a database");
        })
        .await;
    let problem = result(&server, &path).await.problem(500, "damaged");
    let (_, id) = path.rsplit_once('/').expect("an id");
    let told = format!(
        "chunk 0 of the result of batch prediction {id} is damaged in the store: its digest does not match"
    );
    assert_eq!(problem["detail"], told);
    server.stop().await;
}

#[tokio::test]
async fn a_dataset_that_does_not_fit_the_version_is_refused_with_all_that_is_wrong() {
    let server = TestServer::start().await;
    let table =
        "island,when,mass,ok,y\nTorgersen,2026-01-01,1,true,1\nDream,2026-01-02,2,false,2\n";
    server.upload("t", table).await.expect(201);
    let columns = json!([{"name": "mass", "impute": "none"}]);
    let model =
        json!({"name": "m", "dataset": "t", "target": "y", "hidden": [], "columns": columns});
    server.create(model).await;
    let path = "/v1/models/m/predictions";
    let problem = server.post(path, json!({"dataset": "t"})).await;
    let told = "this version is not trained, and preprocess of the columns is fitted by training: train the model, or ask a version that a job published";
    assert_eq!(problem.problem(409, "not-fitted")["detail"], told);

    server.train(json!({"model": "m", "epochs": 1})).await;
    let other = "island,when,mass,predicted_y,y\nBiscoe,soon,,1,1\nDream,later,2,2,2\n";
    server.upload("other", other).await.expect(201);
    let spec = json!({"dataset": "other", "keep": ["y", "predicted_y", "id"], "top_k": 1});
    let problem = server.post(path, spec).await.problem(422, "invalid-spec");
    let expected = json!([
        {"pointer": "/top_k", "detail": "must be left out: the outputs are no probabilities of classes"},
        {"pointer": "/keep/2", "detail": "must be a column of the dataset, got \"id\": known: island, when, mass, predicted_y, y"},
        {"pointer": "/dataset", "detail": "must have the model's categories in column \"island\" (Dream, Torgersen), or the model be declared with \"unknown\":\"zeros\" for it, got Biscoe"},
        {"pointer": "/dataset", "detail": "must be timestamp as in the model, got column \"when\", which is categorical (its first word is \"soon\" on line 2)"},
        {"pointer": "/dataset", "detail": "must have a value in every row of column \"mass\", and 1 are missing: fill them, or declare the model with an \"impute\" for it"},
        {"pointer": "/dataset", "detail": "must have column \"ok\""},
        {"pointer": "/keep/1", "detail": "must not be named as an answer is, got \"predicted_y\""},
    ]);
    assert_eq!(problem["errors"], expected);
    server.stop().await;
}
