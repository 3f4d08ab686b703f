//! What a flipped bit of a row does: whatever the row is of, it is not read, and nothing else is missing.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};
use uuid::Uuid;

use crate::data::TableFormat;
use crate::model::digest;
use crate::nn::Plateau;
use crate::store::opening::{database, options};
use crate::store::runs_tests::begun;
use crate::store::tests::create;
use crate::store::{
    Answer, BatchPrediction, CheckpointRow, Error, Expected, Idempotency, JobFilter, JobStatus,
    ModelRow, NewBatchPrediction, NewCheckpoint, Once, Page, PageQuery, PredictionFilter, Progress,
    Source, Store, Timestamp, seal, verify,
};
use crate::train::{CheckedPrediction, Checkpoint, EpochSums, Watched};

const PAGE: PageQuery = PageQuery {
    limit: 99,
    after: None,
    ascending: true,
};

/// What stands in a store of which every table with seals has rows.
pub(super) struct Written {
    pub(super) store: Store,
    pub(super) job: Uuid,
    dataset: String,
    prediction: Uuid,
}

pub(super) fn key(store: &Store) -> Idempotency {
    Idempotency {
        key: "k".to_owned(),
        operation: "POST /v1/models/m/predictions".to_owned(),
        digest: digest(b"{}"),
        at: store.running_time(),
        kept_for: Duration::from_hours(1),
    }
}

pub(super) async fn written(directory: &std::path::Path) -> Written {
    let (store, owner) = begun(directory).await;
    let now = Timestamp::now();
    let checkpoint = Checkpoint {
        epoch: 2,
        step: 0,
        sums: EpochSums::default(),
        statistics: None,
        plateau: Plateau::default(),
        watched: Watched::default(),
        best: None,
        optimizer: None,
        folds: None,
        model: store.load_version("m", 1).await.expect("is there"),
    };
    let progress = Progress {
        checkpoints: vec![NewCheckpoint::of(&checkpoint, 1.0)],
        ..Progress::default()
    };
    store.record(owner, &progress, &now).await.expect("stored");
    let aliased = store.set_alias("m", "champion", 1, &Expected::Any).await;
    aliased.expect("stored");
    let csv = "x,w\n1,a\n2,b\n";
    create(&store, "t", csv).await.expect("stored");
    let dataset = store.dataset("t").await.expect("is there").digest;
    let new = NewBatchPrediction {
        model: "m".to_owned(),
        version: 1,
        dataset: "t".to_owned(),
        digest: dataset.clone(),
        rows: 2,
        spec: CheckedPrediction {
            format: TableFormat::Csv,
            top_k: None,
            features: vec!["x".to_owned()],
            keep: Vec::new(),
        },
        metadata: std::collections::BTreeMap::new(),
        queue_limit: 9,
    };
    let once = Once {
        idempotency: Some(key(&store)),
        answer: |made: &BatchPrediction| Answer {
            status: 202,
            location: made.id.to_string(),
            body: b"{}".to_vec(),
            replayed: false,
        },
    };
    let made = store.create_prediction(new, once, &now).await;
    let prediction = made.expect("stored").location.parse().expect("an id");
    let mut tx = store.begin().await.expect("begins");
    for statement in [
        "UPDATE jobs SET version = 1 WHERE id = $1",
        r#"INSERT INTO reports (job_id, report) VALUES ($1, '{"epoch":2,"train":null,"validation":null}')"#,
        "INSERT INTO job_datasets (job_id, dataset) VALUES ($1, 't')",
    ] {
        let written = sqlx::query(statement).bind(owner.id.to_string());
        written.execute(&mut *tx).await.expect("written");
    }
    tx.commit().await.expect("stored");
    Written {
        store,
        job: owner.id,
        dataset,
        prediction,
    }
}

/// A model without its aliases.
fn bare(model: ModelRow) -> ModelRow {
    ModelRow {
        aliases: BTreeMap::new(),
        ..model
    }
}

/// Each thing that a read gives.
type Shown = Vec<(&'static str, Vec<String>)>;

fn items<T: Debug>(read: Result<Page<T>, Error>) -> Vec<String> {
    let page = one(read.map(|page| page.data));
    match page {
        Ok(data) => data.iter().map(|item| format!("{item:?}")).collect(),
        Err(none) => none,
    }
}

fn item<T: Debug>(read: Result<T, Error>) -> Vec<String> {
    one(read).map_or_else(|none| none, |item| vec![format!("{item:?}")])
}

/// What is read, or nothing where the row is damaged or no longer found by its name.
fn one<T>(read: Result<T, Error>) -> Result<T, Vec<String>> {
    read.map_err(|error| match error {
        error if error.is_damage() => Vec::new(),
        Error::NotFound { .. } | Error::NoReport { .. } | Error::KeyReused { .. } => Vec::new(),
        other => panic!("{other}"),
    })
}

impl Written {
    /// Everything that the store gives.
    async fn shown(&self) -> Shown {
        let Self {
            store,
            job,
            dataset,
            prediction,
        } = self;
        let (names, job) = (["x".to_owned(), "w".to_owned()], *job);
        let columns = store.dataset_columns("t", dataset, &names).await;
        let artifact = store.load_version("m", 1).await;
        let checkpoints = store.checkpoints(job).await.unwrap_or_default();
        let places = checkpoints.iter().map(|row| {
            let CheckpointRow {
                epoch,
                step,
                parameter_digest,
                created_at,
                ..
            } = row;
            format!("{epoch}, {step}, {parameter_digest}, {created_at:?}")
        });
        let places = places.collect();
        let figures = checkpoints.iter().filter_map(|row| row.metrics.as_ref());
        let figures = figures.map(|metrics| format!("{metrics:?}")).collect();
        let model = store.model("m").await.ok();
        let aliases = model.map(|model| model.aliases).unwrap_or_default();
        let aliases = aliases.iter().map(|alias| format!("{alias:?}")).collect();
        let models = store.models(&PAGE).await.map(|page| Page {
            data: page.data.into_iter().map(bare).collect(),
            has_more: page.has_more,
        });
        let models = items(models);
        let events = store.events(job, 0, 99).await.map(|(page, _)| page);
        let filter = PredictionFilter::default();
        let known = store.known_key(&key(store)).await;
        let known = known.and_then(|known| known.ok_or(Error::not_found("key", "k")));
        vec![
            (
                "served",
                store
                    .served()
                    .await
                    .map_or_else(|_| Vec::new(), |served| vec![format!("{served:?}")]),
            ),
            ("aliases", aliases),
            ("model", item(store.model("m").await.map(bare))),
            ("models", models),
            ("version", item(store.version("m", 1).await)),
            ("versions", items(store.versions("m", &PAGE).await)),
            (
                "artifact",
                item(artifact.map(|model| model.parameter_digest())),
            ),
            ("job", item(store.job(job).await)),
            (
                "jobs",
                items(store.jobs(&JobFilter::default(), &PAGE).await),
            ),
            ("history", items(store.history(job, 0, 99, 1).await)),
            ("events", items(events)),
            ("report", item(store.report(job).await)),
            ("checkpoints", places),
            ("figures of checkpoints", figures),
            ("rows", item(store.job_rows(job, "data").await)),
            ("dataset", item(store.dataset("t").await)),
            ("datasets", items(store.datasets(&PAGE).await)),
            (
                "revisions",
                items(store.dataset_revisions("t", &PAGE).await),
            ),
            ("columns", item(columns)),
            ("prediction", item(store.prediction("m", *prediction).await)),
            (
                "predictions",
                items(store.predictions("m", &filter, &PAGE).await),
            ),
            ("key", item(known)),
        ]
    }

    async fn damaged(&self) -> u64 {
        let source = Source::Directory(self.store.inner.directory.clone());
        let verified = verify(&source, &mut |_| ()).await;
        verified.expect("is read").damaged
    }
}

/// A bit of a value that is flipped and set back.
struct Flip<'a> {
    table: &'a str,
    row: &'a SqliteRow,
    column: &'a str,
    /// Of a byte of a text.
    bit: u8,
}

impl Flip<'_> {
    /// Writes the value with another bit, or as it was, where the row has this number.
    async fn set(&self, connection: &mut sqlx::SqliteConnection, number: i64, back: bool) {
        let Self {
            table,
            row,
            column,
            bit,
        } = *self;
        let sql = |value: &str| {
            AssertSqlSafe(format!(
                "UPDATE {table} SET {column} = {value} WHERE rowid = $2"
            ))
        };
        let raw = row.try_get_raw(column).expect("a value");
        let kind = raw.type_info().name().to_owned();
        let update = match kind.as_str() {
            _ if raw.is_null() => sqlx::query(sql("$1")).bind((!back).then_some(1i64)),
            "INTEGER" => {
                let value: i64 = row.get(column);
                sqlx::query(sql("$1")).bind(if back { value } else { value ^ 1 << 20 })
            }
            "REAL" => {
                let value: f64 = row.get(column);
                let other = f64::from_bits(value.to_bits() ^ 1 << 51);
                sqlx::query(sql("$1")).bind(if back { value } else { other })
            }
            text => {
                let mut bytes: Vec<u8> = row.get(column);
                let middle = bytes.len() / 2;
                if !back {
                    bytes[middle] ^= 1 << bit;
                }
                sqlx::query(sql(&format!("CAST($1 AS {text})"))).bind(bytes)
            }
        };
        let updated = update.bind(number).execute(connection).await;
        assert_eq!(updated.expect("updated").rows_affected(), 1);
    }
}

#[tokio::test]
async fn a_flipped_bit_of_any_column_is_found_by_who_reads_it_and_by_a_verification() {
    let directory = tempfile::tempdir().expect("a directory");
    let written = written(directory.path()).await;
    let before = written.shown().await;
    for (read, items) in &before {
        assert!(!items.is_empty(), "{read} gives nothing");
    }
    assert_eq!(written.damaged().await, 0);
    let mut connection = written.store.inner.writer.acquire().await.expect("one");
    for statement in [
        "PRAGMA foreign_keys = OFF",
        "DROP TRIGGER revised_by_version",
        "DROP TRIGGER revised_by_moved_alias",
    ] {
        let done = sqlx::query(statement).execute(&mut *connection).await;
        done.expect("done");
    }
    // Which the schema then lacks.
    let dropped = written.damaged().await;
    assert_eq!(dropped, 2);
    let tables = seal::tables(&mut connection).await.expect("tables");
    assert_eq!(tables.len(), 18, "{tables:?}");
    for table in tables {
        let sql = format!("SELECT rowid AS row_number, * FROM {table}");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut *connection)
            .await;
        let rows = rows.expect("rows");
        assert!(!rows.is_empty(), "{table} has no rows");
        // An update moves a key in its index, too, where a flipped bit does not: the row is then found by the one and told by the
        // other. Here it is not found.
        let keys = sqlx::query_scalar("SELECT name FROM pragma_table_info($1) WHERE pk > 0");
        let keys: Vec<String> = keys
            .bind(&table)
            .fetch_all(&mut *connection)
            .await
            .expect("keys");
        for row in &rows {
            let number = row.get("row_number");
            let columns = row.columns()[1..].iter();
            // Of a text the one bit gives another, and the other none.
            for (column, bit) in columns.flat_map(|column| [(column, 0), (column, 7)]) {
                let name = column.name();
                let flip = Flip {
                    table: &table,
                    row,
                    column: name,
                    bit,
                };
                flip.set(&mut connection, number, false).await;
                let place = format!("{table}, row {number}, {name}");
                let moved = if name == "sequence" {
                    number ^ 1 << 20
                } else {
                    number
                };
                assert!(written.damaged().await > dropped, "{place} is not verified");
                if keys.iter().any(|key| key == name) {
                    flip.set(&mut connection, moved, true).await;
                    continue;
                }
                let mut lost = 0;
                for ((read, found), (_, expected)) in written.shown().await.iter().zip(&before) {
                    lost += expected.len() - found.len();
                    if *read != "served" {
                        assert!(
                            found.iter().all(|item| expected.contains(item)),
                            "{place}: {read} gives {found:?}, not {expected:?}"
                        );
                    }
                }
                // These two are read by a start, and by nobody.
                let is_shown = !["running_time", "job_datasets"].contains(&table.as_str());
                assert!(lost > 0 || !is_shown, "{place} is not found");
                flip.set(&mut connection, moved, true).await;
            }
        }
    }
    drop(connection);
    assert_eq!(written.shown().await, before);
    assert_eq!(written.damaged().await, dropped);
}

#[tokio::test]
async fn a_row_that_was_damaged_stays_so_when_it_is_written_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    sqlx::query("UPDATE jobs SET spec = replace(spec, '\"epochs\":5', '\"epochs\":7')")
        .execute(&store.inner.writer)
        .await
        .expect("damaged");
    let now = Timestamp::now();
    let told = store.record(owner, &Progress::default(), &now).await;
    told.expect("it owns the job");
    let read = store.job(owner.id).await;
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    // It is not stuck, and can be deleted.
    let nothing = Progress::default();
    let left = store.release(owner, JobStatus::Failed, &nothing, None, &now);
    left.await.expect("it owns the job");
    store.delete_job(owner.id).await.expect("deleted");
}

#[tokio::test]
async fn rows_of_an_earlier_program_are_sealed_once_and_a_missing_seal_is_damage_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    for statement in [
        "UPDATE jobs SET seal = NULL",
        "UPDATE history SET seal = NULL",
        "PRAGMA user_version = 0",
    ] {
        let done = sqlx::query(statement).execute(&store.inner.writer).await;
        done.expect("as an earlier program left them");
    }
    store.close().await;
    let store = Store::open(directory.path()).await.expect("opens");
    store.job(owner.id).await.expect("is sealed");
    let history = store.history(owner.id, 0, 9, 1).await.expect("is sealed");
    assert_eq!(history.data.len(), 2);
    let done = sqlx::query("UPDATE jobs SET seal = NULL")
        .execute(&store.inner.writer)
        .await;
    done.expect("damaged");
    store.close().await;
    let store = Store::open(directory.path()).await.expect("opens");
    let read = store.job(owner.id).await;
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
}

#[tokio::test]
async fn many_rows_of_one_transaction_are_all_sealed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let mut tx = store.begin().await.expect("begins");
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 2502)
         INSERT INTO history (job_id, epoch, step, learning_rate, seconds, train)
         SELECT $1, i, i, 0.1, 1, train FROM n, history WHERE job_id = $1 AND epoch = 1",
    )
    .bind(owner.id.to_string())
    .execute(&mut *tx)
    .await
    .expect("written");
    tx.commit().await.expect("stored");
    let history = store.history(owner.id, 0, 9999, 1).await.expect("is read");
    assert_eq!(history.data.len(), 2502);
    // Whoever rolls back leaves nothing to be sealed by the next.
    let mut tx = store.begin().await.expect("begins");
    let deleted = sqlx::query("DELETE FROM history").execute(&mut *tx).await;
    deleted.expect("deleted");
    drop(tx);
    store.keep_running_time().await.expect("stored");
    let history = store.history(owner.id, 0, 9999, 1).await.expect("is read");
    assert_eq!(history.data.len(), 2502);
    let pool = sqlx::SqlitePool::connect_with(options(directory.path()).read_only(true));
    let unsealed: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM history WHERE seal IS NULL")
        .fetch_one(&pool.await.expect("opens"))
        .await
        .expect("counts");
    assert_eq!(unsealed, 0, "{}", database(directory.path()).display());
}
