//! Dry runs: a spec checked as for a job, and what the job would cost. Nothing is stored.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::jobs::{Error, Jobs};
use crate::machine::Use;
use crate::train::{
    CheckedJob, CheckedSpec, Checkpoint, EpochReport, JobSpec, Observer, Warning, chunks,
    memory_bytes, trial, trial_bytes,
};

/// How long a dry run trains, but for the chunk that it is in then.
const TRIAL: Duration = Duration::from_millis(50);

/// What a job would be and cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The spec with every default filled in.
    pub spec: CheckedSpec,
    /// Weights, biases and scales together.
    pub parameter_count: u64,
    /// Memory that the run holds where it holds most, roughly.
    pub memory_bytes: u64,
    /// How long it trains, roughly: as long as its chunks take at the pace of a short trial on this machine now,
    /// and no longer than it may.
    pub estimated_seconds: f64,
    /// What its user should know, though it trains.
    pub warnings: Vec<Warning>,
}

/// Counts the chunks of a trial and breaks it off when its time is over.
#[derive(Default)]
struct Stopwatch {
    began: Option<Instant>,
    begun_chunks: u64,
}

impl Observer for Stopwatch {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll(&mut self) -> ControlFlow<()> {
        let began = self.began.get_or_insert_with(Instant::now);
        if began.elapsed() >= TRIAL {
            return ControlFlow::Break(());
        }
        self.begun_chunks += 1;
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, _: bool) -> bool {
        false
    }

    fn checkpoint(&mut self, _: Checkpoint) {}

    fn epoch(&mut self, _: EpochReport) {}
}

impl Jobs {
    /// Checks a spec as for a job and estimates what the job would cost.
    ///
    /// Errors: the spec breaks rules; the job needs more memory than one may have, or its trial more than is free.
    pub async fn estimate(&self, spec: JobSpec) -> Result<Estimate, Error> {
        let memory = &self.inner.memory;
        let _rows = memory.try_reserve(Use::Requests, spec.inline_bytes())?;
        let CheckedJob {
            spec,
            base,
            warnings,
            ..
        } = self.check(spec).await?;
        let validation_rows = self.validation_rows(&spec).await?;
        let store = &self.inner.store;
        let header = self.header(&spec).await?;
        let memory_bytes = memory_bytes(&spec, &header, validation_rows);
        self.check_memory(memory_bytes)?;
        let _turn = self.inner.trial.acquire().await;
        let tried_bytes = trial_bytes(&spec, &header);
        // Of what jobs may have, one that trains may hold all for a day.
        let tried_bytes = tried_bytes.min(memory.allowed(Use::Requests));
        let room = memory.try_reserve(Use::Requests, tried_bytes)?;
        let base = match base {
            Some(bytes) => {
                Checkpoint::decode(&bytes)
                    .map_err(crate::store::Error::from)?
                    .model
            }
            None => store.load_version(&spec.model, spec.base_version()).await?,
        };
        let parameter_count = base.network.parameter_count() as u64;
        let tried = spec.clone();
        let seconds = tokio::task::spawn_blocking(move || {
            let mut stopwatch = Stopwatch::default();
            // A trial that diverges has computed its chunks all the same.
            let _ = trial(&tried, base, &mut stopwatch);
            drop(room);
            let took = stopwatch
                .began
                .map_or(Duration::ZERO, |began| began.elapsed());
            took.as_secs_f64() / stopwatch.begun_chunks.max(1) as f64
        });
        let seconds = seconds.await.expect("a trial does not panic");
        let seconds = seconds * chunks(&spec, &header, validation_rows);
        Ok(Estimate {
            estimated_seconds: spec.max_seconds.map_or(seconds, |most| seconds.min(most)),
            spec,
            parameter_count,
            memory_bytes,
            warnings,
        })
    }
}
