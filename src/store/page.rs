//! Pages of a list.

use serde::Serialize;

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

    /// 1 for oldest first, −1 for newest first: what a sequence number is multiplied with.
    pub(crate) fn direction(&self) -> i64 {
        if self.ascending { 1 } else { -1 }
    }
}

impl<T> Page<T> {
    /// A page of `limit` rows out of at least one more than that, if there are more.
    pub(crate) fn cut(mut data: Vec<T>, limit: usize) -> Self {
        let has_more = data.len() > limit;
        data.truncate(limit);
        Self { data, has_more }
    }
}
