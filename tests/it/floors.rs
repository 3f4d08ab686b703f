//! The checker of the floors: what a source names, against the two tables of ARCHITECTURE.md.

use std::collections::BTreeSet;

use crate::tokens::tokens;

/// Files of `src` that are no floor: they put the floors together.
pub(crate) const COMPOSERS: [&str; 8] = [
    "access.rs",
    "config.rs",
    "lib.rs",
    "limits.rs",
    "main.rs",
    "maintenance.rs",
    "server.rs",
    "telemetry.rs",
];
/// Confined crates that a process is put together with.
const COMPOSED_WITH: [&str; 2] = ["rustix", "tokio"];
/// Lines of a file, at most.
const MOST_LINES: usize = 500;

/// A row of a table: a floor and those that it may import, or a crate and the floors that may name it.
type Grant = (String, Vec<String>);

/// The two tables of ARCHITECTURE.md.
pub(crate) struct Rules {
    floors: Vec<Grant>,
    pub(crate) confined: Vec<Grant>,
}

/// A file of the repository.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Rules {
    /// Reads the tables between "```floors" or "```confined" and the next fence.
    pub(crate) fn read(document: &str) -> Self {
        Self {
            floors: table(document, "floors"),
            confined: table(document, "confined"),
        }
    }

    fn floor(&self, name: &str) -> Option<&[String]> {
        granted(&self.floors, name)
    }
}

fn table(document: &str, name: &str) -> Vec<Grant> {
    let fence = format!("\n```{name}\n");
    let (_, after) = document
        .split_once(&fence)
        .unwrap_or_else(|| panic!("no table {name}"));
    let (rows, _) = after.split_once("\n```").expect("the table ends");
    rows.lines().map(grant).collect()
}

fn grant(row: &str) -> Grant {
    let (name, granted) = row.split_once("->").expect("an arrow in each row");
    let granted = granted.split_whitespace().map(str::to_owned).collect();
    (name.trim().to_owned(), granted)
}

fn granted<'a>(table: &'a [Grant], name: &str) -> Option<&'a [String]> {
    let row = table.iter().find(|(row, _)| row == name);
    row.map(|(_, granted)| granted.as_slice())
}

/// What is wrong with the tables themselves.
pub(crate) fn table_faults(rules: &Rules) -> Vec<String> {
    let mut faults = Vec::new();
    let mut above: Vec<&String> = Vec::new();
    for (floor, granted) in &rules.floors {
        for name in granted.iter().filter(|name| !above.contains(name)) {
            faults.push(format!(
                "{floor} is granted {name}, which is no floor below it"
            ));
        }
        above.push(floor);
    }
    for (confined, floors) in &rules.confined {
        for name in floors.iter().filter(|name| !above.contains(name)) {
            faults.push(format!(
                "{confined} is confined to {name}, which is no floor"
            ));
        }
    }
    faults
}

/// What is wrong with the folders and files that stand in `src`.
pub(crate) fn place_faults(rules: &Rules, sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut folders = BTreeSet::new();
    for place in sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("src/"))
    {
        match place.split_once('/') {
            Some((folder, _)) => {
                folders.insert(folder);
            }
            None if COMPOSERS.contains(&place) => {}
            None => faults.push(format!("src/{place} is on no floor")),
        }
    }
    let floors: BTreeSet<_> = rules.floors.iter().map(|(name, _)| name.as_str()).collect();
    for folder in folders.difference(&floors) {
        faults.push(format!("the folder src/{folder} is no floor"));
    }
    for floor in floors.difference(&folders) {
        faults.push(format!("the floor {floor} has no folder"));
    }
    faults
}

/// What is wrong with one file.
pub(crate) fn faults(rules: &Rules, source: &Source) -> Vec<String> {
    let tokens = tokens(&source.text);
    let mut faults = form_faults(source, &tokens);
    if let Some(place) = source.path.strip_prefix("src/") {
        match place.split_once('/') {
            Some((floor, file)) => {
                let imported = imports(rules, &tokens, file == "mod.rs");
                faults.extend(import_faults(rules, floor, &imported));
                faults.extend(crate_faults(rules, &tokens, |floors, _| {
                    floors.iter().any(|name| name == floor)
                }));
            }
            None => faults.extend(crate_faults(rules, &tokens, |_, confined| {
                COMPOSED_WITH.contains(&confined)
            })),
        }
    }
    let at = |fault| format!("{}: {fault}", source.path);
    faults.into_iter().map(at).collect()
}

fn form_faults(source: &Source, tokens: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    if !source.text.starts_with("//! ") {
        faults.push("the first line does not say what the file is for".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        faults.push(format!("{lines} lines"));
    }
    if tokens.contains(&"unsafe") && !source.path.starts_with("src/nn/kernel/") {
        faults.push("unsafe outside of nn/kernel".to_owned());
    }
    if tokens
        .windows(3)
        .any(|three| three == ["super", "::", "super"])
    {
        faults.push("super::super".to_owned());
    }
    faults
}

fn import_faults(rules: &Rules, floor: &str, imported: &[&str]) -> Vec<String> {
    let granted = rules.floor(floor).unwrap_or_default();
    let foreign = imported
        .iter()
        .filter(|&&name| name != floor && !granted.iter().any(|floor| floor == name));
    foreign
        .map(|name| format!("{floor} is not granted {name}"))
        .collect()
}

/// The first name of every path from the crate's root. The root's child `mod.rs` also gets there by `super`.
fn imports<'a>(rules: &Rules, tokens: &[&'a str], is_child: bool) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let heads = || heads(&tokens[at + 2..]);
        match pair {
            ["crate" | "gradientd", "::"] => found.extend(heads()),
            ["super", "::"] if is_child => {
                found.extend(
                    heads()
                        .into_iter()
                        .filter(|name| rules.floor(name).is_some()),
                );
            }
            ["crate", "as"] => found.push("crate"),
            _ => {}
        }
    }
    found
}

/// The first name of a use tree, or the first names of its branches.
fn heads<'a>(tree: &[&'a str]) -> Vec<&'a str> {
    if tree.first() != Some(&"{") {
        return tree.first().copied().into_iter().collect();
    }
    let mut depth = 0;
    let mut found = Vec::new();
    for pair in tree.windows(2) {
        match pair[0] {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0], "{" | ",") && pair[1] != "}" {
            found.push(pair[1]);
        }
    }
    found
}

fn crate_faults(
    rules: &Rules,
    tokens: &[&str],
    allowed: impl Fn(&[String], &str) -> bool,
) -> Vec<String> {
    let rows = rules.confined.iter();
    let broken = rows
        .filter(|(confined, floors)| !allowed(floors, confined) && names_crate(tokens, confined));
    broken
        .map(|(confined, _)| format!("{confined} is confined to other floors"))
        .collect()
}

/// Whether a path or a `use` begins with this crate.
fn names_crate(tokens: &[&str], name: &str) -> bool {
    let mut using = false;
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at]);
        let after = tokens.get(at + 1).copied().unwrap_or("");
        match *token {
            "use" => using = after != "<",
            ";" => using = false,
            _ => {}
        }
        let inside_a_path = before(1) == "::" && is_end_of_a_path(before(2));
        let is_path = after == "::" || using || before(1) == "crate";
        if *token == name && is_path && !inside_a_path {
            return true;
        }
    }
    false
}

fn is_end_of_a_path(token: &str) -> bool {
    let is_word = token.chars().all(|c| c.is_alphanumeric() || c == '_');
    token == ">" || (!token.is_empty() && is_word && !["use", "return", "in"].contains(&token))
}

/// The files that a table of the document names, as paths of the repository.
pub(crate) fn named_files(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let is_file = |name: &&str| {
        let known =
            [".rs", ".py"].iter().any(|end| name.ends_with(end)) || name.starts_with("src/");
        known && !name.contains([' ', '{'])
    };
    quoted.filter(is_file).map(str::to_owned).collect()
}

/// The checker on made-up sources, each of which breaks one rule.
mod tests {
    use super::{Rules, Source, faults, named_files, place_faults, table_faults};

    const TABLES: &str = "\n```floors\nnn ->\ndata ->\nmodel -> nn data\n```\n\n```confined\nsqlx -> data\ntokio -> model\n```\n";

    fn source(path: &str, code: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: format!("//! What it is for.\n{code}\n"),
        }
    }

    /// What the checker says of a file that holds this code.
    fn said(path: &str, code: &str) -> String {
        faults(&Rules::read(TABLES), &source(path, code)).join("\n")
    }

    #[test]
    fn finds_an_import_that_is_not_granted_in_whatever_form() {
        let forms = [
            "use crate::model::A;",
            "use crate::model;",
            "pub(crate) use crate::{data::B, model::A};",
            "use crate::{\n    data::{B, C},\n    model,\n};",
            "use {crate::model::A, std::fmt};",
            "fn f(a: crate::model::A) {}",
            "fn f() { crate::model::g::<u8>() }",
            "impl crate::model::A for B {}",
            "use ::gradientd::model::A;",
            "m! { $crate::model::A }",
            "mod tests { use crate :: model; }",
            "pub(in crate::model) fn f() {}",
        ];
        for code in forms {
            let said = said("src/data/csv.rs", code);
            assert!(
                said.ends_with("data is not granted model"),
                "{code}: {said}"
            );
        }
        let by_super = said("src/data/mod.rs", "use super::{model::A, data};");
        assert!(
            by_super.ends_with("data is not granted model"),
            "{by_super}"
        );
        assert!(!said("src/data/csv.rs", "use crate as root;").is_empty());
        assert!(!said("src/data/csv.rs", "use crate::*;").is_empty());
        assert!(!said("src/data/csv.rs", "use crate::config::Limits;").is_empty());
    }

    #[test]
    fn lets_pass_what_is_granted_and_what_is_no_code() {
        let good = [
            "use crate::data::Table;",
            "use crate::{data, nn::{Loss, Network}};",
            "// use crate::store::Store;",
            "/* crate::store */",
            "const A: &str = \"crate::store, unsafe, super::super, sqlx::query\";",
            "const B: &str = r#\"crate::store \"unsafe\" \"#;",
            "pub(crate) fn unsafe_code() {}",
            "let tokio = x.sqlx; y::sqlx::z();",
            "#[expect(unsafe_code, reason = \"made up\")] fn f() {}",
            "tokio::spawn(async {});",
        ];
        for code in good {
            assert_eq!(said("src/model/mod.rs", code), "", "{code}");
        }
    }

    #[test]
    fn finds_a_confined_crate_on_another_floor() {
        let forms = [
            "use sqlx::Row;",
            "use sqlx as s;",
            "use {sqlx, std::fmt};",
            "use ::sqlx::Row;",
            "fn f() { sqlx::query!(\"SELECT 1\") }",
            "fn f(row: &sqlx::Row) {}",
            "extern crate sqlx;",
            "fn f() -> ::sqlx::Row {}",
        ];
        for code in forms {
            for path in ["src/model/artifact.rs", "src/server.rs"] {
                let said = said(path, code);
                assert!(
                    said.ends_with("sqlx is confined to other floors"),
                    "{path} {code}: {said}"
                );
            }
        }
        assert_eq!(said("src/data/csv.rs", "use sqlx::Row;"), "");
        assert_eq!(said("src/server.rs", "use tokio::spawn;"), "");
        assert!(!said("src/nn/loss.rs", "#[tokio::test] fn f() {}").is_empty());
    }

    #[test]
    fn finds_unsafe_code_and_super_super_and_a_file_that_is_too_long_or_says_nothing() {
        let block = "fn f() { unsafe { g() } }";
        assert!(said("src/nn/loss.rs", block).ends_with("unsafe outside of nn/kernel"));
        assert_eq!(said("src/nn/kernel/vector.rs", block), "");
        assert!(said("src/nn/a/b.rs", "use super::super::c;").ends_with("super::super"));
        assert_eq!(said("src/nn/a.rs", &"\n".repeat(498)), "");
        assert!(said("src/nn/a.rs", &"\n".repeat(499)).ends_with("501 lines"));
        let mute = Source {
            path: "tests/it/a.rs".to_owned(),
            text: "use std::fmt;\n".to_owned(),
        };
        let said = faults(&Rules::read(TABLES), &mute).join("\n");
        assert!(
            said.ends_with("does not say what the file is for"),
            "{said}"
        );
    }

    #[test]
    fn finds_a_folder_that_is_no_floor_and_a_floor_without_a_folder() {
        let places = [
            "src/nn/mod.rs",
            "src/model/a.rs",
            "src/utils/mod.rs",
            "src/helpers.rs",
            "src/lib.rs",
        ];
        let sources = places.map(|path| source(path, ""));
        let expected = [
            "src/helpers.rs is on no floor",
            "the folder src/utils is no floor",
            "the floor data has no folder",
        ];
        assert_eq!(place_faults(&Rules::read(TABLES), &sources), expected);
    }

    #[test]
    fn finds_a_table_that_goes_up_or_names_what_is_no_floor() {
        let tables = TABLES
            .replace("nn ->\n", "nn -> model\n")
            .replace("sqlx -> data", "sqlx -> db");
        let expected = [
            "nn is granted model, which is no floor below it",
            "sqlx is confined to db, which is no floor",
        ];
        assert_eq!(table_faults(&Rules::read(&tables)), expected);
        assert!(table_faults(&Rules::read(TABLES)).is_empty());
    }

    #[test]
    fn reads_the_names_of_files_out_of_a_table() {
        let row = "| 1 | no `mod tests` | `src/nn/proofs`, `a.rs` (crates), `b/c.py`, `GET /x.rs` |\n`d.rs`\n";
        let named: Vec<_> = named_files(row).into_iter().collect();
        assert_eq!(named, ["a.rs", "b/c.py", "src/nn/proofs"]);
    }
}
