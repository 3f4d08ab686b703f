//! Rows of a dataset, shown as they were uploaded.

use std::ops::Range;

use axum::extract::State;
use axum::response::Response;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::data::{CHUNK_ROWS, Column, Value, format_timestamp};
use crate::http::App;
use crate::http::answer::json;
use crate::http::path::Path;
use crate::http::problem::{INVALID_QUERY, Problem};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::machine::Use;
use crate::store::Dataset;

/// Rows of a page where the query does not say.
const DEFAULT_LIMIT: u64 = 20;
/// Rows of a page, at most.
const MOST_LIMIT: u64 = 1000;

/// Which rows are wanted.
pub(crate) struct RowsQuery {
    limit: u64,
    after: u64,
}

impl FromQuery for RowsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        Self {
            limit: parameters
                .number("limit", 1..=MOST_LIMIT)
                .unwrap_or(DEFAULT_LIMIT),
            after: parameters
                .number("after", 0..=u64::from(u32::MAX))
                .unwrap_or(0),
        }
    }
}

/// Rows, each an object in the table's order.
#[derive(Serialize)]
struct Rows {
    data: Data,
    has_more: bool,
}

/// The first `rows` from row `first` on of the columns.
struct Data {
    columns: Vec<Column>,
    first: usize,
    rows: usize,
}

/// One of the rows.
struct Row<'a>(&'a [Column], usize);

/// `GET /v1/datasets/{name}/rows`
pub(crate) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(RowsQuery { limit, after }): Query<RowsQuery>,
) -> Result<Response, Problem> {
    let dataset = app.store.dataset(&name).await?;
    let rows = dataset.rows;
    if after > rows {
        let detail = format!("must be a row in [0, {rows}], got {after}");
        return Err(Problem::violation(INVALID_QUERY, "/after", detail));
    }
    let end = rows.min(after + limit);
    let data = read(&app, dataset, after as usize..end as usize).await?;
    let has_more = after + (data.rows as u64) < rows;
    let numbers = data.columns.len() * data.rows;
    json(&app.memory, numbers, move || Rows { data, has_more }).await
}

/// As many of the rows as an answer has room for, one at least.
async fn read(app: &App, dataset: Dataset, wanted: Range<usize>) -> Result<Data, Problem> {
    let most = app.limits.answer_numbers;
    let Dataset {
        name,
        digest,
        columns,
        ..
    } = dataset;
    let fit = (most as usize / columns.len()).max(1);
    let wanted = wanted.start..wanted.end.min(wanted.start + fit);
    let names: Vec<_> = columns.into_iter().map(|column| column.name).collect();
    let rows = wanted.len();
    // Whole chunks of the columns are read, two of each where the rows are in both.
    let chunks = 2 * names.len() as u64;
    let bytes = chunks.saturating_mul(8 * CHUNK_ROWS as u64);
    let _room = app.memory.try_reserve(Use::Requests, bytes)?;
    let read = app.store.dataset_rows(&name, &digest, &names, wanted);
    let (columns, first) = read.await?;
    Ok(Data::within(columns, first..first + rows, most))
}

impl Data {
    /// As many of the rows as an answer of `most` numbers has room for, one at least. A word counts for one and one more for
    /// every 16 bytes.
    fn within(columns: Vec<Column>, wanted: Range<usize>, most: u64) -> Self {
        let mut numbers = 0;
        let fitting = wanted.clone().take_while(|&row| {
            let cells = columns.iter().map(|column| match column.value(row) {
                Value::Word(word) => 1 + word.len() as u64 / 16,
                _ => 1,
            });
            numbers += cells.sum::<u64>();
            numbers <= most
        });
        let rows = fitting.count().max(1).min(wanted.len());
        Self {
            first: wanted.start,
            columns,
            rows,
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.rows))?;
        for row in self.first..self.first + self.rows {
            rows.serialize_element(&Row(&self.columns, row))?;
        }
        rows.end()
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(columns, row) = self;
        let mut object = serializer.serialize_map(Some(columns.len()))?;
        for column in *columns {
            let name = column.name();
            match column.value(*row) {
                Value::Missing => object.serialize_entry(name, &())?,
                Value::Number(number) => object.serialize_entry(name, &number)?,
                Value::Word(word) => object.serialize_entry(name, word)?,
                Value::Boolean(truth) => object.serialize_entry(name, &truth)?,
                Value::Timestamp(moment) => {
                    object.serialize_entry(name, &format_timestamp(moment))?;
                }
            }
        }
        object.end()
    }
}
