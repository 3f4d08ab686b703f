//! Models in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use crate::model::{CheckedModelSpec, Model, ModelSpec};
use crate::store::error::is_taken;
use crate::store::page::readable;
use crate::store::predictions::{Needed, check_unneeded};
use crate::store::seal;
use crate::store::versions::Artifact;
use crate::store::{
    Answer, Change, Error, Expected, Lineage, Once, Page, PageQuery, Revision, Store, Timestamp,
};

/// A model as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    /// What its user declared, with every default filled in.
    pub spec: ModelSpec,
    /// Weights, biases and scales together.
    pub parameter_count: u64,
    /// The newest version.
    pub latest_version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Names of versions.
    pub aliases: BTreeMap<String, u64>,
    /// The state that the last two are in.
    pub revision: Revision,
}

/// What predictions are served from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    /// The name, the latest version and the aliases of every model.
    pub models: Vec<(String, u64, BTreeMap<String, u64>)>,
    /// Whether a damaged model or alias was left out.
    pub left_out: bool,
}

/// Aliases of a model.
struct Aliases {
    sound: BTreeMap<String, u64>,
    /// Whether damaged ones were left out.
    left_out: bool,
}

impl Store {
    /// Stores a new model with its version 1.
    ///
    /// Errors: the name is taken; the key stands for another request.
    pub async fn create_model(
        &self,
        spec: &CheckedModelSpec,
        model: Arc<Model>,
        once: Once<ModelRow>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let name = spec.spec().name.clone();
        let artifact = Artifact::of(&model).await?;
        let content = artifact.content(self).await?;
        let mut tx = self.begin_growing().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(answer);
        }
        let inserted = sqlx::query(
            "INSERT INTO models (name, spec, parameter_count, latest_version, created_at) VALUES ($1, $2, $3, 1, $4)",
        )
        .bind(&name)
        .bind(serde_json::to_string(spec.spec())?)
        .bind(spec.parameter_count() as i64)
        .bind(now.as_str())
        .execute(&mut *tx)
        .await;
        let inserted = match inserted {
            Err(error) if is_taken(&error) => {
                return Err(Error::Exists {
                    kind: "model",
                    name,
                });
            }
            other => other?,
        };
        artifact
            .insert(
                &mut tx,
                content,
                (&name, 1),
                (None, &Lineage::initial(spec.spec().seed)),
                now,
            )
            .await?;
        let row = ModelRow {
            spec: spec.spec().clone(),
            parameter_count: spec.parameter_count(),
            latest_version: 1,
            created_at: now.clone(),
            aliases: BTreeMap::new(),
            revision: Revision::new(inserted.last_insert_rowid(), 1),
        };
        let answer = once.keep(&mut tx, &row, now).await?;
        self.publish(
            tx,
            Change::Published {
                name,
                version: 1,
                model,
            },
        )
        .await?;
        Ok(answer)
    }

    /// The model of a name.
    ///
    /// Errors: there is none.
    pub async fn model(&self, name: &str) -> Result<ModelRow, Error> {
        let _guard = self.reading_catalogue().await;
        let row = sqlx::query("SELECT * FROM models WHERE name = $1")
            .bind(name)
            .fetch_optional(self.reader())
            .await?;
        let mut model = model_row(&row.ok_or_else(|| Error::not_found("model", name))?)?;
        model.aliases = self.aliases_of(name).await?.sound;
        Ok(model)
    }

    /// A page of the models.
    ///
    /// Errors: there is no model of the name to go on after.
    pub async fn models(&self, page: &PageQuery) -> Result<Page<ModelRow>, Error> {
        let _guard = self.reading_catalogue().await;
        let place = self.place(page, "model", ("models", "name")).await?;
        let (beyond, order) = page.order();
        let sql = format!(
            "SELECT * FROM models WHERE sequence {beyond} $1 ORDER BY sequence {order} LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(place)
            .bind(page.fetch())
            .fetch_all(self.reader())
            .await?;
        let Page { data, has_more } = Page::readable(rows, page.limit, "model", model_row);
        let mut models = Vec::with_capacity(data.len());
        for model in data {
            let aliases = self.aliases_of(&model.spec.name).await?.sound;
            models.push(ModelRow { aliases, ..model });
        }
        let data = models;
        Ok(Page { data, has_more })
    }

    /// Deletes a model with its versions, aliases and batch predictions. Its ended jobs stay.
    ///
    /// Errors: there is none; it is not in the expected state; an unfinished job trains it, or an unfinished batch prediction
    /// needs it.
    pub async fn delete_model(&self, name: &str, expected: &Expected) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        expected.check(&mut tx, name).await?;
        let job: Option<String> = sqlx::query_scalar(
            "SELECT id FROM jobs WHERE model = $1 AND status IN ('queued', 'running', 'paused') LIMIT 1",
        )
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(job) = job {
            let by = format!("job {job} trains it; cancel the job first");
            return Err(Error::InUse {
                kind: "model",
                name: name.to_owned(),
                by,
            });
        }
        let needed = Needed {
            model: Some(name),
            ..Needed::default()
        };
        check_unneeded(&mut tx, needed, |by| {
            let (kind, name) = ("model", name.to_owned());
            Error::InUse { kind, name, by }
        })
        .await?;
        let deleted = sqlx::query("DELETE FROM models WHERE name = $1")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("model", name));
        }
        tx.leaves_something();
        self.publish(
            tx,
            Change::ModelDeleted {
                name: name.to_owned(),
            },
        )
        .await
    }

    async fn aliases_of(&self, name: &str) -> Result<Aliases, Error> {
        let rows = sqlx::query("SELECT * FROM aliases WHERE model = $1")
            .bind(name)
            .fetch_all(self.reader())
            .await?;
        let sound = rows
            .iter()
            .filter_map(|row| readable("alias", alias_row(row)));
        let sound: BTreeMap<_, _> = sound.collect();
        let left_out = sound.len() < rows.len();
        Ok(Aliases { sound, left_out })
    }

    /// Whether an alias that a model seems not to have is one that is damaged.
    ///
    /// Errors: it is, or the model.
    pub async fn check_alias(&self, name: &str, alias: &str) -> Result<(), Error> {
        self.model(name).await?;
        let row = sqlx::query("SELECT * FROM aliases WHERE model = $1 AND alias = $2")
            .bind(name)
            .bind(alias)
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(alias_row).transpose().map(drop)
    }

    /// The latest version and the aliases of every model: what predictions are served from.
    pub async fn served(&self) -> Result<Served, Error> {
        let _guard = self.reading_catalogue().await;
        let rows = sqlx::query("SELECT * FROM models ORDER BY sequence")
            .fetch_all(self.reader())
            .await?;
        let mut served = Served::default();
        for row in &rows {
            let Some(model) = readable("model", model_row(row)) else {
                served.left_out = true;
                continue;
            };
            let aliases = self.aliases_of(&model.spec.name).await?;
            served.left_out |= aliases.left_out;
            let ModelRow {
                spec,
                latest_version,
                ..
            } = model;
            let model = (spec.name, latest_version, aliases.sound);
            served.models.push(model);
        }
        Ok(served)
    }
}

fn alias_row(row: &SqliteRow) -> Result<(String, u64), Error> {
    let what = || {
        let (model, alias) = (row.try_get("model"), row.try_get("alias"));
        format!("alias {}/{}", model.unwrap_or("?"), alias.unwrap_or("?"))
    };
    seal::check(row, "aliases", what)?;
    Ok((
        row.try_get("alias")?,
        row.try_get::<i64, _>("version")? as u64,
    ))
}

fn model_row(row: &SqliteRow) -> Result<ModelRow, Error> {
    let what = || format!("model {:?}", row.try_get("name").unwrap_or("?"));
    seal::check(row, "models", what)?;
    Ok(ModelRow {
        spec: serde_json::from_str(row.try_get("spec")?)?,
        parameter_count: row.try_get::<i64, _>("parameter_count")? as u64,
        latest_version: row.try_get::<i64, _>("latest_version")? as u64,
        created_at: Timestamp::stored(row.try_get("created_at")?),
        aliases: BTreeMap::new(),
        revision: Revision::new(row.try_get("sequence")?, row.try_get("revision")?),
    })
}
