//! The paths and methods of the contract: what somebody meant who asked for none of them.

use axum::extract::{MatchedPath, Request};

use crate::http::docs::CONTRACT;
use crate::http::problem::{METHOD_NOT_ALLOWED, NO_SUCH_PATH, Problem};
use crate::model::near_miss;

/// Methods in the order of the contract.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Any path that there is not.
pub(crate) async fn no_such_path(request: Request) -> Problem {
    let path = request.uri().path();
    let meant = meant(path).map(|meant| format!("did you mean {meant}? "));
    let meant = meant.unwrap_or_default();
    let detail = format!("there is no path {path}: {meant}/docs shows all there are");
    Problem::new(NO_SUCH_PATH, detail)
}

/// Any method that a path does not have.
pub(crate) async fn no_such_method(request: Request) -> Problem {
    let (path, method) = (request.uri().path(), request.method());
    let template = request.extensions().get::<MatchedPath>();
    let has = template.map(|template| methods(template.as_str()).join(", "));
    let has = has.map(|has| format!(": it has {has}")).unwrap_or_default();
    Problem::new(
        METHOD_NOT_ALLOWED,
        format!("{path} has no method {method}{has}"),
    )
}

/// The lines of the contract from one path on: the paths stand by themselves, their methods under them.
fn templates() -> impl Iterator<Item = &'static str> {
    let lines = CONTRACT.lines().filter_map(|line| line.strip_prefix("  /"));
    lines.filter_map(|line| line.strip_suffix(':'))
}

/// The methods of a path of the contract.
fn methods(template: &str) -> Vec<String> {
    let head = format!("  {template}:");
    let under = CONTRACT.lines().skip_while(|line| *line != head).skip(1);
    let under =
        under.take_while(|line| !line.starts_with("  /") && !line.starts_with("components"));
    let keys = under.filter_map(|line| line.strip_prefix("    ")?.strip_suffix(':'));
    let known = keys.filter(|key| METHODS.contains(key));
    known.map(str::to_uppercase).collect()
}

/// The path that is nearest, its gaps filled with what stands in their places.
fn meant(path: &str) -> Option<String> {
    let pieces: Vec<_> = path.split('/').filter(|piece| !piece.is_empty()).collect();
    let filled = templates().map(|template| {
        let parts: Vec<_> = template.split('/').collect();
        let fits = parts.len() == pieces.len();
        let part = |(place, part): (usize, &&str)| match pieces.get(place) {
            Some(piece) if fits && part.starts_with('{') => (*piece).to_owned(),
            _ => (*part).to_owned(),
        };
        let parts: Vec<_> = parts.iter().enumerate().map(part).collect();
        format!("/{}", parts.join("/"))
    });
    let filled: Vec<_> = filled.collect();
    let whole = format!("/{}", pieces.join("/"));
    let under = format!("/v1{whole}");
    let near = filled
        .iter()
        .find(|known| **known == whole || **known == under);
    let near = near
        .map(String::as_str)
        .or_else(|| near_miss(&whole, &filled));
    near.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        for (path, expected) in [
            ("/v1/model", Some("/v1/models")),
            ("/v1/models/", Some("/v1/models")),
            ("/models", Some("/v1/models")),
            ("/health", Some("/healthz")),
            ("/docs/", Some("/docs")),
            (
                "/v1/models/xor/gradient_check",
                Some("/v1/models/xor/gradient-check"),
            ),
            ("/v1/models/xor/predicts", Some("/v1/models/xor/predict")),
            ("/wholly/other", None),
            ("/", None),
        ] {
            assert_eq!(meant(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_path_knows_its_methods() {
        assert_eq!(methods("/v1/models"), ["GET", "POST"]);
        assert_eq!(
            methods("/v1/models/{name}/aliases/{alias}"),
            ["PUT", "DELETE"]
        );
        assert_eq!(methods("/v1/datasets/{name}/summary"), ["GET"]);
        assert!(methods("/none").is_empty());
    }
}
