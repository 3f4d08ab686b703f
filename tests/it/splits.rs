//! Splits: groups kept together, the latest rows held out, and what a job comes to as if it had been given both sides.

use serde_json::{Value, json};

use crate::server::TestServer;

/// Visits of patients: `who` made them, `at` is when, and y is to be predicted from x.
const VISITS: &str = "who,at,x,y\n\
    a,3,0.1,0\na,9,0.9,1\na,1,0.4,0\na,4,0.7,1\na,5,0.3,0\na,6,0.8,1\na,8,0.2,0\nb,7,0.6,1\na,2,0.5,1\nb,9,0.0,0\n";

fn model(name: &str) -> Value {
    json!({
        "name": name, "inputs": 1, "dtype": "float64", "preprocess": "standardize", "seed": 3,
        "layers": [{"units": 3, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}],
    })
}

fn job(model: &str, data: &Value, validation: &Value) -> Value {
    json!({"model": model, "data": data, "validation": validation, "epochs": 20, "batch_size": 3, "seed": 4})
}

/// The lines of a table whose numbers are given, the first being 1.
fn lines(numbers: &[usize]) -> String {
    let lines: Vec<_> = VISITS.lines().collect();
    let chosen = numbers.iter().map(|&number| lines[number]);
    let chosen: Vec<_> = std::iter::once(lines[0]).chain(chosen).collect();
    chosen.join("\n") + "\n"
}

/// What a job comes to that splits by itself, and one that is given both sides, is the same: history, report and parameters.
async fn assert_split(server: &TestServer, how: Value, (train, validation): (&[usize], &[usize])) {
    let name = if how["group"].is_null() { "at" } else { "who" };
    server.create(model(name)).await;
    let data = json!({"dataset": "visits", "features": ["x"], "target": "y"});
    let split = server.train(job(name, &data, &how)).await;
    assert_eq!(split["spec"]["train_rows"], train.len());
    let mut shown = how.clone();
    shown["stratified"] = json!(false);
    assert_eq!(split["spec"]["validation"], shown);

    let (sides, given) = (
        [format!("{name}-train"), format!("{name}-kept")],
        format!("{name}-given"),
    );
    for (side, rows) in sides.iter().zip([train, validation]) {
        server.upload(side, lines(rows)).await.expect(201);
    }
    server.create(model(&given)).await;
    let data = json!({"dataset": sides[0], "features": ["x"], "target": "y"});
    let whole = server
        .train(job(&given, &data, &json!({"dataset": sides[1]})))
        .await;
    assert_eq!(split["metrics"], whole["metrics"], "{name}");
    assert_eq!(
        server.parameters(name, "2").await,
        server.parameters(&given, "2").await
    );
    let mut reports = Vec::new();
    for job in [&split, &whole] {
        let id = job["id"].as_str().expect("an id");
        let mut report = server
            .get(&format!("/v1/jobs/{id}/report"))
            .await
            .expect(200);
        report["job"].take();
        reports.push(report);
    }
    assert_eq!(reports[0], reports[1], "{name}");
    assert_eq!(reports[0]["validation"]["rows"], validation.len());
}

#[tokio::test]
async fn a_group_is_held_out_whole_as_if_its_rows_had_been_given() {
    let server = TestServer::start().await;
    server.upload("visits", VISITS).await.expect(201);
    // 2 of 10 rows are wanted: those of b, for the 8 of a are no nearer to 2 than none.
    let rows: (&[_], &[_]) = (&[1, 2, 3, 4, 5, 6, 7, 9], &[8, 10]);
    assert_split(&server, json!({"fraction": 0.2, "group": "who"}), rows).await;
    server.stop().await;
}

#[tokio::test]
async fn the_latest_rows_are_held_out_as_if_they_had_been_given() {
    let server = TestServer::start().await;
    server.upload("visits", VISITS).await.expect(201);
    // The times 9, 9 and 8, which stand in lines 2, 10 and 7.
    let rows: (&[_], &[_]) = (&[1, 3, 4, 5, 6, 8, 9], &[2, 7, 10]);
    assert_split(&server, json!({"fraction": 0.3, "time": "at"}), rows).await;
    server.stop().await;
}

#[tokio::test]
async fn a_column_that_rows_are_split_by_is_a_feature_only_where_it_is_named() {
    let server = TestServer::start().await;
    let visits = VISITS
        .replace("who,", "")
        .replace("a,", "")
        .replace("b,", "");
    server.upload("visits", visits).await.expect(201);
    server.create(model("one")).await;
    let mut two = model("two");
    two["inputs"] = json!(2);
    server.create(two).await;
    for by in ["time", "group"] {
        let split = json!({"fraction": 0.3, by: "at"});
        let data = json!({"dataset": "visits", "target": "y"});
        let spec = job("one", &data, &split);
        let answer = server.post("/v1/jobs?dry_run=true", spec).await;
        assert_eq!(answer.expect(200)["spec"]["data"]["features"], json!(["x"]));
        let data = json!({"dataset": "visits", "features": ["at", "x"], "target": "y"});
        server
            .post("/v1/jobs?dry_run=true", job("two", &data, &split))
            .await
            .expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_row_without_its_group_or_time_is_dropped_where_rows_may_be() {
    let server = TestServer::start().await;
    let gaps = VISITS.replace("a,9,0.9", ",9,0.9").replace("b,7,", "b,,");
    server.upload("gaps", gaps).await.expect(201);
    server.create(model("gaps")).await;
    for (how, rows) in [
        // 9 rows of which 2 are wanted: those of b.
        (json!({"fraction": 0.2, "group": "who"}), 7),
        (json!({"fraction": 0.2, "time": "at"}), 7),
    ] {
        let data =
            json!({"dataset": "gaps", "features": ["x"], "target": "y", "missing": "drop_rows"});
        let trained = server.train(job("gaps", &data, &how)).await;
        assert_eq!(trained["spec"]["train_rows"], rows);
    }
    server.stop().await;
}
