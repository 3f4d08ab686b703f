//! Pages of a list.

use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::store::jobs::parse_id;
use crate::store::{Error, Store};

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Rows at most.
    pub limit: u32,
    /// The id or name of the last one seen.
    pub after: Option<String>,
    /// Oldest first.
    pub ascending: bool,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there are more beyond the last of them.
    pub has_more: bool,
}

impl PageQuery {
    /// One row more than wanted, to know whether there are more.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// How the rows of this page compare with the last one seen, and their order, in SQL.
    pub(crate) fn order(&self) -> (&'static str, &'static str) {
        if self.ascending {
            (">", "ASC")
        } else {
            ("<", "DESC")
        }
    }

    /// The number to compare with where the page begins at the end of the list.
    pub(crate) fn end(&self) -> i64 {
        if self.ascending { i64::MIN } else { i64::MAX }
    }
}

impl Store {
    /// The sequence number of the last one seen, with its key's column in `table`.
    ///
    /// Errors: there is no such row.
    pub(crate) async fn place(
        &self,
        page: &PageQuery,
        kind: &'static str,
        (table, key): (&'static str, &'static str),
    ) -> Result<i64, Error> {
        let Some(after) = &page.after else {
            return Ok(page.end());
        };
        let sql = format!("SELECT sequence FROM {table} WHERE {key} = $1");
        let place: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .fetch_optional(self.reader())
            .await?;
        place.ok_or_else(|| Error::UnknownPlace {
            kind,
            after: after.clone(),
        })
    }
}

/// The ids that were read, but for damaged ones, which are told in the log.
pub(crate) fn ids(kind: &str, read: &[Vec<u8>]) -> Vec<Uuid> {
    let ids = read.iter().map(|id| parse_id(&String::from_utf8_lossy(id)));
    ids.filter_map(|id| readable(kind, id)).collect()
}

/// What was read, unless it cannot be, which is told in the log.
pub(crate) fn readable<T>(kind: &str, read: Result<T, Error>) -> Option<T> {
    let told =
        |error: &Error| tracing::error!(kind, %error, "a row cannot be read and is left out");
    read.inspect_err(told).ok()
}

impl<T> Page<T> {
    /// The page of rows that `read` can read; those of the others are told in the log and left out.
    pub(crate) fn readable<R>(
        rows: Vec<R>,
        limit: u32,
        kind: &str,
        read: impl Fn(&R) -> Result<T, Error>,
    ) -> Self {
        let Page { data, has_more } = Page::cut(rows, limit as usize);
        let data = data.iter().filter_map(|row| readable(kind, read(row)));
        Self {
            data: data.collect(),
            has_more,
        }
    }

    /// A page of `limit` rows out of at least one more than that, if there are more.
    pub(crate) fn cut(mut data: Vec<T>, limit: usize) -> Self {
        let has_more = data.len() > limit;
        data.truncate(limit);
        Self { data, has_more }
    }
}
