//! Revisions: the states that a model's latest version and aliases go through, told apart for good.

use std::fmt;
use std::str::FromStr;

use crate::store::{Error, Tx};

/// A state of a model. No two states share one, not even those of models that had the same name one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    model: i64,
    number: i64,
}

/// The state that a model must be in to be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// One of these.
    OneOf(Vec<Revision>),
}

impl Revision {
    pub(crate) fn new(model: i64, number: i64) -> Self {
        Self { model, number }
    }

    /// Which one of the models that have had the name.
    pub(crate) fn model(self) -> i64 {
        self.model
    }

    /// The state that a model is in, inside a transaction.
    ///
    /// Errors: there is no such model.
    pub(crate) async fn of(tx: &mut Tx, name: &str) -> Result<Self, Error> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT sequence, revision FROM models WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut **tx)
                .await?;
        let (model, number) = row.ok_or_else(|| Error::not_found("model", name))?;
        Ok(Self { model, number })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.model, self.number)
    }
}

impl FromStr for Revision {
    type Err = ();

    /// Only the one spelling that `Display` writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (model, number) = text.split_once('-').ok_or(())?;
        let number = number.parse().map_err(|_| ())?;
        let revision = Self::new(model.parse().map_err(|_| ())?, number);
        (revision.to_string() == text).then_some(revision).ok_or(())
    }
}

impl Expected {
    /// Checks the model inside the transaction that is to write to it: of two writers who expect the same state, the
    /// second finds another.
    ///
    /// Errors: there is no such model; it is in another state.
    pub(crate) async fn check(&self, tx: &mut Tx, name: &str) -> Result<(), Error> {
        let Self::OneOf(expected) = self else {
            return Ok(());
        };
        let revision = Revision::of(tx, name).await?;
        if expected.contains(&revision) {
            return Ok(());
        }
        Err(Error::Changed {
            name: name.to_owned(),
            revision,
        })
    }
}
