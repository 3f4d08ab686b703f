//! Checkpoints in the store, as users read them: to predict with, and to publish as versions.

use std::sync::Arc;

use uuid::Uuid;

use crate::model::digest;
use crate::store::versions::{Artifact, find_version};
use crate::store::{
    Answer, Change, Error, JobMetrics, Lineage, Once, Store, Timestamp, VersionRow, build,
    off_thread,
};
use crate::train::Checkpoint;

impl Store {
    /// The checkpoint of the end of an epoch, which is named as a path does, checked against its digest.
    ///
    /// Errors: there is no such job or checkpoint; its bytes are damaged.
    pub async fn checkpoint(&self, id: Uuid, epoch: &str) -> Result<Checkpoint, Error> {
        let kept = self.checkpoints(id).await?;
        let mut kept: Vec<u64> = kept
            .iter()
            .filter(|row| row.step == 0 && row.epoch > 0)
            .map(|row| row.epoch)
            .collect();
        kept.reverse();
        let found = kept.iter().find(|kept| kept.to_string() == epoch);
        let row: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT bytes, digest FROM checkpoints WHERE job_id = $1 AND epoch = $2 AND step = 0",
        )
        .bind(id.to_string())
        .bind(found.map(|epoch| *epoch as i64))
        .fetch_optional(self.reader())
        .await?;
        let no_checkpoint = || Error::NoCheckpoint {
            job: id,
            epoch: epoch.to_owned(),
            kept,
        };
        let (bytes, expected) = row.ok_or_else(no_checkpoint)?;
        let what = format!("checkpoint {epoch} of job {id}");
        off_thread(move || {
            if digest(&bytes) != expected {
                return Err(Error::Damaged { what });
            }
            Ok(Checkpoint::decode(&bytes)?)
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
        let mut tx = self.begin().await?;
        if let Some(answer) = once.answered(&mut tx).await? {
            return Ok(answer);
        }
        let row: Option<(String, Option<String>)> = sqlx::query_as(
            "SELECT train, validation FROM history WHERE job_id = $1 AND epoch = $2",
        )
        .bind(id.to_string())
        .bind(epoch as i64)
        .fetch_optional(&mut *tx)
        .await?;
        let (train, validation) = row.ok_or_else(|| Error::not_found("job", id))?;
        let metrics = JobMetrics {
            train: Some(serde_json::from_str(&train)?),
            validation: validation
                .as_deref()
                .map(serde_json::from_str)
                .transpose()?,
        };
        let lineage = Lineage {
            base_version: Some(job.base_version),
            data_digests: job.spec.data_digests(),
            seed: job.spec.seed,
            epochs: epoch,
            metrics,
            build: build(),
        };
        // A model that is younger than the job is another one of the same name.
        let version: Option<i64> = sqlx::query_scalar(
            "UPDATE models SET latest_version = latest_version + 1 WHERE name = $1 AND created_at <= $2
             RETURNING latest_version",
        )
        .bind(&job.model)
        .bind(job.created_at.as_str())
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
                (&name, version),
                Some(&id.to_string()),
                &lineage,
                now,
            )
            .await?;
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
