//! Tables: uploaded, described as numpy describes them, and refused with line and column.

use serde_json::{Value, json};

use crate::server::{Answer, TestServer, number, text};

const IRIS: &str = include_str!("../fixtures/tables/iris.csv");
const PENGUINS: &str = include_str!("../fixtures/tables/penguins.csv");
/// What numpy says of both: `make_summary.py` beside it.
const SUMMARY: &str = include_str!("../fixtures/tables/summary.json");

fn column<'a>(described: &'a Value, name: &str) -> &'a Value {
    let columns = described["columns"].as_array().expect("columns");
    let found = columns.iter().find(|column| column["name"] == name);
    found.unwrap_or_else(|| panic!("no column {name}: {described}"))
}

#[track_caller]
fn near(actual: &Value, expected: &Value, what: &str) {
    let (actual, expected) = (number(actual), number(expected));
    let tolerance = 1e-12 * expected.abs().max(1.0);
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} instead of {expected}"
    );
}

#[tokio::test]
async fn an_uploaded_table_is_described_and_shown_until_it_is_deleted() {
    let server = TestServer::start().await;
    let answer = server.upload("penguins", PENGUINS).await;
    assert_eq!(answer.header("location"), "/v1/datasets/penguins");
    let described = answer.expect(201);
    assert_eq!(
        (&described["name"], &described["rows"]),
        (&json!("penguins"), &json!(344))
    );
    assert_eq!(text(&described["digest"]).len(), 64);
    assert!(number(&described["bytes"]) > 0.0);
    let kinds = described["columns"].as_array().expect("columns").iter();
    let kinds: Vec<_> = kinds
        .map(|column| {
            (
                text(&column["name"]),
                text(&column["kind"]),
                &column["missing"],
            )
        })
        .collect();
    // The header of the file; its origin counts 2 birds without measures and 11 whose sex is not known.
    let expected = [
        ("species", "categorical", 0),
        ("island", "categorical", 0),
        ("bill_length_mm", "numeric", 2),
        ("bill_depth_mm", "numeric", 2),
        ("flipper_length_mm", "numeric", 2),
        ("body_mass_g", "numeric", 2),
        ("sex", "categorical", 11),
        ("year", "numeric", 0),
    ];
    for (found, (name, kind, missing)) in kinds.iter().zip(expected) {
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), found.2),
            (name, kind, &json!(missing))
        );
    }
    assert_eq!(kinds.len(), expected.len());
    assert_eq!(
        column(&described, "species")["categories"],
        json!(["Adelie", "Chinstrap", "Gentoo"])
    );
    assert_eq!(
        column(&described, "sex")["first_word"],
        json!({"line": 2, "word": "male"})
    );

    assert_eq!(
        server.get("/v1/datasets/penguins").await.expect(200),
        described
    );
    let taken = server.upload("penguins", IRIS).await;
    taken.problem(409, "already-exists");
    let iris = server.upload("iris", IRIS).await.expect(201);
    let server = server.restart().await;
    let list = server.get("/v1/datasets").await.expect(200);
    assert_eq!(list, json!({"data": [iris, described], "has_more": false}));
    let page = server
        .get("/v1/datasets?limit=1&order=asc")
        .await
        .expect(200);
    assert_eq!(page, json!({"data": [described], "has_more": true}));
    let page = server.get("/v1/datasets?after=iris").await.expect(200);
    assert_eq!(page, json!({"data": [described], "has_more": false}));

    server.delete("/v1/datasets/penguins").await.expect(204);
    for path in ["/v1/datasets/penguins", "/v1/datasets/penguins/summary"] {
        let gone = server.get(path).await.problem(404, "not-found");
        assert_eq!(gone["detail"], "there is no dataset \"penguins\"");
    }
    server
        .delete("/v1/datasets/penguins")
        .await
        .problem(404, "not-found");
    server.upload("penguins", IRIS).await.expect(201);
    server.stop().await;
}

#[tokio::test]
async fn a_summary_has_the_numbers_of_numpy() {
    let server = TestServer::start().await;
    let numpy: Value = serde_json::from_str(SUMMARY).expect("the fixture");
    for (name, csv, numeric) in [("iris", IRIS, 4), ("penguins", PENGUINS, 5)] {
        let described = server.upload(name, csv).await.expect(201);
        let summary = server
            .get(&format!("/v1/datasets/{name}/summary"))
            .await
            .expect(200);
        assert_eq!(
            (&summary["name"], &summary["rows"]),
            (&json!(name), &described["rows"])
        );
        let expected = numpy[name].as_object().expect("columns");
        assert_eq!(expected.len(), numeric);
        for (name, expected) in expected {
            let found = column(&summary, name);
            for count in ["count", "missing", "distinct"] {
                assert_eq!(found[count], expected[count], "{name}: {count}");
            }
            for figure in ["mean", "std", "min", "q1", "median", "q3", "max"] {
                near(
                    &found[figure],
                    &expected[figure],
                    &format!("{name}: {figure}"),
                );
            }
            assert_eq!(found["histogram"]["counts"], expected["counts"], "{name}");
            for edge in 0..11 {
                near(
                    &found["histogram"]["edges"][edge],
                    &expected["edges"][edge],
                    name,
                );
            }
            for figure in ["mean", "std", "min", "max"] {
                assert_eq!(
                    column(&described, name)[figure],
                    found[figure],
                    "{name}: {figure}"
                );
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_most_frequent_words_of_a_column_are_counted() {
    let server = TestServer::start().await;
    server.upload("penguins", PENGUINS).await.expect(201);
    let summary = server
        .get("/v1/datasets/penguins/summary")
        .await
        .expect(200);
    // Counted in the file: cut -d, -f1 penguins.csv | sort | uniq -c, and the same of column 7.
    let expected = json!([{"value": "Adelie", "count": 152}, {"value": "Gentoo", "count": 124},
                          {"value": "Chinstrap", "count": 68}]);
    assert_eq!(column(&summary, "species")["top"], expected);
    let sex = column(&summary, "sex");
    assert_eq!(
        (&sex["count"], &sex["missing"], &sex["distinct"]),
        (&json!(333), &json!(11), &json!(2))
    );
    assert_eq!(
        sex["top"],
        json!([{"value": "male", "count": 168}, {"value": "female", "count": 165}])
    );
    server.stop().await;
}

#[tokio::test]
async fn line_ends_quotes_and_a_byte_order_mark_change_nothing() {
    let server = TestServer::start().await;
    let plain = "word,x\nred,1.5\nblue,NA\n";
    let digest = |answer: Answer| answer.expect(201)["digest"].take();
    let expected = digest(server.upload("plain", plain).await);
    for (name, csv) in [
        ("crlf", "word,x\r\nred,1.5\r\nblue,NA\r\n"),
        ("bom", "\u{feff}word,x\nred,1.5\nblue,NA\n"),
        ("both", "\u{feff}word,x\r\nred,1.5\r\nblue,NA"),
        ("quoted", "\"word\",\"x\"\n\"red\",\"1.5\"\n\"blue\",\"\"\n"),
        ("spaced", " word , x \n red , 1.5 \nblue,\n"),
    ] {
        assert_eq!(digest(server.upload(name, csv).await), expected, "{name}");
    }
    let other = server.upload("other", "word,x\nred,1.25\nblue,NA\n").await;
    assert_ne!(digest(other), expected);

    let csv = "word,x\n\"a, \"\"b\"\"\",1\n\"two\nlines\",2\n";
    let described = server.upload("tricky", csv).await.expect(201);
    assert_eq!(described["rows"], 2);
    assert_eq!(
        described["columns"][0]["categories"],
        json!(["a, \"b\"", "two\nlines"])
    );
    server.stop().await;
}

#[tokio::test]
async fn a_fault_in_a_table_is_named_by_line_and_column_and_nothing_is_stored() {
    let server = TestServer::start().await;
    for (csv, fault) in [
        (
            &b""[..],
            "line 1, column 1: a header row is required, and the text is empty",
        ),
        (b"a,b\n", "line 1: the table has a header and no rows"),
        (
            b"a,b\n1,2\n3\n",
            "line 3, column 2 (\"b\"): the row has too few cells: 2 expected, got 1",
        ),
        (
            b"a,b\r\n1,2\r\n3,4,5\r\n",
            "line 3, column 3: the row has too many cells: 2 expected",
        ),
        (
            b"a,b,a\n1,2,3\n",
            "line 1, column 3 (\"a\"): column names must differ, and column 1 has this name too",
        ),
        (
            b"a,,b\n1,2,3\n",
            "line 1, column 2: a column name must not be empty: does the line end with a comma, or has it one too many?",
        ),
        (
            b"a,b\n1,2\n3,\"4\n5,6\n",
            "line 3, column 2 (\"b\"): the quote is never closed",
        ),
        (
            b"a,b\n1,2\n3,1e999\n",
            "line 3, column 2 (\"b\"): a number must be finite, got \"1e999\": leave the cell empty, or write NA, where a value is missing",
        ),
        (
            b"a,b\n1,nan\n",
            "line 2, column 2 (\"b\"): a number must be finite, got \"nan\": leave the cell empty, or write NA, where a value is missing",
        ),
        (
            b"a,b\n\"two\nlines\",2\n\xff,4\n",
            "line 4, column 1 (\"a\"): a cell must be valid UTF-8: save the file as UTF-8",
        ),
    ] {
        let problem = server
            .upload("faulty", csv.to_vec())
            .await
            .problem(422, "invalid-dataset");
        assert_eq!(problem["detail"], fault);
        server
            .get("/v1/datasets/faulty")
            .await
            .problem(404, "not-found");
    }
    let list = server.get("/v1/datasets").await.expect(200);
    assert_eq!(list["data"], json!([]));
    server.upload("faulty", IRIS).await.expect(201);
    server.stop().await;
}

#[tokio::test]
async fn a_parquet_file_is_a_table_like_any_other() {
    let server = TestServer::start().await;
    let file = std::fs::read("tests/fixtures/parquet/kinds.parquet").expect("a file");
    let send = |path: &str, file: Vec<u8>| {
        let request = server.request(reqwest::Method::POST, path);
        let request = request.header("Content-Type", "application/vnd.apache.parquet");
        crate::server::send(request.body(file))
    };
    let path = "/v1/datasets?name=t&kinds=uint64:categorical";
    let described = send(path, file.clone()).await.expect(201);
    assert_eq!(column(&described, "uint64")["kind"], "categorical");
    assert_eq!(column(&described, "boolean")["kind"], "boolean");
    assert_eq!(column(&described, "millis")["kind"], "timestamp");
    let grown = send("/v1/datasets/t/rows", file.clone()).await.expect(201);
    assert_eq!(grown["rows"], 6);
    let rows = server.get("/v1/datasets/t/rows").await.expect(200);
    let expected = include_str!("../fixtures/parquet/kinds.json");
    let mut expected: Vec<Value> = serde_json::from_str(expected).expect("the fixture");
    for (row, word) in
        expected
            .iter_mut()
            .zip([json!("9223372036854775808"), json!(null), json!("2")])
    {
        row["uint64"] = word;
    }
    expected.extend(expected.clone());
    assert_eq!(rows["data"], json!(expected));
    let cut = send("/v1/datasets?name=cut", file[..file.len() - 9].to_vec()).await;
    assert_eq!(
        cut.problem(422, "invalid-dataset")["detail"],
        "the file is damaged or cut off: Parquet begins and ends with PAR1"
    );
    let problem = send("/v1/datasets?name=cut&delimiter=;", file)
        .await
        .problem(422, "invalid-query");
    assert_eq!(
        problem["errors"][0]["detail"],
        "is for text/csv only, and the body is application/vnd.apache.parquet"
    );
    let directory = server.stop().await;
    let files = std::fs::read_dir(directory.path()).expect("the data directory");
    let names = files.map(|file| file.expect("a file").file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("scratch"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
