//! Uploads that must be refused.

use crate::bad_requests::{Bad, bare, post};

/// Every refused upload.
pub(crate) fn all() -> Vec<Bad> {
    [names(), headers(), rows(), limits()]
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
            "line 1, column 1: a cell must be valid UTF-8",
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
