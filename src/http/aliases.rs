//! Aliases: movable names of versions.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::body::Body;
use crate::http::etag::{IfMatch, etag};
use crate::http::path::Path;
use crate::http::problem::{INVALID_SPEC, Problem};
use crate::model::is_alias;
use crate::serve::VersionName;

/// What an alias is to name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetAlias {
    version: u64,
}

/// An alias as it is answered.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct Alias {
    model: String,
    alias: String,
    version: u64,
}

/// `PUT /v1/models/{name}/aliases/{alias}`
pub(crate) async fn set(
    State(app): State<App>,
    Path((model, alias)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    Body(SetAlias { version }, _room): Body<SetAlias>,
) -> Result<([(HeaderName, String); 1], Json<Alias>), Problem> {
    if !is_alias(&alias) {
        let detail =
            format!("an alias must be a name, but no number and not \"latest\", got {alias:?}");
        return Err(Problem::new(INVALID_SPEC, detail));
    }
    app.serve
        .version(&model, &VersionName::Number(version))
        .await?;
    let set = app.store.set_alias(&model, &alias, version, &expected);
    let tag = [(header::ETAG, etag(set.await?))];
    let answer = Alias {
        model,
        alias,
        version,
    };
    Ok((tag, Json(answer)))
}

/// `DELETE /v1/models/{name}/aliases/{alias}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path((model, alias)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    app.store.delete_alias(&model, &alias, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
