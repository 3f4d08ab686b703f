//! Uploads that must be refused.

use crate::bad_requests::{Bad, bare, post};

/// Every refused upload.
pub(crate) fn all() -> Vec<Bad> {
    [
        names(),
        options(),
        headers(),
        rows(),
        kinds(),
        lines(),
        limits(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A table that cannot be read.
fn table(csv: impl Into<Vec<u8>>, detail: &'static str) -> Bad {
    let row = post(
        "/v1/datasets?name=bad",
        csv,
        422,
        "invalid-dataset",
        (&[], detail),
    );
    Bad {
        media_type: "text/csv",
        ..row
    }
}

fn names() -> Vec<Bad> {
    let of = |query: &str, said| {
        let row = post(
            &format!("/v1/datasets{query}"),
            "a\n1\n",
            422,
            "invalid-query",
            said,
        );
        Bad {
            media_type: "text/csv",
            ..row
        }
    };
    let long = format!("?name={}", "a".repeat(65));
    let mut rows = vec![
        of("", (&["/name"], "must be given")),
        of("?", (&["/name"], "must be given")),
        of("?name=a&name=b", (&["/name"], "must be given once, got 2")),
        of(
            "?name=a&colour=red",
            (&["/colour"], "is no parameter here: known: name"),
        ),
    ];
    for query in [
        "?name=",
        "?name=-a",
        "?name=a%20b",
        "?name=..%2Fa",
        "?name=%00",
        "?name=%ff",
        "?name=%C3%A4",
        &long,
    ] {
        rows.push(of(query, (&["/name"], "must be 1 to 64 of the letters")));
    }
    rows.push(bare(
        "POST",
        "/v1/datasets?name=bad",
        415,
        "unsupported-media-type",
        (&[], "text/csv"),
    ));
    rows
}

/// Parameters that say how a table is written.
fn options() -> Vec<Bad> {
    let of = |query: &str, media_type, said| Bad {
        media_type,
        ..post(
            &format!("/v1/datasets?name=bad&{query}"),
            "a\n1\n",
            422,
            "invalid-query",
            said,
        )
    };
    let csv = "text/csv";
    let mut rows = vec![
        of(
            "delimiter=ab&quote=%C3%A4&kinds=a:text,b&colour=red",
            csv,
            (
                &["/delimiter", "/quote", "/kinds", "/kinds", "/colour"],
                "must be one ASCII character or tab, got \"ab\"",
            ),
        ),
        of(
            "quote=%0A",
            csv,
            (
                &["/quote"],
                "must be one ASCII character or none, got \"\\n\"",
            ),
        ),
        of(
            "delimiter=%22",
            csv,
            (&["/delimiter"], "must differ from quote, got '\"' for both"),
        ),
        of(
            "kinds=a:text",
            csv,
            (
                &["/kinds"],
                "must be column:kind, separated by commas, with one of numeric, categorical, boolean, timestamp, got \"a:text\"",
            ),
        ),
        of(
            "kinds=a:numeric,a:boolean",
            csv,
            (&["/kinds"], "must name a column once, got \"a\" twice"),
        ),
        of(
            "missing=x&delimiter=;&quote=none",
            "application/x-ndjson",
            (
                &["/delimiter", "/quote", "/missing"],
                "is for text/csv only, and the body is application/x-ndjson",
            ),
        ),
    ];
    for query in ["delimiter=", "delimiter=%00", "delimiter=%0D"] {
        let said = "must be one ASCII character or tab, got";
        rows.push(of(query, csv, (&["/delimiter"], said)));
    }
    rows
}

fn headers() -> Vec<Bad> {
    vec![
        table(
            "",
            "line 1, column 1: a header row is required, and the text is empty",
        ),
        table("\n\n", "a header row is required"),
        table("a,b", "line 1: the table has a header and no rows"),
        table("a,b\n", "line 1: the table has a header and no rows"),
        table("\n\na,b\n\n", "line 3: the table has a header and no rows"),
        table(
            "a,\n1,2\n",
            "line 1, column 2: a column name must not be empty",
        ),
        table(
            ",\n1,2\n",
            "line 1, column 1: a column name must not be empty",
        ),
        table(
            "a, \n1,2\n",
            "line 1, column 2: a column name must not be empty",
        ),
        table(
            "a,b,a\n1,2,3\n",
            "column names must differ, and column 1 has this name too",
        ),
        table("a, a\n1,2\n", "column names must differ"),
        table(
            "a\0b\n1\n",
            "line 1, column 1: a column name must not contain control characters",
        ),
        table("\"a\nb\"\n1\n", "must not contain control characters"),
        table(
            format!("{}\n1\n", "a".repeat(101)),
            "bytes of a cell must be at most 100, got 101",
        ),
        table(
            b"a,\xff\n1,2\n".to_vec(),
            "line 1, column 2: a cell must be valid UTF-8",
        ),
        table(
            b"\xff\xfea\0\n\x001\0\n\0".to_vec(),
            "line 1, column 1: the text is UTF-16: save it as UTF-8",
        ),
        table("\"a\n1\n", "the quote is never closed"),
    ]
}

fn rows() -> Vec<Bad> {
    vec![
        table(
            "a,b\n1,2\n3\n",
            "line 3, column 2 (\"b\"): the row has too few cells: 2 expected, got 1",
        ),
        table("a,b\n1,2\n\n3\n", "line 4, column 2"),
        table(
            "a,b\n1,2,3\n",
            "line 2, column 3: the row has too many cells: 2 expected",
        ),
        table("a,b\n1,2,\n", "the row has too many cells: 2 expected"),
        table(
            "a,b\n1,\"2\n3,4\n",
            "line 2, column 2 (\"b\"): the quote is never closed",
        ),
        table("a\n1\n\"", "the quote is never closed"),
        table(
            "a\n1\nnan\n",
            "line 3, column 1 (\"a\"): a number must be finite, got \"nan\"",
        ),
        table("a\ninf\n", "a number must be finite, got \"inf\""),
        table(
            "a\n-Infinity\n",
            "a number must be finite, got \"-Infinity\"",
        ),
        table(
            "a,b\n1,2\n1,1e999\n",
            "line 3, column 2 (\"b\"): a number must be finite, got \"1e999\"",
        ),
        table(
            b"a,b\n1,\xff\n".to_vec(),
            "line 2, column 2 (\"b\"): a cell must be valid UTF-8",
        ),
        table(
            b"a\nup\n\xc3\x28\n".to_vec(),
            "line 3, column 1 (\"a\"): a cell must be valid UTF-8",
        ),
        table(
            b"a\n1\n\xed\xa0\x80\n".to_vec(),
            "a cell must be valid UTF-8",
        ),
    ]
}

/// Columns of several kinds, or of other kinds than those declared.
fn kinds() -> Vec<Bad> {
    let declared = |query: &str, csv: &'static str, detail| {
        let row = table(csv, detail);
        Bad {
            path: format!("/v1/datasets?name=bad&{query}"),
            ..row
        }
    };
    vec![
        table(
            "age\n1\n2\nunknown\n",
            "line 4, column 1 (\"age\"): 2 of the first 3 values are numbers, and \"unknown\" is none: mend the cell, write NA",
        ),
        table(
            "a\nx\0y\n",
            "line 2, column 1 (\"a\"): a cell must not have the character NUL",
        ),
        declared(
            "kinds=a:boolean",
            "a\n0\n2\n",
            "line 3, column 1 (\"a\"): the column is boolean (true, false), got \"2\"",
        ),
        declared(
            "kinds=a:timestamp",
            "a\n31.12.2026\n",
            "line 2, column 1 (\"a\"): the column is timestamp (2026-01-31, or RFC 3339), got \"31.12.2026\"",
        ),
        declared(
            "kinds=a:numeric",
            "a\nx\n",
            "line 2, column 1 (\"a\"): the column is numeric, got \"x\"",
        ),
        declared(
            "kinds=c:numeric,d:boolean",
            "a,b\n1,2\n",
            "kinds must name columns of the table (\"a\", \"b\"), got \"c\", \"d\"",
        ),
        declared(
            "delimiter=;",
            "a,b\n1,2\n",
            "line 1, column 1: cells must be separated by ';', and in this header only ',' could separate them: declare it with delimiter=,",
        ),
    ]
}

/// Lines of JSON.
fn lines() -> Vec<Bad> {
    let of = |text: &str, detail| Bad {
        media_type: "application/x-ndjson",
        ..table(text, detail)
    };
    vec![
        of("", "line 1: the table has no rows"),
        of(
            "{}\n{}\n",
            "the table must have at least one column, and no row has a value under a name",
        ),
        of(
            "{\"a\":1}\n{\"a\":}\n",
            "line 2: each line must be an object of JSON: expected value, at byte 6",
        ),
        of("[1]\n", "line 1: each line must be an object of JSON"),
        of(
            "{\"a\":1,\"a\":2}\n",
            "line 1: key \"a\" must be given once",
        ),
        of(
            "{\"a\":1}\n{\"a\":{\"b\":1}}\n",
            "line 2, column 1 (\"a\"): a value must be a number, a string, true, false or null, got an object",
        ),
        of(
            "{\"a\":1}\n{\"a\":\"x\"}\n",
            "line 2, column 1 (\"a\"): 1 of the first 2 values are numbers, and \"x\" is none",
        ),
        of(
            &format!("{{\"a\":\"{}\"}}", "x".repeat(101)),
            "line 1, column 1 (\"a\"): bytes of a cell must be at most 100, got 101",
        ),
        of(
            "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}",
            "line 1, column 9: columns must be at most 8, got 9",
        ),
    ]
}

fn limits() -> Vec<Bad> {
    let words: String = (0..13)
        .map(|word| format!("w{word}"))
        .collect::<Vec<_>>()
        .join("\n");
    vec![
        table(
            "a,b,c,d,e,f,g,h,i\n",
            "line 1, column 9: columns must be at most 8, got 9",
        ),
        table(
            format!("a\n{}", "1\n".repeat(1001)),
            "cells must be at most 1000, got 1001",
        ),
        table(
            format!("a,b\n1,{}\n", "x".repeat(101)),
            "line 2, column 2 (\"b\"): bytes of a cell must be at most 100, got 101",
        ),
        table(
            format!("a\n{words}"),
            "line 14, column 1 (\"a\"): categories must be at most 12, got 13",
        ),
    ]
}
