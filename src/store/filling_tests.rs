//! Revisions of datasets in the store: after older ones, broken off, and of a dataset that goes away.

use sqlx::sqlite::SqlitePoolOptions;
use tokio::sync::mpsc;

use crate::data::{CHUNK_ROWS, Column};
use crate::model::digest;
use crate::store::columns::tests::read;
use crate::store::tests::{create, fill, parse};
use crate::store::{Error, Store};

const ROWS: usize = CHUNK_ROWS + 3;
/// Of two columns in two chunks, each of a tag and a byte for each row.
const BYTES: u64 = 2 * (ROWS as u64 + 2);

fn words() -> Vec<Option<&'static str>> {
    (0..ROWS)
        .map(|row| [Some("a"), None, Some("b")][row % 3])
        .collect()
}

/// Makes a database as it was before datasets had revisions, with one of two columns, and another unfinished.
async fn make_old(directory: &std::path::Path) {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let options = crate::store::opening::options(directory);
    let pool = pool.connect_with(options).await.expect("a database");
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.migrations.to_mut().truncate(6);
    migrator.run(&pool).await.expect("migrated");
    let insert = |statement: String| sqlx::query(sqlx::AssertSqlSafe(statement));
    for (name, ready) in [("t", 1), ("unfinished", 0)] {
        insert(format!("INSERT INTO datasets (name, ready, rows, bytes, digest, created_at) VALUES ('{name}', {ready}, {ROWS}, {BYTES}, 'd', '2026-01-01T00:00:00.000Z')"))
            .execute(&pool)
            .await
            .expect("a dataset");
    }
    let missing = words().iter().filter(|word| word.is_none()).count();
    for (position, name, described) in [
        (
            0,
            "x",
            format!(
                r#""kind":"numeric","rows":{ROWS},"missing":0,"min":0.0,"max":6.0,"mean":3.0,"std":2.0"#
            ),
        ),
        (
            1,
            "w",
            format!(
                r#""kind":"categorical","rows":{ROWS},"missing":{missing},"categories":["a","b"]"#
            ),
        ),
    ] {
        insert(format!(r#"INSERT INTO dataset_columns (dataset, position, name, description) VALUES ('t', {position}, '{name}', '{{"name":"{name}",{described}}}')"#))
            .execute(&pool)
            .await
            .expect("a column");
        let value = |row: usize| match (position, [Some("a"), None, Some("b")][row % 3]) {
            (0, _) => (row % 7) as u8,
            (_, Some("a")) => 0,
            (_, Some(_)) => 1,
            (_, None) => u8::MAX,
        };
        let values: Vec<u8> = (0..ROWS).map(value).collect();
        for (chunk, values) in values.chunks(CHUNK_ROWS).enumerate() {
            let bytes = [&[if position == 0 { 1 } else { 5 }], values].concat();
            sqlx::query("INSERT INTO dataset_chunks (dataset, position, chunk, digest, bytes) VALUES ('t', $1, $2, $3, $4)")
                .bind(position)
                .bind(chunk as i64)
                .bind(digest(&bytes))
                .bind(bytes)
                .execute(&pool)
                .await
                .expect("a chunk");
        }
    }
    pool.close().await;
}

#[tokio::test]
async fn a_dataset_that_is_older_than_revisions_is_read_and_appended_to() {
    let directory = tempfile::tempdir().expect("a directory");
    make_old(directory.path()).await;
    let store = Store::open(directory.path()).await.expect("opens");
    let old = store.dataset("t").await.expect("is there");
    assert_eq!((old.revision, old.rows, old.bytes), (1, ROWS as u64, BYTES));
    let names = ["x".to_owned(), "w".to_owned()];
    let columns = read(&store, "t", &names).await.expect("columns");
    let numbers: Vec<f64> = (0..ROWS).map(|row| (row % 7) as f64).collect();
    assert_eq!(columns[0].numbers(), Some(numbers));
    assert_eq!(columns[1], Column::categorical("w", &words()));
    create(&store, "unfinished", "a\n1\n")
        .await
        .expect("the name is free");

    let (filling, base) = store
        .begin_rows(store.turn("t").await, "t", 2)
        .await
        .expect("begun");
    let more = parse("w,x\n0,9\nb,9\n", Some(base));
    fill(filling, more).await.expect("appended");
    let new = store.dataset("t").await.expect("is there");
    assert_eq!((new.revision, new.rows), (2, ROWS as u64 + 2));
    assert_eq!(new.columns[1].categories, ["0", "a", "b"]);
    let columns = read(&store, "t", &names).await.expect("columns");
    let appended = [words(), vec![Some("0"), Some("b")]].concat();
    assert_eq!(columns[1], Column::categorical("w", &appended));
    let earlier = store
        .dataset_columns("t", &old.digest, &names)
        .await
        .expect("columns");
    assert_eq!(earlier[1], Column::categorical("w", &words()));
    let full = store.begin_rows(store.turn("t").await, "t", 2).await;
    assert!(matches!(full, Err(Error::TooManyRevisions { most: 2, .. })));
}

#[tokio::test]
async fn what_is_dropped_unfinished_leaves_nothing_and_its_turn_ends_after_that() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    create(&store, "t", "x\n1\n").await.expect("stored");
    let before = store.dataset("t").await.expect("is there");
    let (mut filling, base) = store
        .begin_rows(store.turn("t").await, "t", 9)
        .await
        .expect("begun");
    let rows: Vec<String> = (0..2 * CHUNK_ROWS).map(|row| row.to_string()).collect();
    let (_, pieces) = parse(&format!("x\n{}\n", rows.join("\n")), Some(base));
    let (sender, receiver) = mpsc::channel(9);
    for piece in pieces {
        sender.send(piece).await.expect("there is room");
    }
    drop(sender);
    filling.write(receiver).await.expect("written");
    let count = || async {
        let tables =
            "SELECT (SELECT count(*) FROM dataset_chunks) + (SELECT count(*) FROM dataset_tails)";
        sqlx::query_scalar::<_, i64>(tables)
            .fetch_one(store.reader())
            .await
            .expect("a count")
    };
    assert_eq!(
        (count().await, store.dataset("t").await.expect("is there")),
        (4, before.clone())
    );
    drop(filling);
    let new = store
        .begin_dataset(store.turn("new").await, "new")
        .await
        .expect("begun");
    drop(new);
    for name in ["t", "new"] {
        drop(store.turn(name).await);
    }
    assert_eq!(
        (count().await, store.dataset("t").await.expect("is there")),
        (1, before)
    );
    create(&store, "new", "x\n1\n")
        .await
        .expect("the name is free");
}

#[tokio::test]
async fn a_dataset_that_is_deleted_takes_no_more_chunks() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    create(&store, "t", "x\n1\n").await.expect("stored");
    let (filling, base) = store
        .begin_rows(store.turn("t").await, "t", 9)
        .await
        .expect("begun");
    store.delete_dataset("t").await.expect("deleted");
    let filled = fill(filling, parse("x\n2\n", Some(base))).await;
    assert!(matches!(filled, Err(Error::NotFound { .. })), "{filled:?}");
}
