//! The memory of jobs: how much each needs, and the next one of the queue, claimed once there is so much.

use std::sync::Arc;

use tokio::time::sleep;

use crate::jobs::{Error, Jobs, TRY_AGAIN, lock};
use crate::machine::{Reservation, Short, Use};
use crate::model::Header;
use crate::store::{self, Claim, Job, Timestamp};
use crate::train::{CheckedData, CheckedSpec, CheckedValidation, memory_bytes};

/// The memory of a run, or why it can never have it.
pub(crate) type Room = Result<Arc<Reservation>, Short>;

impl Jobs {
    /// Takes the next job from the queue once there is memory for it. Until then it stays there, and none passes it: each job
    /// comes to its turn, however much it needs.
    ///
    /// Errors: the store fails.
    pub(crate) async fn claim(&self) -> Result<Option<(Claim, Room)>, store::Error> {
        let _turn = self.inner.next.lock().await;
        let store = &self.inner.store;
        let mut queued = self.inner.queued.subscribe();
        let mut stopping = self.inner.stopping.subscribe();
        while let Some((id, next)) = store.next_job().await? {
            // One that cannot be read fails when it is claimed.
            let needed = match &next {
                Some(job) => self.needed(job).await?,
                None => 0,
            };
            let memory = &self.inner.memory;
            let room = match memory.try_reserve(Use::Jobs, needed) {
                Err(Short::Now { .. }) => {
                    let _waits = next.map(|job| Waits::of(self, &job));
                    tokio::select! {
                        biased;
                        room = memory.reserve(Use::Jobs, needed) => room,
                        // Another may have come before it, or it has been cancelled.
                        _ = queued.changed() => continue,
                        () = sleep(TRY_AGAIN) => continue,
                        _ = stopping.wait_for(|stopping| *stopping) => return Ok(None),
                    }
                }
                settled => settled,
            };
            let room = room.map(Arc::new);
            // Where it is no more the next, its memory is given back, and that of the next is waited for.
            let claim = store.claim_next(Some(&id), &Timestamp::now()).await?;
            if let Some(claim) = claim {
                return Ok(Some((claim, room)));
            }
        }
        Ok(None)
    }

    /// Bytes that a stored job needs; none where what it starts from is gone, which its run will say.
    pub(crate) async fn needed(&self, job: &Job) -> Result<u64, store::Error> {
        match self.bytes_of(&job.spec).await {
            Err(store::Error::NotFound { .. }) => Ok(0),
            Err(error) if error.is_damage() => Ok(0),
            found => found,
        }
    }

    /// Bytes that a job needs.
    ///
    /// Errors: what it starts from or validates on is gone; the store fails.
    pub(crate) async fn bytes_of(&self, spec: &CheckedSpec) -> Result<u64, store::Error> {
        let rows = self.validation_rows(spec).await?;
        Ok(memory_bytes(spec, &self.header(spec).await?, rows))
    }

    /// What is known of the model that a job trains without its parameters.
    pub(crate) async fn header(&self, spec: &CheckedSpec) -> Result<Header, store::Error> {
        let version = self.inner.store.version(&spec.model, spec.base_version());
        Ok(version.await?.header)
    }

    /// Refuses a job that can never have its memory.
    pub(crate) fn check_memory(&self, needed: u64) -> Result<(), Error> {
        let (purpose, allowed) = (Use::Jobs, self.inner.memory.allowed(Use::Jobs));
        if needed <= allowed {
            return Ok(());
        }
        Err(Error::Memory(Short::Never {
            purpose,
            needed,
            allowed,
        }))
    }

    /// Rows that the job validates on, at most.
    pub(crate) async fn validation_rows(&self, spec: &CheckedSpec) -> Result<usize, store::Error> {
        let store = &self.inner.store;
        Ok(match (&spec.validation, &spec.data) {
            (None, _) => 0,
            (Some(CheckedValidation::Inline { rows, .. }), _) => *rows,
            (Some(CheckedValidation::Dataset { dataset, .. }), _) => {
                store.dataset(dataset).await?.rows as usize
            }
            (Some(CheckedValidation::Fraction { .. }), CheckedData::Inline { rows, .. }) => {
                rows - spec.train_rows
            }
            (Some(CheckedValidation::Fraction { .. }), CheckedData::Dataset { dataset, .. }) => {
                (store.dataset(dataset).await?.rows as usize).saturating_sub(spec.train_rows)
            }
        })
    }
}

/// Says of a job that it waits for memory, until it is dropped.
struct Waits<'a>(&'a Jobs);

impl<'a> Waits<'a> {
    fn of(jobs: &'a Jobs, job: &Job) -> Self {
        *lock(&jobs.inner.waits_for_memory) = Some(job.id);
        Self(jobs)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        *lock(&self.0.inner.waits_for_memory) = None;
    }
}
