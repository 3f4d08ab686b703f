//! The simulated runner: trains for real, tells the store now and then, and meets what the draws hold.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::model::Model;
use crate::nn::Team;
use crate::store::simulation::Draws;
use crate::store::simulation::met::Met;
use crate::store::simulation::world::ATTEMPTS;
use crate::store::{
    Error, HistoryRow, JobMetrics, Lineage, NewCheckpoint, Owner, Progress, Publication, Request,
    Store, Timestamp, build,
};
use crate::train::{
    CheckedJob, Checkpoint, EpochReport, JobLimits, Observer, Outcome, RawSamples, Source, train,
};

/// What jobs do: optimizers with a state, dropout and a shuffle among it.
pub(crate) const KINDS: [&str; 3] = [
    r#""optimizer":{"type":"adam","learning_rate":0.05},"regularization":{"dropout":[0.25]},"epochs":6,"batch_size":2"#,
    r#""optimizer":{"type":"gradient_descent","learning_rate":0.5,"momentum":0.9,"nesterov":true},"epochs":9,"batch_size":3"#,
    r#""optimizer":{"type":"rmsprop","learning_rate":0.01},"epochs":4,"batch_size":1,"validation":{"fraction":0.25}"#,
];
const JOB_LIMITS: JobLimits = JobLimits {
    epochs: 99,
    batch_size: 99,
    steps: 9999,
    batch_activations: 99_999,
    classes: 9,
    seconds: 60,
    data_bytes: 99_999,
};

/// What becomes of a run at a moment that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    GoesOn,
    /// A user asks that it stops.
    Asked,
    /// The process is killed.
    Killed,
    /// Another process takes the job over, and this one does not know.
    TakenOver,
}

/// One attempt at a job.
pub(crate) struct Runner<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) store: &'a Store,
    /// None of a run that nothing disturbs.
    pub(crate) draws: Option<&'a mut Draws>,
    pub(crate) met: &'a mut Met,
    pub(crate) owner: Owner,
    pub(crate) now: Timestamp,
    pub(crate) progress: Progress,
    pub(crate) fate: Fate,
}

/// What an undisturbed run comes to.
pub(crate) struct Reference {
    pub(crate) rows: Vec<HistoryRow>,
    pub(crate) parameter_digest: String,
}

/// Keeps what it is told.
#[derive(Default)]
struct Witness(Vec<HistoryRow>);

impl Runner<'_> {
    fn once_in(&mut self, times: u64) -> bool {
        let draws = self.draws.as_mut();
        draws.is_some_and(|draws| draws.once_in(times))
    }

    /// Tells the store, whose disk may be full for a while.
    fn tell(&mut self) {
        let full = self.once_in(8);
        self.runtime.block_on(self.store.fill_disk(full));
        let recorded = self.store.record(self.owner, &self.progress, &self.now);
        match self.runtime.block_on(recorded) {
            Ok(()) => {
                assert_ne!(self.fate, Fate::TakenOver, "it was fenced");
                self.progress = Progress::default();
            }
            // It keeps what it has to tell.
            Err(Error::Full) => self.met.full += 1,
            Err(Error::Fenced) => {
                assert_eq!(self.fate, Fate::TakenOver, "it owns the job");
                self.met.fenced += 1;
            }
            Err(error) => panic!("{error}"),
        }
        self.runtime.block_on(self.store.fill_disk(false));
    }

    /// What happens at a moment between two steps.
    fn happen(&mut self) {
        if self.fate != Fate::GoesOn {
            return;
        }
        if self.once_in(5) {
            let own = [self.owner];
            let beat = self.store.beat(&own);
            self.runtime.block_on(beat).expect("beats");
        }
        let Some(draws) = self.draws.as_mut() else {
            return;
        };
        match draws.below(200) {
            0..=2 => self.fate = Fate::Killed,
            3 => self.ask(Request::Cancel),
            4 | 5 => self.ask(Request::Pause),
            6 | 7 => self.lose(),
            _ => {}
        }
    }

    fn ask(&mut self, request: Request) {
        let asked = self.store.request(self.owner.id, request, &self.now);
        let told = self.runtime.block_on(asked).expect("it runs");
        assert!(told, "a runner has to be told");
        self.fate = Fate::Asked;
    }

    fn lose(&mut self) {
        let beats = self.runtime.block_on(self.store.beats()).expect("reads");
        let beat = beats.into_iter().find(|(owner, _)| *owner == self.owner);
        let taken = self
            .store
            .take_over(beat.expect("it runs"), ATTEMPTS, &self.now);
        assert!(self.runtime.block_on(taken).expect("takes over"));
        self.fate = Fate::TakenOver;
    }
}

impl Observer for Runner<'_> {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll(&mut self) -> ControlFlow<()> {
        self.happen();
        match self.fate {
            Fate::GoesOn | Fate::TakenOver => ControlFlow::Continue(()),
            Fate::Asked | Fate::Killed => ControlFlow::Break(()),
        }
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        self.once_in(if epoch_end { 2 } else { 8 })
    }

    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.progress
            .checkpoints
            .push(NewCheckpoint::of(&checkpoint, 1.0));
        self.tell();
    }

    fn epoch(&mut self, report: EpochReport) {
        self.progress.rows.push(row(report));
        if self.once_in(2) {
            self.tell();
        }
    }
}

impl Observer for Witness {
    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, _: bool) -> bool {
        false
    }

    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, _: Checkpoint) {}

    fn epoch(&mut self, report: EpochReport) {
        self.0.push(row(report));
    }
}

impl Reference {
    pub(crate) fn of(base: &Model, kind: usize) -> Self {
        let CheckedJob { spec, inline, .. } = checked(base, kind);
        let inline = inline.expect("rows");
        let data = RawSamples::decode_inline(&inline).expect("rows");
        let mut witness = Witness::default();
        let (base, source) = (base.clone(), Source::of(data));
        let ended = train(&spec, base, source, None, &Team::alone(), &mut witness);
        let Ok(Outcome::Finished { model, .. }) = ended else {
            panic!("nothing stops it");
        };
        Self {
            rows: witness.0,
            parameter_digest: model.parameter_digest(),
        }
    }
}

/// What a finished run publishes.
pub(crate) fn publication(outcome: &Outcome) -> Publication {
    let Outcome::Finished {
        model,
        epochs,
        ended_by,
        report,
        ..
    } = outcome
    else {
        panic!("it is finished");
    };
    Publication {
        name: "m".to_owned(),
        model: Arc::new(model.clone()),
        lineage: Lineage {
            base_version: Some(1),
            data_digests: Vec::new(),
            seed: 0,
            epochs: *epochs,
            metrics: JobMetrics::default(),
            build: build(),
        },
        report: report.clone(),
        ended_by: *ended_by,
    }
}

/// A job of a kind, from the initial parameters.
pub(crate) fn checked(base: &Model, kind: usize) -> CheckedJob {
    let what = KINDS[kind];
    let spec = format!(
        r#"{{"model":"m","from":{{"initial":true}},"seed":5,{what},
        "data":{{"inputs":[[0,0],[0,1],[1,0],[1,1]],"targets":[[0],[1],[1],[0]]}}}}"#
    );
    crate::store::runs_tests::checked(base, &spec, JOB_LIMITS)
}

fn row(report: EpochReport) -> HistoryRow {
    HistoryRow {
        epoch: report.epoch,
        step: report.step,
        learning_rate: report.learning_rate,
        seconds: 1.0,
        train: report.train,
        validation: report.validation,
        statistics: report.statistics,
        parameter_digest: report.parameter_digest,
    }
}
