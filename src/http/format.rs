//! Formats of tables: the media type of a body, and the parameters that say how it is written and what its columns are.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

use axum::http::HeaderMap;

use crate::data::{
    CsvOptions, Error, Kind, Kinds, Reading, Sink, Taken, read_csv, read_ndjson, read_parquet,
};
use crate::http::body::media_type;
use crate::http::problem::{INVALID_QUERY, Problem};
use crate::http::query::{FromQuery, Parameters};
use crate::model::Violations;
use crate::store::Store;

/// The media type of CSV.
pub(crate) const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";
pub(crate) const PARQUET: &str = "application/vnd.apache.parquet";

/// The kinds by their names.
const KINDS: [(&str, Kind); 4] = [
    ("numeric", Kind::Numeric),
    ("categorical", Kind::Categorical),
    ("boolean", Kind::Boolean),
    ("timestamp", Kind::Timestamp),
];

/// How a table is written.
pub(crate) enum Format {
    /// CSV with a header.
    Csv(CsvOptions),
    /// Lines that are objects of JSON.
    Ndjson,
    /// Parquet, put into a file first: its end tells what is in it.
    Parquet(File),
}

/// What cells are said to be quoted with.
#[derive(Clone, Copy)]
enum Quote {
    None,
    By(u8),
}

impl Quote {
    fn byte(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::By(byte) => Some(byte),
        }
    }
}

/// What a query says of a table.
pub(crate) struct TableOptions {
    delimiter: Option<u8>,
    quote: Option<Quote>,
    missing: Option<Vec<String>>,
    pub(crate) kinds: Kinds,
}

/// How a table is written: `delimiter`, `quote` and `missing`.
impl FromQuery for TableOptions {
    fn read(parameters: &mut Parameters) -> Self {
        let delimiter = parameters.text("delimiter");
        let delimiter = delimiter.and_then(|text| match text.as_str() {
            "tab" => Some(b'\t'),
            text => one_character(parameters, ("delimiter", "tab"), text),
        });
        let quote = parameters.text("quote");
        let quote = quote.and_then(|text| match text.as_str() {
            "none" => Some(Quote::None),
            text => one_character(parameters, ("quote", "none"), text).map(Quote::By),
        });
        let missing = parameters.text("missing");
        let missing =
            missing.map(|text| text.split(',').map(|word| word.trim().to_owned()).collect());
        let csv = CsvOptions::default();
        let (cell, quoted) = (
            delimiter.unwrap_or(csv.delimiter),
            quote.map_or(csv.quote, Quote::byte),
        );
        if Some(cell) == quoted {
            let quoted = char::from(cell);
            parameters.refuse(
                "delimiter",
                format!("must differ from quote, got {quoted:?} for both"),
            );
        }
        Self {
            delimiter,
            quote,
            missing,
            kinds: Kinds::new(),
        }
    }
}

impl TableOptions {
    /// How a table is written, and the `kinds` of its columns.
    pub(crate) fn with_kinds(parameters: &mut Parameters) -> Self {
        let options = Self::read(parameters);
        let text = parameters.text("kinds").unwrap_or_default();
        let mut kinds = Kinds::new();
        let mut declared = HashSet::new();
        for kind in text.split(',').filter(|kind| !kind.is_empty()) {
            let parts = kind.rsplit_once(':');
            let known = parts.and_then(|(column, kind)| {
                let (_, kind) = KINDS.iter().find(|(name, _)| *name == kind)?;
                Some((column.trim().to_owned(), *kind))
            });
            let Some((column, known)) = known else {
                let names = KINDS.map(|(name, _)| name).join(", ");
                let detail = format!(
                    "must be column:kind, separated by commas, with one of {names}, got {kind:?}"
                );
                parameters.refuse("kinds", detail);
                continue;
            };
            if !declared.insert(column.clone()) {
                parameters.refuse(
                    "kinds",
                    format!("must name a column once, got {column:?} twice"),
                );
            }
            kinds.push((column, known));
        }
        Self { kinds, ..options }
    }

    /// The format that the body's media type names, written as the query says.
    ///
    /// Errors: it is none of ours; the query says of it what only CSV has.
    pub(crate) fn format(&self, store: &Store, headers: &HeaderMap) -> Result<Format, Problem> {
        let hint = "curl -H 'Content-Type: text/csv' --data-binary @FILE";
        let media_type = media_type(headers, &[CSV, NDJSON, PARQUET], hint)?;
        if media_type == CSV {
            return Ok(Format::Csv(self.csv()));
        }
        self.refuse_beside(media_type)?;
        if media_type == PARQUET {
            return Ok(Format::Parquet(store.scratch()?));
        }
        Ok(Format::Ndjson)
    }

    /// How the query says that CSV is written.
    pub(crate) fn csv(&self) -> CsvOptions {
        let csv = CsvOptions::default();
        CsvOptions {
            delimiter: self.delimiter.unwrap_or(csv.delimiter),
            quote: self.quote.map_or(csv.quote, Quote::byte),
            missing: self.missing.clone().unwrap_or(csv.missing),
        }
    }

    /// Notes what the query says that only CSV has, beside a body that is none.
    pub(crate) fn refuse_beside(&self, media_type: &str) -> Result<(), Problem> {
        let mut violations = Violations::default();
        for (name, is_given) in [
            ("/delimiter", self.delimiter.is_some()),
            ("/quote", self.quote.is_some()),
            ("/missing", self.missing.is_some()),
        ] {
            if is_given {
                violations.add(
                    name,
                    format!("is for {CSV} only, and the body is {media_type}"),
                );
            }
        }
        violations
            .finish()
            .map_err(|violations| Problem::violations(INVALID_QUERY, violations))
    }
}

/// A character that separates or quotes, or a word for one.
fn one_character(
    parameters: &mut Parameters,
    (name, word): (&'static str, &str),
    text: &str,
) -> Option<u8> {
    let found = match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() || *byte == b' ' => Some(*byte),
        _ => None,
    };
    if found.is_none() {
        let detail = format!("must be one ASCII character or {word}, got {text:?}");
        parameters.refuse(name, detail);
    }
    found
}

impl Format {
    /// Whether its rows are lines.
    pub(crate) fn is_csv(&self) -> bool {
        matches!(self, Self::Csv(_))
    }

    /// Reads a table.
    ///
    /// Errors: whatever is wrong with it.
    pub(crate) fn read<S: Sink>(
        self,
        mut source: impl Read,
        reading: Reading<S>,
    ) -> Result<Taken, Error> {
        match self {
            Self::Csv(options) => read_csv(source, &options, reading),
            Self::Ndjson => read_ndjson(source, reading),
            Self::Parquet(mut file) => {
                let copied = std::io::copy(&mut source, &mut file);
                copied.map_err(|source| Error::Scratch { source })?;
                read_parquet(file, reading)
            }
        }
    }
}
