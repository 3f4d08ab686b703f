//! Paths: their names read into a type; a path that is no text is one that does not exist.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::http::problem::{NO_SUCH_PATH, Problem};

/// The names in a path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(names)| Self(names))
            .map_err(|_| {
                let detail = format!("{} is not UTF-8 once decoded", parts.uri.path());
                Problem::new(NO_SUCH_PATH, detail)
            })
    }
}
