//! The runner: one attempt at one job, from its claim to its end, storing what the training thread tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::jobs::control::{Control, Stop};
use crate::jobs::memory::Room;
use crate::jobs::observer::{Reporter, Told};
use crate::jobs::spacing::Spacing;
use crate::jobs::{Jobs, TRY_AGAIN, lock};
use crate::model::Model;
use crate::store::{
    Claim, Error, Job, JobError, JobMetrics, JobStatus, Lineage, NewCheckpoint, Owner, Progress,
    Publication, Timestamp,
};
use crate::train::{
    Best, CheckedSpec, EndedBy, Error as TrainError, FullReport, Outcome, Source, train,
};

/// Reports that may wait for the store before the training thread waits too.
const REPORTS: usize = 4096;
/// How often what was told is stored.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// What a run came to, and for how long the job has trained.
type Ended = (Result<Outcome, TrainError>, Duration);
type Training = JoinHandle<Ended>;

/// One attempt at one job.
struct Attempt {
    jobs: Jobs,
    owner: Owner,
    control: Arc<Control>,
    spec: CheckedSpec,
    /// Its memory: kept until its end is stored, and by its thread until that has ended.
    room: Room,
    /// What was told since it was last stored.
    progress: Progress,
    /// The last epoch's figures.
    metrics: JobMetrics,
    /// Of its checkpoints.
    spacing: Spacing,
    /// For how long the job has trained, when that was last looked at.
    trained: Duration,
    looked: Instant,
}

impl Jobs {
    /// Runs a claimed job to its end, whatever that is.
    pub(crate) async fn run(&self, claim: Claim, room: Room) {
        let Job { id, attempt, .. } = claim.job;
        let owner = Owner { id, attempt };
        let control = Arc::new(Control::of(attempt));
        lock(&self.inner.running).insert(id, Arc::clone(&control));
        if self.is_stopping() {
            control.stop(Stop::Shutdown);
        }
        tracing::info!(job = %id, attempt, model = claim.job.model, epoch = claim.job.epoch, "training");
        let mut run = Attempt {
            jobs: self.clone(),
            owner,
            control: Arc::clone(&control),
            spec: claim.job.spec.clone(),
            room,
            progress: Progress::default(),
            metrics: claim.job.metrics,
            spacing: Spacing::new(),
            trained: duration(claim.seconds),
            looked: Instant::now(),
        };
        match Box::pin(run.run_to_end(claim)).await {
            Ok(status) => tracing::info!(job = %id, attempt, %status, "training ended"),
            Err(Error::Fenced) => {
                tracing::warn!(job = %id, attempt, "another attempt owns the job");
            }
            Err(error) if self.is_stopping() => {
                tracing::error!(job = %id, attempt, %error, "the end of a job could not be stored; the next start takes it up");
            }
            Err(error) => {
                self.inner.store.notice(&error);
                run.give_up(&error).await;
            }
        }
        let mut running = lock(&self.inner.running);
        if running
            .get(&id)
            .is_some_and(|current| Arc::ptr_eq(current, &control))
        {
            running.remove(&id);
        }
        drop(running);
        self.inner.left.send_modify(|left| *left += 1);
    }
}

impl Attempt {
    async fn run_to_end(&mut self, claim: Claim) -> Result<JobStatus, Error> {
        if let Err(short) = &self.room {
            let detail = short.to_string();
            return self.fail("insufficient_memory", detail, None).await;
        }
        // What was asked between the claim and the moment the control was there to be found.
        if let Some(request) = self.jobs.inner.store.requested(self.owner).await? {
            self.control.stop(Stop::Requested(request));
        }
        let loaded = tokio::select! {
            biased;
            () = self.control.told_to_stop() => return self.stopped(Vec::new()).await,
            loaded = self.jobs.load(&claim.job) => loaded,
        };
        let (base, source) = match loaded {
            Ok(loaded) => loaded,
            Err(error) if !error.may_pass() => {
                return self.fail("unreadable_data", error.to_string(), None).await;
            }
            Err(error) => return self.wait_again(&error).await,
        };
        let (told, mut heard) = mpsc::channel(REPORTS);
        let reporter = Reporter {
            control: Arc::clone(&self.control),
            told,
            epoch_began: None,
            began: None,
            before: self.trained,
            most: self.spec.max_seconds.map(duration),
            pace: Arc::clone(&self.jobs.inner.pace),
        };
        let Some(mut training) = self.spawn(base, source, claim, reporter) else {
            self.control.stop(Stop::Shutdown);
            return self.stopped(Vec::new()).await;
        };
        let ended = self.listen(&mut heard, &mut training).await;
        while let Ok(told) = heard.try_recv() {
            self.hear(told).await;
        }
        let (ended, trained) = match ended {
            Ok((ended, trained)) => (Ok(ended), trained),
            Err(error) => (Err(error), Duration::ZERO),
        };
        match ended {
            Ok(Ok(Outcome::Finished {
                model,
                epochs,
                ended_by,
                best,
                last,
                report,
            })) => {
                let last = last.into_iter().collect();
                let kept = self.jobs.encoded(last, trained).await;
                self.progress.checkpoints.extend(kept);
                if let Some(Best {
                    train, validation, ..
                }) = best
                {
                    let train = Some(train);
                    self.metrics = JobMetrics { train, validation };
                }
                let epoch = best.map_or(epochs, |best| best.epoch);
                self.publish(model, epoch, (ended_by, report)).await
            }
            Ok(Ok(Outcome::Unprepared)) => self.stopped(Vec::new()).await,
            Ok(Ok(Outcome::Stopped { at, epoch_end })) => {
                let at = epoch_end.into_iter().chain([at]).collect();
                let kept = self.jobs.encoded(at, trained).await;
                self.stopped(kept).await
            }
            Ok(Err(error)) if error.may_pass() => self.wait_again(&error).await,
            Ok(Err(error)) => {
                let place = error.place();
                self.fail(error.code(), error.to_string(), place).await
            }
            Err(error) => {
                tracing::error!(job = %self.owner.id, %error, "training panicked");
                let detail = "training stopped by a fault of this program".to_owned();
                self.fail("internal", detail, None).await
            }
        }
    }

    /// Puts a job whose data cannot be read for now back into the queue.
    async fn wait_again(
        &mut self,
        error: &(dyn std::error::Error + Sync),
    ) -> Result<JobStatus, Error> {
        tracing::error!(job = %self.owner.id, %error, "the data of a job could not be read; it waits again");
        tokio::time::sleep(TRY_AGAIN).await;
        let store = &self.jobs.inner.store;
        loop {
            match store.put_back(self.owner, &Timestamp::now()).await {
                Err(error) if self.tries_again(&error).await => {}
                ended => break ended?,
            }
        }
        // What was asked of this attempt meanwhile holds for the job in the queue.
        if let Some(Stop::Requested(request)) = self.control.stopped() {
            store
                .request(self.owner.id, request, &Timestamp::now())
                .await?;
        }
        Ok(JobStatus::Queued)
    }

    /// Starts training on the blocking pool of its own; `None` where the server has ended meanwhile.
    fn spawn(
        &self,
        base: Model,
        source: Source,
        claim: Claim,
        mut reporter: Reporter,
    ) -> Option<Training> {
        let (spec, team) = (self.spec.clone(), self.jobs.inner.team.clone());
        let room = self.room.clone();
        let pool = lock(&self.jobs.inner.training);
        let pool = pool.as_ref()?;
        Some(pool.spawn_blocking(move || {
            let ended = train(&spec, base, source, claim.checkpoint, &team, &mut reporter);
            drop(room);
            (ended, reporter.trained())
        }))
    }

    /// Hears and stores what the training thread tells until it ends.
    async fn listen(
        &mut self,
        heard: &mut mpsc::Receiver<Told>,
        training: &mut Training,
    ) -> Result<Ended, tokio::task::JoinError> {
        self.looked = Instant::now();
        let mut tick = tokio::time::interval(STORE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                ended = &mut *training => return ended,
                _ = tick.tick() => {
                    self.spacing.ask(&self.control);
                    self.look_at_time();
                    self.store().await;
                }
                Some(told) = heard.recv() => {
                    let checkpoint = matches!(told, Told::Checkpoint { .. });
                    self.hear(told).await;
                    // Where the run has ended meanwhile, it is stored with its end.
                    if checkpoint && !training.is_finished() {
                        self.store().await;
                    }
                }
            }
        }
    }

    /// Takes what was told. A checkpoint becomes bytes here, and not on the thread that trains: that of 100 MB would stop it for
    /// a quarter of a second.
    async fn hear(&mut self, told: Told) {
        match told {
            Told::Epoch {
                row,
                fold,
                samples,
                trained,
            } => {
                let folds = self.spec.fold_rows().len() as u64;
                // Those of the runs before it; of one that ended early, too.
                let before = self.spec.epochs * fold.map_or(folds, |fold| fold - 1);
                let done = before + row.epoch;
                let seconds = row.seconds.max(f64::MIN_POSITIVE);
                let left = (self.spec.epochs_of_all_runs() - done) as f64 * row.seconds;
                let left = self.spec.max_seconds.map_or(left, |most| {
                    left.min((most - trained.as_secs_f64()).max(0.0))
                });
                self.progress.samples_per_second = Some(samples as f64 / seconds);
                self.progress.estimated_finish_at = Timestamp::ahead(duration(left));
                if fold.is_some() {
                    self.progress.fold_epochs = Some(done);
                    return;
                }
                self.progress.fold_epochs = (folds > 0).then_some(before);
                self.metrics = JobMetrics {
                    train: Some(row.train),
                    validation: row.validation,
                };
                self.progress.rows.push(row);
            }
            Told::Checkpoint {
                checkpoint,
                trained,
            } => {
                let began = Instant::now();
                let made = self.jobs.encoded(vec![*checkpoint], trained).await;
                self.spacing.made(began.elapsed());
                // Where the store falls behind, the newest is enough, with the newest of an epoch's end.
                let waiting = &mut self.progress.checkpoints;
                let epoch_end = waiting.iter().rposition(|waiting| waiting.step == 0);
                let epoch_end = epoch_end.map(|index| waiting.swap_remove(index));
                waiting.clear();
                let is_beyond = made.iter().any(|made| made.step > 0);
                waiting.extend(epoch_end.filter(|_| is_beyond));
                waiting.extend(made);
            }
        }
    }

    /// Stops a job that has trained for as long as one may; while it stands still, it does not train.
    fn look_at_time(&mut self) {
        let now = Instant::now();
        if !self.control.is_waiting() {
            self.trained += now - self.looked;
        }
        self.looked = now;
        if self.trained.as_secs() >= self.jobs.inner.config.limits.seconds {
            self.control.stop(Stop::TimeLimit);
        }
    }

    /// Stores what was told. A job that is lost is stopped; on a failing store it goes on and tries again.
    async fn store(&mut self) {
        if self.progress.is_empty() {
            return;
        }
        let began = Instant::now();
        let store = &self.jobs.inner.store;
        match store
            .record(self.owner, &self.progress, &Timestamp::now())
            .await
        {
            Ok(()) => {
                let told = std::mem::take(&mut self.progress);
                if !told.checkpoints.is_empty() {
                    self.spacing.stored(began.elapsed());
                }
                if self.control.go_on() {
                    tracing::info!(job = %self.owner.id, "the disk has room: training goes on");
                }
            }
            Err(Error::Full) => {
                if self.control.wait_for_disk() {
                    tracing::warn!(job = %self.owner.id, "the disk is full: training waits until it has room");
                }
            }
            Err(Error::Fenced) => self.control.stop(Stop::Lost),
            Err(error) => {
                store.notice(&error);
                self.spacing.failed();
                tracing::error!(job = %self.owner.id, %error, "the progress of a job could not be stored");
            }
        }
    }

    /// Makes the parameters of the end of an epoch the next version.
    async fn publish(
        &mut self,
        model: Model,
        epoch: u64,
        (ended_by, report): (EndedBy, Box<FullReport>),
    ) -> Result<JobStatus, Error> {
        let lineage = Lineage {
            base_version: Some(self.spec.base_version()),
            data_digests: self.spec.data_digests(),
            seed: self.spec.seed,
            epochs: epoch,
            metrics: self.metrics,
            build: crate::store::build(),
        };
        let publication = Publication {
            name: self.spec.model.clone(),
            model: Arc::new(model),
            lineage,
            ended_by,
            report,
        };
        let store = &self.jobs.inner.store;
        loop {
            let (publication, now) = (publication.clone(), Timestamp::now());
            match store
                .succeed(self.owner, &self.progress, publication, &now)
                .await
            {
                Err(error) if self.tries_again(&error).await => {
                    // As in `release`.
                    self.progress.checkpoints.clear();
                }
                ended => return ended.map(|_| JobStatus::Succeeded),
            }
        }
    }

    /// Waits and says so where the store may recover: a full disk, a busy database. Not while the server ends; then
    /// the next process goes on from the last checkpoint.
    async fn tries_again(&self, error: &Error) -> bool {
        if !error.may_pass() || self.jobs.is_stopping() {
            return false;
        }
        if matches!(error, Error::Full) {
            self.control.wait_for_disk();
        }
        tracing::error!(job = %self.owner.id, %error, "the end of a job could not be stored; trying again");
        tokio::time::sleep(TRY_AGAIN).await;
        true
    }

    /// Ends a job whose end could not be stored.
    async fn give_up(&mut self, error: &Error) {
        tracing::error!(job = %self.owner.id, %error, "the end of a job could not be stored");
        let detail = "what it came to could not be stored; the log has the cause".to_owned();
        if let Err(error) = self.fail("internal", detail, None).await {
            tracing::error!(job = %self.owner.id, %error, "a job is left to the next start of the server");
        }
    }

    /// Leaves a job that was stopped where its stop wants it, with the checkpoints it stopped at.
    async fn stopped(&mut self, kept: Vec<NewCheckpoint>) -> Result<JobStatus, Error> {
        let to = match self.control.stopped() {
            Some(Stop::Requested(request)) => request.status(),
            Some(Stop::Shutdown) => JobStatus::Queued,
            Some(Stop::TimeLimit) => return self.fail_for_time(kept).await,
            Some(Stop::Lost) | None => return Err(Error::Fenced),
        };
        self.release(to, kept, None).await
    }

    async fn fail_for_time(&mut self, kept: Vec<NewCheckpoint>) -> Result<JobStatus, Error> {
        let (id, most) = (self.owner.id, self.jobs.inner.config.limits.seconds);
        let detail = format!(
            "it has trained for {most} s, as long as a job may (job_seconds): what checkpoints it has are kept, submit a job with \"from\":{{\"job\":\"{id}\"}} to go on"
        );
        self.progress.checkpoints.extend(kept);
        self.fail("time_limit", detail, None).await
    }

    async fn fail(
        &mut self,
        code: &str,
        detail: String,
        place: Option<(u64, u64)>,
    ) -> Result<JobStatus, Error> {
        let (epoch, step) = place.unzip();
        let code = code.to_owned();
        let error = JobError {
            code,
            detail,
            epoch,
            step,
        };
        self.release(JobStatus::Failed, Vec::new(), Some(error))
            .await
    }

    async fn release(
        &mut self,
        to: JobStatus,
        kept: Vec<NewCheckpoint>,
        error: Option<JobError>,
    ) -> Result<JobStatus, Error> {
        self.progress.checkpoints.extend(kept);
        loop {
            let store = &self.jobs.inner.store;
            let now = Timestamp::now();
            match store
                .release(self.owner, to, &self.progress, error.clone(), &now)
                .await
            {
                Err(error) if self.tries_again(&error).await => {
                    if to.is_final() {
                        // An end is worth more than its checkpoint on a disk that has room for one of them.
                        self.progress.checkpoints.clear();
                    }
                }
                ended => return ended.map(|()| to),
            }
        }
    }
}

/// Seconds as a duration; of those that are too many, none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
