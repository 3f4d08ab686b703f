//! Upload: a dataset's CSV streamed into columns, never whole in memory, and stored whole or not at all.

use std::io::{self, Read};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use tokio::sync::{SemaphorePermit, mpsc};

use crate::data::{Table, read_csv};
use crate::http::body::{check_media_type, too_large};
use crate::http::problem::{BROKEN_BODY, BUSY, INTERNAL, INVALID_QUERY, Problem, TIMEOUT};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::http::{App, HttpLimits};
use crate::model::{is_name, name_rule};
use crate::store::{DatasetChunk, Error, Timestamp};

/// What an uploaded dataset is called.
pub(crate) struct UploadQuery {
    name: String,
}

impl FromQuery for UploadQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let name = parameters.required("name");
        Self { name }
    }
}

/// Pieces of the body that wait to be parsed.
const PIECES: usize = 16;

/// The body's pieces as they come in, for a parser that reads.
struct Pieces {
    incoming: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.incoming.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// `POST /v1/datasets?name=`
pub(crate) async fn create(
    State(app): State<App>,
    Query(UploadQuery { name }): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    check_media_type(
        &headers,
        "text/csv",
        "curl -H 'Content-Type: text/csv' --data-binary @FILE",
    )?;
    check_free(&app, &name).await?;
    let _slot = slot(&app)?;
    let (table, chunks) = parse(&app, body).await?;
    let dataset = app
        .store
        .create_dataset(&name, &table, chunks, &Timestamp::now())
        .await?;
    let location = format!("/v1/datasets/{name}");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(dataset),
    ))
}

/// Refuses a name that cannot be given before the body is read.
async fn check_free(app: &App, name: &str) -> Result<(), Problem> {
    if !is_name(name) {
        return Err(Problem::violation(INVALID_QUERY, "/name", name_rule(name)));
    }
    match app.store.dataset(name).await {
        Ok(_) => Err(Error::Exists {
            kind: "dataset",
            name: name.to_owned(),
        }
        .into()),
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A place among the uploads: each keeps a thread of the blocking pool until its body has come.
fn slot(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    app.uploads.try_acquire().map_err(|_| Problem {
        retry_after_seconds: Some(1),
        ..Problem::new(
            BUSY,
            format!("at most {} uploads at once", app.limits.uploads),
        )
    })
}

/// Parses the body on the blocking pool while it comes in.
async fn parse(app: &App, body: Body) -> Result<(Table, Vec<DatasetChunk>), Problem> {
    let limits = app.limits.csv;
    let (pieces, incoming) = mpsc::channel(PIECES);
    let parsing = tokio::task::spawn_blocking(move || {
        let table = read_csv(
            Pieces {
                incoming,
                piece: Bytes::new(),
            },
            &limits,
        )?;
        let chunks = DatasetChunk::of(&table);
        Ok::<_, Problem>((table, chunks))
    });
    let fed = feed(body, pieces, &app.limits).await;
    let parsed = parsing.await.map_err(|error| {
        tracing::error!(%error, "an upload could not be parsed");
        Problem::new(INTERNAL, "the upload failed by a fault of this program")
    })?;
    fed?;
    parsed
}

/// Hands the body's pieces over. A parser that has given up is left alone: it knows what is wrong.
async fn feed(
    mut body: Body,
    pieces: mpsc::Sender<Bytes>,
    limits: &HttpLimits,
) -> Result<(), Problem> {
    let (most, idle) = (limits.body_dataset, limits.body_idle);
    let mut received = 0u64;
    loop {
        let next = tokio::time::timeout(idle, body.frame()).await;
        let next = next.map_err(|_| {
            let detail = format!("nothing came for {} s", idle.as_secs());
            Problem::new(TIMEOUT, detail)
        })?;
        let Some(piece) = next else {
            return Ok(());
        };
        let piece = piece.map_err(|_| {
            Problem::new(
                BROKEN_BODY,
                "the connection broke off before the end of the table",
            )
        })?;
        let Ok(piece) = piece.into_data() else {
            continue;
        };
        received += piece.len() as u64;
        if received > most {
            return Err(too_large(most));
        }
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
}
