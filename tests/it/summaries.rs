//! Summaries: how the columns of a table go together with a target, and what may spoil what is trained on it.

use serde_json::{Value, json};

use crate::server::{TestServer, number, pointers, text};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");
const VISITS: &str = include_str!("../fixtures/tables/visits.csv");
/// What numpy, scipy and pandas say of them: `make_associations.py` beside it.
const ASSOCIATIONS: &str = include_str!("../fixtures/tables/associations.json");

async fn summary(server: &TestServer, name: &str, query: &str) -> Value {
    let path = format!("/v1/datasets/{name}/summary{query}");
    server.get(&path).await.expect(200)
}

#[tokio::test]
async fn a_summary_with_a_target_tells_what_goes_together_with_it_and_what_is_wrong() {
    let server = TestServer::start().await;
    server.upload("visits", VISITS).await.expect(201);
    let expected: Value = serde_json::from_str(ASSOCIATIONS).expect("the fixture");
    let expected = &expected["visits"];
    let plain = summary(&server, "visits", "").await;
    let codes = |summary: &Value| {
        let warnings = summary["warnings"].as_array().expect("warnings").clone();
        let code = |one: &Value| format!("{} {}", one["column"], text(&one["code"]));
        warnings.iter().map(code).collect::<Vec<_>>()
    };
    let of_columns = ["\"hospital\" constant", "\"remark\" all_missing"];
    assert_eq!(
        codes(&plain),
        [&of_columns[..], &["null duplicate_rows"]].concat()
    );
    let detail = text(&plain["warnings"][2]["detail"]);
    let repeated = format!("{} rows repeat", expected["duplicates"]);
    assert!(detail.starts_with(&repeated), "{detail}");

    let of_outcome = summary(&server, "visits", "?target=outcome").await;
    for column in of_outcome["columns"].as_array().expect("columns") {
        let name = text(&column["name"]);
        let wanted = &expected["targets"]["outcome"]["associations"][&name];
        if name == "outcome" || wanted.is_null() {
            assert!(column["association"]["value"].is_null(), "{column}");
            continue;
        }
        let (found, wanted) = (number(&column["association"]["value"]), number(wanted));
        assert!((found - wanted).abs() < 1e-9, "{name}: {found} {wanted}");
    }
    let measure = |name: &str| {
        let columns = of_outcome["columns"].as_array().expect("columns");
        let column = columns.iter().find(|column| column["name"] == name);
        column.expect("a column")["association"]["measure"].clone()
    };
    assert_eq!(measure("ward"), "cramers_v");
    assert_eq!(measure("dose"), "correlation_ratio");
    assert_eq!(measure("outcome"), Value::Null);
    let found = codes(&of_outcome);
    let of_rows = ["null duplicate_rows", "null conflicting_labels"];
    assert_eq!(found, [&of_columns[..], &of_rows].concat());
    server.stop().await;
}

#[tokio::test]
async fn the_most_frequent_numbers_of_a_column_are_counted() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    let iris = summary(&server, "iris", "?target=petal_length").await;
    // Counted in the file: cut -d, -f4 iris.csv | sort | uniq -c | sort -rn, of which 1.3 and 1.8 are the next.
    let top = iris["columns"][3]["top"].as_array().expect("a list");
    assert_eq!(
        (&top[..4], top.len()),
        (
            &[
                json!({"value": 0.2, "count": 29}),
                json!({"value": 1.3, "count": 13}),
                json!({"value": 1.5, "count": 12}),
                json!({"value": 1.8, "count": 12}),
            ][..],
            10
        )
    );
    assert_eq!(
        iris["columns"][0]["association"]["measure"],
        json!("pearson")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_target_that_is_no_column_is_refused_with_those_there_are() {
    let server = TestServer::start().await;
    server.upload("iris", IRIS).await.expect(201);
    let refused = async |query: &str| {
        let path = format!("/v1/datasets/iris/summary{query}");
        let problem = server.get(&path).await.problem(422, "invalid-query");
        assert_eq!(pointers(&problem).len(), 1, "{problem}");
        let error = &problem["errors"][0];
        (text(&error["pointer"]), text(&error["detail"]))
    };
    for (query, pointer, detail) in [
        (
            "?target=specie",
            "/target",
            "must name a column of the dataset, got \"specie\": did you mean `species`? known: sepal_length, sepal_width, petal_length, petal_width, species",
        ),
        (
            "?target=",
            "/target",
            "must name a column of the dataset, got \"\": known: sepal_length, sepal_width, petal_length, petal_width, species",
        ),
        (
            "?target=species&target=species",
            "/target",
            "must be given once, got 2",
        ),
        (
            "?targets=species",
            "/targets",
            "is no parameter here: did you mean `target`? known: target",
        ),
    ] {
        let found = refused(query).await;
        assert_eq!(found, (pointer.to_owned(), detail.to_owned()));
    }
    server.stop().await;
}
