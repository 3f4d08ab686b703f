//! What becomes of a job that its runner gives back without having come to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::model::{Model, ModelLimits, ModelSpec};
use crate::store::{
    Answer, Error, EventData, HistoryRow, Job, JobStatus, NewCheckpoint, NewJob, Once, Owner,
    Progress, Store, Timestamp,
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
    seconds: 60,
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
    let spec = r#"{"model":"m","epochs":5,"data":{"inputs":[[1],[2]],"targets":[[0],[1]]}}"#;
    checked(base, spec, JOB_LIMITS)
}

/// A job with inline rows, from version 1.
pub(super) fn checked(base: &Model, spec: &str, limits: JobLimits) -> CheckedJob {
    let spec: JobSpec = serde_json::from_str(spec).expect("a job");
    let context = Context {
        base: &base.header(),
        base_version: 1,
        continued: None,
        data: None,
        validation: None,
        limits,
    };
    check(spec, &context).expect("a good job")
}

/// A store with a job that runs and has told of two epochs.
pub(super) async fn begun(directory: &std::path::Path) -> (Store, Owner) {
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
        priority: 0,
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
        parameter_digest: None,
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

/// The same store, opened again after its process was killed: nothing of it was closed.
async fn killed(store: Store, directory: &std::path::Path) -> Store {
    drop(store);
    let reopened = async || Store::open(directory).await;
    loop {
        // Its tasks let go of the directory at their next turn.
        match reopened().await {
            Err(Error::DirectoryInUse { .. }) => tokio::task::yield_now().await,
            opened => return opened.expect("opens"),
        }
    }
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

#[tokio::test]
async fn a_job_is_claimed_by_its_id_only_while_it_is_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    store.put_back(owner, &now).await.expect("it owns the job");
    let (next, job) = store.next_job().await.expect("reads").expect("one waits");
    assert_eq!(
        (next.clone(), job.map(|job| job.id)),
        (owner.id.to_string(), Some(owner.id))
    );
    let other = Uuid::now_v7().to_string();
    let claim = store.claim_next(Some(&other), &now).await.expect("asks");
    assert!(claim.is_none());
    let waiting = store.job(owner.id).await.expect("is there");
    assert_eq!((waiting.status, waiting.attempt), (JobStatus::Queued, 1));
    let claim = store.claim_next(Some(&next), &now).await.expect("claims");
    assert_eq!(claim.expect("it is the next").job.id, owner.id);
    assert!(store.next_job().await.expect("reads").is_none());
}

#[tokio::test]
async fn a_job_whose_process_ends_three_times_without_a_new_checkpoint_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    for attempt in 2..=3 {
        store = killed(store, directory.path()).await;
        assert_eq!(store.take_up(3, &now).await.expect("takes up"), 1);
        assert_eq!(claimed(&store).await.attempt, attempt);
    }
    store = killed(store, directory.path()).await;
    assert_eq!(store.take_up(3, &now).await.expect("takes up"), 1);
    let job = store.job(owner.id).await.expect("is there");
    assert_eq!((job.status, job.attempt), (JobStatus::Failed, 3));
    let error = job.error.expect("it says why");
    assert_eq!(error.code, "crashed_repeatedly");
    assert!(
        error.detail.contains("ended 3 times in a row"),
        "{}",
        error.detail
    );
    assert!(store.claim(&now).await.expect("claims").is_none());
}

#[tokio::test]
async fn a_new_checkpoint_makes_up_for_the_crashes_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, mut owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    for crash in 1..=7 {
        if crash % 2 == 0 {
            let checkpoints = vec![checkpoint(crash, b"damaged on purpose".to_vec())];
            let progress = Progress {
                checkpoints,
                ..Progress::default()
            };
            store
                .record(owner, &progress, &now)
                .await
                .expect("it owns the job");
        }
        store = killed(store, directory.path()).await;
        store.take_up(3, &now).await.expect("takes up");
        owner = claimed(&store).await;
        assert_eq!(owner.attempt, crash + 1);
    }
}

#[tokio::test]
async fn a_job_that_is_taken_over_is_closed_to_the_attempt_that_ran_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    let stale = (owner, 0);
    assert_eq!(store.beats().await.expect("reads"), [stale]);
    store.beat(&[owner]).await.expect("beats");
    assert_eq!(store.beats().await.expect("reads"), [(owner, 1)]);
    assert!(
        !store.take_over(stale, 3, &now).await.expect("looks"),
        "it beat since"
    );
    assert!(
        store
            .take_over((owner, 1), 3, &now)
            .await
            .expect("takes over")
    );
    let next = claimed(&store).await;
    assert_eq!((next.id, next.attempt), (owner.id, 2));
    // The one who ran it comes back: none of its writes finds the job.
    store.beat(&[owner]).await.expect("beats for nobody");
    assert_eq!(store.beats().await.expect("reads"), [(next, 1)]);
    let told = store.record(owner, &Progress::default(), &now).await;
    assert!(matches!(told, Err(Error::Fenced)), "{told:?}");
    let left = store
        .release(owner, JobStatus::Paused, &Progress::default(), None, &now)
        .await;
    assert!(matches!(left, Err(Error::Fenced)), "{left:?}");
    assert!(!store.take_over((owner, 1), 3, &now).await.expect("looks"));
}

pub(super) fn checkpoint(epoch: u64, bytes: Vec<u8>) -> NewCheckpoint {
    NewCheckpoint {
        epoch,
        step: 0,
        parameter_digest: String::new(),
        digest: crate::model::digest(&bytes),
        bytes,
        seconds: 1.0,
    }
}

/// Pieces of contents, and contents that belong to no row.
async fn stored(store: &Store) -> (i64, i64) {
    let count = async |sql: &'static str| {
        let count = sqlx::query_scalar(sql).fetch_one(store.reader());
        count.await.expect("counts")
    };
    (
        count("SELECT COUNT(*) FROM content_pieces").await,
        count("SELECT COUNT(*) FROM dropped_contents").await,
    )
}

#[tokio::test]
async fn a_large_checkpoint_is_written_in_pieces_and_leaves_none_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let now = Timestamp::now();
    let (before, _) = stored(&store).await;
    let large = |epoch: u64| {
        let bytes = (0..9 << 20).map(|byte: u64| (byte * epoch) as u8).collect();
        let checkpoints = vec![checkpoint(epoch, bytes)];
        Progress {
            checkpoints,
            ..Progress::default()
        }
    };
    store
        .record(owner, &large(1), &now)
        .await
        .expect("it owns the job");
    assert_eq!(stored(&store).await, (before + 144, 0));
    let content = sqlx::query_scalar("SELECT content FROM checkpoints");
    let content = content.fetch_one(store.reader()).await.expect("one");
    let mut reader = store.reader().acquire().await.expect("a connection");
    let kept = crate::store::contents::read(&mut reader, content).await;
    drop(reader);
    assert!(
        kept.expect("reads") == large(1).checkpoints[0].bytes,
        "other bytes"
    );
    // Told again, as after a commit that was taken for failed, it is there once.
    store
        .record(owner, &large(1), &now)
        .await
        .expect("it owns the job");
    for epoch in 2..=4 {
        store
            .record(owner, &large(epoch), &now)
            .await
            .expect("it owns the job");
    }
    // Two are kept; of one whose job is no longer owned nothing stays.
    store
        .take_over((owner, 0), 3, &now)
        .await
        .expect("takes over");
    let fenced = store.record(owner, &large(5), &now).await;
    assert!(matches!(fenced, Err(Error::Fenced)), "{fenced:?}");
    store.sweep_contents().await.expect("sweeps");
    assert_eq!(stored(&store).await, (before + 288, 0));
    let bytes = vec![7; 5 << 20];
    let begun = store.content(&bytes).await.expect("written");
    store.sweep_contents().await.expect("sweeps");
    assert_eq!(
        stored(&store).await,
        (before + 368, 1),
        "it is being written"
    );
    drop(begun);
    store.sweep_contents().await.expect("sweeps");
    assert_eq!(stored(&store).await, (before + 288, 0));
}

#[tokio::test]
async fn longer_pieces_of_an_earlier_program_are_read_and_swept() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    let mut tx = store.begin().await.expect("begins");
    for sql in [
        "INSERT INTO contents (id, bytes) VALUES (77, 524289)",
        "INSERT INTO dropped_contents (content) VALUES (77)",
        "INSERT INTO content_pieces (content, piece, bytes) VALUES (77, 0, zeroblob(262144)), (77, 1, zeroblob(262144)), (77, 2, x'09')",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.expect("inserts");
    }
    let read = crate::store::contents::read(&mut tx, 77).await;
    let read = read.expect("reads");
    assert_eq!((read.len(), read.last()), ((512 << 10) + 1, Some(&9)));
    tx.commit().await.expect("commits");
    assert_eq!(stored(&store).await, (3, 1));
    store.sweep_contents().await.expect("sweeps");
    assert_eq!(stored(&store).await, (0, 0));
}

#[tokio::test]
async fn who_writes_large_contents_rests_between_its_parts_for_a_second_at_most() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    store.rest_by(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Some(Duration::from_millis(400))
    });
    store.content(&vec![7; 1 << 20]).await.expect("written");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "of one part");
    let began = Instant::now();
    store.content(&vec![7; 6 << 20]).await.expect("written");
    // Of six parts the last two follow at once: 400, 400 and 200 ms are a second.
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    let took = began.elapsed();
    assert!((1.0..2.0).contains(&took.as_secs_f64()), "{took:?}");
}
