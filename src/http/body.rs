//! Bodies: JSON read into a type, with the first fault named by its pointer.

use std::fmt::Write;

use axum::body::Body as RawBody;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use memchr::memchr_iter;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::http::admission::Turn;
use crate::http::answer::off_thread;
use crate::http::pace::{Paced, Slowest};
use crate::http::problem::{
    BODY_TOO_LARGE, INVALID_BODY, INVALID_JSON, Problem, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE,
};
use crate::http::strict::Strict;
use crate::http::wording::{no_json, placed};
use crate::machine::{Budget, Reservation, Use};
use crate::model::escaped;

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// Bytes that a byte of a JSON body may come to while it is read: itself, and what it says. Of rows such as `[0,1]` each two bytes
/// are a number of eight.
const READ: u64 = 6;
/// Bytes that a byte of it takes while it comes: twice its length once it is moved to where there is more room for it.
const COMING: u64 = 2;
/// Of the budget, the part that the first bytes of a body are: those of 4,096 bodies that stop short then hold an eighth of it. What is
/// carried out must not stand back for larger ones.
const FIRST: u64 = 1 << 16;
/// Bytes that a string in a list, and a name in an object, may come to beside that.
const STRING: u64 = 32;
const NAME: u64 = 112;

/// A JSON body of type `T`, and the memory that is reserved for it until the handler has done with it.
pub(crate) struct Body<T>(pub(crate) T, pub(crate) Reservation);

/// What a route's body must be.
#[derive(Clone)]
pub(crate) struct BodyLimit {
    /// Bytes, at most.
    pub(crate) bytes: usize,
    /// Objects in it, at most: each takes many times its length once it is read.
    pub(crate) objects: u64,
    /// How slowly it may come.
    pub(crate) slowest: Slowest,
    /// What it takes its memory from.
    pub(crate) memory: Budget,
}

/// A body that has come, whole, and its memory.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) room: Reservation,
}

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let Received { bytes, room } = receive(request).await?;
        off_thread(bytes.len(), move || Ok(Self(parse(&bytes)?, room))).await
    }
}

/// A JSON body, whole.
///
/// Errors: another media type; it is too large, too slow, or breaks off; there is no memory for it; the request gets no turn.
pub(crate) async fn receive(request: Request) -> Result<Received, Problem> {
    check_media_type(
        request.headers(),
        JSON,
        "use curl --json or -H 'Content-Type: application/json'",
    )?;
    let (parts, body) = request.into_parts();
    let limit = parts.extensions.get::<BodyLimit>();
    let limit = limit.expect("a route that reads a body has a limit");
    let received = whole(&parts.headers, body, limit).await?;
    if let Some(turn) = parts.extensions.get::<Turn>() {
        turn.take().await?;
    }
    Ok(received)
}

/// A body in one piece. Its memory is reserved as it comes, so that who sends nothing holds nothing.
///
/// Errors: it is too large, too slow, or breaks off; there is no memory for it.
async fn whole(headers: &HeaderMap, body: RawBody, limit: &BodyLimit) -> Result<Received, Problem> {
    let most = limit.bytes as u64;
    let allowed = limit.memory.allowed(Use::Requests) / READ;
    check_length(headers, most.min(allowed))?;
    let (mut body, mut bytes) = (Paced::new(body, limit.slowest), Vec::new());
    let mut room = limit.memory.try_reserve(Use::Requests, 0)?;
    let mut coming = limit.memory.try_reserve(Use::Bodies, 0)?;
    let first = limit.memory.bytes() / FIRST;
    while let Some(piece) = body.next().await? {
        let length = (bytes.len() + piece.len()) as u64;
        if length > most.min(allowed) {
            return Err(too_large(most.min(allowed)));
        }
        room.settle(length.min(first) * COMING)?;
        coming.settle(length.saturating_sub(first) * COMING)?;
        // The pieces may be a byte each: kept as they are, each would take many times its length.
        bytes.extend_from_slice(&piece);
    }
    // Braces in strings count, too: it is a bound, and not a number to be exact about.
    let objects = memchr_iter(b'{', &bytes).count() as u64;
    if objects > limit.objects {
        let most = limit.objects;
        let detail = format!("objects in one body must be at most {most}, got {objects}");
        return Err(Problem::new(TOO_LARGE, detail));
    }
    // Strings and names are texts of their own, however short.
    let strings = memchr_iter(b'"', &bytes).count() as u64 / 2;
    let names = memchr_iter(b':', &bytes).count() as u64;
    let length = bytes.len() as u64;
    drop(coming);
    room.settle(length * READ + strings * STRING + names * NAME)?;
    Ok(Received { bytes, room })
}

/// The problem of a body of more than `limit` bytes.
pub(crate) fn too_large(limit: u64) -> Problem {
    Problem::new(
        BODY_TOO_LARGE,
        format!("the body must have at most {limit} bytes"),
    )
}

/// Whether a body says that it is CSV.
pub(crate) fn is_csv(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given
        .and_then(|given| given.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/csv")
}

/// Refuses a body that says that it is too large, before it comes.
pub(crate) fn check_length(headers: &HeaderMap, most: u64) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > most => Err(too_large(most)),
        _ => Ok(()),
    }
}

/// Refuses a body of another media type, or of another charset than UTF-8.
fn check_media_type(headers: &HeaderMap, wanted: &str, hint: &str) -> Result<(), Problem> {
    media_type(headers, &[wanted], hint).map(|_| ())
}

/// Which of a few media types a body is of.
///
/// Errors: none of them; another charset than UTF-8.
pub(crate) fn media_type<'a>(
    headers: &HeaderMap,
    wanted: &[&'a str],
    hint: &str,
) -> Result<&'a str, Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let mut parts = given.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    let found = wanted
        .iter()
        .find(|wanted| essence.eq_ignore_ascii_case(wanted));
    if let Some(found) = found {
        parts.try_for_each(check_charset)?;
        return Ok(found);
    }
    let got = if given.is_empty() {
        "none".to_owned()
    } else {
        format!("{given:?}")
    };
    let wanted = wanted.join(" or ");
    Err(Problem::new(
        UNSUPPORTED_MEDIA_TYPE,
        format!("Content-Type must be {wanted} ({hint}), got {got}"),
    ))
}

/// Refuses the charset of a media type unless it is UTF-8, or its part US-ASCII.
fn check_charset(parameter: &str) -> Result<(), Problem> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    let is_utf8 = ["utf-8", "utf8", "us-ascii"]
        .iter()
        .any(|charset| value.eq_ignore_ascii_case(charset));
    if is_utf8 || !name.trim().eq_ignore_ascii_case("charset") {
        return Ok(());
    }
    Err(Problem::new(
        UNSUPPORTED_MEDIA_TYPE,
        format!("charset must be utf-8, got {value:?}"),
    ))
}

/// The value of a JSON body, or its first fault with its pointer.
///
/// Errors: it is no JSON, or none of `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Strict(&mut deserializer)).map_err(|error| {
        let pointer = pointer(error.path());
        fault(bytes, &pointer, &error.into_inner().0)
    })?;
    deserializer
        .end()
        .map_err(|error| fault(bytes, "", &error))?;
    Ok(value)
}

fn fault(bytes: &[u8], pointer: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let text = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text);
    match error.classify() {
        Category::Data => {
            let (pointer, detail) = placed(pointer, text);
            Problem::violation(INVALID_BODY, pointer, detail)
        }
        Category::Syntax | Category::Eof | Category::Io => Problem::new(
            INVALID_JSON,
            format!(
                "{}, at line {line}, column {column}",
                no_json(bytes, line, column, text)
            ),
        ),
    }
}

/// The JSON pointer (RFC 6901) of a path.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                let _ = write!(pointer, "/{index}");
            }
            Segment::Map { key } => {
                let _ = write!(pointer, "/{}", escaped(key));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelSpec;

    fn problem(body: &str) -> Problem {
        parse::<ModelSpec>(body.as_bytes()).expect_err("a fault")
    }

    #[test]
    fn the_first_fault_of_shape_is_named_by_its_pointer() {
        let wrong =
            problem(r#"{"name":"a","inputs":2,"layers":[{"units":"3","activation":"sigmoid"}]}"#);
        assert_eq!(wrong.kind.slug, "invalid-body");
        assert_eq!(wrong.errors[0].pointer, "/layers/0/units");
        let unknown = problem(r#"{"name":"a","inputs":2,"layers":[],"colour":1}"#);
        assert!(
            unknown
                .detail
                .starts_with("/colour unknown field `colour`: known: name, "),
            "{}",
            unknown.detail
        );
    }

    #[test]
    fn what_is_not_json_is_400_with_line_and_column() {
        for body in ["", "{", "{\"name\":1e999}", "{} {}", "nul"] {
            let slug = problem(body).kind.slug;
            assert!(slug == "invalid-json" || body == "{} {}", "{body}: {slug}");
        }
        assert!(
            problem("{\n \"name\": }")
                .detail
                .ends_with("at line 2, column 10")
        );
    }
}
