//! Queries: parameters read into a type, unknown ones refused by name.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::problem::{INVALID_QUERY, Problem};
use crate::store::PageQuery;

/// A query of type `T`.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let parsed = parsed.map_err(|rejection| Problem::new(INVALID_QUERY, cause(&rejection)))?;
        Ok(Self(parsed.0))
    }
}

/// The innermost cause of an error: what serde says of the parameter.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Asc,
    Desc,
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    order: Option<Order>,
}

/// Rows of a page where the query does not say.
const DEFAULT_LIMIT: u32 = 20;
/// Rows of a page, at most.
const MOST_LIMIT: u32 = 100;

impl ListQuery {
    pub(crate) fn page(self) -> Result<PageQuery, Problem> {
        page(self.limit, self.after, self.order)
    }
}

/// The page of a list.
pub(crate) fn page(
    limit: Option<u32>,
    after: Option<String>,
    order: Option<Order>,
) -> Result<PageQuery, Problem> {
    let limit = limit_within(limit, DEFAULT_LIMIT, MOST_LIMIT)?;
    Ok(PageQuery {
        limit,
        after,
        ascending: order == Some(Order::Asc),
    })
}

/// The limit of a list, within what is allowed.
pub(crate) fn limit_within(limit: Option<u32>, default: u32, most: u32) -> Result<u32, Problem> {
    match limit.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => Err(Problem::violation(
            INVALID_QUERY,
            "/limit",
            format!("must be in [1, {most}], got {limit}"),
        )),
    }
}
