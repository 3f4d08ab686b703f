//! The simulated world: what users have been promised, and the steps that put it to the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::model::{Model, ModelLimits, ModelSpec};
use crate::nn::Team;
use crate::store::simulation::Draws;
use crate::store::simulation::disk::{Moment, directory, killed};
use crate::store::simulation::met::Met;
use crate::store::simulation::runner::{Fate, KINDS, Reference, Runner, checked, publication};
use crate::store::{
    Answer, Claim, Error, EventData, HistoryRow, Idempotency, Job, JobError, JobStatus,
    NewCheckpoint, NewJob, Once, Owner, Progress, Request, Retention, Store, Timestamp,
};
use crate::train::{Outcome, Source, train};

const LIMITS: ModelLimits = ModelLimits {
    layers: 9,
    units: 9,
    inputs: 9,
    parameters: 99,
};
/// Processes that may end in a row before a job fails.
pub(crate) const ATTEMPTS: u64 = 3;
/// Steps of a world.
const STEPS: u64 = 60;
/// What a user knows of a job.
struct Known {
    kind: usize,
    /// The last status that was answered; where a request was cut off, none.
    status: Option<JobStatus>,
}

pub(crate) struct World {
    runtime: Runtime,
    draws: Draws,
    directory: TempDir,
    store: Store,
    base: Arc<Model>,
    references: Vec<Reference>,
    jobs: BTreeMap<Uuid, Known>,
    /// Jobs that were asked for with a key whose answer never came, and of what kind.
    unanswered: Vec<(String, usize)>,
    keys: u64,
    /// Days since the beginning, by a clock that is set back and forth.
    day: i64,
    met: Met,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let directory = directory();
        let store = runtime
            .block_on(Store::open(directory.path()))
            .expect("opens");
        let spec = r#"{"name":"m","inputs":2,"seed":3,"dtype":"float64",
            "layers":[{"units":3,"activation":"tanh"},{"units":1,"activation":"sigmoid"}]}"#;
        let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
        let checked = spec.check(&LIMITS).expect("a good spec");
        let base = Arc::new(checked.build());
        let once = Once {
            idempotency: None,
            answer: |_| answer(String::new()),
        };
        let now = Timestamp::now();
        let made = store.create_model(&checked, Arc::clone(&base), once, &now);
        runtime.block_on(made).expect("stored");
        let references = (0..KINDS.len()).map(|kind| Reference::of(&base, kind));
        Self {
            references: references.collect(),
            runtime,
            draws: Draws(seed),
            directory,
            store,
            base,
            jobs: BTreeMap::new(),
            unanswered: Vec::new(),
            keys: 0,
            day: 0,
            met: Met::default(),
        }
    }

    pub(crate) fn run(mut self) -> Met {
        for _ in 0..STEPS {
            match self.draws.below(10) {
                0..=2 => self.submit(),
                3..=6 => self.work(),
                7 => self.ask(),
                8 => self.crash_in_a_submission(),
                _ => self.day += self.draws.below(800) as i64 - 400,
            }
        }
        self.restart(false);
        // From here on nothing more happens: every job comes to an end.
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            let job = self.job(id);
            if job.status == JobStatus::Paused {
                let resumed = self.runtime.block_on(self.store.resume(id, &self.now()));
                resumed.expect("it is paused");
            }
        }
        while let Some(claim) = self.claim() {
            self.train(claim, false);
        }
        self.check();
        for id in self.jobs.keys() {
            let job = self.job(*id);
            assert!(job.status.is_final(), "{id} is {} at the end", job.status);
        }
        self.met
    }

    fn now(&self) -> Timestamp {
        let year = 2026 + self.day.div_euclid(336);
        let (month, day) = (
            1 + self.day.rem_euclid(336) / 28,
            1 + self.day.rem_euclid(28),
        );
        Timestamp::stored(format!("{year:04}-{month:02}-{day:02}T00:00:00.000Z"))
    }

    fn job(&self, id: Uuid) -> Job {
        let job = self.runtime.block_on(self.store.job(id));
        job.expect("what was acknowledged is there")
    }

    fn create(&self, key: &str, kind: usize) -> Result<Answer, Error> {
        let new = NewJob {
            checked: checked(&self.base, kind),
            priority: 0,
            metadata: BTreeMap::new(),
            queue_limit: 999,
        };
        let once = Once {
            idempotency: Some(Idempotency {
                key: key.to_owned(),
                operation: "POST /v1/jobs".to_owned(),
                digest: kind.to_string(),
                at: self.store.running_time(),
                kept_for: Duration::from_hours(24),
            }),
            answer: |job: &Job| answer(job.id.to_string()),
        };
        let now = self.now();
        let created = self.store.create_job(new, once, &now);
        self.runtime.block_on(created)
    }

    /// A user submits a job, or asks again for one of which no answer came.
    fn submit(&mut self) {
        let again = self.unanswered.pop().filter(|_| self.draws.once_in(2));
        let (key, kind) = again.unwrap_or_else(|| self.drawn());
        let answer = self.create(&key, kind).expect("stored");
        self.met.replayed += u64::from(answer.replayed);
        let id = answer.location.parse().expect("an id");
        let known = self.jobs.entry(id).or_insert(Known { kind, status: None });
        assert_eq!(known.kind, kind, "a key stands for another job");
    }

    fn drawn(&mut self) -> (String, usize) {
        self.keys += 1;
        let kind = self.draws.below(KINDS.len() as u64) as usize;
        (format!("key-{}", self.keys), kind)
    }

    /// The power fails while a submission is stored: it is there, or nothing of it is.
    fn crash_in_a_submission(&mut self) {
        let (key, kind) = self.drawn();
        let before = self.runtime.block_on(Moment::of(&self.store));
        self.create(&key, kind).expect("stored");
        self.unanswered.push((key, kind));
        self.met.torn += 1;
        let torn = async { before.torn(self.directory.path(), &mut self.draws) };
        let left = self.runtime.block_on(torn);
        self.reopen(left);
    }

    /// A user pauses, resumes or cancels a job that nobody runs.
    fn ask(&mut self) {
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.draws.below(ids.len() as u64) as usize];
        let now = self.now();
        let asked = match self.draws.below(3) {
            0 => self.store_request(id, Request::Cancel, &now),
            1 => self.store_request(id, Request::Pause, &now),
            _ => self.runtime.block_on(self.store.resume(id, &now)),
        };
        match asked {
            Ok(()) => {
                let status = self.job(id).status;
                self.know(id, Some(status));
            }
            Err(Error::IllegalMove { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn store_request(&self, id: Uuid, request: Request, now: &Timestamp) -> Result<(), Error> {
        let told = self
            .runtime
            .block_on(self.store.request(id, request, now))?;
        assert!(!told, "a job runs though no process does");
        Ok(())
    }

    fn know(&mut self, id: Uuid, status: Option<JobStatus>) {
        let known = self.jobs.get_mut(&id).expect("a job that was asked for");
        known.status = status;
    }

    fn claim(&mut self) -> Option<Claim> {
        let claimed = self.runtime.block_on(self.store.claim(&self.now()));
        let claim = claimed.expect("claims")?;
        // One of an answer that never came is known from here on.
        let id = claim.job.id;
        let epochs = format!("\"epochs\":{},", claim.job.spec.epochs);
        let kind = KINDS.iter().position(|kind| kind.contains(&epochs));
        let kind = kind.expect("a kind");
        self.jobs.entry(id).or_insert(Known { kind, status: None });
        Some(claim)
    }

    fn work(&mut self) {
        if let Some(claim) = self.claim() {
            self.train(claim, true);
        }
    }

    /// One attempt at a job, to its end or to what the draws hold.
    fn train(&mut self, claim: Claim, disturbed: bool) {
        let Claim {
            job, checkpoint, ..
        } = claim;
        let (id, attempt) = (job.id, job.attempt);
        let owner = Owner { id, attempt };
        self.know(id, None);
        let data = self.runtime.block_on(self.store.job_rows(id, "data"));
        let source = Source::of(data.expect("its rows are there"));
        let base = self.runtime.block_on(self.store.load_version("m", 1));
        let now = self.now();
        let mut runner = Runner {
            runtime: &self.runtime,
            store: &self.store,
            draws: disturbed.then_some(&mut self.draws),
            met: &mut self.met,
            owner,
            now,
            progress: Progress::default(),
            fate: Fate::GoesOn,
        };
        let (base, team) = (base.expect("reads"), Team::alone());
        let ended = train(&job.spec, base, source, checkpoint, &team, &mut runner);
        let Runner { fate, progress, .. } = runner;
        match (fate, ended.expect("trains")) {
            (Fate::Killed, _) => self.restart(true),
            (Fate::TakenOver, outcome) => self.too_late(owner, &outcome, &progress),
            (Fate::GoesOn | Fate::Asked, outcome) => {
                self.end(owner, &outcome, progress, disturbed);
            }
        }
    }

    /// Ends a run as its runner does; the power may fail in the middle of it.
    fn end(&mut self, owner: Owner, outcome: &Outcome, mut progress: Progress, disturbed: bool) {
        let before = self.runtime.block_on(Moment::of(&self.store));
        let now = self.now();
        if let Outcome::Finished { last, .. } = outcome {
            let last = last.iter().map(|at| NewCheckpoint::of(at, 1.0));
            progress.checkpoints.extend(last);
        }
        let full = disturbed && self.draws.once_in(6);
        self.runtime.block_on(self.store.fill_disk(full));
        let status = loop {
            let ended = match outcome {
                Outcome::Finished { .. } => {
                    let publication = publication(outcome);
                    let stored = self.store.succeed(owner, &progress, publication, &now);
                    self.runtime.block_on(stored).map(|_| JobStatus::Succeeded)
                }
                Outcome::Stopped { at, epoch_end } => {
                    let kept = epoch_end.iter().chain([at]);
                    let kept = kept.map(|at| NewCheckpoint::of(at, 1.0));
                    progress.checkpoints.extend(kept);
                    let request = self.runtime.block_on(self.store.requested(owner));
                    let request = request.expect("reads");
                    let to = request.map_or(JobStatus::Queued, Request::status);
                    let left = self.store.release(owner, to, &progress, None, &now);
                    self.runtime.block_on(left).map(|()| to)
                }
                Outcome::Unprepared => unreachable!("it is never stopped so early"),
            };
            match ended {
                Ok(status) => break status,
                Err(Error::Full) => {
                    self.met.full += 1;
                    self.runtime.block_on(self.store.fill_disk(false));
                }
                Err(error) => panic!("{error}"),
            }
        };
        self.runtime.block_on(self.store.fill_disk(false));
        if disturbed && self.draws.once_in(5) {
            self.met.torn += 1;
            let torn = async { before.torn(self.directory.path(), &mut self.draws) };
            let left = self.runtime.block_on(torn);
            self.reopen(left);
        } else {
            self.runtime.block_on(async { drop(before) });
            self.know(owner.id, Some(status));
        }
    }

    /// A process that lost its job to another comes back, and ends it: none of it is stored.
    fn too_late(&mut self, owner: Owner, outcome: &Outcome, progress: &Progress) {
        let now = self.now();
        let ended = match outcome {
            Outcome::Finished { .. } => {
                let publication = publication(outcome);
                let stored = self.store.succeed(owner, progress, publication, &now);
                self.runtime.block_on(stored).map(|_| ())
            }
            Outcome::Stopped { .. } | Outcome::Unprepared => {
                let to = JobStatus::Paused;
                let left = self.store.release(owner, to, progress, None, &now);
                self.runtime.block_on(left)
            }
        };
        assert!(matches!(ended, Err(Error::Fenced)), "{ended:?}");
        self.met.fenced += 1;
    }

    /// The process is killed and another started; or it is ended in order.
    fn restart(&mut self, kill: bool) {
        if kill {
            self.met.kills += 1;
            let left = self.runtime.block_on(killed(&self.store));
            self.reopen(left);
        } else {
            self.runtime.block_on(self.store.close());
            let left = self.runtime.block_on(killed(&self.store));
            self.reopen(left);
        }
    }

    /// Starts a process on what is left, and looks whether all is there.
    fn reopen(&mut self, left: TempDir) {
        let store = self.runtime.block_on(Store::open(left.path()));
        self.store = store.expect("opens");
        self.directory = left;
        self.store.keep(Retention::default());
        let taken = self
            .runtime
            .block_on(self.store.take_up(ATTEMPTS, &self.now()));
        taken.expect("takes up");
        self.check();
    }

    /// Everything that was acknowledged is there, and everything that is there is whole.
    fn check(&mut self) {
        assert_eq!(self.runtime.block_on(self.store.integrity()), "ok");
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        for id in ids {
            let job = self.job(id);
            let known = &self.jobs[&id];
            assert_ne!(job.status, JobStatus::Running, "nobody runs it");
            if let Some(status) = known.status {
                assert_eq!(job.status, status, "{id} was acknowledged otherwise");
            }
            let reference = &self.references[known.kind];
            self.check_history(&job, reference);
            self.check_end(&job, reference);
            self.check_log(&job);
            let counted = match job.status {
                JobStatus::Succeeded => &mut self.met.succeeded,
                JobStatus::Cancelled => &mut self.met.cancelled,
                JobStatus::Failed => &mut self.met.crashed,
                JobStatus::Queued | JobStatus::Running | JobStatus::Paused => continue,
            };
            *counted += 1;
        }
    }

    /// Epochs without a gap, each as in an undisturbed run.
    fn check_history(&self, job: &Job, reference: &Reference) {
        let history = self.runtime.block_on(self.store.history(job.id, 0, 99, 1));
        let rows = history.expect("reads").data;
        assert_eq!(rows.len() as u64, job.epoch, "{} has gaps", job.id);
        for (row, expected) in rows.iter().zip(&reference.rows) {
            let row = HistoryRow {
                seconds: expected.seconds,
                statistics: expected.statistics.clone(),
                ..row.clone()
            };
            assert_eq!(&row, expected, "{} has another history", job.id);
        }
    }

    fn check_end(&self, job: &Job, reference: &Reference) {
        match (job.status, job.version) {
            (JobStatus::Succeeded, Some(version)) => {
                let row = self.runtime.block_on(self.store.version("m", version));
                let row = row.expect("a job that succeeded has its version");
                assert_eq!(row.job, Some(job.id.to_string()));
                assert_eq!(
                    row.parameter_digest, reference.parameter_digest,
                    "other bits"
                );
                let model = self.runtime.block_on(self.store.load_version("m", version));
                let digest = model.expect("it reads back").parameter_digest();
                assert_eq!(digest, reference.parameter_digest);
                let report = self.runtime.block_on(self.store.report(job.id));
                report.expect("a job that succeeded has its report");
            }
            (JobStatus::Failed, None) => {
                let JobError { code, .. } = job.error.clone().expect("it says why");
                assert_eq!(code, "crashed_repeatedly");
            }
            (status, version) => assert_eq!(version, None, "{} is {status}", job.id),
        }
    }

    /// Events numbered from 1 without a gap, moves along the table only, and the last one where the job stands.
    fn check_log(&self, job: &Job) {
        let log = self.runtime.block_on(self.store.events(job.id, 0, 999));
        let (log, _) = log.expect("reads");
        let mut last: Option<JobStatus> = None;
        for (number, event) in log.data.iter().enumerate() {
            assert_eq!(
                event.id,
                number as u64 + 1,
                "a gap in the log of {}",
                job.id
            );
            if let EventData::Status { status, .. } = &event.data {
                let legal = last.is_none_or(|last| last == *status || last.may_become(*status));
                assert!(legal, "{last:?} -> {status}");
                last = Some(*status);
            }
        }
        assert_eq!(last, Some(job.status));
    }
}

fn answer(location: String) -> Answer {
    Answer {
        status: 202,
        location,
        body: Vec::new(),
        replayed: false,
    }
}
