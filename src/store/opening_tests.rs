//! What is left of a database is told from a whole one before anything is written to it.

use std::path::Path;

use crate::store::opening::{MIGRATIONS, database, log_of};
use crate::store::{Error, Source, Store, verify};

/// A directory with a database that nobody uses, and its bytes.
async fn closed(directory: &Path) -> Vec<u8> {
    let store = Store::open(directory).await.expect("opens");
    store.close().await;
    std::fs::read(database(directory)).expect("a file")
}

/// Why a store and a verification refuse the database of a directory, of which neither changes a byte.
async fn refused(directory: &Path) -> String {
    let path = database(directory);
    let before = std::fs::read(&path).ok();
    let source = Source::Directory(directory.to_owned());
    let unread = verify(&source, &mut |_| ()).await;
    let Err(unread) = unread.map_err(|error| error.to_string()) else {
        panic!("it is read");
    };
    let unopened = Store::open(directory).await.map(|_| ());
    let Err(Error::Unusable { file, why }) = unopened else {
        panic!("{unopened:?}");
    };
    assert_eq!((&file, before), (&path, std::fs::read(&path).ok()));
    assert!(unread.contains(&why), "{unread} {why}");
    why
}

#[tokio::test]
async fn a_new_database_is_whole_once_it_has_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::copy(database(directory.path()), database(copy.path())).expect("a copy");
    drop(store);
    let source = Source::Directory(copy.path().to_owned());
    let verified = verify(&source, &mut |_| ()).await.expect("is read");
    assert_eq!(verified.damaged, 0);
}

#[tokio::test]
async fn what_is_left_of_a_database_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    let whole = closed(directory.path()).await;
    let (log, index) = log_of(&path);
    for left in [&log, &index] {
        let _ = std::fs::remove_file(left);
    }
    let text = "no database ".repeat(1000);
    for (bytes, expected) in [
        (&[][..], "it is empty"),
        (text.as_bytes(), "file is not a database"),
        (
            &whole[..whole.len() / 2],
            "database disk image is malformed",
        ),
        (
            &whole[..whole.len() - 4096],
            "database disk image is malformed",
        ),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let why = refused(directory.path()).await;
        assert!(why.contains(expected), "{why}");
        for left in [&log, &index] {
            let _ = std::fs::remove_file(left);
        }
    }
    std::fs::write(&path, &whole).expect("written");
    Store::open(directory.path()).await.expect("opens");
}

#[tokio::test]
async fn a_database_without_its_log_is_refused_and_so_is_a_log_without_its_database() {
    let (directory, copy) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let store = Store::open(directory.path()).await.expect("opens");
    let (there, here) = (database(directory.path()), database(copy.path()));
    let (log, index) = log_of(&there);
    let (copied_log, copied_index) = log_of(&here);
    // As a killed process leaves them.
    store.keep_running_time().await.expect("written");
    std::fs::copy(&there, &here).expect("a copy");
    std::fs::copy(&index, &copied_index).expect("a copy");
    let why = refused(copy.path()).await;
    assert_eq!(
        why,
        "its write-ahead log is missing, and what was stored last with it"
    );
    std::fs::copy(&log, &copied_log).expect("a copy");
    std::fs::remove_file(&here).expect("removed");
    let why = refused(copy.path()).await;
    assert_eq!(why, "it is missing, though its write-ahead log is there");
    std::fs::copy(&there, &here).expect("a copy");
    Store::open(copy.path()).await.expect("opens");
}

#[tokio::test]
async fn a_database_that_is_shorter_than_its_log_allows_is_refused() {
    let (directory, copy) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let store = Store::open(directory.path()).await.expect("opens");
    sqlx::query("CREATE TABLE filling AS SELECT randomblob(1000000)")
        .execute(&store.inner.writer)
        .await
        .expect("a table");
    store.close().await;
    let store = Store::open(directory.path()).await.expect("opens");
    store.keep_running_time().await.expect("written");
    let (there, here) = (database(directory.path()), database(copy.path()));
    let whole = std::fs::read(&there).expect("a file");
    let log = std::fs::copy(log_of(&there).0, log_of(&here).0).expect("a copy");
    // The log could hold all that is cut off but a page.
    let rest = whole.len() - log as usize / 4096 * 4096 - 4096;
    std::fs::write(&here, &whole[..rest]).expect("written");
    let why = refused(copy.path()).await;
    assert!(
        why.ends_with(&format!("of its {} bytes are missing", whole.len())),
        "{why}"
    );
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = crate::store::opening::options(directory.path());
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("made");
    let made = sqlx::query("CREATE TABLE t (a TEXT)").execute(&pool).await;
    made.expect("a table");
    pool.close().await;
    let why = refused(directory.path()).await;
    assert_eq!(why, "it is no database of gradientd");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'', 0)",
    )
    .execute(&store.inner.writer)
    .await
    .expect("a migration");
    store.close().await;
    let path = database(directory.path());
    let before = std::fs::read(&path).expect("a file");
    let newest = MIGRATIONS.iter().map(|step| step.version).max();
    let source = Source::Directory(directory.path().to_owned());
    let unread = verify(&source, &mut |_| ()).await.map(|_| ());
    for refused in [unread, Store::open(directory.path()).await.map(|_| ())] {
        let Err(Error::Newer { file, found, known }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((&file, found, Some(known)), (&path, 9999, newest));
    }
    assert!(before == std::fs::read(&path).expect("a file"));
}

#[tokio::test]
async fn a_changed_schema_is_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).await.expect("opens");
    let source = Source::Directory(directory.path().to_owned());
    let verified = verify(&source, &mut |_| ()).await.expect("is read");
    assert_eq!(verified.damaged, 0);
    for statement in [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'spec            TEXT', 'spec            TEXU') WHERE name = 'models'",
    ] {
        let changed = sqlx::query(statement).execute(&store.inner.writer).await;
        changed.expect("a statement");
    }
    store.close().await;
    let mut told = Vec::new();
    let mut tell = |what| told.push(what);
    let verified = verify(&source, &mut tell).await.expect("is read");
    assert_eq!(
        verified.damaged, 2,
        "what is there, and what is not: {told:?}"
    );
}
