//! A table that is read a part at a time: some columns of a revision of a dataset, looked up once.

use std::ops::Range;
use std::sync::Arc;

use crate::data::{CHUNK_ROWS, Column, ColumnDescription};
use crate::store::columns::{BYTES_AT_ONCE, Chunk, Revision, Wanted};
use crate::store::{Error, Store, off_thread};

/// Columns of a revision of a dataset, which are read a part at a time.
#[derive(Clone)]
pub struct Table {
    store: Store,
    name: String,
    digest: String,
    revision: Revision,
    columns: Vec<Arc<Sorted>>,
}

/// A column whose categories were put into their order, once for all parts that are read of it.
struct Sorted {
    wanted: Wanted,
    /// The place among them of each code.
    places: Option<Vec<u32>>,
}

impl Store {
    /// Columns as [`Store::dataset_columns`] reads them, of some of the rows, and which of theirs is the first of these.
    ///
    /// Errors: as there.
    ///
    /// Panics: the revision has not these rows, the caller's bug.
    pub async fn dataset_rows(
        &self,
        name: &str,
        digest: &str,
        names: &[String],
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), Error> {
        let table = self.table(name, digest, names).await?;
        table.rows(0..names.len(), rows).await
    }

    /// The columns of a revision of a dataset, to be read a part at a time.
    ///
    /// Errors: there is no such dataset, revision or column.
    pub async fn table(&self, name: &str, digest: &str, names: &[String]) -> Result<Table, Error> {
        let (revision, wanted) = self.wanted(name, digest, names).await?;
        let sorted = off_thread(move || {
            let columns = wanted.into_iter().map(|mut wanted| {
                let places = wanted.description.sort();
                Arc::new(Sorted { wanted, places })
            });
            columns.collect()
        });
        Ok(Table {
            store: self.clone(),
            name: name.to_owned(),
            digest: digest.to_owned(),
            revision,
            columns: sorted.await,
        })
    }
}

impl Table {
    /// What is known of the columns.
    pub fn descriptions(&self) -> Vec<ColumnDescription> {
        let columns = self.columns.iter();
        columns
            .map(|column| column.wanted.description.clone())
            .collect()
    }

    /// One of the columns with all its values.
    ///
    /// Errors: as of [`Store::dataset_columns`].
    pub async fn column(&self, place: usize) -> Result<Column, Error> {
        let name = self.columns[place].wanted.description.name.clone();
        let (dataset, digest) = (&self.name, &self.digest);
        let read = self.store.dataset_columns(dataset, digest, &[name]).await;
        Ok(read?.remove(0))
    }

    /// Some of the columns, with some of the rows, and which of theirs is the first of these.
    ///
    /// Errors: as of [`Store::dataset_columns`].
    ///
    /// Panics: the revision has not these rows, or there are not these columns, the caller's bug.
    pub async fn rows(
        &self,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(Vec<Column>, usize), Error> {
        let read = self.read_rows(&self.columns[columns], &rows).await;
        // Whoever deleted the dataset meanwhile may have put another in its place, or nothing.
        self.store.find_revision(&self.name, &self.digest).await?;
        Ok((read?, rows.start % CHUNK_ROWS))
    }

    async fn read_rows(
        &self,
        wanted: &[Arc<Sorted>],
        rows: &Range<usize>,
    ) -> Result<Vec<Column>, Error> {
        assert!(
            rows.end <= self.revision.rows as usize,
            "the revision has the rows"
        );
        let numbers = rows.start / CHUNK_ROWS..rows.end.div_ceil(CHUNK_ROWS);
        let end = rows.end - numbers.start * CHUNK_ROWS;
        let mut columns = Vec::with_capacity(wanted.len());
        for wanted in wanted.chunks(BYTES_AT_ONCE / (size_of::<f64>() * CHUNK_ROWS)) {
            let positions: Vec<_> = wanted.iter().map(|column| column.wanted.position).collect();
            let numbers = numbers.start as i64..numbers.end as i64;
            let read = self.store.chunks(&self.name, numbers, &positions).await?;
            let (wanted, dataset) = (wanted.to_vec(), self.name.clone());
            let part = off_thread(move || {
                let chunks = Chunk::in_order(&read)?;
                let wanted = wanted.into_iter();
                let columns = wanted.map(|column| {
                    let Sorted { wanted, places } = &*column;
                    let chunks = wanted.chunks(&dataset, &chunks)?;
                    let chunks = chunks.iter().map(|chunk| chunk.bytes);
                    let described = (wanted.description.clone(), places.as_deref());
                    Ok(Column::decode_part(described, end, chunks)?)
                });
                columns.collect::<Result<Vec<_>, Error>>()
            });
            columns.extend(part.await?);
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::create;

    const ROWS: usize = CHUNK_ROWS + 300;

    #[tokio::test]
    async fn parts_of_a_table_have_the_values_of_its_columns_and_a_damaged_one_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path()).await.expect("opens");
        let rows = (0..ROWS).map(|row| format!("{row},w{}\n", 6 - row % 7));
        let text = "x,w\n".to_owned() + &rows.collect::<String>();
        create(&store, "t", &text).await.expect("stored");
        let digest = store.dataset("t").await.expect("a dataset").digest;
        let names = ["w".to_owned(), "x".to_owned()];
        let table = store.table("t", &digest, &names).await.expect("a table");
        let described = table.descriptions();
        assert_eq!(
            described
                .iter()
                .map(|column| &column.name)
                .collect::<Vec<_>>(),
            ["w", "x"]
        );
        let whole = table.column(1).await.expect("a column");
        assert_eq!(whole.numbers().expect("numbers").len(), ROWS);
        for rows in [
            0..5,
            700..CHUNK_ROWS,
            CHUNK_ROWS..ROWS,
            CHUNK_ROWS - 1..CHUNK_ROWS + 1,
        ] {
            let (part, before) = table.rows(0..2, rows.clone()).await.expect("rows");
            let numbers = part[1].numbers().expect("numbers");
            let expected: Vec<_> = rows.clone().map(|row| row as f64).collect();
            assert_eq!(numbers[before..], expected);
            let codes = part[0].codes().expect("codes");
            let words = codes[before..]
                .iter()
                .map(|&code| &part[0].categories()[code as usize]);
            assert!(
                words.eq(rows
                    .map(|row| format!("w{}", 6 - row % 7))
                    .collect::<Vec<_>>()
                    .iter())
            );
        }
        sqlx::query("UPDATE dataset_chunks SET bytes = zeroblob(length(bytes)) WHERE chunk = 0")
            .execute(&store.inner.writer)
            .await
            .expect("damaged");
        let damaged = table.rows(0..2, 3..4).await;
        assert!(matches!(damaged, Err(Error::Damaged { .. })));
        assert!(table.rows(1..2, CHUNK_ROWS..ROWS).await.is_ok());
        store.delete_dataset("t").await.expect("deleted");
        let gone = table.rows(1..2, CHUNK_ROWS..ROWS).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
}
