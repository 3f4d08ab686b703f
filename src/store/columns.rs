//! Columns of a dataset read with their values: many with one query, the next from the disk while the last are checked.

use std::collections::HashMap;
use std::ops::Range;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::task::JoinSet;

use crate::data::{CHUNK_ROWS, Column, ColumnDescription};
use crate::model::digest;
use crate::store::datasets::{check_columns, check_of, descriptions};
use crate::store::{Error, Store, off_thread};

/// Bytes of chunks that one query reads, of columns that have so few of them.
pub(super) const BYTES_AT_ONCE: usize = 4 << 20;
/// Queries and checks under way at a time, half of the readers: they keep a disk and a core busy, or two cores.
const AT_ONCE: usize = 3;

/// A column that is to be read.
#[derive(Clone)]
pub(super) struct Wanted {
    /// Its place among those asked for.
    place: usize,
    /// Its place in the dataset.
    pub(super) position: i64,
    pub(super) description: ColumnDescription,
}

/// A revision of a dataset.
#[derive(Clone, Copy)]
pub(super) struct Revision {
    number: i64,
    pub(super) rows: i64,
}

impl Revision {
    /// How many chunks have its rows; of the last of them perhaps not all rows are its own.
    fn chunks(self) -> i64 {
        (self.rows as usize).div_ceil(CHUNK_ROWS) as i64
    }
}

/// A piece of a column where SQLite has put it.
pub(super) struct Chunk<'a> {
    position: i64,
    number: i64,
    pub(super) bytes: &'a [u8],
    digest: &'a str,
}

pub(super) type Read = Result<Vec<(usize, Column)>, Error>;

impl Store {
    /// Columns of the revision of a dataset that has this digest, with their values, in the order of `names`, each chunk
    /// checked against its own digest.
    ///
    /// Errors: there is no such dataset, revision or column; bytes are damaged.
    pub async fn dataset_columns(
        &self,
        name: &str,
        digest: &str,
        names: &[String],
    ) -> Result<Vec<Column>, Error> {
        let (revision, wanted) = self.wanted(name, digest, names).await?;
        let columns = self.read_columns(name, revision, wanted).await;
        // Whoever deleted the dataset meanwhile may have put another in its place, or nothing.
        self.find_revision(name, digest).await?;
        columns
    }

    async fn read_columns(
        &self,
        name: &str,
        revision: Revision,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Column>, Error> {
        let (asked, mut wanted) = (wanted.len(), wanted.into_iter().peekable());
        let (mut reading, mut columns) = (JoinSet::new(), Vec::with_capacity(asked));
        // Of several columns that cannot be read, the first: all before it have begun to be read.
        let mut failed: Option<(usize, Error)> = None;
        let mut begun = 0;
        loop {
            if failed.is_none() && reading.len() < AT_ONCE && wanted.peek().is_some() {
                let (store, dataset) = (self.clone(), name.to_owned());
                let together = take_together(&mut wanted);
                reading
                    .spawn(async move { (begun, store.read(dataset, revision, together).await) });
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

    /// The revision of a dataset that has a digest.
    pub(super) async fn find_revision(
        &self,
        dataset: &str,
        digest: &str,
    ) -> Result<Revision, Error> {
        let found =
            sqlx::query("SELECT * FROM dataset_revisions WHERE dataset = $1 AND digest = $2")
                .bind(dataset)
                .bind(digest)
                .fetch_optional(self.reader())
                .await?;
        let row = found.ok_or_else(|| Error::not_found("dataset", dataset))?;
        check_of(&row, "dataset_revisions", dataset)?;
        let (number, rows) = (row.try_get("revision")?, row.try_get("rows")?);
        Ok(Revision { number, rows })
    }

    /// The revision, and what is known of its columns, in the order of `names`.
    pub(super) async fn wanted(
        &self,
        dataset: &str,
        digest: &str,
        names: &[String],
    ) -> Result<(Revision, Vec<Wanted>), Error> {
        let revision = self.find_revision(dataset, digest).await?;
        let mut connection = self.reader().acquire().await?;
        let found = sqlx::query(
            "SELECT c.* FROM json_each($2) n
             CROSS JOIN dataset_columns c ON c.dataset = $1 AND c.name = n.value",
        )
        .bind(dataset)
        .bind(serde_json::to_string(names)?)
        .fetch_all(&mut *connection)
        .await?;
        let mut places = HashMap::<&str, i64>::with_capacity(found.len());
        for row in &found {
            check_of(row, "dataset_columns", dataset)?;
            places.insert(row.try_get("name")?, row.try_get("position")?);
        }
        let positions: Vec<i64> = places.values().copied().collect();
        let positions = serde_json::to_string(&positions)?;
        let columns = sqlx::query(
            "SELECT * FROM revision_columns
             WHERE dataset = $1 AND revision = $2 AND position IN (SELECT value FROM json_each($3))",
        )
        .bind(dataset)
        .bind(revision.number)
        .bind(&positions)
        .fetch_all(&mut *connection)
        .await?;
        let words = sqlx::query(
            "SELECT * FROM dataset_words
             WHERE dataset = $1 AND revision <= $2 AND position IN (SELECT value FROM json_each($3))
             ORDER BY position, revision",
        )
        .bind(dataset)
        .bind(revision.number)
        .bind(&positions)
        .fetch_all(&mut *connection)
        .await?;
        let known: HashMap<_, _> = descriptions(dataset, &columns, &words)?
            .into_iter()
            .collect();
        if known.len() < names.len() {
            check_columns(&mut connection, dataset, revision.number).await?;
        }
        drop(connection);
        let wanted = names.iter().enumerate().map(|(place, name)| {
            let position = places.get(name.as_str()).copied();
            let described = position.and_then(|position| Some((position, known.get(&position)?)));
            let missing = || Error::not_found("column", format!("{dataset}/{name}"));
            let (position, description) = described.ok_or_else(missing)?;
            Ok(Wanted {
                place,
                position,
                description: description.clone(),
            })
        });
        let wanted = wanted.collect::<Result<_, Error>>()?;
        Ok((revision, wanted))
    }

    /// Reads and checks a few columns, with one query.
    pub(super) async fn read(
        self,
        dataset: String,
        revision: Revision,
        wanted: Vec<Wanted>,
    ) -> Read {
        let positions: Vec<_> = wanted.iter().map(|column| column.position).collect();
        let chunks = self
            .chunks(&dataset, 0..revision.chunks(), &positions)
            .await?;
        off_thread(move || {
            let chunks = Chunk::in_order(&chunks)?;
            let wanted = wanted.into_iter();
            wanted
                .map(|column| Ok((column.place, column.read(&dataset, &chunks)?)))
                .collect()
        })
        .await
    }
}

impl Store {
    /// Some chunks of some columns, in no order. Chunks that an unfinished upload has written are left out; the newest tail
    /// stands for the last chunk, where that is not full.
    pub(super) async fn chunks(
        &self,
        dataset: &str,
        numbers: Range<i64>,
        positions: &[i64],
    ) -> Result<Vec<SqliteRow>, Error> {
        let rows = sqlx::query(
            "SELECT c.position, c.chunk, c.bytes, c.digest FROM datasets d
             JOIN dataset_chunks c ON c.dataset = d.name AND c.chunk >= $2 AND c.chunk < min($3, d.rows / $5)
             WHERE d.name = $1 AND c.position IN (SELECT value FROM json_each($4))
             UNION ALL
             SELECT t.position, d.rows / $5, t.bytes, t.digest FROM datasets d
             JOIN dataset_tails t ON t.dataset = d.name AND t.revision = d.revision
             WHERE d.name = $1 AND d.rows / $5 >= $2 AND d.rows / $5 < $3
               AND t.position IN (SELECT value FROM json_each($4))",
        )
        .bind(dataset)
        .bind(numbers.start)
        .bind(numbers.end)
        .bind(serde_json::to_string(positions)?)
        .bind(CHUNK_ROWS as i64)
        .fetch_all(self.reader())
        .await?;
        Ok(rows)
    }
}

impl<'a> Chunk<'a> {
    /// The chunks of rows, by column.
    pub(super) fn in_order(rows: &'a [SqliteRow]) -> Result<Vec<Self>, Error> {
        let mut chunks = rows.iter().map(Self::of).collect::<Result<Vec<_>, _>>()?;
        chunks.sort_unstable_by_key(|chunk| (chunk.position, chunk.number));
        Ok(chunks)
    }

    fn of(row: &'a SqliteRow) -> Result<Self, Error> {
        Ok(Self {
            position: row.try_get(0)?,
            number: row.try_get(1)?,
            bytes: row.try_get(2)?,
            digest: row.try_get(3)?,
        })
    }
}

impl Wanted {
    fn read(self, dataset: &str, chunks: &[Chunk]) -> Result<Column, Error> {
        let chunks = self.chunks(dataset, chunks)?;
        let bytes = chunks.iter().map(|chunk| chunk.bytes);
        Ok(Column::decode(self.description, bytes)?)
    }

    /// The column's chunks, which are some of `chunks`, where they are in the order of columns.
    pub(super) fn chunks<'a>(
        &self,
        dataset: &str,
        chunks: &'a [Chunk<'a>],
    ) -> Result<&'a [Chunk<'a>], Error> {
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
        Ok(chunks)
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
pub(super) mod tests {
    use super::*;
    use crate::store::tests::create;

    /// Rows of which a column is read in several chunks, and three columns with one query.
    const ROWS: usize = 16_384 + 180_000;

    fn column(number: usize) -> Column {
        let values = (0..ROWS).map(|row| (row + 10 * number) as f64);
        Column::numeric(format!("x{number}"), values).expect("finite numbers")
    }

    async fn store(directory: &std::path::Path) -> Store {
        let store = Store::open(directory).await.expect("opens");
        let header = (0..8)
            .map(|number| format!("x{number}"))
            .collect::<Vec<_>>()
            .join(",");
        let row = |row: usize| {
            (0..8)
                .map(|number| (row + 10 * number).to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let rows = (0..ROWS).map(|number| row(number) + "\n");
        let created = create(&store, "t", &(header + "\n" + &rows.collect::<String>())).await;
        created.expect("stored");
        store
    }

    /// Columns of the latest revision.
    pub(in crate::store) async fn read(
        store: &Store,
        dataset: &str,
        names: &[String],
    ) -> Result<Vec<Column>, Error> {
        let digest = store.dataset(dataset).await?.digest;
        store.dataset_columns(dataset, &digest, names).await
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
            let read = read(&store, "t", &names(numbers)).await;
            let expected: Vec<_> = numbers.iter().copied().map(column).collect();
            let numbers_of =
                |columns: &[Column]| columns.iter().map(Column::numbers).collect::<Vec<_>>();
            assert!(
                numbers_of(&read.expect("columns")) == numbers_of(&expected),
                "{numbers:?}"
            );
        }
    }

    #[tokio::test]
    async fn of_columns_that_cannot_be_read_the_first_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path()).await;
        for (dataset, column, missing) in [("t", "x8", "t/x8"), ("u", "x1", "u")] {
            let asked = ["x1".to_owned(), column.to_owned()];
            let read = read(&store, dataset, &asked).await;
            let told = matches!(&read, Err(Error::NotFound { name, .. }) if name == missing);
            assert!(told, "{read:?}");
        }
        sqlx::query("UPDATE dataset_chunks SET bytes = zeroblob(length(bytes)) WHERE position IN (1, 3, 6) AND chunk = 1")
            .execute(&store.inner.writer)
            .await
            .expect("damaged");
        for (numbers, first) in [([0, 6, 2, 4, 3, 1, 5], 6), ([5, 4, 2, 0, 1, 7, 3], 1)] {
            let read = read(&store, "t", &names(&numbers)).await;
            let what = format!("column \"x{first}\" of dataset \"t\"");
            assert!(
                matches!(&read, Err(Error::Damaged { what: told }) if *told == what),
                "{read:?}"
            );
        }
        let sound = read(&store, "t", &names(&[0, 2, 4, 5, 7])).await;
        assert_eq!(sound.expect("columns").len(), 5);
    }
}
