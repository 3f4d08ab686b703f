//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8 and 13): reads that cost nothing where nothing has
//! changed, and writes that meet no change unseen.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::problem::{INVALID_HEADER, Problem};
use crate::store::{Expected, Revision};

/// The state that `If-Match` expects, by strong comparison; any, where the header is not there or `*`.
pub(crate) struct IfMatch(pub(crate) Expected);

/// The states that the client has already, by weak comparison.
pub(crate) struct IfNoneMatch(Option<Tags>);

/// What such a header lists.
#[derive(Debug, PartialEq)]
enum Tags {
    /// `*`
    Any,
    List(Vec<Tag>),
}

#[derive(Debug, PartialEq)]
struct Tag {
    is_weak: bool,
    text: String,
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(Tags::List(tags)) = tags(&parts.headers, &header::IF_MATCH)? else {
            return Ok(Self(Expected::Any));
        };
        // A tag that is none of ours matches nothing.
        let strong = tags.iter().filter(|tag| !tag.is_weak);
        let revisions = strong.filter_map(|tag| tag.text.parse().ok());
        Ok(Self(Expected::OneOf(revisions.collect())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(tags(&parts.headers, &header::IF_NONE_MATCH)?))
    }
}

impl IfNoneMatch {
    /// The answer with its tag, or 304 where the client has it already.
    pub(crate) fn answer(self, revision: Revision, answer: impl IntoResponse) -> Response {
        let is_known = match self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|tag| tag.text == revision.to_string()),
        };
        let etag = [(header::ETAG, etag(revision))];
        if is_known {
            return (StatusCode::NOT_MODIFIED, etag).into_response();
        }
        (etag, answer).into_response()
    }
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: Revision) -> String {
    format!("\"{revision}\"")
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let lines = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()));
    let list = lines.collect::<Vec<_>>().join(",");
    parse(&list).map(Some).ok_or_else(|| {
        let detail = format!("{name} must be * or a list of tags in double quotes, got {list:?}");
        Problem::new(INVALID_HEADER, detail)
    })
}

/// `*`, or tags such as `"7-3"` and `W/"7-3"` with commas between them.
fn parse(list: &str) -> Option<Tags> {
    if list.trim() == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut rest = list.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let opaque = rest.strip_prefix("W/");
        let (text, after) = opaque.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        tags.push(Tag {
            is_weak: opaque.is_some(),
            text: text.to_owned(),
        });
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    (!tags.is_empty()).then_some(Tags::List(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &[(bool, &str)]) -> Tags {
        let tag = |&(is_weak, text): &(bool, &str)| Tag {
            is_weak,
            text: text.to_owned(),
        };
        Tags::List(tags.iter().map(tag).collect())
    }

    #[test]
    fn a_list_of_tags_is_read_tag_by_tag_whatever_is_in_their_quotes() {
        assert_eq!(parse(" * "), Some(Tags::Any));
        assert_eq!(parse("\"7-3\""), Some(list(&[(false, "7-3")])));
        let several = parse(", W/\"a,b\" ,\t\"\",,\"*\",");
        let expected = list(&[(true, "a,b"), (false, ""), (false, "*")]);
        assert_eq!(several, Some(expected));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for wrong in [
            "",
            ",",
            "7-3",
            "\"7-3",
            "\"a\" \"b\"",
            "\"a\",b",
            "w/\"a\"",
            "*,\"a\"",
            "\"a\"b",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
