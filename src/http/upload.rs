//! Upload: a table streamed into the chunks of its columns, never whole in memory, and stored whole or not at all.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::timeout;

use crate::data::{self, Base, Kinds, Piece, Reading, Sink, Taken};
use crate::http::admission::Permit;
use crate::http::body::{check_length, too_large};
use crate::http::format::{Format, TableOptions};
use crate::http::idempotency::{IdempotencyKey, made};
use crate::http::pace::Paced;
use crate::http::path::Path;
use crate::http::problem::{BUSY, INTERNAL, INVALID_QUERY, Problem};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::http::{App, HttpLimits};
use crate::machine::{Reservation, Short, Use};
use crate::model::{hex, is_name, name_rule};
use crate::store::{Answer, Dataset, Error, Filling, KnownKey, Once, Timestamp, Turn};

/// What an uploaded dataset is called, and how it is written.
pub(crate) struct UploadQuery {
    name: String,
    options: TableOptions,
}

impl FromQuery for UploadQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let name = parameters.required("name");
        let options = TableOptions::with_kinds(parameters);
        Self { name, options }
    }
}

/// How long an upload waits for another to the same dataset: who repeats one that came to its end is answered as it was.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Pieces of the body that wait to be parsed.
pub(crate) const PIECES: usize = 16;

/// The body's pieces as they come in, for a parser that reads.
pub(crate) struct Pieces {
    incoming: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Pieces {
    pub(crate) fn new(incoming: mpsc::Receiver<Bytes>) -> Self {
        let piece = Bytes::new();
        Self { incoming, piece }
    }
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

/// Chunks that wait to be written: twice as much as is written at once.
const CHUNKS: usize = 128;

/// Bytes that are reserved for a byte of words: they are in a map, in the order of their codes, and in what is stored.
const WORD: u64 = 5;

/// Where the parser's chunks go.
struct Chunks {
    sender: mpsc::Sender<Piece>,
    /// The memory of the table's words.
    words: Reservation,
    /// Says so where there is no more.
    short: Arc<OnceLock<Short>>,
}

impl Sink for Chunks {
    fn words(&mut self, bytes: u64) -> Result<(), data::Error> {
        let settled = self.words.settle(bytes.saturating_mul(WORD));
        settled.map_err(|short| {
            let _ = self.short.set(short);
            data::Error::Stopped
        })
    }

    fn take(&mut self, piece: Piece) -> Result<(), data::Error> {
        let sent = self.sender.blocking_send(piece);
        sent.map_err(|_| data::Error::Stopped)
    }
}

/// `POST /v1/datasets?name=`
pub(crate) async fn create(
    State(app): State<App>,
    Query(UploadQuery { name, options }): Query<UploadQuery>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    let format = options.format(&app.store, &headers)?;
    check_length(&headers, app.limits.body_dataset)?;
    // Before anything is read: where there is no place, that is told at once.
    app.admission.uploads.check()?;
    if !is_name(&name) {
        return Err(Problem::violation(INVALID_QUERY, "/name", name_rule(&name)));
    }
    let turn = turn(&app, &name).await?;
    // In this order: a name that this same request took, it took together with its key.
    let free = check_free(&app, &name).await;
    if let Some(known) = key.known(&app).await? {
        return answered(&app, known, body).await;
    }
    free?;
    let _slot = slot(&app).await?;
    let filling = app.store.begin_dataset(turn, &name).await?;
    let table = (format, options.kinds, None);
    fill(&app, filling, table, (key, created), body).await
}

/// `POST /v1/datasets/{name}/rows`
pub(crate) async fn append(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(options): Query<TableOptions>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    let format = options.format(&app.store, &headers)?;
    check_length(&headers, app.limits.body_dataset)?;
    app.admission.uploads.check()?;
    app.store.dataset(&name).await?;
    let turn = turn(&app, &name).await?;
    if let Some(known) = key.known(&app).await? {
        return answered(&app, known, body).await;
    }
    let _slot = slot(&app).await?;
    let most = app.limits.dataset_revisions;
    let (filling, base) = app.store.begin_rows(turn, &name, most).await?;
    let table = (format, options.kinds, Some(base));
    fill(&app, filling, table, (key, created), body).await
}

/// The answer to a request that was carried out before.
async fn answered(app: &App, known: KnownKey, body: Body) -> Result<Answer, Problem> {
    let fed = feed(body, None, &app.limits).await?;
    Ok(known.answer(&fed.digest)?)
}

fn created(dataset: &Dataset) -> Answer {
    let location = format!("/v1/datasets/{}", dataset.name);
    made(StatusCode::CREATED, location, dataset)
}

/// The turn to fill the dataset of a name, which another upload to it may have.
///
/// Errors: it has it for long.
async fn turn(app: &App, name: &str) -> Result<Turn, Problem> {
    let turn = timeout(LONGEST_WAIT, app.store.turn(name)).await;
    turn.map_err(|_| Problem {
        retry_after_seconds: Some(1),
        ..Problem::new(
            BUSY,
            format!("another upload to dataset {name:?} is going on"),
        )
    })
}

/// Refuses a name that is taken before the body is read.
async fn check_free(app: &App, name: &str) -> Result<(), Problem> {
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

/// Bytes that are reserved for an upload, however long it is: pieces of the body that wait to be parsed, chunks of columns that wait
/// to be written, and those that are being filled.
const UPLOAD_BYTES: u64 = 24 << 20;

/// A place among the uploads, and memory: each keeps a thread of the blocking pool until its body has come.
pub(crate) async fn slot(app: &App) -> Result<(Permit, Reservation), Problem> {
    let place = app.admission.uploads.admit().await?;
    let room = app.memory.try_reserve(Use::Requests, UPLOAD_BYTES)?;
    Ok((place, room))
}

/// Parses the body on the blocking pool while it comes in, and stores what was parsed, whole or not at all.
async fn fill(
    app: &App,
    mut filling: Filling,
    (format, kinds, base): (Format, Kinds, Option<Base>),
    (key, answer): (IdempotencyKey, fn(&Dataset) -> Answer),
    body: Body,
) -> Result<Answer, Problem> {
    let (pieces, incoming) = mpsc::channel(PIECES);
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let short = Arc::default();
    let sink = Chunks {
        sender,
        words: app.memory.try_reserve(Use::Requests, 0)?,
        short: Arc::clone(&short),
    };
    let reading = Reading {
        limits: app.limits.table,
        kinds,
        base,
        sink,
    };
    let is_csv = format.is_csv();
    let parsing = tokio::task::spawn_blocking(move || format.read(Pieces::new(incoming), reading));
    let fed = feed(body, Some(pieces), &app.limits);
    let (fed, written, parsed) = tokio::join!(fed, filling.write(chunks), parsing);
    let taken = match short.get() {
        Some(short) => Err(Problem::from(*short)),
        None => taken(fed, written, (parsed, is_csv)),
    };
    let (taken, digest) = match taken {
        Ok(taken) => taken,
        Err(problem) => {
            filling.discard().await?;
            return Err(problem);
        }
    };
    let idempotency = key.with(|| digest);
    let once = Once {
        idempotency,
        answer,
    };
    Ok(filling.finish(taken, once, &Timestamp::now()).await?)
}

/// What was taken of a body, and its digest, unless something went wrong: with the body, with the disk or with the table.
fn taken(
    fed: Result<Fed, Problem>,
    written: Result<(), Error>,
    (parsed, is_csv): (Result<Result<Taken, data::Error>, JoinError>, bool),
) -> Result<(Taken, String), Problem> {
    let fed = fed?;
    written?;
    let parsed = parsed.map_err(|error| {
        tracing::error!(%error, "an upload could not be parsed");
        Problem::new(INTERNAL, "the upload failed by a fault of this program")
    })?;
    let taken = parsed.map_err(|error| {
        let problem = Problem::from(error);
        if is_csv && fed.is_one_line {
            one_line(problem)
        } else {
            problem
        }
    });
    Ok((taken?, fed.digest))
}

/// What a body was.
pub(crate) struct Fed {
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
pub(crate) async fn feed(
    body: Body,
    pieces: Option<mpsc::Sender<Bytes>>,
    limits: &HttpLimits,
) -> Result<Fed, Problem> {
    let mut body = Paced::new(body, limits.upload_pace);
    let (mut received, mut digest, mut is_one_line) = (0u64, Sha256::new(), false);
    while let Some(piece) = body.next().await? {
        received += piece.len() as u64;
        if received > limits.body_dataset {
            return Err(too_large(limits.body_dataset));
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
    Ok(Fed {
        digest: hex(&digest.finalize()),
        is_one_line,
    })
}
