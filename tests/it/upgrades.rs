//! Upgrades: what programs of earlier commits left is opened by this one, answers as it did there, its jobs go on, and it is backed up.

use std::path::{Path, PathBuf};

use gradientd::config::Limits;
use serde_json::{Number, Value, json};
use tempfile::TempDir;

use crate::backups::{said, told};
use crate::server::{TestServer, config, scratch, text};

/// The databases, by the last migration that their program knew.
const DATABASES: [&str; 3] = ["0008", "0009", "0010"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/databases")
        .join(name)
}

/// What the program of an earlier commit answered, and a data directory with the database that it left.
fn left(name: &str) -> (Value, TempDir) {
    let known = std::fs::read(fixture(&format!("{name}.json"))).expect("what it answered");
    let data_dir = scratch();
    let database = data_dir.path().join("gradientd.db");
    std::fs::copy(fixture(&format!("{name}.db")), database).expect("a copy");
    (serde_json::from_slice(&known).expect("JSON"), data_dir)
}

async fn opened(data_dir: TempDir) -> TestServer {
    TestServer::start_in(data_dir, config(1, Limits::default())).await
}

/// Where an answer lacks something of an earlier one or has it otherwise; fields that came later are left alone.
fn lost(known: &Value, found: &Value, place: &str) -> Vec<String> {
    match (known, found) {
        (Value::Object(known), Value::Object(found)) => known
            .iter()
            .flat_map(|(field, known)| {
                let place = format!("{place}/{field}");
                match found.get(field) {
                    Some(found) => lost(known, found, &place),
                    None => vec![format!("{place} is missing")],
                }
            })
            .collect(),
        (Value::Array(known), Value::Array(found)) if known.len() == found.len() => known
            .iter()
            .zip(found)
            .enumerate()
            .flat_map(|(number, (known, found))| lost(known, found, &format!("{place}/{number}")))
            .collect(),
        _ if known == found => Vec::new(),
        // Another kind of processor may round the last digits otherwise.
        (Value::Number(known), Value::Number(found)) if are_close(known, found) => Vec::new(),
        _ => vec![format!("{place} was {known}, is {found}")],
    }
}

fn are_close(known: &Number, found: &Number) -> bool {
    let [known, found] = [known, found].map(|number| number.as_f64().expect("a number"));
    (known - found).abs() <= 1e-12 * known.abs().max(1.0)
}

/// The fields of an object by their names.
fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().expect("an object").iter()
}

async fn assert_answers(server: &TestServer, known: &Value, name: &str) {
    for (path, known) in fields(&known["answers"]) {
        let found = server.get(path).await.expect(200);
        let lost = lost(known, &found, "");
        assert!(lost.is_empty(), "{name}: {path}: {lost:#?}");
    }
    let inputs = &known["requests"]["inputs"];
    for (path, known) in fields(&known["predictions"]) {
        let found = server.post(path, inputs.clone()).await.expect(200);
        assert_eq!(lost(known, &found, ""), [""; 0], "{name}: {path}");
    }
}

#[test]
fn the_readme_of_the_databases_names_all_that_are_there_and_no_other() {
    let files = std::fs::read_dir(fixture("")).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name());
    let mut names: Vec<_> = names
        .filter_map(|name| name.to_str()?.strip_suffix(".db").map(str::to_owned))
        .collect();
    names.sort_unstable();
    assert_eq!(names, DATABASES);
    let readme = std::fs::read_to_string(fixture("README.md")).expect("a text");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| 0"));
    let named: Vec<_> = rows.map(|row| format!("0{}", &row[..3])).collect();
    assert_eq!(named, DATABASES);
}

#[tokio::test]
async fn what_earlier_programs_stored_is_answered_as_they_did() {
    for name in DATABASES {
        let (known, data_dir) = left(name);
        assert_answers(&opened(data_dir).await, &known, name).await;
    }
}

#[tokio::test]
async fn jobs_of_earlier_programs_end_with_the_numbers_of_an_undisturbed_run() {
    for name in DATABASES {
        let (known, data_dir) = left(name);
        let server = opened(data_dir).await;
        let paused = text(&known["jobs"]["paused"]);
        let resumed = server.tell(&format!("/v1/jobs/{paused}/resume")).await;
        resumed.expect(200);
        for (kind, id) in fields(&known["jobs"]) {
            let ended = server.succeeded(&text(id)).await;
            let epochs = &ended["spec"]["epochs"];
            let mut model = known["requests"]["model"].clone();
            model["name"] = json!(format!("undisturbed-{kind}"));
            server.create(model.clone()).await;
            let mut job = known["requests"]["job"].clone();
            job["model"] = model["name"].clone();
            job["epochs"] = epochs.clone();
            let undisturbed = server.train(job).await;
            let of = |name: &str| format!("/v1/models/{name}/versions/2/parameters");
            let found = server.get(&of(kind)).await.expect(200);
            let expected = server.get(&of(&text(&model["name"]))).await.expect(200);
            for (known, found) in [
                (&expected["parameters"], &found["parameters"]),
                (&undisturbed["metrics"], &ended["metrics"]),
            ] {
                assert!(known.is_array() || known.is_object());
                let lost = lost(known, found, "");
                assert!(
                    lost.is_empty(),
                    "{name}: the job that was {kind}: {lost:#?}"
                );
            }
            let losses = server.losses(&text(id)).await;
            let numbers: Vec<_> = losses.iter().map(|row| row["epoch"].clone()).collect();
            let all: Vec<_> = (1..=epochs.as_u64().expect("a number"))
                .map(Value::from)
                .collect();
            assert_eq!(numbers, all, "{name}: the job that was {kind}");
        }
    }
}

#[tokio::test]
async fn an_earlier_database_that_was_opened_opens_again_and_is_verified_with_its_rows() {
    for name in DATABASES {
        let (known, data_dir) = left(name);
        let server = opened(data_dir).await.restart().await;
        assert_answers(&server, &known, name).await;
        let data_dir = server.stop().await;
        let verified = said(&told(data_dir.path(), &["verify"]).await, 0);
        assert!(verified.contains("\nwhole: "), "{name}: {verified}");
        assert!(verified.contains("\nrows: "), "{name}: {verified}");
    }
}

#[tokio::test]
async fn an_earlier_database_that_was_never_opened_is_backed_up_as_it_is_and_restored() {
    for name in DATABASES {
        let (known, data_dir) = left(name);
        let (files, elsewhere) = (scratch(), scratch());
        let file = files.path().join("backup");
        let file = file.to_str().expect("a name");
        let backed_up = said(&told(data_dir.path(), &["backup", file]).await, 0);
        assert!(backed_up.contains("bytes, verified"), "{name}: {backed_up}");
        let there = std::fs::read(data_dir.path().join("gradientd.db")).expect("the database");
        let before = std::fs::read(fixture(&format!("{name}.db"))).expect("what was left");
        assert!(there == before, "{name} was written to");
        said(&told(elsewhere.path(), &["restore", file]).await, 0);
        assert_answers(&opened(elsewhere).await, &known, name).await;
    }
}
