//! Requests that are carried out once: a key that the client chose, and the answer that its request got.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};

use crate::store::error::is_taken;
use crate::store::{Error, RunningTime, Store, Timestamp, Tx, seal};

/// A request that is carried out once, however often it comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Idempotency {
    /// What the client calls it.
    pub key: String,
    /// Method, path and query.
    pub operation: String,
    /// SHA-256 of the body's bytes.
    pub digest: String,
    /// When it came.
    pub at: RunningTime,
    /// Keys that were stored so long before are forgotten.
    pub kept_for: Duration,
}

/// The answer to a request that made something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The path of what was made.
    pub location: String,
    /// What was made, as JSON.
    pub body: Vec<u8>,
    /// Whether it was given before.
    pub replayed: bool,
}

/// How something is made: once, where its request has a key, and with what answer.
#[derive(Clone, Debug)]
pub struct Once<T> {
    /// The request, where it has a key.
    pub idempotency: Option<Idempotency>,
    /// The answer to it.
    pub answer: fn(&T) -> Answer,
}

/// A key that is known and stands for this operation, with some body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    key: String,
    digest: String,
    answer: Answer,
}

impl Idempotency {
    fn kept_since(&self) -> RunningTime {
        self.at.earlier(self.kept_for)
    }
}

impl KnownKey {
    /// The answer, for a body with this digest.
    ///
    /// Errors: it had another.
    pub fn answer(self, digest: &str) -> Result<Answer, Error> {
        if self.digest == digest {
            return Ok(self.answer);
        }
        Err(Error::KeyReused { key: self.key })
    }
}

impl Store {
    /// What the key of a request stands for, whatever its body, where it is known.
    ///
    /// Errors: it stands for another operation.
    pub async fn known_key(&self, idempotency: &Idempotency) -> Result<Option<KnownKey>, Error> {
        let _guard = self.reading_catalogue().await;
        let mut connection = self.reader().acquire().await?;
        find(&mut connection, idempotency).await
    }

    /// Forgets the keys that were stored before.
    pub async fn forget_keys(&self, before: RunningTime) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        forget(&mut tx, before).await?;
        tx.commit().await
    }
}

impl<T> Once<T> {
    /// The answer, where the request was carried out before.
    ///
    /// Errors: its key stands for another request.
    pub(crate) async fn answered(&self, tx: &mut Tx) -> Result<Option<Answer>, Error> {
        let Some(idempotency) = &self.idempotency else {
            return Ok(None);
        };
        let known = find(tx, idempotency).await?;
        let answer = known.map(|known| known.answer(&idempotency.digest));
        answer.transpose()
    }

    /// The answer, kept in the transaction that made the thing.
    ///
    /// Errors: its key has come to stand for another request.
    pub(crate) async fn keep(
        self,
        tx: &mut Tx,
        made: &T,
        now: &Timestamp,
    ) -> Result<Answer, Error> {
        let answer = (self.answer)(made);
        let Some(idempotency) = self.idempotency else {
            return Ok(answer);
        };
        forget(tx, idempotency.kept_since()).await?;
        idempotency.at.keep(tx).await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys (key, operation, digest, status, location, answer, created_at, kept_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&idempotency.key)
        .bind(&idempotency.operation)
        .bind(&idempotency.digest)
        .bind(i64::from(answer.status))
        .bind(&answer.location)
        .bind(answer.body.as_slice())
        .bind(now.as_str())
        .bind(idempotency.at.seconds())
        .execute(&mut **tx)
        .await;
        match inserted {
            Err(error) if is_taken(&error) => Err(Error::KeyReused {
                key: idempotency.key,
            }),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(answer),
        }
    }
}

async fn forget(tx: &mut Tx, before: RunningTime) -> Result<(), Error> {
    sqlx::query("DELETE FROM idempotency_keys WHERE kept_at < $1")
        .bind(before.seconds())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn find(
    connection: &mut SqliteConnection,
    idempotency: &Idempotency,
) -> Result<Option<KnownKey>, Error> {
    let row = sqlx::query("SELECT * FROM idempotency_keys WHERE key = $1 AND kept_at >= $2")
        .bind(&idempotency.key)
        .bind(idempotency.kept_since().seconds())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let key = idempotency.key.clone();
    let what = || format!("what Idempotency-Key {key:?} stands for");
    seal::check(&row, "idempotency_keys", what)?;
    if row.try_get::<&str, _>("operation")? != idempotency.operation {
        return Err(Error::KeyReused { key });
    }
    Ok(Some(KnownKey {
        key,
        digest: row.try_get("digest")?,
        answer: Answer {
            status: row.try_get::<i64, _>("status")? as u16,
            location: row.try_get("location")?,
            body: row.try_get("answer")?,
            replayed: true,
        },
    }))
}
