//! Backups: copies that are made while the server trains, put back elsewhere, and verified to the last byte.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crash::{Daemon, command, job, shown};
use crate::predictions::{slow, submit, succeeded};
use crate::server::{TestServer, scratch, text, xor_job, xor_model};

/// Runs a command of the program on a data directory, to its end.
pub(crate) async fn told(data_dir: &Path, words: &[&str]) -> Output {
    let mut command = command(data_dir, words);
    command.stdout(std::process::Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.expect("a process").expect("its end")
}

/// What it said, after it has ended with that status.
#[track_caller]
pub(crate) fn said(output: &Output, code: i32) -> String {
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (said(&output.stdout), said(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    out + &error
}

/// What a GET answers with of all that no longer changes.
async fn paths(server: &Daemon) -> Vec<String> {
    server.create(xor_model("xor")).await;
    server.upload("words", "w,x\na,1\nb,\n").await.expect(201);
    let trained = text(&server.train(xor_job("xor", json!({"epochs": 100}))).await["id"]);
    slow(server, 100).await;
    let prediction = submit(server, "slow", json!({"dataset": "many"})).await;
    succeeded(server, &prediction).await;
    let alias = server.put("/v1/models/xor/aliases/champion", json!({"version": 1}));
    alias.await.expect(200);
    let mut paths = vec![prediction.clone(), format!("{prediction}/result")];
    for part in [
        "models/xor",
        "models/slow",
        "models/xor/versions",
        "models/xor/versions/champion",
        "models/xor/versions/2/parameters",
        "datasets",
        "datasets/words/summary",
        "datasets/words/revisions",
        "datasets/many/rows",
    ] {
        paths.push(format!("/v1/{part}"));
    }
    for part in [
        "",
        "/report",
        "/loss?limit=10000",
        "/events",
        "/gradients",
        "/checkpoints",
    ] {
        paths.push(format!("/v1/jobs/{trained}{part}"));
    }
    paths
}

/// A server that trains a job of so many rows, with a backup of it. None where the job was done before that.
async fn backed_up(
    data_dir: &Path,
    file: &Path,
    rows: usize,
) -> Option<(Daemon, Vec<String>, String)> {
    let server = Daemon::start(data_dir).await;
    let paths = paths(&server).await;
    server.create(xor_model("trained")).await;
    let id = server.submit(job("trained", rows)).await;
    let began = |job: &Value| job["progress"]["epoch"] != 0;
    server.job_once(&id, began).await;
    let name = file.to_str().expect("a name");
    let output = told(data_dir, &["backup", name]).await;
    assert!(said(&output, 0).contains("bytes, verified"), "{output:?}");
    let shown = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
    (shown["status"] == "running").then_some((server, paths, id))
}

#[tokio::test]
async fn a_backup_made_during_training_is_restored_to_the_same_answers_and_its_job_to_the_same_bits()
 {
    let mut rows = 4096;
    let (files, data_dir, server, paths, id) = loop {
        let (files, data_dir) = (scratch(), scratch());
        let file = files.path().join("backup");
        if let Some((server, paths, id)) = backed_up(data_dir.path(), &file, rows).await {
            break (files, data_dir, server, paths, id);
        }
        rows *= 2;
    };
    let before = shown(&server, &paths).await;
    let file = files.path().join("backup");
    let name = file.to_str().expect("a name");
    let left = std::fs::read_dir(files.path()).expect("a folder").count();
    assert_eq!(left, 1, "an unfinished copy is left");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = said(&told(data_dir.path(), &["backup", name]).await, 2);
    let expected = format!(
        "gradientd: there is a file {name} already: nothing is overwritten, give another name\n"
    );
    assert_eq!(again, expected);
    let used = said(
        &told(data_dir.path(), &["restore", name, "--replace"]).await,
        2,
    );
    assert!(
        used.ends_with(
            "is in use by another process: stop that first, or give another with --data-dir\n"
        ),
        "{used}"
    );

    let elsewhere = scratch();
    said(&told(elsewhere.path(), &["restore", name]).await, 0);
    let restored = Daemon::start(elsewhere.path()).await;
    for (found, expected) in shown(&restored, &paths).await.iter().zip(&before) {
        assert_eq!(found, expected);
    }
    let taken = restored.succeeded(&id).await;
    assert_eq!(taken["attempt"], 2);
    server.succeeded(&id).await;
    let expected = server.parameters("trained", "2").await;
    assert!(
        restored.parameters("trained", "2").await == expected,
        "other bits"
    );
}

#[tokio::test]
async fn a_restore_keeps_the_database_that_was_there_with_what_its_log_holds() {
    let (files, data_dir) = (scratch(), scratch());
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("first")).await;
    let file = files.path().join("backup");
    let name = file.to_str().expect("a name");
    said(&told(data_dir.path(), &["backup", name]).await, 0);
    server.create(xor_model("second")).await;
    server.kill();
    let refused = said(&told(data_dir.path(), &["restore", name]).await, 2);
    assert!(
        refused.contains("or give --replace, which keeps it under another name"),
        "{refused}"
    );
    let replaced = said(
        &told(data_dir.path(), &["restore", name, "--replace"]).await,
        0,
    );
    let kept = replaced
        .lines()
        .find_map(|line| line.strip_prefix("the database that was there is kept as "))
        .expect("a name");

    let server = Daemon::start(data_dir.path()).await;
    server.get("/v1/models/first").await.expect(200);
    server
        .get("/v1/models/second")
        .await
        .problem(404, "not-found");
    drop(server);
    let old = scratch();
    for added in ["", "-wal"] {
        let to = old.path().join(format!("gradientd.db{added}"));
        std::fs::copy(format!("{kept}{added}"), to).expect("a copy");
    }
    let server = Daemon::start(old.path()).await;
    server.get("/v1/models/second").await.expect(200);
}

#[tokio::test]
async fn a_restore_that_was_killed_is_said_by_a_start_and_done_by_another() {
    let (files, data_dir) = (scratch(), scratch());
    let server = Daemon::start(data_dir.path()).await;
    server.create(xor_model("first")).await;
    let file = files.path().join("backup");
    let name = file.to_str().expect("a name");
    said(&told(data_dir.path(), &["backup", name]).await, 0);
    server.create(xor_model("second")).await;
    server.kill();
    // Killed once it had moved the log, and before it moved the database.
    let there = data_dir.path().join("gradientd.db").display().to_string();
    let kept = format!("{there}.replaced-then");
    std::fs::write(data_dir.path().join("restoring"), &kept).expect("written");
    std::fs::rename(format!("{there}-wal"), format!("{kept}-wal")).expect("moved");
    let refused = format!(
        "gradientd: a restore into {} was interrupted: run it again with --replace; what was there before is kept as {kept}\n",
        data_dir.path().display()
    );
    let words = ["--listen", "127.0.0.1:0"];
    assert!(said(&told(data_dir.path(), &words).await, 2).ends_with(&refused));
    assert_eq!(said(&told(data_dir.path(), &["verify"]).await, 2), refused);
    let words = ["restore", name, "--replace"];
    let expected = format!("the database that was there is kept as {kept}\n");
    let restored = said(&told(data_dir.path(), &words).await, 0);
    assert!(restored.ends_with(&expected), "{restored}");
    // Killed once it had moved both, before the copy had its place.
    std::fs::write(data_dir.path().join("restoring"), &kept).expect("written");
    std::fs::remove_file(&there).expect("removed");
    let restored = said(&told(data_dir.path(), &words).await, 0);
    assert!(restored.ends_with(&expected), "{restored}");
    let server = Daemon::start(data_dir.path()).await;
    server.get("/v1/models/first").await.expect(200);
    let second = server.get("/v1/models/second").await;
    second.problem(404, "not-found");
    let old = scratch();
    for added in ["", "-wal"] {
        let to = old.path().join(format!("gradientd.db{added}"));
        std::fs::copy(format!("{kept}{added}"), to).expect("a copy");
    }
    let server = Daemon::start(old.path()).await;
    server.get("/v1/models/second").await.expect(200);
}

/// Flips a bit of the only place in a file that has these bytes.
fn flip(file: &Path, bytes: &[u8]) {
    let mut all = std::fs::read(file).expect("a file");
    let places: Vec<_> = (0..all.len() - bytes.len())
        .filter(|&place| all[place..].starts_with(bytes))
        .collect();
    let [place] = places[..] else {
        panic!("{} places", places.len());
    };
    all[place] ^= 1;
    std::fs::write(file, all).expect("written");
}

async fn closed(server: TestServer) -> TempDir {
    let data_dir = server.stop().await;
    let verified = said(&told(data_dir.path(), &["verify"]).await, 0);
    assert!(verified.contains("versions: 2, "), "{verified}");
    assert!(verified.contains("\nwhole: "), "{verified}");
    data_dir
}

#[tokio::test]
async fn a_flipped_bit_of_an_artifact_is_found_named_and_neither_backed_up_nor_restored() {
    let server = TestServer::start().await;
    for name in ["sound", "m"] {
        let mut model = xor_model(name);
        model["seed"] = json!(name.len());
        server.create(model).await;
    }
    let artifact = server.parameters("m", "1").await;
    let data_dir = closed(server).await;
    let (files, other) = (scratch(), scratch());
    let file = files.path().join("backup");
    let name = file.to_str().expect("a name");
    said(&told(data_dir.path(), &["backup", name]).await, 0);

    let last = &artifact[artifact.len() - 48..];
    let expected = "damaged: version 1 of model \"m\": its digest does not match; delete it, or restore a backup\n";
    flip(&file, last);
    let found = said(&told(other.path(), &["verify", "--file", name]).await, 1);
    assert!(
        found.contains(expected) && found.contains("\n1 damaged: "),
        "{found}"
    );
    let found = said(&told(other.path(), &["restore", name]).await, 1);
    assert!(
        found.ends_with("not restored: the backup is damaged\n"),
        "{found}"
    );
    let left = std::fs::read_dir(other.path()).expect("a folder");
    let left: Vec<_> = left.map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(left, ["lock"]);

    flip(&data_dir.path().join("gradientd.db"), last);
    let found = said(&told(data_dir.path(), &["verify"]).await, 1);
    assert!(found.contains(expected), "{found}");
    let second = files.path().join("second");
    let words = ["backup", second.to_str().expect("a name")];
    let found = said(&told(data_dir.path(), &words).await, 1);
    assert!(found.contains(expected), "{found}");
    assert!(
        found.ends_with("not backed up: a backup has to be whole\n"),
        "{found}"
    );
    assert_eq!(
        std::fs::read_dir(files.path()).expect("a folder").count(),
        1
    );
}

#[tokio::test]
async fn what_cannot_be_read_or_written_is_said_in_one_line() {
    let (files, none) = (scratch(), scratch());
    let empty = files.path().join("empty");
    std::fs::write(&empty, "").expect("a file");
    let empty = empty.to_str().expect("a name");
    let missing = none.path().join("gradientd.db");
    let cure = "give another, or restore a backup with gradientd restore";
    for (words, expected) in [
        (
            vec!["verify"],
            format!(
                "the database {} cannot be used: there is no such file; {cure}",
                missing.display()
            ),
        ),
        (
            vec!["verify", "--file", empty],
            format!("the database {empty} cannot be used: it is empty; {cure}"),
        ),
        (
            vec!["restore", empty],
            format!("the database {empty} cannot be used: it is empty; {cure}"),
        ),
        (
            vec!["backup", empty],
            format!("there is a file {empty} already: nothing is overwritten, give another name"),
        ),
    ] {
        let output = told(none.path(), &words).await;
        assert_eq!(said(&output, 2), format!("gradientd: {expected}\n"));
    }
    let data_dir = TestServer::start().await.stop().await;
    let file = files.path().join("nowhere/backup");
    let output = told(data_dir.path(), &["backup", file.to_str().expect("a name")]).await;
    let expected = format!("gradientd: cannot write {}: ", file.display());
    assert!(said(&output, 2).starts_with(&expected), "{output:?}");
}
