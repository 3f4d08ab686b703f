//! Predicting: one batch prediction after the other, from its claim to its end. Columns are read, predicted and stored side by
//! side, and of each there is only so much in memory.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::jobs::pace::Pace;
use crate::jobs::{Jobs, TRY_AGAIN, lock};
use crate::machine::{Reservation, Use};
use crate::model::{Model, digest};
use crate::store::{
    BatchPrediction, Error, JobError, JobStatus, PredictionChunk, PredictionProgress, Store,
    Timestamp,
};
use crate::train::{CheckedPrediction, Predicting, PredictionError, ReadColumns};

/// Bytes of a chunk of the result.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that may wait for the store before the thread that predicts waits too.
const CHUNKS: usize = 4;
/// How often it is stored how far it is, and looked whether it was cancelled.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// Where a batch prediction is left.
enum End {
    /// It has a result.
    Succeeded(PredictionProgress),
    /// It has none.
    Failed(JobError),
    /// It waits again.
    Waiting,
}

/// Why the thread that predicts ended without a result.
enum Ended {
    /// Nobody hears what it tells.
    Stopped,
    /// The result is too long.
    TooLong,
    /// A row, or a fault of this program.
    Failed(PredictionError),
}

/// How far the thread is.
#[derive(Default)]
struct Counts {
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What the table is written to: chunks that are handed to the store.
struct Chunks {
    told: mpsc::Sender<PredictionChunk>,
    counts: Arc<Counts>,
    most: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Jobs {
    /// The slot of batch predictions: takes them from their queue, one after the other.
    pub(super) async fn prediction_slot(self) {
        let mut waiting = self.inner.waiting.subscribe();
        let mut stopping = self.inner.stopping.subscribe();
        while !*stopping.borrow_and_update() {
            waiting.mark_unchanged();
            match self.inner.store.claim_prediction(&Timestamp::now()).await {
                Ok(Some(prediction)) => {
                    let (id, jobs) = (prediction.id, self.clone());
                    // On a task of its own, so that a fault in it does not cost the slot.
                    let run = tokio::spawn(async move { jobs.run_prediction(prediction).await });
                    if let Err(error) = run.await {
                        tracing::error!(prediction = %id, %error, "a batch prediction broke off; it is left to the next start of the server");
                    }
                }
                Ok(None) => tokio::select! {
                    _ = waiting.changed() => {}
                    _ = stopping.changed() => {}
                },
                Err(error) => {
                    self.inner.store.notice(&error);
                    tracing::error!(%error, "cannot take a batch prediction from the queue");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    async fn run_prediction(&self, prediction: BatchPrediction) {
        let BatchPrediction { id, rows, .. } = prediction;
        tracing::info!(prediction = %id, model = prediction.model, rows, "predicting");
        let mut stopping = self.inner.stopping.subscribe();
        let ended = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => Ok(End::Waiting),
            ended = self.predict(&prediction) => ended,
        };
        let stored = match ended {
            Ok(end) => self.store_end(id, &end).await.map(|()| end.status()),
            Err(error) => Err(error),
        };
        match stored {
            Ok(status) => tracing::info!(prediction = %id, %status, "predicting ended"),
            Err(Error::Fenced) => {
                tracing::info!(prediction = %id, "a batch prediction was cancelled");
            }
            Err(error) => {
                self.inner.store.notice(&error);
                tracing::error!(prediction = %id, %error, "the end of a batch prediction could not be stored; the next start takes it up");
            }
        }
    }

    /// Predicts to the end.
    ///
    /// Errors: it was cancelled.
    async fn predict(&self, prediction: &BatchPrediction) -> Result<End, Error> {
        let began = Instant::now();
        let counts = Arc::new(Counts::default());
        let progress = || counts.progress(began.elapsed());
        let (told, heard) = mpsc::channel(CHUNKS);
        let (read, columns) = mpsc::channel(1);
        let chunks = Chunks {
            told,
            counts: Arc::clone(&counts),
            most: self.inner.config.prediction_bytes,
            number: 0,
            bytes: Vec::new(),
        };
        // Where it is not there, reading it says so.
        let bytes = self.prediction_bytes(prediction).await.unwrap_or(0);
        // Requests end soon; a job that trains may hold its memory for a day.
        let room = match self.inner.memory.reserve(Use::Requests, bytes).await {
            Ok(room) => room,
            Err(short) => return Ok(End::failed("insufficient_memory", short.to_string())),
        };
        let predicted = async {
            let store = &self.inner.store;
            let version = store.load_version(&prediction.model, prediction.version);
            let (version, spec) = (version.await?, prediction.spec.clone());
            let Some(thread) = self.spawn_predicting((version, room), spec, columns, chunks) else {
                return Ok(None);
            };
            let reading = read_columns(store, prediction, read);
            let storing = self.store_chunks(prediction, heard, progress);
            tokio::try_join!(reading, storing)?;
            Ok(Some(thread.await))
        };
        let id = prediction.id;
        let predicted = predicted.await;
        if let Err(error) = &predicted {
            self.inner.store.notice(error);
        }
        Ok(match predicted {
            Ok(Some(Ok(Ok(())))) => End::Succeeded(progress()),
            Ok(None | Some(Ok(Err(Ended::Stopped)))) => End::Waiting,
            Ok(Some(Ok(Err(Ended::Failed(error))))) => End::failed(error.code(), error.to_string()),
            Ok(Some(Ok(Err(Ended::TooLong)))) => {
                let most = self.inner.config.prediction_bytes;
                let detail = format!(
                    "the result must have at most {most} bytes: keep fewer columns, give top_k, or predict the rows in several datasets"
                );
                End::failed("result_too_large", detail)
            }
            Ok(Some(Err(error))) => {
                tracing::error!(prediction = %id, %error, "predicting panicked");
                End::failed("internal", "predicting stopped by a fault of this program")
            }
            Err(error @ (Error::Fenced | Error::DiskFailed { .. })) => return Err(error),
            Err(Error::Full) => {
                let detail = "the disk is full: make room, and submit it again";
                End::failed("disk_full", detail)
            }
            Err(error) if !error.may_pass() => End::failed("unreadable_data", error.to_string()),
            Err(error) => {
                tracing::error!(prediction = %id, %error, "a batch prediction could not be read or stored; it waits again");
                tokio::time::sleep(TRY_AGAIN).await;
                End::Waiting
            }
        })
    }

    /// Bytes that a batch prediction holds: its version, as bytes too while it is read; its rows; chunks of the result.
    async fn prediction_bytes(&self, prediction: &BatchPrediction) -> Result<u64, Error> {
        let BatchPrediction { model, version, .. } = prediction;
        let version = self.inner.store.version(model, *version).await?;
        let chunks = (CHUNKS + 2) * CHUNK_BYTES;
        let rows = prediction.spec.rows_bytes(&version.header);
        Ok(2 * version.artifact_bytes + rows + chunks as u64)
    }

    /// Starts predicting on the blocking pool of training; `None` where the server has ended meanwhile.
    fn spawn_predicting(
        &self,
        (model, room): (Model, Reservation),
        spec: CheckedPrediction,
        columns: mpsc::Receiver<ReadColumns>,
        chunks: Chunks,
    ) -> Option<JoinHandle<Result<(), Ended>>> {
        let pool = lock(&self.inner.training);
        let pool = pool.as_ref()?;
        let pace = Arc::clone(&self.inner.pace);
        Some(pool.spawn_blocking(move || {
            let _room = room;
            predict((&model, &spec), columns, chunks, &pace)
        }))
    }

    /// Stores chunks as they come, until the last, and how far it is.
    ///
    /// Errors: it is no longer running; the store fails, and not only for now.
    async fn store_chunks(
        &self,
        prediction: &BatchPrediction,
        mut heard: mpsc::Receiver<PredictionChunk>,
        progress: impl Fn() -> PredictionProgress,
    ) -> Result<(), Error> {
        let (store, id) = (&self.inner.store, prediction.id);
        let mut tick = tokio::time::interval(STORE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let chunk = tokio::select! {
                chunk = heard.recv() => match chunk {
                    Some(chunk) => Some(chunk),
                    None => return Ok(()),
                },
                _ = tick.tick() => None,
            };
            loop {
                let chunk = chunk.as_slice();
                match store.append_prediction(id, chunk, progress()).await {
                    // A full disk is told at once, while there is a way to make room.
                    Err(error)
                        if error.may_pass()
                            && !matches!(error, Error::Full)
                            && !self.is_stopping() =>
                    {
                        self.wait_after(id, &error).await;
                    }
                    stored => break stored?,
                }
            }
        }
    }

    /// Stores an end, again and again where the store may recover and the server does not end.
    async fn store_end(&self, id: Uuid, end: &End) -> Result<(), Error> {
        let store = &self.inner.store;
        loop {
            let now = Timestamp::now();
            let stored = match end {
                End::Succeeded(progress) => store.finish_prediction(id, *progress, &now).await,
                End::Failed(error) => store.fail_prediction(id, error, &now).await,
                End::Waiting => store.requeue_prediction(id).await,
            };
            match stored {
                Err(error) if error.may_pass() && !self.is_stopping() => {
                    self.wait_after(id, &error).await;
                }
                stored => return stored,
            }
        }
    }

    /// Waits after an error of the store that may pass.
    async fn wait_after(&self, id: Uuid, error: &Error) {
        tracing::error!(prediction = %id, %error, "a batch prediction could not be stored; trying again");
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

impl End {
    fn failed(code: &str, detail: impl Into<String>) -> Self {
        Self::Failed(JobError {
            code: code.to_owned(),
            detail: detail.into(),
            epoch: None,
            step: None,
        })
    }

    fn status(&self) -> JobStatus {
        match self {
            Self::Succeeded(_) => JobStatus::Succeeded,
            Self::Failed(_) => JobStatus::Failed,
            Self::Waiting => JobStatus::Queued,
        }
    }
}

impl Counts {
    /// How far it is, after so long.
    fn progress(&self, elapsed: Duration) -> PredictionProgress {
        let rows_done = self.rows.load(Ordering::Relaxed);
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        PredictionProgress {
            rows_done,
            rows_per_second: Some(rows_done as f64 / seconds),
        }
    }
}

/// Reads the columns of all rows, some rows at a time, until nobody takes them any more.
///
/// Errors: the dataset is gone or damaged; the store fails.
async fn read_columns(
    store: &Store,
    prediction: &BatchPrediction,
    read: mpsc::Sender<ReadColumns>,
) -> Result<(), Error> {
    let (rows, at_once) = (prediction.rows as usize, prediction.spec.rows_read());
    let names = prediction.spec.reads();
    let (dataset, digest) = (&prediction.dataset, &prediction.digest);
    let table = store.table(dataset, digest, &names).await?;
    for first in (0..rows).step_by(at_once) {
        let wanted = first..rows.min(first + at_once);
        // Nothing is read before there is room for it: beside these rows there are only those that are predicted.
        let Ok(room) = read.reserve().await else {
            break;
        };
        // Whole chunks are read, so that the first row is the first that was asked for.
        let (columns, _) = table.rows(0..names.len(), wanted).await?;
        room.send(columns);
    }
    Ok(())
}

/// What the thread does: rows are predicted and written as they come.
fn predict(
    (model, spec): (&Model, &CheckedPrediction),
    mut columns: mpsc::Receiver<ReadColumns>,
    chunks: Chunks,
    pace: &Pace,
) -> Result<(), Ended> {
    let (told, counts, most) = (chunks.told.clone(), Arc::clone(&chunks.counts), chunks.most);
    let ended = |error: PredictionError| {
        if told.is_closed() {
            Ended::Stopped
        } else if counts.bytes.load(Ordering::Relaxed) > most {
            Ended::TooLong
        } else {
            Ended::Failed(error)
        }
    };
    let failed = |error: io::Error| ended(error.into());
    let poll = |rows| {
        counts.rows.store(rows, Ordering::Relaxed);
        if told.is_closed() {
            return ControlFlow::Break(());
        }
        pace.keep();
        ControlFlow::Continue(())
    };
    let mut predicting = Predicting::begin(model, spec, chunks).map_err(failed)?;
    while let Some(read) = columns.blocking_recv() {
        if predicting.push(&read, poll).map_err(ended)?.is_break() {
            return Err(Ended::Stopped);
        }
    }
    if told.is_closed() {
        return Err(Ended::Stopped);
    }
    let mut chunks = predicting.finish().map_err(failed)?;
    if chunks.bytes.is_empty() {
        return Ok(());
    }
    chunks.cut().map_err(failed)
}

impl Chunks {
    /// Hands over what has been written since the last time.
    fn cut(&mut self) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK_BYTES));
        let chunk = PredictionChunk {
            number: self.number,
            digest: digest(&bytes),
            bytes,
        };
        self.number += 1;
        let told = self.told.blocking_send(chunk);
        told.map_err(|_| io::Error::other("nobody takes the result any more"))
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.bytes.len());
        let before = self.counts.bytes.fetch_add(taken as u64, Ordering::Relaxed);
        if before + taken as u64 > self.most {
            return Err(io::Error::other("the result is too long"));
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        if self.bytes.len() == CHUNK_BYTES {
            self.cut()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
