//! Jobs: training runs that are queued, run on threads of their own, watched, paused, cancelled and taken up again.

mod base;
mod control;
mod error;
mod estimate;
mod lease;
mod load;
mod memory;
mod observer;
mod pace;
mod predicting;
mod predictions;
mod runner;
mod spacing;
mod stored;
mod submit;
mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thread_priority::ThreadPriority;
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::jobs::control::Control;
pub use crate::jobs::control::Stop;
pub use crate::jobs::error::Error;
pub use crate::jobs::estimate::Estimate;
use crate::jobs::memory::Room;
use crate::jobs::pace::Pace;
pub use crate::jobs::verify::{Difference, Verification, VerificationSpec};
use crate::machine::Budget;
use crate::nn::{Team, pause_by};
use crate::store::{Claim, Job, JobStatus, Request, Store, Timestamp};
use crate::train::JobLimits;

/// How jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// Jobs that train at the same time.
    pub slots: usize,
    /// Threads on which they train, together: each job has one of its own, and its share of the others.
    pub threads: usize,
    /// Thousandths of a processor that the process may take, where its control group says so.
    pub processor_quota: Option<u32>,
    /// Processes that may end in a row while they run a job, without a new checkpoint between.
    pub attempts: u64,
    /// Jobs that may wait.
    pub queue: u64,
    /// Batch predictions that may wait.
    pub queued_predictions: u64,
    /// Bytes of the result of one, at most.
    pub prediction_bytes: u64,
    /// Seconds that the epochs of a verification took when they were trained, together, at most.
    pub verify_seconds: u64,
    /// The largest jobs that are accepted.
    pub limits: JobLimits,
}

/// Batch predictions at the same time: each reads, computes and writes at once.
const PREDICTION_SLOTS: usize = 1;
/// Verifications at the same time: each holds a job's data, and takes threads from jobs.
const VERIFICATIONS: usize = 1;
/// How long a request to cancel or pause waits for the runner before it answers with the job as it then is.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a slot or runner waits before it tries a failing store again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The training side of the server. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// What every run takes its memory from before it loads anything.
    memory: Budget,
    config: JobsConfig,
    /// The blocking pool of its own on which training runs, at low priority.
    training: Mutex<Option<Runtime>>,
    /// The threads that those of the pool share among them.
    team: Team,
    /// Kept by all that train, and by batch predictions.
    pace: Arc<Pace>,
    running: Mutex<HashMap<Uuid, Arc<Control>>>,
    /// Held by the slot that takes the next job: while that waits for memory, none passes it.
    next: tokio::sync::Mutex<()>,
    /// The job that waits for memory.
    waits_for_memory: Mutex<Option<Uuid>>,
    /// Counts the jobs that have come to wait for a slot.
    queued: watch::Sender<u64>,
    /// Counts the batch predictions that have come to wait.
    waiting: watch::Sender<u64>,
    /// Counts the jobs that have left their runners.
    left: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    slots: tokio::sync::Mutex<JoinSet<()>>,
    /// Held by the one dry run that trains: others would disturb its clock and need their own memory.
    trial: Semaphore,
    /// Held by the verification that trains, until its thread has stopped.
    verification: Arc<Semaphore>,
}

impl Jobs {
    /// Takes up what an earlier process left running and starts the slots.
    ///
    /// Errors: the store fails; the threads cannot be made.
    pub async fn start(store: Store, memory: Budget, config: JobsConfig) -> Result<Self, Error> {
        let taken = store.take_up(config.attempts, &Timestamp::now()).await?;
        if taken > 0 {
            tracing::info!(jobs = taken, "took up the jobs of an earlier process");
        }
        let predictions = store
            .take_up_predictions(config.attempts, &Timestamp::now())
            .await?;
        if predictions > 0 {
            tracing::info!(
                predictions,
                "took up the batch predictions of an earlier process"
            );
        }
        let pace = Arc::new(Pace::of(config.processor_quota));
        store.rest_by({
            let pace = Arc::clone(&pace);
            move || pace.rest()
        });
        let training = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(config.slots + PREDICTION_SLOTS + VERIFICATIONS)
            .thread_name("training")
            .on_thread_start({
                let pace = Arc::clone(&pace);
                move || {
                    lower_priority();
                    let pace = Arc::clone(&pace);
                    pause_by(move || pace.keep());
                }
            })
            .build()
            .map_err(|source| Error::Threads { source })?;
        // Who leads them rests for all.
        let team = Team::new(config.threads, {
            let pace = Arc::clone(&pace);
            move || {
                lower_priority();
                let pace = Arc::clone(&pace);
                pause_by(move || pace.give_way());
            }
        });
        let team = team.map_err(|source| Error::Threads { source })?;
        let jobs = Self {
            inner: Arc::new(Inner {
                store,
                memory,
                config,
                training: Mutex::new(Some(training)),
                team,
                pace,
                running: Mutex::new(HashMap::new()),
                next: tokio::sync::Mutex::new(()),
                waits_for_memory: Mutex::new(None),
                queued: watch::Sender::new(0),
                waiting: watch::Sender::new(0),
                left: watch::Sender::new(0),
                stopping: watch::Sender::new(false),
                slots: tokio::sync::Mutex::new(JoinSet::new()),
                trial: Semaphore::new(1),
                verification: Arc::new(Semaphore::new(VERIFICATIONS)),
            }),
        };
        let mut slots = jobs.inner.slots.lock().await;
        for _ in 0..config.slots {
            slots.spawn(jobs.clone().slot());
        }
        for _ in 0..PREDICTION_SLOTS {
            slots.spawn(jobs.clone().prediction_slot());
        }
        slots.spawn(jobs.clone().keep_leases());
        drop(slots);
        Ok(jobs)
    }

    /// Ends a job without publishing. A running job stops between two mini-batches.
    ///
    /// Errors: there is no such job; it has ended otherwise.
    pub async fn cancel(&self, id: Uuid) -> Result<Job, Error> {
        self.request(id, Request::Cancel).await
    }

    /// Lets a job stand still until it is resumed, with a checkpoint of the step where it stood.
    ///
    /// Errors: there is no such job; it has ended.
    pub async fn pause(&self, id: Uuid) -> Result<Job, Error> {
        self.request(id, Request::Pause).await
    }

    /// Lets a paused job go on, to the same bits as if it had never been paused.
    ///
    /// Errors: there is no such job; it is not paused.
    pub async fn resume(&self, id: Uuid) -> Result<Job, Error> {
        self.inner.store.resume(id, &Timestamp::now()).await?;
        self.wake();
        Ok(self.inner.store.job(id).await?)
    }

    /// What the job stands still for: the disk, until it has room, or, before it starts, memory that others hold.
    pub fn waits_for(&self, job: &Job) -> Option<&'static str> {
        let id = job.id;
        let running = lock(&self.inner.running);
        if running.get(&id).is_some_and(|control| control.is_waiting()) {
            return Some("disk");
        }
        // It may have been cancelled since.
        let waits = *lock(&self.inner.waits_for_memory) == Some(id);
        (waits && job.status == JobStatus::Queued).then_some("memory")
    }

    /// Stops every job at a checkpoint and puts it back into the queue, for the next process to take up.
    pub async fn stop(&self) {
        let _hurry = self.inner.pace.hurry();
        self.inner.stopping.send_replace(true);
        for control in lock(&self.inner.running).values() {
            control.stop(Stop::Shutdown);
        }
        let mut slots = self.inner.slots.lock().await;
        while slots.join_next().await.is_some() {}
        if let Some(training) = lock(&self.inner.training).take() {
            training.shutdown_background();
        }
    }

    /// Asks until the job is where it was asked to be: a runner that is told leaves it there, or somewhere from where
    /// it can be moved at once, or ends it otherwise, which is the error. Only for the runner there is a time to wait: what
    /// is asked is stored, or refused, before this answers.
    async fn request(&self, id: Uuid, request: Request) -> Result<Job, Error> {
        let _hurry = self.inner.pace.hurry();
        let store = &self.inner.store;
        let mut left = self.inner.left.subscribe();
        let patience = tokio::time::Instant::now() + SETTLE;
        while store.request(id, request, &Timestamp::now()).await? {
            if let Some(control) = lock(&self.inner.running).get(&id) {
                control.stop(Stop::Requested(request));
            }
            let settled = tokio::time::timeout_at(patience, left.changed()).await;
            if !matches!(settled, Ok(Ok(()))) {
                break;
            }
        }
        Ok(store.job(id).await?)
    }

    /// Runs a claimed job on a task of its own, so that a fault in it costs no slot.
    async fn run_guarded(self, claim: Claim, room: Room) {
        let id = claim.job.id;
        let jobs = self.clone();
        let run = tokio::spawn(async move { Box::pin(self.run(claim, room)).await });
        if let Err(error) = run.await {
            tracing::error!(job = %id, %error, "a runner broke off; the job is taken over once its lease has run out");
            lock(&jobs.inner.running).remove(&id);
            jobs.inner.left.send_modify(|left| *left += 1);
        }
    }

    /// Wakes the slots: a job has come to wait for one.
    pub(crate) fn wake(&self) {
        self.inner.queued.send_modify(|queued| *queued += 1);
    }

    /// Whether the server ends.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// One slot: takes jobs from the queue and runs them, one after the other.
    async fn slot(self) {
        let mut queued = self.inner.queued.subscribe();
        let mut stopping = self.inner.stopping.subscribe();
        while !*stopping.borrow_and_update() {
            queued.mark_unchanged();
            match Box::pin(self.claim()).await {
                Ok(Some((claim, room))) => self.clone().run_guarded(claim, room).await,
                Ok(None) => tokio::select! {
                    _ = queued.changed() => {}
                    _ = stopping.changed() => {}
                },
                Err(error) => {
                    self.inner.store.notice(&error);
                    tracing::error!(%error, "cannot take a job from the queue");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

/// A server that fails is dropped among its own tasks, where waiting for the training threads is not allowed.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(training) = lock(&self.training).take() {
            training.shutdown_background();
        }
    }
}

/// The lock of a map that a panic elsewhere cannot have left half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets predictions and the rest of the machine come before training: nice 19, and on Linux as `SCHED_BATCH`, whose threads never
/// preempt one that wakes up.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    let lowered = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch),
    );
    #[cfg(not(target_os = "linux"))]
    let lowered = ThreadPriority::Min.set_for_current();
    if let Err(error) = lowered {
        tracing::warn!(?error, "training runs at normal priority");
    }
}
