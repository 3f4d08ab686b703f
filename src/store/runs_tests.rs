//! What becomes of a job that its runner gives back without having come to an end.

use std::sync::Arc;

use uuid::Uuid;

use crate::model::{Model, ModelLimits, ModelSpec};
use crate::store::{
    Answer, Error, EventData, HistoryRow, Job, JobStatus, NewJob, Once, Owner, Progress, Store,
    Timestamp,
};
use crate::train::{CheckedJob, Context, JobLimits, JobSpec, Metrics, check};

const LIMITS: ModelLimits = ModelLimits {
    layers: 9,
    units: 9,
    inputs: 9,
    parameters: 9,
};
const JOB_LIMITS: JobLimits = JobLimits {
    epochs: 9,
    batch_size: 9,
    steps: 99,
    batch_activations: 99,
    classes: 9,
    data_bytes: 999,
};

fn answer() -> Answer {
    Answer {
        status: 202,
        location: String::new(),
        body: Vec::new(),
        replayed: false,
    }
}

fn job(base: &Model) -> CheckedJob {
    let spec: JobSpec = serde_json::from_str(
        r#"{"model":"m","epochs":5,"data":{"inputs":[[1],[2]],"targets":[[0],[1]]}}"#,
    )
    .expect("a job");
    let context = Context {
        base: &base.header(),
        base_version: 1,
        continued: None,
        data: None,
        validation: None,
        limits: JOB_LIMITS,
    };
    check(spec, &context).expect("a good job")
}

/// A store with a job that runs and has told of two epochs.
async fn begun(directory: &std::path::Path) -> (Store, Owner) {
    let store = Store::open(directory).await.expect("opens");
    let spec = r#"{"name":"m","inputs":1,"layers":[{"units":1,"activation":"tanh"}]}"#;
    let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
    let checked = spec.check(&LIMITS).expect("a good spec");
    let model = Arc::new(checked.build());
    let now = Timestamp::now();
    let once = Once {
        idempotency: None,
        answer: |_| answer(),
    };
    let made = store.create_model(&checked, Arc::clone(&model), once, &now);
    made.await.expect("stored");
    let new = NewJob {
        checked: job(&model),
        metadata: std::collections::BTreeMap::new(),
        queue_limit: 9,
    };
    let once = Once {
        idempotency: None,
        answer: |_: &Job| answer(),
    };
    store.create_job(new, once, &now).await.expect("stored");
    let owner = claimed(&store).await;
    let row = |epoch| HistoryRow {
        epoch,
        step: epoch,
        learning_rate: 0.1,
        seconds: 1.0,
        train: Metrics::default(),
        validation: None,
        statistics: None,
    };
    let progress = Progress {
        rows: vec![row(1), row(2)],
        ..Progress::default()
    };
    let told = store.record(owner, &progress, &now).await;
    told.expect("it owns the job");
    (store, owner)
}

async fn claimed(store: &Store) -> Owner {
    let claim = store.claim(&Timestamp::now()).await.expect("claims");
    let Job { id, attempt, .. } = claim.expect("one waits").job;
    Owner { id, attempt }
}

/// Codes and epochs of the warnings in a job's log.
async fn warnings(store: &Store, id: Uuid) -> Vec<(String, Option<u64>)> {
    let (events, _) = store.events(id, 0, 99).await.expect("a log");
    let events = events.data.into_iter();
    let warnings = events.filter_map(|event| match event.data {
        EventData::Warning { code, epoch, .. } => Some((code, epoch)),
        EventData::Status { .. } | EventData::Epoch(_) | EventData::Checkpoint { .. } => None,
    });
    warnings.collect()
}

#[tokio::test]
async fn a_job_whose_data_cannot_be_read_waits_at_its_last_checkpoint_and_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    assert_eq!(store.job(owner.id).await.expect("is there").epoch, 2);
    store.put_back(owner, &now).await.expect("it owns the job");
    let waiting = store.job(owner.id).await.expect("is there");
    assert_eq!((waiting.status, waiting.epoch), (JobStatus::Queued, 0));
    let told = vec![("data_unreadable".to_owned(), Some(0))];
    assert_eq!(warnings(&store, owner.id).await, told);
    let late = store.put_back(owner, &now).await;
    assert!(matches!(late, Err(Error::Fenced)), "{late:?}");
    // Nobody says of the next attempt that a checkpoint was damaged.
    let next = claimed(&store).await;
    assert_eq!((next.id, next.attempt), (owner.id, 2));
    assert_eq!(warnings(&store, owner.id).await, told);
}
