//! Datasets in the store: columns as checksummed chunks.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use crate::data::{ColumnDescription, Table};
use crate::model::{digest, hex};
use crate::store::error::is_taken;
use crate::store::{Answer, Error, Once, Page, PageQuery, Store, Timestamp};

/// A dataset as it is stored, without its values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
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

/// A piece of a column on its way into the store.
#[derive(Clone, Debug)]
pub struct DatasetChunk {
    position: i64,
    chunk: i64,
    digest: String,
    bytes: Vec<u8>,
}

/// A dataset to be stored.
#[derive(Clone, Debug)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub table: Table,
    /// The same in pieces.
    pub chunks: Vec<DatasetChunk>,
}

/// Bytes of chunks that are written in one transaction.
const BYTES_AT_ONCE: usize = 8 << 20;

impl DatasetChunk {
    /// The pieces of a table's columns, with their digests. Costs a pass over the values.
    pub fn of(table: &Table) -> Vec<Self> {
        let pieces = table
            .columns()
            .iter()
            .zip(0..)
            .flat_map(|(column, position)| {
                let encoded = column.encode().into_iter().zip(0..);
                encoded.map(move |(bytes, chunk)| Self {
                    position,
                    chunk,
                    digest: digest(&bytes),
                    bytes,
                })
            });
        pieces.collect()
    }
}

impl Store {
    /// Stores a dataset, whole or not at all.
    ///
    /// Errors: the name is taken; the key stands for another request.
    pub async fn create_dataset(
        &self,
        new: NewDataset,
        once: Once<Dataset>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let NewDataset {
            name,
            table,
            chunks,
        } = new;
        let dataset = Dataset {
            name,
            rows: table.rows() as u64,
            columns: table
                .columns()
                .iter()
                .map(|column| column.description().clone())
                .collect(),
            digest: hex(&table.digest()),
            bytes: chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum(),
            created_at: now.clone(),
        };
        let _turn = match &once.idempotency {
            Some(_) => Some(self.inner.keyed_dataset.lock().await),
            None => None,
        };
        if let Some(answer) = self.announce(&dataset, &once).await? {
            return Ok(answer);
        }
        let filled = self.fill(&dataset, chunks, once).await;
        if filled.is_err() {
            self.discard_unfinished(Some(&dataset.name)).await?;
        }
        filled
    }

    /// Takes the name and describes the columns; nobody sees the dataset yet. The answer, where it was made before.
    async fn announce(
        &self,
        dataset: &Dataset,
        once: &Once<Dataset>,
    ) -> Result<Option<Answer>, Error> {
        let mut tx = self.begin().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(Some(answer));
        }
        let inserted = sqlx::query(
            "INSERT INTO datasets (name, ready, rows, bytes, digest, created_at) VALUES ($1, 0, $2, $3, $4, $5)",
        )
        .bind(&dataset.name)
        .bind(dataset.rows as i64)
        .bind(dataset.bytes as i64)
        .bind(&dataset.digest)
        .bind(dataset.created_at.as_str())
        .execute(&mut *tx)
        .await;
        match inserted {
            Err(error) if is_taken(&error) => {
                let name = dataset.name.clone();
                let kind = "dataset";
                return Err(Error::Exists { kind, name });
            }
            other => other?,
        };
        for (column, position) in dataset.columns.iter().zip(0i64..) {
            sqlx::query("INSERT INTO dataset_columns (dataset, position, name, description) VALUES ($1, $2, $3, $4)")
                .bind(&dataset.name)
                .bind(position)
                .bind(&column.name)
                .bind(serde_json::to_string(column)?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(None)
    }

    /// Writes the chunks in transactions short enough that other writers get their turn between, and lets the dataset
    /// be seen with the last of them.
    async fn fill(
        &self,
        dataset: &Dataset,
        chunks: Vec<DatasetChunk>,
        once: Once<Dataset>,
    ) -> Result<Answer, Error> {
        let mut chunks = chunks.into_iter().peekable();
        loop {
            let mut tx = self.begin().await?;
            let mut written = 0;
            while let Some(chunk) = chunks.next_if(|_| written < BYTES_AT_ONCE) {
                written += chunk.bytes.len();
                sqlx::query(
                    "INSERT INTO dataset_chunks (dataset, position, chunk, digest, bytes) VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(&dataset.name)
                .bind(chunk.position)
                .bind(chunk.chunk)
                .bind(chunk.digest)
                .bind(chunk.bytes)
                .execute(&mut *tx)
                .await?;
            }
            if chunks.peek().is_none() {
                sqlx::query("UPDATE datasets SET ready = 1 WHERE name = $1")
                    .bind(&dataset.name)
                    .execute(&mut *tx)
                    .await?;
                let answer = once.keep(&mut tx, dataset, &dataset.created_at).await?;
                tx.commit().await?;
                return Ok(answer);
            }
            tx.commit().await?;
        }
    }

    /// Drops what is left of uploads that came to no end: one, or all of an earlier process.
    pub(crate) async fn discard_unfinished(&self, name: Option<&str>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM datasets WHERE ready = 0 AND ($1 IS NULL OR name = $1)")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The dataset of a name.
    ///
    /// Errors: there is none.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, Error> {
        let row = sqlx::query("SELECT * FROM datasets WHERE name = $1 AND ready = 1")
            .bind(name)
            .fetch_optional(self.reader())
            .await?;
        self.with_columns(&row.ok_or_else(|| Error::not_found("dataset", name))?)
            .await
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
        let mut datasets = Vec::with_capacity(rows.len());
        for row in &rows {
            datasets.push(self.with_columns(row).await?);
        }
        Ok(Page::cut(datasets, page.limit as usize))
    }

    /// Deletes a dataset.
    ///
    /// Errors: there is none; an unfinished job reads it.
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

    async fn with_columns(&self, row: &SqliteRow) -> Result<Dataset, Error> {
        let name: String = row.try_get("name")?;
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT description FROM dataset_columns WHERE dataset = $1 ORDER BY position",
        )
        .bind(&name)
        .fetch_all(self.reader())
        .await?;
        Ok(Dataset {
            name,
            rows: row.try_get::<i64, _>("rows")? as u64,
            columns: columns
                .iter()
                .map(|column| serde_json::from_str(column))
                .collect::<Result<_, _>>()?,
            digest: row.try_get("digest")?,
            bytes: row.try_get::<i64, _>("bytes")? as u64,
            created_at: Timestamp::stored(row.try_get("created_at")?),
        })
    }
}
