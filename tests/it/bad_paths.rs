//! Queries, paths and methods that must be refused.

use crate::bad_requests::{Bad, Said, bare, post};

/// Every refused query, path and method.
pub(crate) fn all() -> Vec<Bad> {
    [
        queries(),
        histories(),
        needless_queries(),
        absent(),
        methods(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Queries of every list.
fn queries() -> Vec<Bad> {
    let of = |path: &str, said| bare("GET", path, 422, "invalid-query", said);
    let mut rows = Vec::new();
    for list in [
        "/v1/models",
        "/v1/jobs",
        "/v1/datasets",
        "/v1/models/xor/versions",
    ] {
        let of = |query: &str, said| of(&format!("{list}?{query}"), said);
        rows.extend([
            of(
                "limit=0",
                (&["/limit"], "must be a whole number in [1, 100], got \"0\""),
            ),
            of(
                "limit=101",
                (
                    &["/limit"],
                    "must be a whole number in [1, 100], got \"101\"",
                ),
            ),
            of(
                "limit=abc",
                (&["/limit"], "whole number in [1, 100], got \"abc\""),
            ),
            of(
                "limit=",
                (&["/limit"], "whole number in [1, 100], got \"\""),
            ),
            of(
                "limit=-1",
                (&["/limit"], "whole number in [1, 100], got \"-1\""),
            ),
            of(
                "limit=1.5",
                (&["/limit"], "whole number in [1, 100], got \"1.5\""),
            ),
            of(
                "limit=4294967296",
                (&["/limit"], "whole number in [1, 100], got \"4294967296\""),
            ),
            of(
                "order=up",
                (&["/order"], "must be one of asc, desc, got \"up\""),
            ),
            of("after=nothing", (&["/after"], "nothing")),
            of(
                "colour=red",
                (&["/colour"], "is no parameter here: known: "),
            ),
        ]);
    }
    rows
}

/// Queries of a job's history.
fn histories() -> Vec<Bad> {
    let of = |path: &str, said| bare("GET", path, 422, "invalid-query", said);
    let loss = "/v1/jobs/{ended}/loss";
    let gradients = "/v1/jobs/{ended}/gradients";
    let events = "/v1/jobs/{ended}/events";
    vec![
        of(
            "/v1/jobs?status=done",
            (
                &["/status"],
                "must be one of queued, running, paused, succeeded, failed, cancelled, got \"done\"",
            ),
        ),
        of(
            &format!("{loss}?limit=0"),
            (
                &["/limit"],
                "must be a whole number in [1, 10000], got \"0\"",
            ),
        ),
        of(
            &format!("{loss}?limit=10001"),
            (
                &["/limit"],
                "must be a whole number in [1, 10000], got \"10001\"",
            ),
        ),
        of(
            &format!("{loss}?every=0"),
            (
                &["/every"],
                "must be a whole number in [1, 9223372036854775807], got \"0\"",
            ),
        ),
        of(&format!("{loss}?every=x"), (&["/every"], "")),
        of(&format!("{loss}?after=x"), (&["/after"], "")),
        of(&format!("{loss}?after=-1"), (&["/after"], "")),
        of(
            &format!("{loss}?epoch=1"),
            (&["/epoch"], "known: after, limit, every"),
        ),
        of(
            &format!("{events}?limit=0&after=9223372036854775808"),
            (&["/limit", "/after"], "must be a whole number in ["),
        ),
        of(
            &format!("{events}?limit=1001"),
            (
                &["/limit"],
                "must be a whole number in [1, 1000], got \"1001\"",
            ),
        ),
        of(
            &format!("{events}?type=epoch"),
            (&["/type"], "known: after, limit"),
        ),
        of(&format!("{gradients}?layer=x"), (&["/layer"], "")),
        of(
            &format!("{gradients}?limit=10001"),
            (
                &["/limit"],
                "must be a whole number in [1, 10000], got \"10001\"",
            ),
        ),
        of(
            &format!("{gradients}?histogram=yes"),
            (&["/histogram"], "must be one of true, false, got \"yes\""),
        ),
        of(
            &format!("{gradients}?bins=10"),
            (&["/bins"], "known: after, limit, layer, histogram"),
        ),
        of(
            &format!("{gradients}?after=x&limit=0&layer=0&b=1"),
            (&["/after", "/b", "/layer", "/limit"], "4 violations"),
        ),
    ]
}

/// Queries where there is nothing to ask.
fn needless_queries() -> Vec<Bad> {
    let mut rows = Vec::new();
    for path in [
        "/problems/internal",
        "/v1/models/xor",
        "/v1/models/xor/versions/1",
        "/v1/models/xor/versions/1/parameters",
        "/v1/jobs/{ended}",
        "/v1/jobs/{ended}/checkpoints",
        "/v1/datasets/iris",
    ] {
        rows.push(bare(
            "GET",
            &format!("{path}?colour=red"),
            422,
            "invalid-query",
            (&[], "takes no query parameters"),
        ));
    }
    let none: Said = (&[], "takes no query parameters, got \"colour=red\"");
    let csv: Said = (
        &["/colour"],
        "is no parameter here: known: delimiter, quote, missing",
    );
    for (path, said) in [("/v1/models", none), ("/v1/models/xor/predict", csv)] {
        let path = format!("{path}?colour=red");
        rows.push(post(&path, "{}", 422, "invalid-query", said));
    }
    rows.push(bare(
        "DELETE",
        "/v1/models/xor?force=true",
        422,
        "invalid-query",
        (&[], "takes no query parameters"),
    ));
    rows
}

/// Things and paths that are not there.
fn absent() -> Vec<Bad> {
    let none = "01900000-0000-7000-8000-000000000000";
    let of = |path: &str, detail| bare("GET", path, 404, "not-found", (&[], detail));
    let gone = |path: &str, detail| bare("DELETE", path, 404, "not-found", (&[], detail));
    let path = |path: &str| {
        bare(
            "GET",
            path,
            404,
            "no-such-path",
            (&[], "there is no path /"),
        )
    };
    let no_text = |path: &str| {
        bare(
            "GET",
            path,
            404,
            "no-such-path",
            (&[], "is not UTF-8 once decoded"),
        )
    };
    let mut rows = vec![
        of("/v1/models/none", "there is no model \"none\""),
        gone("/v1/models/none", "there is no model \"none\""),
        of("/v1/models/none/versions", "there is no model \"none\""),
        of("/v1/models/xor/versions/99", "there is no version"),
        of("/v1/models/xor/versions/0", "there is no version"),
        of(
            "/v1/models/xor/versions/18446744073709551615",
            "there is no version",
        ),
        of("/v1/models/xor/versions/best", "there is no version"),
        gone("/v1/models/xor/versions/99", "there is no version"),
        of("/v1/models/none/versions/1/parameters", "there is no"),
        gone("/v1/models/xor/aliases/best", "there is no alias"),
        of("/v1/datasets/none", "there is no dataset \"none\""),
        gone("/v1/datasets/none", "there is no dataset \"none\""),
        of("/v1/datasets/none/summary", "there is no dataset \"none\""),
        of("/problems/none", "there is no problem type \"none\""),
        of("/v1/models/%00", "there is no model"),
        of("/v1/models/a%2Fb", "there is no model \"a/b\""),
        of("/v1/models/%22%27%3B--", "there is no model"),
        path("/nope"),
        path("/"),
        path("/v1"),
        path("/v1/"),
        path("/v1/models/"),
        path("/v1/models/xor/none"),
        path("/V1/models"),
        path("/v1//models"),
        path("/v1/models/xor/versions/1/none"),
        path("/metrics/x"),
        no_text("/v1/models/%ff"),
        no_text("/v1/datasets/%C3%28"),
        no_text("/v1/jobs/%80/loss"),
        no_text("/v1/models/xor/versions/%ff"),
        Bad {
            method: "POST",
            ..path("/v1/nope")
        },
        Bad {
            method: "DELETE",
            ..path("/v1/nope")
        },
    ];
    for id in [
        "x",
        "1",
        "01900000-0000-7000-8000-00000000000",
        "%00",
        "..%2F",
    ] {
        rows.push(of(&format!("/v1/jobs/{id}"), "ids are UUIDs"));
    }
    for tail in ["", "/loss", "/events", "/gradients", "/checkpoints"] {
        rows.push(of(&format!("/v1/jobs/{none}{tail}"), "there is no job"));
    }
    for tail in ["cancel", "pause", "resume"] {
        rows.push(bare(
            "POST",
            &format!("/v1/jobs/{none}/{tail}"),
            404,
            "not-found",
            (&[], "there is no job"),
        ));
        rows.push(bare(
            "POST",
            &format!("/v1/jobs/x/{tail}"),
            404,
            "not-found",
            (&[], "ids are UUIDs"),
        ));
    }
    rows.push(gone(&format!("/v1/jobs/{none}"), "there is no job"));
    rows
}

/// Methods that a path does not have. `problems.rs` looks at `Allow`.
fn methods() -> Vec<Bad> {
    let of = |method, path: &str| {
        bare(
            method,
            path,
            405,
            "method-not-allowed",
            (&[], "has no method"),
        )
    };
    vec![
        of("POST", "/healthz"),
        of("DELETE", "/readyz"),
        of("POST", "/problems/internal"),
        of("PUT", "/v1/models"),
        of("DELETE", "/v1/models"),
        of("PATCH", "/v1/models/xor"),
        of("POST", "/v1/models/xor"),
        of("GET", "/v1/models/xor/predict"),
        of("GET", "/v1/models/xor/gradients"),
        of("PUT", "/v1/models/xor/gradient-check"),
        of("GET", "/v1/models/xor/aliases/best"),
        of("POST", "/v1/models/xor/versions"),
        of("PUT", "/v1/models/xor/versions/1"),
        of("POST", "/v1/models/xor/versions/1/parameters"),
        of("GET", "/v1/models/xor/versions/1/predict"),
        of("PUT", "/v1/jobs"),
        of("POST", "/v1/jobs/{ended}"),
        of("GET", "/v1/jobs/{ended}/cancel"),
        of("DELETE", "/v1/jobs/{ended}/pause"),
        of("GET", "/v1/jobs/{ended}/resume"),
        of("POST", "/v1/jobs/{ended}/loss"),
        of("POST", "/v1/jobs/{ended}/events"),
        of("POST", "/v1/jobs/{ended}/gradients"),
        of("DELETE", "/v1/jobs/{ended}/checkpoints"),
        of("DELETE", "/v1/datasets"),
        of("POST", "/v1/datasets/iris"),
        of("POST", "/v1/datasets/iris/summary"),
        of("OPTIONS", "/v1/models"),
        of("TRACE", "/v1/models"),
        of("BREW", "/v1/models"),
    ]
}
