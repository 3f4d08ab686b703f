//! ARCHITECTURE.md against the code: imports go down the floors, confined crates and `unsafe` stay where they are.

use std::fs;
use std::path::Path;

use crate::floors::{COMPOSERS, Rules, Source, faults, named_files, place_faults, table_faults};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md")
}

/// Every Rust file under a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            found.extend(sources(&path));
        } else if Path::new(&path)
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            let text = fs::read_to_string(entry.path()).expect("a text");
            found.push(Source { path, text });
        }
    }
    found
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_code_keeps_to_the_tables_of_the_architecture() {
    let rules = Rules::read(&document());
    let sources = sources("src");
    assert!(
        sources.len() > 50,
        "only {} files are looked at",
        sources.len()
    );
    none(&table_faults(&rules));
    none(&place_faults(&rules, &sources));
    let all = sources.iter().flat_map(|source| faults(&rules, source));
    none(&all.collect::<Vec<_>>());
}

#[test]
fn the_integration_tests_keep_the_form_of_files() {
    let rules = Rules::read(&document());
    let sources = sources("tests/it");
    assert!(
        sources
            .iter()
            .any(|source| source.path == "tests/it/architecture.rs")
    );
    let all = sources.iter().flat_map(|source| faults(&rules, source));
    none(&all.collect::<Vec<_>>());
}

/// The names of what the program depends on.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (_, own) = manifest.split_once("[dependencies]").expect("they begin");
    let (own, _) = own.split_once("[dev-dependencies]").expect("both kinds");
    let lines = own.lines().filter(|line| !line.starts_with('['));
    let named = lines.filter_map(|line| line.split_once('='));
    named.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_confined_crate_is_a_dependency() {
    let dependencies = dependencies();
    for (confined, _) in Rules::read(&document()).confined {
        let is_named = |name: &String| name.replace('-', "_") == confined;
        assert!(dependencies.iter().any(is_named), "{confined}");
    }
}

#[test]
fn the_lock_file_of_the_fuzz_targets_has_all_that_the_program_depends_on() {
    let lock = fs::read_to_string(root().join("tests/fuzz/Cargo.lock")).expect("a lock file");
    let (_, own) = lock
        .split_once("name = \"gradientd\"\n")
        .expect("the program is in it");
    let (own, _) = own.split_once("\n]\n").expect("it depends on others");
    for name in dependencies() {
        let is_locked = [format!("\"{name}\""), format!("\"{name} ")]
            .iter()
            .any(|quoted| own.contains(quoted));
        assert!(is_locked, "cargo would have to add {name}");
    }
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let document = document();
    for name in COMPOSERS {
        assert!(
            document.contains(&format!("`{name}`")),
            "{name} is not named"
        );
    }
    let named = named_files(&document);
    assert!(named.contains("tests/it/architecture.rs"), "{named:?}");
    let under = ["", "src", "tests/it"];
    let absent = named.iter().filter(|name| {
        !under
            .iter()
            .any(|folder| root().join(folder).join(name).exists())
    });
    none(&absent.cloned().collect::<Vec<_>>());
}
