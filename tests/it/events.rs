//! Events: the log of a job, whole and in order, as a page or as a stream that follows it.

use std::collections::BTreeMap;
use std::time::Instant;

use gradientd::config::Limits;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::server::{Answer, Api, TestServer, long_job, send, text, until, xor_job, xor_model};

/// A stream of events as it comes in.
struct Stream {
    response: Response,
    read: String,
}

/// One piece of a stream: an event with what its fields say, or a comment.
#[derive(Debug, Default)]
struct Piece {
    id: u64,
    event: String,
    data: Value,
    comment: bool,
}

impl Stream {
    /// Opens the stream of a job, after an event that was seen.
    async fn open(server: &Api, id: &str, seen: Option<u64>) -> Self {
        let response = ask(server, id, seen).await;
        assert_eq!(response.status(), 200);
        let header = |name: &str| {
            response.headers()[name]
                .to_str()
                .expect("a text")
                .to_owned()
        };
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-cache");
        assert_eq!(header("x-accel-buffering"), "no");
        assert_eq!(header("vary"), "Accept");
        let read = String::new();
        Self { response, read }
    }

    /// The next piece; none at the stream's end.
    async fn piece(&mut self) -> Option<Piece> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let piece: String = self.read.drain(..end + 2).collect();
                return Some(parsed(piece.trim_end()));
            }
            let Some(bytes) = self
                .response
                .chunk()
                .await
                .expect("the stream goes on or ends")
            else {
                assert_eq!(self.read, "", "it ends after a whole event");
                return None;
            };
            self.read += std::str::from_utf8(&bytes).expect("UTF-8, in whole events");
        }
    }

    /// The next event, as the log has it.
    async fn event(&mut self) -> Option<Value> {
        loop {
            let piece = self.piece().await?;
            if !piece.comment {
                assert_eq!(piece.data["id"], piece.id, "{piece:?}");
                assert_eq!(piece.data["type"], piece.event, "{piece:?}");
                return Some(piece.data);
            }
        }
    }

    /// The events that are still to come.
    async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

fn parsed(piece: &str) -> Piece {
    let mut parsed = Piece::default();
    for line in piece.lines() {
        match line.split_once(':').expect("a field in each line") {
            ("id", id) => parsed.id = id.trim().parse().expect("a number"),
            ("event", event) => event.trim().clone_into(&mut parsed.event),
            ("data", data) => parsed.data = serde_json::from_str(data).expect("JSON"),
            ("", _) => parsed.comment = true,
            other => panic!("{other:?}"),
        }
    }
    parsed
}

async fn ask(server: &Api, id: &str, seen: Option<u64>) -> Response {
    let request = server.request(Method::GET, &format!("/v1/jobs/{id}/events"));
    let mut request = request.header("Accept", "text/event-stream");
    if let Some(seen) = seen {
        request = request.header("Last-Event-ID", seen.to_string());
    }
    request.send().await.expect("an answer")
}

/// The whole log of a job, page by page.
pub(crate) async fn log(server: &Api, id: &str) -> Vec<Value> {
    let mut log: Vec<Value> = Vec::new();
    loop {
        let path = format!("/v1/jobs/{id}/events?after={}&limit=1000", log.len());
        let mut page = server.get(&path).await.expect(200);
        log.append(page["data"].as_array_mut().expect("a list"));
        if page["has_more"] == false {
            for (event, id) in log.iter().zip(1u64..) {
                assert_eq!(event["id"], id, "no gap");
            }
            return log;
        }
    }
}

/// The data of a log's events of one type.
pub(crate) fn of_type(log: &[Value], of: &str) -> Vec<Value> {
    let events = log.iter().filter(|event| event["type"] == of);
    events.map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn what_cannot_be_learned_is_trained_on_with_a_warning() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let rows = |targets: Value| json!({"inputs": [[0, 1], [1, 0], [1, 1]], "targets": targets});
    let job = |model: &str, data: Value| json!({"model": model, "data": data, "epochs": 1});
    let csv = "x,y,label,kind\n1,7,0,a\n2,7,1,a\n4,7,0,a\n";
    server.upload("t", csv).await.expect(201);
    for (name, target) in [("class", "kind"), ("number", "y"), ("fine", "label")] {
        let columns = ["y", "label", "kind"]
            .into_iter()
            .filter(|column| *column != target);
        let columns: Vec<_> = columns
            .map(|name| json!({"name": name, "role": "ignore"}))
            .collect();
        let model = json!({"name": name, "dataset": "t", "target": target, "columns": columns, "hidden": []});
        server.create(model).await;
    }
    let same = "every row has the same target: there is nothing to tell rows apart by";
    let one = "target \"kind\" has one class only, \"a\": there is nothing to tell rows apart by";
    let seven = "target \"y\" is 7 in every row: there is nothing to tell rows apart by";
    for (job, warning) in [
        (
            job("xor", rows(json!([[1], [1], [1]]))),
            Some(("constant_target", same)),
        ),
        (job("xor", rows(json!([[1], [0], [1]]))), None),
        (job("class", json!({})), Some(("single_class", one))),
        (job("number", json!({})), Some(("constant_target", seven))),
        (job("fine", json!({})), None),
    ] {
        let warnings = warning.map(|(code, detail)| json!({"code": code, "detail": detail}));
        let warnings: Vec<_> = warnings.into_iter().collect();
        let dry = server
            .post("/v1/jobs?dry_run=true", job.clone())
            .await
            .expect(200);
        assert_eq!(dry["warnings"], json!(warnings));
        let ended = server.train(job).await;
        let events = log(&server, &text(&ended["id"])).await;
        assert_eq!(of_type(&events, "warning"), warnings);
    }
    server.stop().await;
}

/// The moves that a log tells: status and attempt.
pub(crate) fn moves(log: &[Value]) -> Vec<(String, u64)> {
    let moves = of_type(log, "status");
    let pair = |data: &Value| {
        (
            text(&data["status"]),
            data["attempt"].as_u64().expect("a number"),
        )
    };
    moves.iter().map(pair).collect()
}

fn path(moves: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = |(status, attempt): &(&str, u64)| ((*status).to_owned(), *attempt);
    moves.iter().map(owned).collect()
}

async fn server_with(limits: Limits) -> TestServer {
    let server = TestServer::start_with(1, limits).await;
    server.create(xor_model("xor")).await;
    server
}

#[tokio::test]
async fn the_log_of_a_job_tells_each_of_its_moves_and_its_last_epoch() {
    let server = server_with(Limits::default()).await;
    let job = server.train(xor_job("xor", json!({}))).await;
    let id = text(&job["id"]);
    let events = log(&server, &id).await;
    assert_eq!(
        moves(&events),
        path(&[("queued", 0), ("running", 1), ("succeeded", 1)])
    );
    let last = events.last().expect("an event");
    let end = json!({"status": "succeeded", "attempt": 1, "version": 2, "error": null});
    assert_eq!(
        (&last["data"], &last["created_at"]),
        (&end, &job["finished_at"])
    );
    assert_eq!(events[0]["created_at"], job["created_at"]);
    let newest = of_type(&events, "epoch");
    let losses = server.losses(&id).await;
    for row in &newest {
        let epoch = row["epoch"].as_u64().expect("a number") as usize;
        assert_eq!(row, &losses[epoch - 1]);
    }
    assert_eq!(newest.last().expect("an epoch")["epoch"], 10);
    let page = server
        .get(&format!("/v1/jobs/{id}/events?after=1&limit=1"))
        .await
        .expect(200);
    assert_eq!(page, json!({"data": [events[1]], "has_more": true}));

    let diverging = json!({"data": {"inputs": [[1e300, 0]], "targets": [[1e300]]}});
    let failed = server.submit(xor_job("xor", diverging)).await;
    let error = server.ended(&failed).await["error"].take();
    let events = log(&server, &failed).await;
    assert_eq!(events.last().expect("an event")["data"]["error"], error);
    assert_eq!(error["code"], "diverged");
    server
        .delete(&format!("/v1/jobs/{failed}"))
        .await
        .expect(204);
    server
        .get(&format!("/v1/jobs/{failed}/events"))
        .await
        .problem(404, "not-found");
    server.stop().await;
}

#[tokio::test]
async fn every_move_of_an_interrupted_job_is_told_and_every_checkpoint() {
    let server = server_with(Limits::default()).await;
    let id = server.submit(long_job("xor")).await;
    server.running(&id).await;
    let waiting = server.submit(long_job("xor")).await;
    for (job, asked) in [
        (&waiting, "pause"),
        (&waiting, "resume"),
        (&id, "pause"),
        (&waiting, "pause"),
        (&id, "resume"),
    ] {
        server
            .tell(&format!("/v1/jobs/{job}/{asked}"))
            .await
            .expect(200);
        if asked == "pause" && job == &id {
            server.running(&waiting).await;
        }
    }
    server.running(&id).await;
    let kept = server
        .get(&format!("/v1/jobs/{id}/checkpoints"))
        .await
        .expect(200)["data"][0]
        .take();
    let server = server.restart().await;
    server.job_once(&id, |job| job["attempt"] == 3).await;
    server.cancel(&id).await;
    server.cancel(&waiting).await;
    let events = log(&server, &id).await;
    let told = [
        ("queued", 0),
        ("running", 1),
        ("paused", 1),
        ("queued", 1),
        ("running", 2),
        ("queued", 2),
        ("running", 3),
        ("cancelled", 3),
    ];
    assert_eq!(moves(&events), path(&told));
    assert_eq!(
        of_type(&events, "warning"),
        Vec::<Value>::new(),
        "it lost nothing"
    );
    let checkpoints = of_type(&events, "checkpoint");
    let place = |row: &Value| json!({"epoch": row["epoch"], "step": row["step"]});
    assert!(
        checkpoints.contains(&place(&kept)),
        "{kept} {checkpoints:?}"
    );
    let told = [
        ("queued", 0),
        ("paused", 0),
        ("queued", 0),
        ("running", 1),
        ("paused", 1),
        ("cancelled", 1),
    ];
    assert_eq!(moves(&log(&server, &waiting).await), path(&told));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_follows_a_job_to_its_end_and_tells_just_what_the_log_has() {
    let server = server_with(Limits::default()).await;
    let id = server.submit(long_job("xor")).await;
    let mut stream = Stream::open(&server, &id, None).await;
    let mut seen = Vec::new();
    while of_type(&seen, "checkpoint").is_empty() {
        let event = stream.event().await.expect("the job goes on");
        let path = format!("/v1/jobs/{id}/events?after={}&limit=1", seen.len());
        let stored = server.get(&path).await.expect(200);
        assert_eq!(
            stored["data"],
            json!([event]),
            "it is stored before it is told"
        );
        seen.push(event);
    }
    server.cancel(&id).await;
    seen.append(&mut stream.rest().await);
    assert_eq!(seen, log(&server, &id).await);
    assert_eq!(moves(&seen).last(), Some(&("cancelled".to_owned(), 1)));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let server = server_with(Limits::default()).await;
    let id = text(&server.train(xor_job("xor", json!({}))).await["id"]);
    let events = log(&server, &id).await;
    let last = events.len() as u64;
    for seen in 0..last {
        let rest = Stream::open(&server, &id, Some(seen)).await.rest().await;
        assert_eq!(rest, events[seen as usize..]);
    }
    // The header is of the connection that broke off, the query of the first one.
    let both = server.request(Method::GET, &format!("/v1/jobs/{id}/events?after=1"));
    let both = both.header("Accept", "application/json;q=0.1, text/event-stream");
    let after = send(both.try_clone().expect("no body")).await.text();
    assert!(after.starts_with("id: 2\n"), "{after}");
    let after = send(both.header("Last-Event-ID", "2")).await.text();
    assert!(after.starts_with("id: 3\n"), "{after}");
    for seen in [last, last + 1] {
        assert_eq!(
            ask(&server, &id, Some(seen)).await.status(),
            204,
            "a browser asks no more"
        );
    }
    for wrong in ["x", "-1", "+5", "", "9223372036854775808"] {
        for accept in ["text/event-stream", "application/json"] {
            let request = server.request(Method::GET, &format!("/v1/jobs/{id}/events"));
            let request = request.header("Accept", accept);
            let refused = send(request.header("Last-Event-ID", wrong)).await;
            let problem = refused.problem(422, "invalid-query");
            let detail = format!(
                "Last-Event-ID must be a whole number in [0, 9223372036854775807], got {wrong:?}"
            );
            assert_eq!(problem["detail"], detail);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_job_of_a_hundred_thousand_epochs_tells_of_at_most_ten_a_second() {
    let server = server_with(Limits::default()).await;
    let id = server
        .submit(xor_job("xor", json!({"epochs": 100_000})))
        .await;
    server.succeeded(&id).await;
    let events = log(&server, &id).await;
    let mut seconds: BTreeMap<String, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "epoch") {
        let mut second = text(&event["created_at"]);
        second.truncate("2026-11-23T22:55:01".len());
        *seconds.entry(second).or_default() += 1;
    }
    assert!(seconds.values().all(|told| *told <= 10), "{seconds:?}");
    assert_eq!(
        of_type(&events, "epoch").last().expect("an epoch")["epoch"],
        100_000
    );
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_ends_its_streams_at_once() {
    let limits = Limits {
        drain_seconds: 600,
        ..Limits::default()
    };
    let server = server_with(limits).await;
    let paused = server.submit(long_job("xor")).await;
    server.running(&paused).await;
    server
        .tell(&format!("/v1/jobs/{paused}/pause"))
        .await
        .expect(200);
    let silent = Stream::open(&server, &paused, None).await;
    let began = Instant::now();
    // It would wait ten minutes for a stream that goes on, and fails where it takes longer than a few seconds.
    let stopped = tokio::spawn(server.stop());
    let events = silent.rest().await;
    assert_eq!(moves(&events).last(), Some(&("paused".to_owned(), 1)));
    stopped.await.expect("it ends in time");
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
}

#[tokio::test]
async fn there_are_so_many_streams_at_once_and_a_place_is_free_when_one_is_left() {
    let server = server_with(Limits {
        event_streams: 1,
        ..Limits::default()
    })
    .await;
    let id = server.submit(long_job("xor")).await;
    let stream = Stream::open(&server, &id, None).await;
    let path = format!("/v1/jobs/{id}/events");
    let again = || {
        server
            .request(Method::GET, &path)
            .header("Accept", "text/event-stream")
    };
    let refused = send(again()).await;
    assert_eq!(refused.header("retry-after"), "1");
    let problem = refused.problem(503, "busy");
    assert_eq!(problem["detail"], "at most 1 event streams at once");
    server.get(&path).await.expect(200);
    drop(stream);
    until("a place", async || {
        let response = again().send().await.expect("an answer");
        if response.status() == 200 {
            Ok(())
        } else {
            Err(response.status())
        }
    })
    .await;
    server.cancel(&id).await;
    server.stop().await;
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let server = server_with(Limits {
        event_silence_seconds: 1,
        ..Limits::default()
    })
    .await;
    let id = server.submit(long_job("xor")).await;
    server
        .tell(&format!("/v1/jobs/{id}/pause"))
        .await
        .expect(200);
    let mut stream = Stream::open(&server, &id, None).await;
    let mut comments = 0;
    while comments < 2 {
        let piece = stream.piece().await.expect("the stream goes on");
        comments += u64::from(piece.comment);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_request_has_the_headers_of_a_log_and_of_a_stream() {
    let server = server_with(Limits {
        event_streams: 1,
        ..Limits::default()
    })
    .await;
    let id = server.submit(long_job("xor")).await;
    let head = |accept: &'static str| {
        let request = server.request(Method::HEAD, &format!("/v1/jobs/{id}/events?limit=5"));
        send(request.header("Accept", accept))
    };
    // Twice: the place of the first is free again.
    for media_type in ["application/json", "text/event-stream", "text/event-stream"] {
        let answer: Answer = head(media_type).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
        assert_eq!(answer.header("content-type"), media_type);
    }
    server.cancel(&id).await;
    server.stop().await;
}
