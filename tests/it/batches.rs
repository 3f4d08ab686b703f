//! Batches: rows of CSV in, predictions as CSV out, the same as by JSON.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Answer, TestServer, send, text};

const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");
const IRIS: &str = include_str!("../fixtures/tables/iris.csv");

async fn predict(server: &TestServer, model: &str, rows: impl Into<reqwest::Body>) -> Answer {
    let path = format!("/v1/models/{model}/predict");
    let request = server
        .request(Method::POST, &path)
        .header("Content-Type", "text/csv");
    send(request.body(rows)).await
}

/// A server with a model that has learned a dataset.
async fn trained(dataset: &str, model: Value) -> TestServer {
    let server = TestServer::start().await;
    server.upload("t", dataset.to_owned()).await.expect(201);
    let name = text(&model["name"]);
    server.create(model).await;
    server
        .train(json!({"model": name, "data": {"dataset": "t", "target": "species"}, "epochs": 5}))
        .await;
    server
}

#[tokio::test]
async fn rows_of_csv_are_answered_as_those_of_json() {
    let server = trained(
        PENGUINS,
        json!({"name": "p", "dataset": "t", "target": "species"}),
    )
    .await;
    let answer = predict(&server, "p", PENGUINS).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "text/csv")
    );
    let lines: Vec<String> = answer.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 345);
    assert_eq!(
        lines[0],
        "class,probability,probability_Adelie,probability_Chinstrap,probability_Gentoo"
    );

    let first = json!({"island": "Torgersen", "bill_length_mm": 39.1, "bill_depth_mm": 18.7, "flipper_length_mm": 181,
        "body_mass_g": 3750, "sex": "male", "year": 2007});
    let fourth = json!({"island": "Torgersen", "sex": null, "year": 2007});
    let asked = json!({"instances": [first, fourth]});
    let asked = server.post("/v1/models/p/predict", asked).await.expect(200);
    for (line, prediction) in [(1, 0), (4, 1)] {
        let predicted = &asked["predictions"][prediction];
        let each = &predicted["probabilities"];
        let numbers = [
            &predicted["probability"],
            &each["Adelie"],
            &each["Chinstrap"],
            &each["Gentoo"],
        ];
        let mut cells = lines[line].split(',');
        assert_eq!(cells.next(), predicted["class"].as_str());
        let found: Vec<f64> = cells.map(|cell| cell.parse().expect("a number")).collect();
        let expected: Vec<f64> = numbers
            .map(|number| number.as_f64().expect("a number"))
            .to_vec();
        assert_eq!(found, expected, "line {line}");
    }
    // Columns in another order, without the target: the same predictions.
    let turned = PENGUINS.lines().map(|line| {
        let mut cells: Vec<&str> = line.split(',').skip(1).collect();
        cells.reverse();
        cells.join(",")
    });
    let turned: Vec<String> = turned.collect();
    let again = predict(&server, "p", turned.join("\r\n")).await;
    assert_eq!(again.text(), answer.text());
}

#[tokio::test]
async fn rows_may_be_written_as_the_query_says_and_what_is_neither_csv_nor_json_is_told_both() {
    let server = trained(
        PENGUINS,
        json!({"name": "p", "dataset": "t", "target": "species"}),
    )
    .await;
    let expected = predict(&server, "p", PENGUINS).await.text();
    let written = PENGUINS.replace(',', ";").replace("NA", "?");
    let ask = async |query: &str, media_type: &str, body: String| {
        let path = format!("/v1/models/p/predict{query}");
        let request = server.request(Method::POST, &path);
        send(request.header("Content-Type", media_type).body(body)).await
    };
    let query = "?delimiter=%3B&missing=%3F&quote=none";
    let answer = ask(query, "text/csv", written.clone()).await;
    assert_eq!(answer.text(), expected);
    let refused = ask("", "text/csv", written).await;
    refused.problem(422, "invalid-dataset");
    let problem = ask("", "text/plain", String::new()).await;
    let problem = problem.problem(415, "unsupported-media-type");
    let detail = "Content-Type must be application/json or text/csv (use curl --json, or -H 'Content-Type: text/csv'";
    assert!(text(&problem["detail"]).starts_with(detail), "{problem}");
    let beside = ask("?delimiter=tab", "application/json", "{}".to_owned()).await;
    let beside = beside.problem(422, "invalid-query");
    let detail = "is for text/csv only, and the body is application/json";
    assert!(beside.to_string().contains(detail), "{beside}");
    server.stop().await;
}

#[tokio::test]
async fn a_model_by_its_inputs_takes_columns_in_their_order_or_by_their_names() {
    let server = trained(
        IRIS,
        json!({"name": "iris", "inputs": 4, "loss": "cross_entropy",
        "layers": [{"units": 3, "activation": "sigmoid"}]}),
    )
    .await;
    let by_name = predict(&server, "iris", IRIS).await.text();
    assert!(
        by_name.starts_with("class\n"),
        "sigmoids are no probabilities of classes"
    );
    assert_eq!(by_name.lines().count(), 151);

    let unnamed = predict(&server, "iris", "a,b,c,d\n1,2,3,x\n").await;
    let problem = unnamed.problem(422, "invalid-dataset");
    let expected = "the columns must be those of the model: it has no column \"a\": known: sepal_length, sepal_width, petal_length, petal_width";
    assert_eq!(problem["detail"], expected);

    server.create(json!({"name": "two", "inputs": 2, "dtype": "float64", "layers": [{"units": 2, "activation": "identity"}],
        "parameters": [{"weights": [[1, 0], [0, 1]], "biases": [0.5, 0]}]})).await;
    let answer = predict(&server, "two", "x,y\n1,2\n-1e-3,4\n").await.text();
    assert_eq!(answer, "output_1,output_2\n1.5,2\n0.499,4\n");
}

#[tokio::test]
async fn the_first_fault_of_a_long_text_is_told_by_its_place_and_nothing_is_answered() {
    let server = trained(
        PENGUINS,
        json!({"name": "p", "dataset": "t", "target": "species",
        "columns": [{"name": "sex", "role": "ignore"}]}),
    )
    .await;
    let long = |last: &str| {
        let header = "year,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g\n";
        let rows = "2007,Biscoe,46,13,211,4500\n".repeat(5000);
        format!("{header}{rows}{last}\n")
    };
    let whole = predict(&server, "p", long("2009,Dream,,,,")).await;
    assert_eq!(
        (whole.status.as_u16(), whole.text().lines().count()),
        (200, 5002)
    );
    for (last, told) in [
        (
            "2007,Atlantis,46,13,211,4500",
            "line 5002, column 2 (\"island\"): must be a category that the model knows, or \"unknown\":\"zeros\" must be declared, got \"Atlantis\": known: Biscoe, Dream, Torgersen",
        ),
        (
            "2007,Dream,46,13,much,4500",
            "line 5002, column 5 (\"flipper_length_mm\"): must be a number, got the string \"much\"",
        ),
        (
            ",Dream,46,13,211,4500",
            "line 5002, column 1 (\"year\"): must be given: this model has no value to take in its place (impute is \"none\")",
        ),
        (
            "2007,Dream,46",
            "line 5002, column 4 (\"bill_depth_mm\"): the row has too few cells: 6 expected, got 3",
        ),
        (
            "2007,Dream,inf,13,211,4500",
            "line 5002, column 3 (\"bill_length_mm\"): must be a number, got the string \"inf\"",
        ),
    ] {
        let answer = predict(&server, "p", long(last)).await;
        assert_eq!(answer.problem(422, "invalid-dataset")["detail"], told);
    }
    let absent = predict(&server, "p", "year,island\n2007,Dream\n").await;
    let told = "the columns must be those of the model: the header must have bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g";
    assert_eq!(absent.problem(422, "invalid-dataset")["detail"], told);
    predict(&server, "nobody", "x\n1\n")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn categories_that_a_dataset_holds_as_numbers_are_the_same_however_they_are_written() {
    let rows = (0..40).map(|row| format!("{}.0,{},{}\n", 1 + row % 3, row % 2, row % 3));
    let table = format!("deck,flag,y\n{}", rows.collect::<String>());
    let model = json!({"name": "d", "dataset": "t", "target": "y", "hidden": [], "columns": [
        {"name": "deck", "kind": "categorical"}, {"name": "flag", "kind": "categorical"}]});
    let server = TestServer::start().await;
    server.upload("t", table.clone()).await.expect(201);
    let model = server.create(model).await;
    let deck = json!({"name": "deck", "kind": "categorical", "held": "numeric", "role": "feature", "impute": "none",
        "encode": "one_hot", "unknown": "error", "categories": ["1", "2", "3"]});
    assert_eq!(model["columns"][0], deck);
    server.train(json!({"model": "d", "epochs": 3})).await;

    let by_text = predict(&server, "d", table).await.text();
    let instances: Vec<Value> = (0..40)
        .map(|row| json!({"deck": 1 + row % 3, "flag": (row % 2).to_string()}))
        .collect();
    let path = "/v1/models/d/predict";
    let asked = server.post(path, json!({ "instances": instances })).await;
    let asked = asked.expect(200);
    for (line, expected) in by_text
        .lines()
        .skip(1)
        .zip(asked["predictions"].as_array().expect("a list"))
    {
        assert_eq!(line.parse::<f64>().ok(), expected.as_f64());
    }

    server
        .upload("other", "deck,flag,y\n1,0,1\n4,1,2\n")
        .await
        .expect(201);
    let job = json!({"model": "d", "data": {"dataset": "other"}});
    let problem = server
        .post("/v1/jobs", job)
        .await
        .problem(422, "invalid-spec");
    let told = "must have the model's categories in column \"deck\" (1, 2, 3), or the model be declared with \"unknown\":\"zeros\" for it, got 4";
    assert_eq!(problem["errors"][0]["detail"], told);
}
