//! Upload: a dataset's CSV streamed into columns, never whole in memory, and stored whole or not at all.

use std::io::{self, Read};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::{SemaphorePermit, mpsc};

use crate::data::read_csv;
use crate::http::body::{check_length, check_media_type, too_large};
use crate::http::idempotency::{IdempotencyKey, made};
use crate::http::problem::{BROKEN_BODY, BUSY, INTERNAL, INVALID_QUERY, Problem, TIMEOUT};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::http::{App, HttpLimits};
use crate::model::{hex, is_name, name_rule};
use crate::store::{Answer, Dataset, DatasetChunk, Error, NewDataset, Once, Timestamp};

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
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    check_csv(&headers)?;
    check_length(&headers, app.limits.body_dataset)?;
    // In this order: a name that this same request took, it took together with its key.
    let free = check_free(&app, &name).await;
    if let Some(known) = key.known(&app).await? {
        let fed = feed(body, None, &app.limits).await?;
        return Ok(known.answer(&fed.digest)?);
    }
    free?;
    let _slot = slot(&app)?;
    let (new, digest) = parse(&app, name, body).await?;
    let once = Once {
        idempotency: key.with(|| digest),
        answer: created,
    };
    Ok(app
        .store
        .create_dataset(new, once, &Timestamp::now())
        .await?)
}

fn created(dataset: &Dataset) -> Answer {
    let location = format!("/v1/datasets/{}", dataset.name);
    made(StatusCode::CREATED, location, dataset)
}

fn check_csv(headers: &HeaderMap) -> Result<(), Problem> {
    check_media_type(
        headers,
        "text/csv",
        "curl -H 'Content-Type: text/csv' --data-binary @FILE",
    )
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

/// Parses the body on the blocking pool while it comes in. The dataset, and the digest of the body.
async fn parse(app: &App, name: String, body: Body) -> Result<(NewDataset, String), Problem> {
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
        Ok::<_, Problem>(NewDataset {
            name,
            table,
            chunks,
        })
    });
    let fed = feed(body, Some(pieces), &app.limits).await;
    let parsed = parsing.await.map_err(|error| {
        tracing::error!(%error, "an upload could not be parsed");
        Problem::new(INTERNAL, "the upload failed by a fault of this program")
    })?;
    let fed = fed?;
    let parsed = parsed.map_err(|problem| {
        if fed.is_one_line {
            one_line(problem)
        } else {
            problem
        }
    });
    Ok((parsed?, fed.digest))
}

/// What a body was.
struct Fed {
    digest: String,
    /// Whether all of it came and no line ended in it.
    is_one_line: bool,
}

/// The problem of a table that came as one line.
fn one_line(mut problem: Problem) -> Problem {
    let hint = "the table came as one line: curl -d strips the line ends, --data-binary keeps them";
    problem.detail = format!("{}; {hint}", problem.detail);
    problem
}

/// Digests the body and hands its pieces over, where there is a parser for them. One that has given up is left alone:
/// it knows what is wrong.
async fn feed(
    mut body: Body,
    pieces: Option<mpsc::Sender<Bytes>>,
    limits: &HttpLimits,
) -> Result<Fed, Problem> {
    let (most, idle) = (limits.body_dataset, limits.body_idle);
    let (mut received, mut digest, mut is_one_line) = (0u64, Sha256::new(), false);
    loop {
        let next = tokio::time::timeout(idle, body.frame()).await;
        let next = next.map_err(|_| {
            let detail = format!("nothing came for {} s", idle.as_secs());
            Problem::new(TIMEOUT, detail)
        })?;
        let Some(piece) = next else {
            return Ok(Fed {
                digest: hex(&digest.finalize()),
                is_one_line,
            });
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
        digest.update(&piece);
        is_one_line = (received == piece.len() as u64 || is_one_line) && !piece.contains(&b'\n');
        if let Some(pieces) = &pieces
            && pieces.send(piece).await.is_err()
        {
            return Ok(Fed {
                digest: String::new(),
                is_one_line: false,
            });
        }
    }
}
