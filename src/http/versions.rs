//! Versions: listed, shown, deleted, and their parameters read.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Serialize, Serializer};

use crate::http::App;
use crate::http::answer::{accepts, bytes, json};
use crate::http::path::Path;
use crate::http::problem::{Problem, TOO_LARGE};
use crate::http::query::Query;
use crate::model::{AnyNetwork, Matrix, Selftest};
use crate::nn::{Dtype, Network, Normalized, Scalar};
use crate::serve::{Loaded, Version, VersionName};
use crate::store::{Page, PageQuery, VersionRow};

const SAFETENSORS: &str = "application/x-safetensors";

/// The parameters of a version.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Parameters {
    model: String,
    version: u64,
    dtype: Dtype,
    parameters: Layers,
    #[serde(skip_serializing_if = "Embeddings::is_empty")]
    embeddings: Embeddings,
}

/// Weights and biases of each layer, and what its normalization has, in the model's dtype.
struct Layers(Arc<Loaded>);

#[derive(Serialize)]
struct Layer<'a, T> {
    weights: Matrix<'a, T>,
    biases: Vec<&'a T>,
    #[serde(flatten)]
    normalization: BTreeMap<&'static str, Vec<&'a T>>,
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.network {
            AnyNetwork::Float32(network) => serializer.collect_seq(layers(network)),
            AnyNetwork::Float64(network) => serializer.collect_seq(layers(network)),
        }
    }
}

fn layers<T: Scalar + Serialize>(network: &Network<T>) -> impl Iterator<Item = Layer<'_, T>> {
    network.layers().iter().map(|layer| Layer {
        weights: Matrix(layer.weights.view()),
        biases: layer.biases.iter().collect(),
        normalization: (layer.normalization.iter())
            .flat_map(Normalized::arrays)
            .filter(|(_, array)| !array.is_empty())
            .map(|(name, array)| (name, array.iter().collect()))
            .collect(),
    })
}

/// The vectors of each column that is embedded, (categories × dimensions), in the model's dtype.
struct Embeddings(Arc<Loaded>);

#[derive(Serialize)]
struct Vectors<'a, T> {
    column: &'a str,
    weights: Matrix<'a, T>,
}

impl Embeddings {
    fn is_empty(&self) -> bool {
        self.0.network.embeddings().is_empty()
    }
}

impl Serialize for Embeddings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.network {
            AnyNetwork::Float32(network) => serializer.collect_seq(vectors(network)),
            AnyNetwork::Float64(network) => serializer.collect_seq(vectors(network)),
        }
    }
}

fn vectors<T: Scalar + Serialize>(network: &Network<T>) -> impl Iterator<Item = Vectors<'_, T>> {
    let embeddings = network.embeddings().iter().zip(network.vectors());
    embeddings.map(|(embedding, vectors)| Vectors {
        column: &embedding.column,
        weights: Matrix(vectors),
    })
}

/// What a version answers its golden set now.
#[derive(Serialize)]
pub(crate) struct Tested {
    model: String,
    version: u64,
    #[serde(flatten)]
    selftest: Selftest,
}

/// The version that a path names, by number, alias or `latest`.
pub(crate) fn version_name(name: &str) -> VersionName {
    name.parse().expect("any text names a version")
}

/// `GET /v1/models/{name}/versions`
pub(crate) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<VersionRow>>, Problem> {
    Ok(Json(app.store.versions(&name, &page).await?))
}

/// `GET /v1/models/{name}/versions/{version}`
pub(crate) async fn show(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<VersionRow>, Problem> {
    let number = number(&app, &name, &version).await?;
    Ok(Json(app.store.version(&name, number).await?))
}

/// `DELETE /v1/models/{name}/versions/{version}`
pub(crate) async fn delete(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let number = number(&app, &name, &version).await?;
    app.store.delete_version(&name, number).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/models/{name}/versions/{version}/selftest`
pub(crate) async fn selftest(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Tested>, Problem> {
    let (version, selftest) = app.serve.selftest(&name, &version_name(&version)).await?;
    Ok(Json(Tested {
        model: name,
        version,
        selftest,
    }))
}

/// `GET /v1/models/{name}/versions/{version}/parameters`
pub(crate) async fn parameters(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Version {
        name,
        number,
        model,
    } = app.serve.version(&name, &version_name(&version)).await?;
    let numbers = model.network.parameter_count();
    if accepts(&headers, SAFETENSORS) {
        return bytes(
            &app.memory,
            numbers,
            SAFETENSORS,
            move || Ok(model.encode()),
        )
        .await;
    }
    let most = app.limits.answer_numbers;
    if numbers as u64 > most {
        let detail = format!(
            "JSON must have at most {most} numbers, got {numbers}: ask for them with Accept: {SAFETENSORS}"
        );
        return Err(Problem::new(TOO_LARGE, detail));
    }
    json(&app.memory, numbers, move || Parameters {
        model: name,
        version: number,
        dtype: model.network.dtype(),
        parameters: Layers(Arc::clone(&model)),
        embeddings: Embeddings(model),
    })
    .await
}

async fn number(app: &App, name: &str, version: &str) -> Result<u64, Problem> {
    match version_name(version) {
        VersionName::Number(number) => Ok(number),
        other => Ok(app.serve.version(name, &other).await?.number),
    }
}
