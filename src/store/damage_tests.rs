//! What becomes of the rest where a row is damaged: nothing of it is deleted, forgotten or hidden.

use sqlx::AssertSqlSafe;

use crate::store::runs_tests::begun;
use crate::store::seal::SEALED;
use crate::store::seal_tests::{Written, key, written};
use crate::store::{Error, Expected, PageQuery, Store};

/// Writes past the seals, as damage does.
async fn damage(store: &Store, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    let damaged = sqlx::query(statement).execute(&store.inner.writer).await;
    assert!(damaged.expect("a statement").rows_affected() > 0);
}

async fn reopened(store: Store, directory: &std::path::Path) -> Store {
    store.close().await;
    drop(store);
    Store::open(directory).await.expect("opens")
}

#[tokio::test]
async fn a_damaged_number_of_contents_takes_nothing_from_the_row_that_has_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let Written { store, .. } = written(directory.path()).await;
    let number = "UPDATE checkpoints SET content = (SELECT content FROM versions)";
    damage(&store, number).await;
    damage(&store, "DELETE FROM checkpoints").await;
    store.load_version("m", 1).await.expect("is whole");
}

#[tokio::test]
async fn a_damaged_dataset_is_not_taken_for_one_whose_upload_came_to_no_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let Written { store, .. } = written(directory.path()).await;
    damage(&store, "UPDATE datasets SET ready = 0").await;
    store.discard_unfinished(None).await.expect("done");
    damage(&store, "UPDATE datasets SET ready = 1").await;
    store.dataset("t").await.expect("is there");
}

#[tokio::test]
async fn a_damaged_running_time_forgets_no_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let Written { store, .. } = written(directory.path()).await;
    damage(&store, "UPDATE running_time SET seconds = 1000000").await;
    let store = reopened(store, directory.path()).await;
    assert!(store.running_time().seconds() < 1000.0);
    let known = store.known_key(&key(&store)).await;
    assert!(known.expect("is read").is_some());
}

#[tokio::test]
async fn a_damaged_alias_hides_no_other_and_is_told_where_it_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let Written { store, .. } = written(directory.path()).await;
    let aliased = store.set_alias("m", "stage", 1, &Expected::Any).await;
    aliased.expect("stored");
    damage(
        &store,
        "UPDATE aliases SET seal = 'x' WHERE alias = 'stage'",
    )
    .await;
    let page = PageQuery {
        limit: 9,
        after: None,
        ascending: true,
    };
    let models = store.models(&page).await.expect("is read").data;
    let aliases: Vec<_> = models[0].aliases.keys().collect();
    assert_eq!(aliases, ["champion"]);
    let served = store.served().await.expect("is read");
    assert!(served.left_out && served.models[0].2.contains_key("champion"));
    let told = store.check_alias("m", "stage").await;
    let Err(Error::Damaged { what }) = told else {
        panic!("got {told:?}");
    };
    assert_eq!(what, "alias m/stage");
    store.check_alias("m", "champion").await.expect("is whole");
}

#[tokio::test]
async fn a_text_that_is_no_text_any_more_is_damage_and_stops_neither_the_start_nor_the_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, owner) = begun(directory.path()).await;
    let high = "UPDATE jobs SET spec = CAST(X'FF' || substr(CAST(spec AS BLOB), 2) AS TEXT)";
    damage(&store, high).await;
    let store = reopened(store, directory.path()).await;
    store
        .take_up(3, &crate::store::Timestamp::now())
        .await
        .expect("takes up");
    let claimed = store
        .claim(&crate::store::Timestamp::now())
        .await
        .expect("is read");
    assert!(claimed.is_none(), "what is damaged is not run");
    let read = store.job(owner.id).await;
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    damage(&store, "UPDATE models SET spec = CAST(X'FF' AS TEXT)").await;
    let unread: Result<Vec<String>, _> = sqlx::query_scalar("SELECT spec FROM models")
        .fetch_all(store.reader())
        .await;
    let error = Error::from(unread.expect_err("it is no text"));
    assert!(error.is_damage() && !error.may_pass(), "{error}");
}

#[tokio::test]
async fn what_a_damaged_row_hides_is_told_as_damaged_and_not_as_absent() {
    let directory = tempfile::tempdir().expect("a directory");
    let Written { store, job, .. } = written(directory.path()).await;
    damage(&store, "UPDATE checkpoints SET parameter_digest = 'x'").await;
    let told = store.checkpoint(job, "2").await;
    assert!(matches!(told, Err(Error::Damaged { .. })), "{told:?}");
    let digest = store.dataset("t").await.expect("is whole").digest;
    let names = ["x".to_owned()];
    damage(
        &store,
        "UPDATE dataset_columns SET name = 'y' WHERE name = 'x'",
    )
    .await;
    let told = store.dataset_columns("t", &digest, &names).await;
    assert!(matches!(told, Err(Error::Damaged { .. })));
    damage(
        &store,
        "UPDATE dataset_columns SET name = 'x' WHERE name = 'y'",
    )
    .await;
    damage(
        &store,
        "UPDATE revision_columns SET revision = 9 WHERE position = 1",
    )
    .await;
    let told = store.dataset("t").await;
    let Err(Error::Damaged { what }) = told else {
        panic!("got {told:?}");
    };
    assert_eq!(what, "dataset \"t\", of which 1 of 2 columns are there");
}

#[test]
fn a_step_of_the_schema_that_changes_rows_has_them_sealed_anew() {
    let newest = crate::store::opening::MIGRATIONS.iter().last();
    let newest = newest.expect("a step").version;
    assert_eq!(
        (newest, SEALED),
        (12, 1),
        "count SEALED up where the step changes rows that have seals, then say here which step it is"
    );
}
