//! The columns of a table that a job does not hold, fetched from the store by the thread that trains.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::data::{Column, ColumnDescription};
use crate::store::{Error, Store, Table};
use crate::train::{self, Features, StoredColumns};

/// A table, and the runtime on which it is read.
struct Stored {
    table: Table,
    columns: Vec<ColumnDescription>,
    runtime: Handle,
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().map(|column| &column.name);
        formatter.debug_list().entries(columns).finish()
    }
}

/// Columns of a revision of a dataset, which stay where they are. For threads on which one may wait: those that train.
///
/// Errors: there is no such dataset, revision or column.
pub(super) async fn stored(
    store: &Store,
    (dataset, digest): (&str, &str),
    names: &[String],
) -> Result<Features, Error> {
    let table = store.table(dataset, digest, names).await?;
    Ok(Features::Stored(Arc::new(Stored {
        columns: table.descriptions(),
        table,
        runtime: Handle::current(),
    })))
}

impl StoredColumns for Stored {
    fn columns(&self) -> &[ColumnDescription] {
        &self.columns
    }

    fn column(&self, place: usize) -> Result<Column, train::Error> {
        let read = self.runtime.block_on(self.table.column(place));
        read.map_err(|error| unreadable(&error))
    }

    fn part(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), train::Error> {
        let read = self.runtime.block_on(self.table.rows(columns, rows));
        read.map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &Error) -> train::Error {
    train::Error::Unreadable {
        detail: error.to_string(),
        for_now: error.may_pass(),
    }
}
