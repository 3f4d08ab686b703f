//! Problems (RFC 9457): the one shape of every error body, and the one table of their types.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::path::Path;
use crate::model::{MOST_VIOLATIONS, Violation, Violations, known};

/// A type of problem: its slug, status, title, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// The last part of the type's path.
    #[serde(rename = "type", serialize_with = "as_path")]
    pub slug: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What to do about it.
    pub cure: &'static str,
    #[serde(skip)]
    example: Example,
}

/// What a problem of a type may say.
#[derive(Debug, PartialEq, Eq)]
enum Example {
    /// Its detail.
    Said(&'static str),
    /// The pointer and detail of its one violation.
    Broken(&'static str, &'static str),
}

/// The request's id in the examples.
const EXAMPLE_ID: &str = "01a20adb-f1a7-736b-8ead-59f061f20aba";

fn as_path<S: serde::Serializer>(slug: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("/problems/{slug}"))
}

macro_rules! kinds {
    ($($name:ident = $slug:literal, $status:literal, $title:literal, $example:expr, $cure:literal;)*) => {
        use Example::{Broken, Said};
        $(#[doc = $title] pub(crate) const $name: &Kind =
            &Kind { slug: $slug, status: $status, title: $title, cure: $cure, example: $example };)*
        /// Every type of problem that the server answers with.
        pub const PROBLEMS: &[&Kind] = &[$($name),*];
    };
}

kinds! {
    INVALID_JSON = "invalid-json", 400, "The body is not JSON",
        Said("the body ends inside an object, at line 1, column 1"),
        "Send one JSON value in UTF-8; the detail says at which line and column it stops being one.";
    BROKEN_BODY = "broken-body", 400, "The body could not be read",
        Said("the connection broke off before the end of the body"),
        "Send the whole body, as it is or in chunks; the detail says whether it broke off or was told to be coded otherwise.";
    UNAUTHORIZED = "unauthorized", 401, "The request does not carry the server's token",
        Said("the token is not the server's"),
        "Send the token of the server's --token-file as Authorization: Bearer TOKEN; it is taken from nowhere else.";
    FOREIGN_ORIGIN = "foreign-origin", 403, "A page of another origin may not ask",
        Said("a page of origin \"https://pages.example\" may not ask this server: must be one that --cors-origin names"),
        "Let the operator name the page's origin by --cors-origin; programs send no Origin.";
    TIMEOUT = "timeout", 408, "The request came too slowly",
        Said("the body did not come within 60 s"),
        "Send it again without pauses; nothing was stored.";
    NOT_FOUND = "not-found", 404, "There is no such thing",
        Said("there is no model \"xor\""),
        "Look at the name or id; GET the list to see what there is.";
    NO_SUCH_PATH = "no-such-path", 404, "There is no such path",
        Said("there is no path /v1/model: did you mean /v1/models? /docs shows all there are"),
        "Look at the path; the README has the table of all operations.";
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "The path has no such method",
        Said("/v1/models has no method PATCH: it has GET, POST"),
        "Use one of the methods that the Allow header lists.";
    ALREADY_EXISTS = "already-exists", 409, "The name is taken",
        Said("there is a model \"xor\" already"),
        "Choose another name, or delete what has it.";
    IN_USE = "in-use", 409, "Something needs it",
        Said("model \"xor\" is in use: job 01a20adb-7748-7577-ba20-38b559553eb2 trains it"),
        "The detail names what needs it: cancel the job or wait for it, move the alias, or publish a later version first.";
    ILLEGAL_MOVE = "illegal-move", 409, "The job's status does not allow this",
        Said("a job that is succeeded cannot be paused: only a queued or running one can"),
        "GET the job to see its status: ended jobs stay as they are, and only paused ones are resumed.";
    NO_RESULT = "no-result", 409, "There is no result, or none yet",
        Said("batch prediction 01a20adb-7748-7577-ba20-38b559553eb2 is running and has no result: ask again once it has succeeded"),
        "GET the batch prediction to see its status and, where it failed, its error.";
    NOT_VERIFIABLE = "not-verifiable", 409, "The job cannot be verified",
        Said("job 01a20adb-7748-7577-ba20-38b559553eb2 cannot be verified: it has no history yet: ask once an epoch is in it"),
        "The detail says what is missing of what the job was trained from, and from where it can be verified all the same.";
    NOT_FITTED = "not-fitted", 409, "The model's preprocessing is not fitted yet",
        Said("this version is not trained, and preprocess standardize is fitted by training: train the model, or ask a version that a job published"),
        "Train the model once; its first job fits the preprocessing on the training rows.";
    PRECONDITION_FAILED = "precondition-failed", 412, "It has changed meanwhile",
        Said("model \"xor\" has changed: it is now at revision 7-4"),
        "GET it again and look at what has changed; the ETag header has its present tag.";
    BODY_TOO_LARGE = "body-too-large", 413, "The body is too large",
        Said("the body must have at most 8388608 bytes"),
        "Send less at once, or upload the rows as a dataset.";
    URI_TOO_LONG = "uri-too-long", 414, "The path and query are too long",
        Said("the path and query must have at most 8192 bytes, got 9000"),
        "Send what is long in the body.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415, "The body's media type is not accepted here",
        Said("Content-Type must be application/json (use curl --json or -H 'Content-Type: application/json'), got none"),
        "Send Content-Type: application/json (curl --json does) or, for datasets, text/csv, and no compressed body.";
    MISDIRECTED_REQUEST = "misdirected-request", 421, "The server is not asked by this host",
        Said("this server is not asked as \"shop.example:8080\": must be localhost or an address of this machine, or a host that --allowed-hosts names"),
        "Ask it by localhost or by its address, or let the operator name the host by --allowed-hosts.";
    HEADERS_TOO_MANY = "headers-too-many", 431, "There are too many headers",
        Said("a request must have at most 64 headers, got 70"),
        "Send fewer headers; a cookie or a proxy may have added some.";
    INVALID_BODY = "invalid-body", 422, "The body has the wrong shape",
        Broken("/layers/0/units", "must be a whole number, got the string \"3\""),
        "The pointer names the first value of the wrong type; unknown fields are refused by name.";
    INVALID_SPEC = "invalid-spec", 422, "The body breaks rules",
        Broken("/inputs", "must be in [1, 100000], got 0"),
        "Each pointer names a value and each detail what it must be; all violations are listed.";
    INVALID_QUERY = "invalid-query", 422, "The query breaks rules",
        Broken("/limit", "must be a whole number in [1, 100], got \"0\""),
        "Each pointer names a query parameter and each detail what it must be.";
    INVALID_HEADER = "invalid-header", 422, "A header breaks rules",
        Said("Idempotency-Key must be 1 to 128 visible ASCII characters, got \"\""),
        "The detail names the header and what it must be.";
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused", 422, "The key stands for another request",
        Said("Idempotency-Key \"order-17\" was used for a request with another path, query or body"),
        "Choose a new Idempotency-Key for each request; send an old one only with the same path, query and body.";
    INVALID_DATASET = "invalid-dataset", 422, "The table cannot be read",
        Said("line 3, column 2 (\"petal_width\"): the row has too few cells: 3 expected, got 1"),
        "The detail names line and column of the fault; mend the file and upload it again.";
    TOO_LARGE = "too-large", 422, "One request asks for too much",
        Said("rows must be at most 4096, got 5000"),
        "Split the rows over several requests; the detail names the limit.";
    NOT_FINITE = "not-finite", 422, "The answer is not finite",
        Said("version 2 of model \"xor\" answers these rows with NaN or infinity: they are beyond its dtype"),
        "The rows are so large that the model overflows; send rows like those it was trained on.";
    INTERNAL = "internal", 500, "A fault of this program",
        Said("the request failed by a fault of this program"),
        "Report it with the request id; the log has the cause under it.";
    DAMAGED = "damaged", 500, "Stored bytes are damaged",
        Said("version 2 of model \"xor\" is damaged in the store: its digest does not match"),
        "Restore the data directory from a backup; the rest of it keeps working.";
    STORAGE_FAILED = "storage-failed", 500, "The disk failed",
        Said("the disk failed (disk I/O error): nothing is stored any more, and the server ends"),
        "Look at the disk, then start the server again: what was acknowledged is there. Whether this request was stored is not known: look before you repeat it.";
    QUEUE_FULL = "queue-full", 503, "Too many jobs wait",
        Said("the queue is full: 256 jobs wait"),
        "Try again when a job has ended, or cancel one.";
    BUSY = "busy", 503, "Too many requests of this kind at once",
        Said("at most 16 uploads at once"),
        "Try again in a moment; the detail names the limit.";
    INSUFFICIENT_MEMORY = "insufficient-memory", 503, "There is not enough memory now",
        Said("a request needs 201326592 bytes of memory and 1048576 are free now: try again in a moment"),
        "Try again in a moment, or send less at once; jobs and other requests hold the memory that it needs.";
    TOOK_TOO_LONG = "took-too-long", 503, "The request took too long",
        Said("the request took more than 120 s"),
        "Ask for less at once, or try again; what a POST had begun may yet be done: look before you repeat it.";
    NOT_READY = "not-ready", 503, "The server is not ready",
        Said("the server is ending or its database does not answer"),
        "Try again; it is starting or ending, or its database does not answer.";
    DISK_FULL = "disk-full", 507, "The disk is full",
        Said("the disk is full: nothing was stored"),
        "Make room; nothing was stored, and predictions go on.";
}

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its type.
    pub kind: &'static Kind,
    /// What went wrong this time.
    pub detail: String,
    /// The faults of a body or query, each with its pointer.
    pub errors: Vec<Violation>,
    pub(crate) retry_after_seconds: Option<u64>,
    /// The present tag of what has changed.
    pub(crate) etag: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
}

impl Problem {
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            etag: None,
        }
    }

    /// A problem that lists violations; the detail counts them and repeats the first.
    pub(crate) fn violations(kind: &'static Kind, errors: Vec<Violation>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{} {}", one.pointer, one.detail),
            [first, ..] => format!(
                "{}{} violations, the first: {} {}",
                if errors.len() < MOST_VIOLATIONS {
                    ""
                } else {
                    "at least "
                },
                errors.len(),
                first.pointer,
                first.detail
            ),
            [] => kind.title.to_owned(),
        };
        Self {
            kind,
            detail: detail.trim_start().to_owned(),
            errors,
            retry_after_seconds: None,
            etag: None,
        }
    }

    pub(crate) fn violation(
        kind: &'static Kind,
        pointer: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let mut violations = Violations::default();
        violations.add(pointer, detail);
        Self::violations(kind, violations.into_vec())
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).expect("the table has legal statuses")
    }

    /// The whole answer, with the request's id as its instance.
    pub(crate) fn render(&self, instance: &str) -> Response {
        let mut response = (self.status(), Json(self.body(instance))).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let etag = self.etag.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(etag)) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }

    /// The body alone, for an answer that is written by hand.
    pub(crate) fn text(&self, instance: &str) -> String {
        serde_json::to_string(&self.body(instance)).expect("texts and a number are JSON")
    }

    fn body<'a>(&'a self, instance: &'a str) -> Body<'a> {
        Body {
            r#type: format!("/problems/{}", self.kind.slug),
            title: self.kind.title,
            status: self.kind.status,
            detail: &self.detail,
            instance,
            errors: &self.errors,
        }
    }
}

impl Kind {
    /// The type with a problem of it.
    fn explained(&'static self) -> Explained {
        let problem = match self.example {
            Example::Said(detail) => Problem::new(self, detail),
            Example::Broken(pointer, detail) => Problem::violation(self, pointer, detail),
        };
        let example = serde_json::to_value(problem.body(EXAMPLE_ID));
        Explained {
            kind: self,
            example: example.expect("texts and a number are JSON"),
        }
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; it is rendered where the request's id is known.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The header that carries a request's id, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A type of problem, and a whole body of it.
#[derive(Serialize)]
pub(crate) struct Explained {
    #[serde(flatten)]
    kind: &'static Kind,
    example: Value,
}

/// `GET /problems`: every type of problem.
pub(crate) async fn list() -> Json<Value> {
    let data: Vec<_> = PROBLEMS.iter().map(|kind| kind.explained()).collect();
    Json(json!({ "data": data, "has_more": false }))
}

/// `GET /problems/{slug}`: what a type of problem means and what to do about it.
pub(crate) async fn explain(Path(slug): Path<String>) -> Result<Json<Explained>, Problem> {
    let kind = PROBLEMS.iter().find(|kind| kind.slug == slug);
    kind.map(|kind| Json(kind.explained())).ok_or_else(|| {
        let slugs: Vec<_> = PROBLEMS.iter().map(|kind| kind.slug).collect();
        Problem::new(
            NOT_FOUND,
            format!(
                "there is no problem type {slug:?}: {}",
                known(&slug, &slugs)
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_has_the_type_and_status_of_its_kind() {
        for kind in PROBLEMS {
            let example = kind.explained().example;
            assert_eq!(example["type"], format!("/problems/{}", kind.slug));
            assert_eq!(example["status"], kind.status, "{example}");
        }
    }

    #[test]
    fn every_slug_is_unique_and_every_status_is_an_error() {
        for (index, kind) in PROBLEMS.iter().enumerate() {
            assert!((400..600).contains(&kind.status), "{kind:?}");
            assert!(
                PROBLEMS[..index]
                    .iter()
                    .all(|other| other.slug != kind.slug),
                "{kind:?}"
            );
        }
    }
}
