//! Versions of models and their aliases in the store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use crate::model::{Header, Model, Selftest, digest};
use crate::store::contents::{self, Content};
use crate::store::predictions::{Needed, check_unneeded};
use crate::store::seal;
use crate::store::{
    Change, Error, Expected, JobMetrics, Page, PageQuery, Revision, Store, Timestamp, Tx,
    off_thread,
};

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The version that training started from; none for the initial parameters.
    pub base_version: Option<u64>,
    /// Digests of what was trained on.
    pub data_digests: Vec<String>,
    /// The seed of the initial parameters, or of the split and shuffle.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: u64,
    /// The last epoch's figures.
    pub metrics: JobMetrics,
    /// The program that made it.
    pub build: String,
}

/// A version as it is stored, without its artifact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionRow {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// The job that published it; none for version 1.
    pub job: Option<String>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// SHA-256 of the parameters.
    pub parameter_digest: String,
    /// SHA-256 of the artifact.
    pub artifact_digest: String,
    /// Size of the artifact.
    pub artifact_bytes: u64,
    /// When it was published.
    pub created_at: Timestamp,
    /// What is known of the model without its parameters.
    #[serde(skip)]
    pub header: Header,
}

impl Lineage {
    /// Of initial parameters.
    pub fn initial(seed: u64) -> Self {
        let (base_version, data_digests, metrics) = (None, Vec::new(), JobMetrics::default());
        Self {
            base_version,
            data_digests,
            seed,
            epochs: 0,
            metrics,
            build: build(),
        }
    }
}

/// The program and the machine type: what the bits depend on.
pub fn build() -> String {
    format!(
        "gradientd {} {}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// A version's bytes and digests, made before the transaction that writes them begins.
pub(crate) struct Artifact {
    header: String,
    bytes: Vec<u8>,
    digest: String,
    parameter_digest: String,
}

impl Artifact {
    pub(crate) async fn of(model: &Arc<Model>) -> Result<Self, Error> {
        let header = serde_json::to_string(&model.header())?;
        let (model, same) = (Arc::clone(model), Arc::clone(model));
        let encoded = off_thread(move || {
            let bytes = model.encode();
            let digest = digest(&bytes);
            (bytes, digest)
        });
        let digested = off_thread(move || same.parameter_digest());
        let ((bytes, digest), parameter_digest) = tokio::join!(encoded, digested);
        Ok(Self {
            header,
            bytes,
            digest,
            parameter_digest,
        })
    }

    /// Its bytes, written ahead where they are many.
    pub(crate) async fn content(&self, store: &Store) -> Result<Content<'_>, Error> {
        store.content(&self.bytes).await
    }

    /// Writes the version's row inside a transaction.
    pub(crate) async fn insert(
        &self,
        tx: &mut Tx,
        content: Content<'_>,
        (name, version): (&str, u64),
        (job, lineage): (Option<&str>, &Lineage),
        now: &Timestamp,
    ) -> Result<(), Error> {
        let content = content.insert(tx).await?;
        sqlx::query(
            "INSERT INTO versions (model, version, job_id, header, lineage, parameter_digest, artifact_digest,
             artifact_bytes, created_at, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(name)
        .bind(version as i64)
        .bind(job)
        .bind(&self.header)
        .bind(serde_json::to_string(lineage)?)
        .bind(&self.parameter_digest)
        .bind(&self.digest)
        .bind(self.bytes.len() as i64)
        .bind(now.as_str())
        .bind(content)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// A version of a model, as a connection or transaction sees it.
pub(crate) async fn find_version(
    connection: &mut SqliteConnection,
    name: &str,
    version: u64,
) -> Result<VersionRow, Error> {
    let row = sqlx::query("SELECT * FROM versions WHERE model = $1 AND version = $2")
        .bind(name)
        .bind(version as i64)
        .fetch_optional(connection)
        .await?;
    version_row(&row.ok_or_else(|| Error::not_found("version", format!("{name}/{version}")))?)
}

impl Store {
    /// A version of a model.
    ///
    /// Errors: there is none.
    pub async fn version(&self, name: &str, version: u64) -> Result<VersionRow, Error> {
        let _guard = self.reading_catalogue().await;
        let mut connection = self.reader().acquire().await?;
        find_version(&mut connection, name, version).await
    }

    /// A page of a model's versions.
    ///
    /// Errors: there is no such model.
    pub async fn versions(&self, name: &str, page: &PageQuery) -> Result<Page<VersionRow>, Error> {
        let latest = self.model(name).await?.latest_version;
        let place = match &page.after {
            None => page.end(),
            // A number that was deleted still has its place.
            Some(after) => match after.parse() {
                Ok(number) if (1..=latest as i64).contains(&number) => number,
                _ => {
                    return Err(Error::UnknownPlace {
                        kind: "version",
                        after: after.clone(),
                    });
                }
            },
        };
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM versions WHERE model = $1 AND version {beyond} $2 ORDER BY version {order} LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(name)
            .bind(place)
            .bind(page.fetch())
            .fetch_all(self.reader())
            .await?;
        Ok(Page::readable(rows, page.limit, "version", version_row))
    }

    /// The model of a version, checked against its digest.
    ///
    /// Errors: there is none; its bytes are damaged.
    pub async fn load_version(&self, name: &str, version: u64) -> Result<Model, Error> {
        let mut tx = self.reader().begin().await?;
        let row = sqlx::query("SELECT * FROM versions WHERE model = $1 AND version = $2")
            .bind(name)
            .bind(version as i64)
            .fetch_optional(&mut *tx)
            .await?;
        let label = format!("{name}/{version}");
        let row = row.ok_or_else(|| Error::not_found("version", &label))?;
        seal::check(&row, "versions", || format!("version {label}"))?;
        let expected = row.try_get("artifact_digest")?;
        let artifact = contents::read(&mut tx, row.try_get("content")?).await?;
        drop(tx);
        let what = format!("version {label}");
        contents::decoded(artifact, expected, what, move |artifact| {
            let model = Model::decode(artifact)?;
            let Selftest { passed, largest_difference, .. } = model.selftest();
            if !passed {
                tracing::warn!(version = %label, largest_difference, "answers its golden set with other bits than when it was published");
            }
            Ok(model)
        })
        .await
    }

    /// Deletes a version.
    ///
    /// Errors: there is none; it is the latest, an alias names it, an unfinished job started from it, or an unfinished batch
    /// prediction predicts with it.
    pub async fn delete_version(&self, name: &str, version: u64) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let latest: Option<i64> =
            sqlx::query_scalar("SELECT latest_version FROM models WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        let label = format!("{name}/{version}");
        let in_use = |by: String| Error::InUse {
            kind: "version",
            name: label.clone(),
            by,
        };
        if latest == Some(version as i64) {
            return Err(in_use(
                "it is the latest; delete the model, or train it on first".to_owned(),
            ));
        }
        let alias: Option<String> = sqlx::query_scalar(
            "SELECT alias FROM aliases WHERE model = $1 AND version = $2 LIMIT 1",
        )
        .bind(name)
        .bind(version as i64)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(alias) = alias {
            return Err(in_use(format!(
                "alias {alias:?} names it; move or delete the alias first"
            )));
        }
        let job: Option<String> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE model = $1 AND base_version = $2 AND status IN ('queued', 'running', 'paused')
             LIMIT 1",
        )
        .bind(name)
        .bind(version as i64)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(job) = job {
            return Err(in_use(format!(
                "job {job} starts from it; cancel the job first"
            )));
        }
        let needed = Needed {
            model: Some(name),
            version: Some(version),
            ..Needed::default()
        };
        check_unneeded(&mut tx, needed, in_use).await?;
        let deleted = sqlx::query("DELETE FROM versions WHERE model = $1 AND version = $2")
            .bind(name)
            .bind(version as i64)
            .execute(&mut *tx)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("version", label));
        }
        tx.leaves_something();
        self.publish(
            tx,
            Change::VersionDeleted {
                name: name.to_owned(),
                version,
            },
        )
        .await
    }

    /// Lets an alias name a version.
    ///
    /// Returns the state that the model is in then. Errors: there is no such model or version; the model is not in the
    /// expected state.
    pub async fn set_alias(
        &self,
        name: &str,
        alias: &str,
        version: u64,
        expected: &Expected,
    ) -> Result<Revision, Error> {
        let mut tx = self.begin().await?;
        expected.check(&mut tx, name).await?;
        let found: Option<i64> =
            sqlx::query_scalar("SELECT version FROM versions WHERE model = $1 AND version = $2")
                .bind(name)
                .bind(version as i64)
                .fetch_optional(&mut *tx)
                .await?;
        found.ok_or_else(|| Error::not_found("version", format!("{name}/{version}")))?;
        sqlx::query(
            "INSERT INTO aliases (model, alias, version) VALUES ($1, $2, $3)
             ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
        )
        .bind(name)
        .bind(alias)
        .bind(version as i64)
        .execute(&mut *tx)
        .await?;
        let change = Change::Aliased {
            name: name.to_owned(),
            alias: alias.to_owned(),
            version: Some(version),
        };
        let revision = Revision::of(&mut tx, name).await?;
        self.publish(tx, change).await?;
        Ok(revision)
    }

    /// Deletes an alias.
    ///
    /// Errors: there is none; the model is not in the expected state.
    pub async fn delete_alias(
        &self,
        name: &str,
        alias: &str,
        expected: &Expected,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        expected.check(&mut tx, name).await?;
        let deleted = sqlx::query("DELETE FROM aliases WHERE model = $1 AND alias = $2")
            .bind(name)
            .bind(alias)
            .execute(&mut *tx)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("alias", format!("{name}/{alias}")));
        }
        let change = Change::Aliased {
            name: name.to_owned(),
            alias: alias.to_owned(),
            version: None,
        };
        self.publish(tx, change).await
    }
}

fn version_row(row: &SqliteRow) -> Result<VersionRow, Error> {
    let what = || {
        let (model, version) = (row.try_get("model"), row.try_get("version"));
        format!("version {}/{}", model.unwrap_or("?"), version.unwrap_or(0))
    };
    seal::check(row, "versions", what)?;
    Ok(VersionRow {
        model: row.try_get("model")?,
        version: row.try_get::<i64, _>("version")? as u64,
        job: row.try_get("job_id")?,
        lineage: serde_json::from_str(row.try_get("lineage")?)?,
        parameter_digest: row.try_get("parameter_digest")?,
        artifact_digest: row.try_get("artifact_digest")?,
        artifact_bytes: row.try_get::<i64, _>("artifact_bytes")? as u64,
        created_at: Timestamp::stored(row.try_get("created_at")?),
        header: serde_json::from_str(row.try_get("header")?)?,
    })
}
