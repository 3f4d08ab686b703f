//! What is written of a batch prediction that does not come to its end is dropped, whatever ends it.

use std::sync::Arc;

use uuid::Uuid;

use crate::data::TableFormat;
use crate::model::{ModelLimits, ModelSpec, digest};
use crate::store::tests::create;
use crate::store::{
    Answer, BatchPrediction, Error, JobError, JobStatus, NewBatchPrediction, Once, PageQuery,
    PredictionChunk, PredictionFilter, PredictionProgress, Store, Timestamp,
};
use crate::train::CheckedPrediction;

/// A store with a model `m` and a dataset `t`.
async fn store(directory: &std::path::Path) -> Store {
    let store = Store::open(directory).await.expect("opens");
    let spec = r#"{"name":"m","inputs":1,"layers":[{"units":1,"activation":"tanh"}]}"#;
    let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
    let limits = ModelLimits {
        layers: 9,
        units: 9,
        inputs: 9,
        parameters: 9,
    };
    let checked = spec.check(&limits).expect("a good spec");
    let once = Once {
        idempotency: None,
        answer: |_| answer(),
    };
    let model = Arc::new(checked.build());
    let now = Timestamp::now();
    let made = store.create_model(&checked, model, once, &now).await;
    made.expect("stored");
    create(&store, "t", "x\n1\n2\n").await.expect("stored");
    store
}

fn answer() -> Answer {
    Answer {
        status: 202,
        location: String::new(),
        body: Vec::new(),
        replayed: false,
    }
}

async fn submit(store: &Store, queue_limit: u64) -> Result<Answer, Error> {
    let dataset = store.dataset("t").await.expect("is there");
    let new = NewBatchPrediction {
        model: "m".to_owned(),
        version: 1,
        dataset: dataset.name,
        digest: dataset.digest,
        rows: dataset.rows,
        spec: CheckedPrediction {
            format: TableFormat::Csv,
            top_k: None,
            features: vec!["x".to_owned()],
            keep: Vec::new(),
        },
        metadata: std::collections::BTreeMap::new(),
        queue_limit,
    };
    let once = Once {
        idempotency: None,
        answer: |_: &BatchPrediction| answer(),
    };
    store.create_prediction(new, once, &Timestamp::now()).await
}

/// A batch prediction that runs and has written a chunk.
async fn begun(store: &Store) -> Uuid {
    submit(store, 1).await.expect("stored");
    let claimed = store.claim_prediction(&Timestamp::now()).await;
    let id = claimed.expect("claims").expect("one waits").id;
    let chunk = PredictionChunk {
        number: 0,
        digest: digest(b"x\n1\n"),
        bytes: b"x\n1\n".to_vec(),
    };
    let progress = PredictionProgress {
        rows_done: 1,
        rows_per_second: Some(2.0),
    };
    let appended = store.append_prediction(id, &[chunk], progress).await;
    appended.expect("it runs");
    let read = store.prediction_chunk(id, 0).await.expect("whole");
    assert_eq!(read.as_deref(), Some(&b"x\n1\n"[..]));
    id
}

/// Nothing is left of what was written, and nothing more can be.
async fn is_dropped(store: &Store, id: Uuid, status: JobStatus) {
    let left = store.prediction("m", id).await.expect("is there");
    assert_eq!((left.status, left.bytes), (status, 0));
    assert_eq!(store.prediction_chunk(id, 0).await.expect("none"), None);
    let progress = PredictionProgress::default();
    let late = store.append_prediction(id, &[], progress).await;
    assert!(matches!(late, Err(Error::Fenced)), "{late:?}");
    let now = Timestamp::now();
    let late = store.finish_prediction(id, progress, &now).await;
    assert!(matches!(late, Err(Error::Fenced)));
}

#[tokio::test]
async fn nothing_is_left_of_a_result_that_is_not_finished() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    let now = Timestamp::now();

    let id = begun(&store).await;
    assert_eq!(
        store
            .take_up_predictions(3, &Timestamp::now())
            .await
            .expect("takes up"),
        1
    );
    is_dropped(&store, id, JobStatus::Queued).await;
    let again = store.claim_prediction(&now).await.expect("claims");
    assert_eq!(
        again.map(|again| (again.id, again.rows_done)),
        Some((id, 0))
    );
    store.requeue_prediction(id).await.expect("it runs");
    is_dropped(&store, id, JobStatus::Queued).await;
    let full = submit(&store, 1).await;
    assert!(matches!(full, Err(Error::QueueFull { limit: 1, .. })));
    store
        .cancel_prediction("m", id, &now)
        .await
        .expect("it waits");
    is_dropped(&store, id, JobStatus::Cancelled).await;

    let id = begun(&store).await;
    store
        .cancel_prediction("m", id, &now)
        .await
        .expect("it runs");
    is_dropped(&store, id, JobStatus::Cancelled).await;

    let id = begun(&store).await;
    let error = JobError {
        code: "not_finite".to_owned(),
        detail: "row 2".to_owned(),
        epoch: None,
        step: None,
    };
    let failed = store.fail_prediction(id, &error, &now).await;
    failed.expect("it runs");
    is_dropped(&store, id, JobStatus::Failed).await;
    let cancelled = store.cancel_prediction("m", id, &now).await;
    let told = "a batch prediction that is failed cannot be cancelled: it has ended";
    assert_eq!(cancelled.expect_err("it has ended").to_string(), told);
}

#[tokio::test]
async fn a_chunk_that_is_written_again_counts_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    let id = begun(&store).await;
    let chunk = |number, bytes: &[u8]| PredictionChunk {
        number,
        digest: digest(bytes),
        bytes: bytes.to_vec(),
    };
    let progress = PredictionProgress {
        rows_done: 2,
        rows_per_second: None,
    };
    let chunks = [chunk(0, b"x\n1\n"), chunk(1, b"2\n")];
    let appended = store.append_prediction(id, &chunks, progress).await;
    appended.expect("it runs");
    let left = store.prediction("m", id).await.expect("is there");
    assert_eq!((left.bytes, left.rows_done), (6, 2));
    let read = store.prediction_chunk(id, 1).await.expect("whole");
    assert_eq!(read.as_deref(), Some(&b"2\n"[..]));
}

#[tokio::test]
async fn one_that_cannot_be_read_fails_and_gives_way_to_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    for _ in 0..2 {
        submit(&store, 2).await.expect("stored");
    }
    let mut tx = store.begin().await.expect("a transaction");
    sqlx::query("UPDATE batch_predictions SET spec = '{}' WHERE sequence = 1")
        .execute(&mut *tx)
        .await
        .expect("a statement");
    tx.commit().await.expect("commits");
    let now = Timestamp::now();
    let claimed = store.claim_prediction(&now).await.expect("claims");
    assert!(claimed.is_some());
    assert_eq!(store.claim_prediction(&now).await.expect("claims"), None);
    let counts = store.count_predictions().await.expect("counts");
    let counts: Vec<_> = counts.into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 1, 0, 1, 0]);
    let page = PageQuery {
        limit: 10,
        after: None,
        ascending: false,
    };
    let all = PredictionFilter::default();
    let listed = store.predictions("m", &all, &page).await;
    assert_eq!(listed.expect("a page").data.len(), 1);
}
