//! The table of bad requests: what is asked, and the problem that answers it. `bad_*.rs` beside it hold the bodies.

use gradientd::config::Limits;
use serde_json::Value;

use crate::{
    bad_choices, bad_columns, bad_data, bad_evaluations, bad_gradients, bad_hyperparameters,
    bad_jobs, bad_metrics, bad_models, bad_normalization, bad_paths, bad_predictions, bad_rows,
    bad_tables, bad_weights,
};

/// A request that must be refused, and how.
pub(crate) struct Bad {
    pub(crate) method: &'static str,
    /// `{ended}` and `{paused}` stand for the ids of jobs.
    pub(crate) path: String,
    pub(crate) media_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) slug: &'static str,
    /// Every pointer of the answer, in whatever order.
    pub(crate) pointers: Vec<&'static str>,
    /// Part of the detail.
    pub(crate) detail: &'static str,
}

/// The pointers and part of the detail that a problem must have.
pub(crate) type Said = (&'static [&'static str], &'static str);

/// Limits so low that each can be crossed by a small request.
pub(crate) fn low_limits() -> Limits {
    Limits {
        body_rows_bytes: 64 << 10,
        body_predict_bytes: 16 << 10,
        body_control_bytes: 1 << 10,
        body_dataset_bytes: 32 << 10,
        dataset_columns: 8,
        dataset_cells: 1000,
        dataset_cell_bytes: 100,
        dataset_categories: 12,
        dataset_category_bytes: 1000,
        steps: 30_000_000,
        batch_activations: 20,
        classes: 10,
        predict_rows: 10,
        predict_work: 1000,
        inspection_numbers: 300,
        evaluate_work: 3000,
        evaluate_numbers: 2100,
        answer_numbers: 200,
        ..Limits::default()
    }
}

/// The whole table.
pub(crate) fn all() -> Vec<Bad> {
    let groups = [
        texts(),
        media_types(),
        sizes(),
        bad_paths::all(),
        states(),
        bad_models::all(),
        bad_choices::all(),
        bad_columns::all(),
        bad_normalization::all(),
        bad_predictions::all(),
        bad_rows::all(),
        bad_gradients::all(),
        bad_hyperparameters::all(),
        bad_jobs::all(),
        bad_data::all(),
        bad_tables::all(),
        bad_evaluations::all(),
        bad_metrics::all(),
        bad_weights::all(),
    ];
    groups.into_iter().flatten().collect()
}

/// A request without a body.
pub(crate) fn bare(
    method: &'static str,
    path: &str,
    status: u16,
    slug: &'static str,
    said: Said,
) -> Bad {
    let (pointers, detail) = said;
    let (path, pointers) = (path.to_owned(), pointers.to_vec());
    Bad {
        method,
        path,
        media_type: "",
        body: Vec::new(),
        status,
        slug,
        pointers,
        detail,
    }
}

/// A POST of JSON.
pub(crate) fn post(
    path: &str,
    body: impl Into<Vec<u8>>,
    status: u16,
    slug: &'static str,
    said: Said,
) -> Bad {
    let body = body.into();
    Bad {
        media_type: "application/json",
        body,
        ..bare("POST", path, status, slug, said)
    }
}

/// A POST of JSON that has the right shape and breaks rules.
pub(crate) fn rule(
    path: &str,
    body: &Value,
    pointers: &'static [&'static str],
    detail: &'static str,
) -> Bad {
    post(
        path,
        body.to_string(),
        422,
        "invalid-spec",
        (pointers, detail),
    )
}

/// A POST of JSON that has the wrong shape.
pub(crate) fn shape(
    path: &str,
    body: impl Into<Vec<u8>>,
    pointers: &'static [&'static str],
    detail: &'static str,
) -> Bad {
    post(path, body, 422, "invalid-body", (pointers, detail))
}

/// An object with fields laid over it.
pub(crate) fn with(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

/// Bodies that are not JSON, for every route that reads some.
fn texts() -> Vec<Bad> {
    let nested = |levels: usize| format!("{{\"batch_size\":{}", "[".repeat(levels));
    let texts: Vec<(Vec<u8>, &str)> = vec![
        (
            b"".to_vec(),
            "the body is empty: send one JSON value, at line 1, column 0",
        ),
        (b" \n".to_vec(), "the body is empty"),
        (b"{".to_vec(), "the body ends inside an object"),
        (b"nul".to_vec(), "the body ends where a value must stand"),
        (
            b"{name:1}".to_vec(),
            "a key must be a string in double quotes, at line 1, column 2",
        ),
        (b"{'name':1}".to_vec(), "key must be a string"),
        (
            b"<xml/>".to_vec(),
            "a JSON value must stand here, at line 1, column 1",
        ),
        (
            b"\xef\xbb\xbf{}".to_vec(),
            "the body begins with a byte order mark: send UTF-8 without one",
        ),
        (b"\xff\xfe{\0}\0".to_vec(), "the body is UTF-16: send UTF-8"),
        (b"{\0}".to_vec(), "key must be a string"),
    ];
    let paths = [
        "/v1/models",
        "/v1/jobs",
        "/v1/models/xor/predict",
        "/v1/models/xor/gradients",
        "/v1/models/xor/gradient-check",
        "/v1/models/xor/versions/1/predict",
        "/v1/models/xor/versions/1/gradients",
        "/v1/jobs/X/verify",
    ];
    let mut rows: Vec<Bad> = paths
        .iter()
        .flat_map(|path| {
            texts
                .iter()
                .map(|(text, detail)| post(path, text.clone(), 400, "invalid-json", (&[], detail)))
        })
        .collect();
    let alias = Bad {
        method: "PUT",
        ..post(
            "/v1/models/xor/aliases/best",
            "{",
            400,
            "invalid-json",
            (&[], "the body ends inside an object"),
        )
    };
    rows.push(alias);
    for levels in [100, 200, 25_000] {
        rows.push(shape(
            "/v1/jobs",
            nested(levels),
            &["/batch_size"],
            "must be a whole number or \"full\", got an array",
        ));
    }
    rows
}

/// Bodies of another media type than the route reads.
fn media_types() -> Vec<Bad> {
    let json = [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json,",
        "json",
        "text/csv",
    ];
    let paths = [
        "/v1/models",
        "/v1/jobs",
        "/v1/models/xor/predict",
        "/v1/models/xor/gradients",
        "/v1/models/xor/gradient-check",
    ];
    let of = |path: &str, media_type, detail| Bad {
        media_type,
        ..post(path, "{}", 415, "unsupported-media-type", (&[], detail))
    };
    let mut rows = Vec::new();
    for path in paths {
        // Rows to predict may be CSV.
        let takes_csv = path.ends_with("/predict");
        let refused = json
            .into_iter()
            .filter(|media_type| !takes_csv || *media_type != "text/csv");
        rows.extend(refused.map(|media_type| {
            let detail = if takes_csv {
                "Content-Type must be application/json or text/csv (use curl --json, or -H 'Content-Type: text/csv' --data-binary @FILE for rows of CSV), got "
            } else {
                "Content-Type must be application/json (use curl --json or -H 'Content-Type: application/json'), got "
            };
            of(path, media_type, detail)
        }));
    }
    rows.push(of("/v1/models", "", "got none"));
    rows.push(of(
        "/v1/models",
        "application/json; charset=ISO-8859-1",
        "charset must be utf-8, got \"ISO-8859-1\"",
    ));
    rows.push(of(
        "/v1/models/xor/predict",
        "text/csv; charset=latin1",
        "charset must be utf-8, got \"latin1\"",
    ));
    rows.push(of(
        "/v1/datasets?name=t",
        "text/csv; header=present; charset=windows-1252",
        "charset must be utf-8, got \"windows-1252\"",
    ));
    rows.push(Bad {
        method: "PUT",
        ..of(
            "/v1/models/xor/aliases/a",
            "text/plain",
            "got \"text/plain\"",
        )
    });
    let csv = [
        "",
        "application/json",
        "text/plain",
        "application/ndjson",
        "multipart/form-data; boundary=a",
    ];
    rows.extend(csv.map(|media_type| {
        of(
            "/v1/datasets?name=t",
            media_type,
            "Content-Type must be text/csv or application/x-ndjson or application/vnd.apache.parquet (curl -H 'Content-Type: text/csv' --data-binary @FILE), got",
        )
    }));
    rows
}

/// Bodies of one byte more than a route takes.
fn sizes() -> Vec<Bad> {
    let limits = low_limits();
    let of = |path: &str, most: usize, detail| {
        post(
            path,
            vec![b' '; most + 1],
            413,
            "body-too-large",
            (&[], detail),
        )
    };
    let table = "a\n".repeat(limits.body_dataset_bytes as usize / 2 + 1);
    let alias = of(
        "/v1/models/xor/aliases/a",
        limits.body_control_bytes,
        "must have at most 1024 bytes",
    );
    let table = post(
        "/v1/datasets?name=t",
        table,
        413,
        "body-too-large",
        (&[], "must have at most 32768 bytes"),
    );
    vec![
        of(
            "/v1/models",
            limits.body_rows_bytes,
            "must have at most 65536 bytes",
        ),
        of(
            "/v1/jobs",
            limits.body_rows_bytes,
            "must have at most 65536 bytes",
        ),
        of(
            "/v1/jobs/X/verify",
            limits.body_control_bytes,
            "must have at most 1024 bytes",
        ),
        of(
            "/v1/models/xor/predict",
            limits.body_predict_bytes,
            "must have at most 16384 bytes",
        ),
        of(
            "/v1/models/xor/gradients",
            limits.body_predict_bytes,
            "must have at most 16384 bytes",
        ),
        of(
            "/v1/models/xor/gradient-check",
            limits.body_predict_bytes,
            "must have at most 16384 bytes",
        ),
        of(
            "/v1/models/xor/versions/1/predict",
            limits.body_predict_bytes,
            "must have at most 16384 bytes",
        ),
        Bad {
            method: "PUT",
            ..alias
        },
        Bad {
            media_type: "text/csv",
            ..table
        },
    ]
}

/// Requests that are right, but not now.
fn states() -> Vec<Bad> {
    let of = |method, path: &str, slug, detail| bare(method, path, 409, slug, (&[], detail));
    let rows = r#"{"inputs":[[0,1]],"targets":[[1]]}"#;
    let unfitted = |path: &str, body: &str| {
        post(
            path,
            body,
            409,
            "not-fitted",
            (
                &[],
                "this version is not trained, and preprocess standardize is fitted by training",
            ),
        )
    };
    vec![
        of(
            "POST",
            "/v1/jobs/{ended}/cancel",
            "illegal-move",
            "a job that is succeeded cannot be cancelled: it has ended",
        ),
        of(
            "POST",
            "/v1/jobs/{ended}/pause",
            "illegal-move",
            "a job that is succeeded cannot be paused: only a queued or running one can",
        ),
        of(
            "POST",
            "/v1/jobs/{ended}/resume",
            "illegal-move",
            "a job that is succeeded cannot be resumed: only a paused one can",
        ),
        of("DELETE", "/v1/jobs/{paused}", "in-use", "is in use"),
        of(
            "DELETE",
            "/v1/models/xor",
            "in-use",
            "trains it; cancel the job first",
        ),
        of("DELETE", "/v1/models/xor/versions/1", "in-use", "is in use"),
        of(
            "DELETE",
            "/v1/models/iris/versions/latest",
            "in-use",
            "is in use",
        ),
        of("DELETE", "/v1/datasets/held", "in-use", "is in use"),
        unfitted("/v1/models/scaled/predict", r#"{"inputs":[[0,1]]}"#),
        unfitted("/v1/models/scaled/gradients", rows),
        unfitted("/v1/models/scaled/gradient-check", rows),
        post(
            "/v1/models",
            crate::server::xor_model("xor").to_string(),
            409,
            "already-exists",
            (&[], "there is a model \"xor\" already"),
        ),
        Bad {
            media_type: "text/csv",
            ..post(
                "/v1/datasets?name=iris",
                "a\n1\n",
                409,
                "already-exists",
                (&[], "there is a dataset \"iris\" already"),
            )
        },
    ]
}
