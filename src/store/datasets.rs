//! Datasets in the store: described, listed and deleted. [`crate::store::Filling`] writes them.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::data::ColumnDescription;
use crate::store::page::readable;
use crate::store::predictions::{Needed, check_unneeded};
use crate::store::{Error, Page, PageQuery, Store, Timestamp, seal};

/// A dataset as it is stored, without its values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// How often rows have come into it: 1 for the first time.
    pub revision: u64,
    /// Number of rows.
    pub rows: u64,
    /// Its columns, in the table's order.
    pub columns: Vec<ColumnDescription>,
    /// SHA-256 of names, kinds and values.
    pub digest: String,
    /// Size of the stored values.
    pub bytes: u64,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// A revision of a dataset: its first rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetRevision {
    /// Its number.
    pub revision: u64,
    /// Number of rows.
    pub rows: u64,
    /// SHA-256 of names, kinds and values.
    pub digest: String,
    /// Size of the stored values.
    pub bytes: u64,
    /// When its last rows were uploaded.
    pub created_at: Timestamp,
}

impl Store {
    /// The dataset of a name, with its rows and columns of the latest revision.
    ///
    /// Errors: there is none.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, Error> {
        let mut connection = self.reader().acquire().await?;
        let mut dataset = self.described(&mut connection, name).await?;
        dataset.sort();
        Ok(dataset)
    }

    /// The same, with its categories in the order of their codes.
    pub(crate) async fn dataset_in_code_order(&self, name: &str) -> Result<Dataset, Error> {
        let mut connection = self.reader().acquire().await?;
        self.described(&mut connection, name).await
    }

    async fn described(
        &self,
        connection: &mut SqliteConnection,
        name: &str,
    ) -> Result<Dataset, Error> {
        let row = sqlx::query("SELECT * FROM datasets WHERE name = $1 AND ready = 1")
            .bind(name)
            .fetch_optional(&mut *connection)
            .await?;
        let row = row.ok_or_else(|| Error::not_found("dataset", name))?;
        Dataset::read(&row, connection).await
    }

    /// The dataset of a name as a transaction sees it.
    pub(crate) async fn dataset_within(
        &self,
        tx: &mut SqliteConnection,
        name: &str,
    ) -> Result<Dataset, Error> {
        let mut dataset = self.described(tx, name).await?;
        dataset.sort();
        Ok(dataset)
    }

    /// A page of the revisions of a dataset.
    ///
    /// Errors: there is no such dataset; there is no revision to go on after.
    pub async fn dataset_revisions(
        &self,
        name: &str,
        page: &PageQuery,
    ) -> Result<Page<DatasetRevision>, Error> {
        let latest = self.latest_revision(name).await?;
        let place = match &page.after {
            None => page.end(),
            Some(after) => match after.parse() {
                Ok(number) if (1..=latest).contains(&number) => number,
                _ => {
                    return Err(Error::UnknownPlace {
                        kind: "revision",
                        after: after.clone(),
                    });
                }
            },
        };
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM dataset_revisions WHERE dataset = $1 AND revision {beyond} $2 ORDER BY revision {order} LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(name)
            .bind(place)
            .bind(page.fetch())
            .fetch_all(self.reader())
            .await?;
        Ok(Page::readable(rows, page.limit, "revision", |row| {
            check_of(row, "dataset_revisions", name)?;
            DatasetRevision::read(row)
        }))
    }

    /// The latest revision of a dataset.
    async fn latest_revision(&self, name: &str) -> Result<i64, Error> {
        sqlx::query_scalar("SELECT revision FROM datasets WHERE name = $1 AND ready = 1")
            .bind(name)
            .fetch_optional(self.reader())
            .await?
            .ok_or_else(|| Error::not_found("dataset", name))
    }

    /// A page of the datasets.
    ///
    /// Errors: there is no dataset of the name to go on after.
    pub async fn datasets(&self, page: &PageQuery) -> Result<Page<Dataset>, Error> {
        let place = self.place(page, "dataset", ("datasets", "name")).await?;
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM datasets WHERE ready = 1 AND sequence {beyond} $1 ORDER BY sequence {order} LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(place)
            .bind(page.fetch())
            .fetch_all(self.reader())
            .await?;
        let mut connection = self.reader().acquire().await?;
        let Page { data, has_more } = Page::cut(rows, page.limit as usize);
        let mut datasets = Vec::with_capacity(data.len());
        for row in &data {
            let read = Dataset::read(row, &mut connection).await;
            datasets.extend(readable("dataset", read).map(|mut dataset| {
                dataset.sort();
                dataset
            }));
        }
        let data = datasets;
        Ok(Page { data, has_more })
    }

    /// Deletes a dataset.
    ///
    /// Errors: there is none; an unfinished job or batch prediction reads it.
    pub async fn delete_dataset(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let job: Option<String> = sqlx::query_scalar(
            "SELECT j.id FROM job_datasets d JOIN jobs j ON j.id = d.job_id
             WHERE d.dataset = $1 AND j.status IN ('queued', 'running', 'paused') LIMIT 1",
        )
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(job) = job {
            let by = format!("job {job} reads it; cancel the job first");
            return Err(Error::InUse {
                kind: "dataset",
                name: name.to_owned(),
                by,
            });
        }
        let needed = Needed {
            dataset: Some(name),
            ..Needed::default()
        };
        check_unneeded(&mut tx, needed, |by| {
            let (kind, name) = ("dataset", name.to_owned());
            Error::InUse { kind, name, by }
        })
        .await?;
        let deleted = sqlx::query("DELETE FROM datasets WHERE name = $1 AND ready = 1")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("dataset", name));
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Dataset {
    /// Bytes that its words take in memory, with what they take beside their letters.
    pub fn word_bytes(&self) -> u64 {
        let words = self.columns.iter().flat_map(|column| &column.categories);
        words.map(|word| word.len() as u64 + 64).sum()
    }

    /// The dataset of a row, with its categories in the order of their codes.
    async fn read(row: &SqliteRow, connection: &mut SqliteConnection) -> Result<Self, Error> {
        check_of(row, "datasets", row.try_get("name").unwrap_or("?"))?;
        let DatasetRevision {
            revision,
            rows,
            digest,
            bytes,
            created_at,
        } = DatasetRevision::read(row)?;
        let name: String = row.try_get("name")?;
        let columns = sqlx::query(
            "SELECT * FROM revision_columns WHERE dataset = $1 AND revision = $2 ORDER BY position",
        )
        .bind(&name)
        .bind(revision as i64)
        .fetch_all(&mut *connection)
        .await?;
        let words = sqlx::query(
            "SELECT * FROM dataset_words WHERE dataset = $1 AND revision <= $2 ORDER BY position, revision",
        )
        .bind(&name)
        .bind(revision as i64)
        .fetch_all(&mut *connection)
        .await?;
        let columns = descriptions(&name, &columns, &words)?;
        check_count(connection, &name, columns.len()).await?;
        Ok(Self {
            name,
            revision,
            rows,
            columns: columns.into_iter().map(|(_, column)| column).collect(),
            digest,
            bytes,
            created_at,
        })
    }

    fn sort(&mut self) {
        for column in &mut self.columns {
            column.sort();
        }
    }
}

impl DatasetRevision {
    fn read(row: &SqliteRow) -> Result<Self, Error> {
        Ok(Self {
            revision: row.try_get::<i64, _>("revision")? as u64,
            rows: row.try_get::<i64, _>("rows")? as u64,
            digest: row.try_get("digest")?,
            bytes: row.try_get::<i64, _>("bytes")? as u64,
            created_at: Timestamp::stored(row.try_get("created_at")?),
        })
    }
}

/// Errors: not all columns of a dataset's revision are there, or one is damaged.
pub(crate) async fn check_columns(
    connection: &mut SqliteConnection,
    dataset: &str,
    revision: i64,
) -> Result<(), Error> {
    let named = sqlx::query("SELECT * FROM dataset_columns WHERE dataset = $1")
        .bind(dataset)
        .fetch_all(&mut *connection)
        .await?;
    for row in &named {
        check_of(row, "dataset_columns", dataset)?;
    }
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM revision_columns WHERE dataset = $1 AND revision = $2",
    )
    .bind(dataset)
    .bind(revision)
    .fetch_one(&mut *connection)
    .await?;
    check_count(connection, dataset, count as usize).await
}

/// Errors: a revision of a dataset has another number of columns than it has names.
async fn check_count(
    connection: &mut SqliteConnection,
    dataset: &str,
    columns: usize,
) -> Result<(), Error> {
    let named: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM dataset_columns WHERE dataset = $1")
        .bind(dataset)
        .fetch_one(connection)
        .await?;
    if named as usize == columns {
        return Ok(());
    }
    Err(Error::Damaged {
        what: format!("dataset {dataset:?}, of which {columns} of {named} columns are there"),
    })
}

/// Errors: a row of a dataset is damaged.
pub(crate) fn check_of(row: &SqliteRow, table: &str, dataset: &str) -> Result<(), Error> {
    seal::check(row, table, || format!("dataset {dataset:?}"))
}

/// Columns with their words, in the order of their codes, each under its place in the dataset. The words of a place stand in
/// the order in which they came.
pub(crate) fn descriptions(
    dataset: &str,
    columns: &[SqliteRow],
    words: &[SqliteRow],
) -> Result<Vec<(i64, ColumnDescription)>, Error> {
    let mut of_place: HashMap<i64, Vec<&str>> = HashMap::new();
    for row in words {
        check_of(row, "dataset_words", dataset)?;
        let words = row.try_get("words")?;
        of_place
            .entry(row.try_get("position")?)
            .or_default()
            .push(words);
    }
    let columns = columns.iter().map(|row| {
        check_of(row, "revision_columns", dataset)?;
        let position = row.try_get("position")?;
        let mut column: ColumnDescription = serde_json::from_str(row.try_get("description")?)?;
        for words in of_place.get(&position).into_iter().flatten() {
            column
                .categories
                .extend(serde_json::from_str::<Vec<String>>(words)?);
        }
        Ok((position, column))
    });
    columns.collect()
}
