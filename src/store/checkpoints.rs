//! Checkpoints in the store: written for runners, and read by users to predict with and to publish as versions.

use std::sync::Arc;

use sqlx::Row;
use uuid::Uuid;

use crate::store::contents::{self, Content};
use crate::store::events::{EventData, tell};
use crate::store::history::metrics_of;
use crate::store::leases::check_owner;
use crate::store::seal;
use crate::store::versions::{Artifact, find_version};
use crate::store::{
    Answer, Change, Error, Lineage, NewCheckpoint, Once, Owner, Store, Timestamp, Tx, VersionRow,
    build,
};
use crate::train::{CheckedSpec, Checkpoint};

/// Checkpoints of a job that are kept.
const KEPT_CHECKPOINTS: i64 = 2;

impl Store {
    /// The checkpoint of the end of an epoch, which is named as a path does, checked against its digest.
    ///
    /// Errors: there is no such job or checkpoint; its bytes are damaged.
    pub async fn checkpoint(&self, id: Uuid, epoch: &str) -> Result<Checkpoint, Error> {
        let mut kept = self.epoch_ends(id).await?;
        kept.reverse();
        let found = kept.iter().find(|kept| kept.to_string() == epoch);
        let mut tx = self.reader().begin().await?;
        let row =
            sqlx::query("SELECT * FROM checkpoints WHERE job_id = $1 AND epoch = $2 AND step = 0")
                .bind(id.to_string())
                .bind(found.map(|epoch| *epoch as i64))
                .fetch_optional(&mut *tx)
                .await?;
        let Some(row) = row else {
            // The list leaves out those that are damaged, of which this may be one.
            let all = sqlx::query("SELECT * FROM checkpoints WHERE job_id = $1")
                .bind(id.to_string())
                .fetch_all(&mut *tx)
                .await?;
            for row in &all {
                seal::check(row, "checkpoints", || format!("a checkpoint of job {id}"))?;
            }
            return Err(Error::NoCheckpoint {
                job: id,
                epoch: epoch.to_owned(),
                kept,
            });
        };
        let what = format!("checkpoint {epoch} of job {id}");
        seal::check(&row, "checkpoints", || what.clone())?;
        let expected = row.try_get("digest")?;
        let bytes = contents::read(&mut tx, row.try_get("content")?).await?;
        drop(tx);
        contents::decoded(bytes, expected, what, |bytes| {
            Ok(Checkpoint::decode(bytes)?)
        })
        .await
    }

    /// Bytes of the checkpoint of the end of an epoch, which is named as a path does; 0 where there is none.
    pub async fn checkpoint_bytes(&self, id: Uuid, epoch: &str) -> Result<u64, Error> {
        let bytes: Option<i64> = sqlx::query_scalar(
            "SELECT contents.bytes FROM checkpoints JOIN contents ON contents.id = checkpoints.content
             WHERE job_id = $1 AND epoch = $2 AND step = 0",
        )
        .bind(id.to_string())
        .bind(epoch.parse::<i64>().ok())
        .fetch_optional(self.reader())
        .await?;
        Ok(bytes.map_or(0, |bytes| bytes as u64))
    }

    /// The epochs whose ends are kept as checkpoints, newest first.
    ///
    /// Errors: there is no such job.
    pub async fn epoch_ends(&self, id: Uuid) -> Result<Vec<u64>, Error> {
        let kept = self.checkpoints(id).await?;
        let ends = kept.iter().filter(|row| row.step == 0 && row.epoch > 0);
        Ok(ends.map(|row| row.epoch).collect())
    }

    /// The copy of a checkpoint that a job starts from, checked against its digest.
    ///
    /// Errors: there is none; its bytes are damaged.
    pub async fn job_base(&self, id: Uuid) -> Result<Checkpoint, Error> {
        let (bytes, expected) = self.job_part(id, "base").await?;
        let what = format!("the checkpoint that job {id} starts from");
        contents::decoded(bytes, expected, what, |bytes| {
            Ok(Checkpoint::decode(bytes)?)
        })
        .await
    }

    /// Makes the checkpoint of the end of an epoch the next version of the job's model.
    ///
    /// Errors: as [`Store::checkpoint`]; the model that the job trained is gone; the key stands for another request.
    pub async fn publish_checkpoint(
        &self,
        id: Uuid,
        epoch: &str,
        once: Once<VersionRow>,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let job = self.job(id).await?;
        let Checkpoint { epoch, model, .. } = self.checkpoint(id, epoch).await?;
        let model = Arc::new(model);
        let artifact = Artifact::of(&model).await?;
        let content = artifact.content(self).await?;
        let mut tx = self.begin_growing().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(answer);
        }
        let metrics = metrics_of(&mut tx, id, epoch).await?;
        let metrics = metrics.ok_or_else(|| Error::not_found("job", id))?;
        let lineage = Lineage {
            base_version: Some(job.base_version),
            data_digests: job.spec.data_digests(),
            seed: job.spec.seed,
            epochs: epoch,
            metrics,
            build: build(),
        };
        let version: Option<i64> = sqlx::query_scalar(
            "UPDATE models SET latest_version = latest_version + 1 WHERE name = $1 AND sequence = $2
             RETURNING latest_version",
        )
        .bind(&job.model)
        .bind(job.model_sequence)
        .fetch_optional(&mut *tx)
        .await?;
        let name = job.model;
        let version = version.ok_or_else(|| Error::ModelGone {
            model: name.clone(),
            job: id,
        })? as u64;
        artifact
            .insert(
                &mut tx,
                content,
                (&name, version),
                (Some(&id.to_string()), &lineage),
                now,
            )
            .await?;
        tx.seal().await?;
        let row = find_version(&mut tx, &name, version).await?;
        let answer = once.keep(&mut tx, &row, now).await?;
        let change = Change::Published {
            name,
            version,
            model,
        };
        self.publish(tx, change).await?;
        Ok(answer)
    }
}

/// Writes a checkpoint inside a transaction; older ones make room for it.
pub(crate) async fn insert_checkpoint(
    tx: &mut Tx,
    id: Uuid,
    (checkpoint, content): (&NewCheckpoint, Content<'_>),
    now: &Timestamp,
) -> Result<(), Error> {
    let (epoch, step) = (checkpoint.epoch, checkpoint.step);
    let there: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM checkpoints WHERE job_id = $1 AND epoch = $2 AND step = $3",
    )
    .bind(id.to_string())
    .bind(epoch as i64)
    .bind(step as i64)
    .fetch_optional(&mut **tx)
    .await?;
    // An earlier try may have been stored after all.
    if there.is_some() {
        return Ok(());
    }
    let content = content.insert(tx).await?;
    sqlx::query(
        "INSERT INTO checkpoints (job_id, epoch, step, parameter_digest, digest, created_at, content, seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.to_string())
    .bind(epoch as i64)
    .bind(step as i64)
    .bind(&checkpoint.parameter_digest)
    .bind(&checkpoint.digest)
    .bind(now.as_str())
    .bind(content)
    .bind(checkpoint.seconds)
    .execute(&mut **tx)
    .await?;
    let event = EventData::Checkpoint { epoch, step };
    tell(tx, &id.to_string(), &event, now).await?;
    // Kept are the newest ones, and the newest that is an epoch's end: a cancelled job keeps that one.
    sqlx::query(
        "DELETE FROM checkpoints WHERE job_id = $1
         AND (epoch, step) NOT IN
           (SELECT epoch, step FROM checkpoints WHERE job_id = $1 ORDER BY epoch DESC, step DESC LIMIT $2)
         AND NOT (step = 0 AND epoch = (SELECT MAX(epoch) FROM checkpoints WHERE job_id = $1 AND step = 0))",
    )
    .bind(id.to_string())
    .bind(KEPT_CHECKPOINTS)
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE jobs SET crashes = 0 WHERE id = $1")
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    tx.leaves_something();
    Ok(())
}

impl Store {
    /// The newest checkpoint of an owned job that reads back and from which its spec goes on, and for how long the job had trained
    /// by then; others are deleted.
    pub(crate) async fn last_checkpoint(
        &self,
        owner: Owner,
        spec: &CheckedSpec,
    ) -> Result<Option<(Checkpoint, f64)>, Error> {
        let Owner { id, .. } = owner;
        loop {
            let mut tx = self.reader().begin().await?;
            let row = sqlx::query(
                "SELECT * FROM checkpoints WHERE job_id = $1 ORDER BY epoch DESC, step DESC LIMIT 1",
            )
            .bind(id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else {
                return Ok(None);
            };
            let (epoch, step): (i64, i64) = (row.try_get("epoch")?, row.try_get("step")?);
            let seconds = row.try_get("seconds").unwrap_or_default();
            let what = format!("checkpoint {epoch}, {step} of job {id}");
            let expected = if seal::is_sound(&row, "checkpoints")? {
                row.try_get("digest")?
            } else {
                // No bytes have this one.
                String::new()
            };
            let bytes = contents::read(&mut tx, row.try_get("content").unwrap_or_default()).await?;
            drop(tx);
            let read = contents::decoded(bytes, expected, what, |bytes| {
                Ok(Checkpoint::decode(bytes)?)
            });
            let error = match read.await {
                Ok(checkpoint) if checkpoint.place() != (epoch as u64, step as u64) => {
                    "it is one of another step".to_owned()
                }
                Ok(checkpoint) if !checkpoint.can_go_on(spec) => {
                    "it has not what the optimizer remembers".to_owned()
                }
                Ok(checkpoint) => return Ok(Some((checkpoint, seconds))),
                Err(error) => error.to_string(),
            };
            tracing::error!(job = %id, epoch, step, error, "a checkpoint cannot be gone on from; the one before it is used");
            let mut tx = self.begin().await?;
            check_owner(&mut tx, owner).await?;
            sqlx::query("DELETE FROM checkpoints WHERE job_id = $1 AND epoch = $2 AND step = $3")
                .bind(id.to_string())
                .bind(epoch)
                .bind(step)
                .execute(&mut *tx)
                .await?;
            tx.leaves_something();
            tx.commit().await?;
        }
    }
}
