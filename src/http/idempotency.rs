//! `Idempotency-Key`: a request that makes something is carried out once, however often it comes.
//!
//! A handler takes a [`Keyed`] body, or an [`IdempotencyKey`] where its body is none or no JSON, and hands the store a
//! [`crate::store::Once`] with the key and the answer, which it makes with [`made`].

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::App;
use crate::http::answer::off_thread;
use crate::http::body::{Received, parse, receive};
use crate::http::problem::{INVALID_HEADER, Problem};
use crate::machine::Reservation;
use crate::model::digest;
use crate::store::{Answer, Idempotency, KnownKey};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Characters of a key, at most.
const LONGEST_KEY: usize = 128;

/// The key of a request, where it has one: it waits for the digest of the body.
pub(crate) struct IdempotencyKey(Option<Idempotency>);

/// A JSON body of type `T` of a request that may have a key. The key stands for the body's bytes as they were sent.
pub(crate) struct Keyed<T> {
    pub(crate) body: T,
    pub(crate) key: Option<Idempotency>,
    /// The memory that is reserved for the body until the handler has done with it.
    pub(crate) room: Reservation,
}

impl FromRequestParts<App> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = given.next() else {
            return Ok(Self(None));
        };
        let key = key.as_bytes();
        let fits = (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        if !fits || given.next().is_some() {
            let detail = format!(
                "Idempotency-Key must be given once and have 1 to {LONGEST_KEY} visible ASCII characters, got {} bytes",
                key.len()
            );
            return Err(Problem::new(INVALID_HEADER, detail));
        }
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Ok(Self(Some(Idempotency {
            key: String::from_utf8_lossy(key).into_owned(),
            operation: format!("{} {target}", parts.method),
            digest: String::new(),
            at: app.store.running_time(),
            kept_for: app.limits.idempotency,
        })))
    }
}

impl IdempotencyKey {
    /// The key, for a body with this digest.
    pub(crate) fn with(self, digest: impl FnOnce() -> String) -> Option<Idempotency> {
        self.0.map(|key| Idempotency {
            digest: digest(),
            ..key
        })
    }

    /// What the key stands for, where it is known.
    pub(crate) async fn known(&self, app: &App) -> Result<Option<KnownKey>, Problem> {
        match &self.0 {
            Some(key) => Ok(app.store.known_key(key).await?),
            None => Ok(None),
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Keyed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let key = IdempotencyKey::from_request_parts(&mut parts, app).await?;
        let received = receive(Request::from_parts(parts, body)).await?;
        let Received { bytes, room } = received;
        off_thread(bytes.len(), move || {
            Ok(Self {
                body: parse(&bytes)?,
                key: key.with(|| digest(&bytes)),
                room,
            })
        })
        .await
    }
}

/// The answer that something was made, or is on its way.
pub(crate) fn made(status: StatusCode, location: String, made: &impl Serialize) -> Answer {
    Answer {
        status: status.as_u16(),
        location,
        body: serde_json::to_vec(made).expect("what the API answers is JSON"),
        replayed: false,
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("a status that was answered");
        let headers = [
            (header::LOCATION, self.location),
            (header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        let mut response = (status, headers, self.body).into_response();
        if self.replayed {
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert(IDEMPOTENT_REPLAYED, replayed);
        }
        response
    }
}
