//! Columns of a dataset read with their values: many with one query, the next from the disk while the last are checked.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::task::JoinSet;

use crate::data::{Column, ColumnDescription};
use crate::model::digest;
use crate::store::{Error, Store, off_thread};

/// Bytes of chunks that one query reads, of columns that have so few of them.
const BYTES_AT_ONCE: usize = 4 << 20;
/// Queries and checks under way at a time, half of the readers: they keep a disk and a core busy, or two cores.
const AT_ONCE: usize = 3;

/// A column that is to be read.
struct Wanted {
    /// Its place among those asked for.
    place: usize,
    /// Its place in the dataset.
    position: i64,
    description: ColumnDescription,
}

/// A piece of a column where SQLite has put it.
struct Chunk<'a> {
    position: i64,
    bytes: &'a [u8],
    digest: &'a str,
}

type Read = Result<Vec<(usize, Column)>, Error>;

impl Store {
    /// Columns of a dataset with their values, in the order of `names`, each chunk checked against its digest.
    ///
    /// Errors: there is no such dataset or column; bytes are damaged.
    pub async fn dataset_columns(
        &self,
        name: &str,
        names: &[String],
    ) -> Result<Vec<Column>, Error> {
        let mut wanted = self.described(name, names).await?.into_iter().peekable();
        let (mut reading, mut columns) = (JoinSet::new(), Vec::with_capacity(names.len()));
        // Of several columns that cannot be read, the first: all before it have begun to be read.
        let mut failed: Option<(usize, Error)> = None;
        let mut begun = 0;
        loop {
            if failed.is_none() && reading.len() < AT_ONCE && wanted.peek().is_some() {
                let (store, dataset) = (self.clone(), name.to_owned());
                let together = take_together(&mut wanted);
                reading.spawn(async move { (begun, store.read(dataset, together).await) });
                begun += 1;
                continue;
            }
            let Some(read) = reading.join_next().await else {
                break;
            };
            let (number, read): (usize, Read) = read.expect("reading does not panic");
            match read {
                Ok(read) => columns.extend(read),
                Err(error) => {
                    let before = failed.take().filter(|(first, _)| *first < number);
                    failed = before.or(Some((number, error)));
                }
            }
        }
        if let Some((_, error)) = failed {
            return Err(error);
        }
        columns.sort_unstable_by_key(|(place, _)| *place);
        Ok(columns.into_iter().map(|(_, column)| column).collect())
    }

    /// What is known of the columns, in the order of `names`.
    async fn described(&self, dataset: &str, names: &[String]) -> Result<Vec<Wanted>, Error> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT n.key, c.position, c.description FROM json_each($2) n
             CROSS JOIN dataset_columns c ON c.dataset = $1 AND c.name = n.value",
        )
        .bind(dataset)
        .bind(serde_json::to_string(names)?)
        .fetch_all(self.reader())
        .await?;
        let mut found: Vec<Option<(i64, String)>> = vec![None; names.len()];
        for (place, position, description) in rows {
            found[place as usize] = Some((position, description));
        }
        let described = names.iter().zip(found).enumerate();
        let described = described.map(|(place, (name, found))| {
            let missing = || Error::not_found("column", format!("{dataset}/{name}"));
            let (position, description) = found.ok_or_else(missing)?;
            Ok(Wanted {
                place,
                position,
                description: serde_json::from_str(&description)?,
            })
        });
        described.collect()
    }

    /// Reads and checks a few columns, with one query.
    async fn read(self, dataset: String, wanted: Vec<Wanted>) -> Read {
        let positions: Vec<_> = wanted.iter().map(|column| column.position).collect();
        let chunks = sqlx::query(
            "SELECT position, bytes, digest FROM dataset_chunks
             WHERE dataset = $1 AND position IN (SELECT value FROM json_each($2)) ORDER BY position, chunk",
        )
        .bind(&dataset)
        .bind(serde_json::to_string(&positions)?)
        .fetch_all(self.reader())
        .await?;
        off_thread(move || {
            let chunks = chunks.iter().map(Chunk::of);
            let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
            let wanted = wanted.into_iter();
            wanted
                .map(|column| Ok((column.place, column.read(&dataset, &chunks)?)))
                .collect()
        })
        .await
    }
}

impl<'a> Chunk<'a> {
    fn of(row: &'a SqliteRow) -> Result<Self, Error> {
        Ok(Self {
            position: row.try_get(0)?,
            bytes: row.try_get(1)?,
            digest: row.try_get(2)?,
        })
    }
}

impl Wanted {
    /// The column from its chunks, which are some of `chunks`, where they are in the order of columns.
    fn read(self, dataset: &str, chunks: &[Chunk]) -> Result<Column, Error> {
        let start = chunks.partition_point(|chunk| chunk.position < self.position);
        let end = chunks.partition_point(|chunk| chunk.position <= self.position);
        let chunks = &chunks[start..end];
        if chunks
            .iter()
            .any(|chunk| digest(chunk.bytes) != chunk.digest)
        {
            let what = format!("column {:?} of dataset {dataset:?}", self.description.name);
            return Err(Error::Damaged { what });
        }
        let bytes = chunks.iter().map(|chunk| chunk.bytes);
        Ok(Column::decode(self.description, bytes)?)
    }
}

/// The next columns that are read with one query, at least one.
fn take_together(wanted: &mut std::iter::Peekable<std::vec::IntoIter<Wanted>>) -> Vec<Wanted> {
    let mut bytes = 0;
    let mut together = Vec::new();
    while let Some(next) = wanted.next_if(|_| bytes < BYTES_AT_ONCE) {
        bytes += size_of::<f64>() * next.description.rows;
        together.push(next);
    }
    together
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Table;
    use crate::store::tests::create;

    /// Rows of which a column is read in several chunks, and three columns with one query.
    const ROWS: usize = 16_384 + 180_000;

    fn column(number: usize) -> Column {
        let values = (0..ROWS).map(|row| (row + 10 * number) as f64);
        Column::numeric(format!("x{number}"), values).expect("finite numbers")
    }

    async fn store(directory: &std::path::Path) -> Store {
        let store = Store::open(directory).await.expect("opens");
        let table = Table::new((0..8).map(column).collect()).expect("a table");
        let created = create(&store, "t", table).await;
        created.expect("stored");
        store
    }

    fn names(numbers: &[usize]) -> Vec<String> {
        let names = numbers.iter().map(|number| format!("x{number}"));
        names.collect()
    }

    #[tokio::test]
    async fn columns_come_in_the_order_in_which_they_are_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path()).await;
        for numbers in [&[6, 0, 7, 1, 5, 2, 6, 3, 4][..], &[3], &[]] {
            let read = store.dataset_columns("t", &names(numbers)).await;
            let expected: Vec<_> = numbers.iter().copied().map(column).collect();
            assert!(read.expect("columns") == expected, "{numbers:?}");
        }
    }

    #[tokio::test]
    async fn of_columns_that_cannot_be_read_the_first_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path()).await;
        for (dataset, column, missing) in [("t", "x8", "t/x8"), ("u", "x1", "u/x1")] {
            let asked = ["x1".to_owned(), column.to_owned()];
            let read = store.dataset_columns(dataset, &asked).await;
            let told =
                matches!(&read, Err(Error::NotFound { kind: "column", name }) if name == missing);
            assert!(told, "{read:?}");
        }
        sqlx::query("UPDATE dataset_chunks SET bytes = zeroblob(length(bytes)) WHERE position IN (1, 3, 6) AND chunk = 1")
            .execute(&store.inner.writer)
            .await
            .expect("damaged");
        for (numbers, first) in [([0, 6, 2, 4, 3, 1, 5], 6), ([5, 4, 2, 0, 1, 7, 3], 1)] {
            let read = store.dataset_columns("t", &names(&numbers)).await;
            let what = format!("column \"x{first}\" of dataset \"t\"");
            assert!(
                matches!(&read, Err(Error::Damaged { what: told }) if *told == what),
                "{read:?}"
            );
        }
        let sound = store.dataset_columns("t", &names(&[0, 2, 4, 5, 7])).await;
        assert_eq!(sound.expect("columns").len(), 5);
    }
}
