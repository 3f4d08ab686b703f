//! From the errors of the floors to problems: the one table that gives them a status.

use std::io::ErrorKind;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::App;
use crate::http::etag::etag;
use crate::http::problem::{
    ALREADY_EXISTS, BUSY, DAMAGED, DISK_FULL, IDEMPOTENCY_KEY_REUSED, ILLEGAL_MOVE, IN_USE,
    INSUFFICIENT_MEMORY, INTERNAL, INVALID_DATASET, INVALID_QUERY, INVALID_SPEC, Kind, NO_RESULT,
    NOT_FINITE, NOT_FITTED, NOT_FOUND, NOT_READY, NOT_VERIFIABLE, PRECONDITION_FAILED, Problem,
    QUEUE_FULL, STORAGE_FAILED, TOO_LARGE,
};
use crate::{data, jobs, machine, model, serve, store};

/// How long a client waits for room in the queue before it asks again.
const RETRY_QUEUE_SECONDS: u64 = 10;

impl Problem {
    /// A problem that may be gone in a second.
    fn later(kind: &'static Kind, error: &dyn std::error::Error) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(kind, error.to_string())
        }
    }
}

/// An error that no user can mend: logged once, here, and hidden.
pub(crate) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::new(INTERNAL, "the request failed by a fault of this program")
}

/// Tells the store where an answer says that its disk has failed: statements, unlike commits, do not tell it by themselves.
pub(crate) async fn heard(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>();
    if problem.is_some_and(|problem| problem.kind == STORAGE_FAILED) {
        app.store.fail();
    }
    response
}

impl From<model::Error> for Problem {
    fn from(error: model::Error) -> Self {
        match error {
            model::Error::Invalid { violations } => Self::violations(INVALID_SPEC, violations),
            model::Error::NotFitted { .. } => Self::new(NOT_FITTED, error.to_string()),
            model::Error::Artifact { .. } => Self::new(DAMAGED, error.to_string()),
        }
    }
}

impl From<data::Error> for Problem {
    fn from(error: data::Error) -> Self {
        match &error {
            data::Error::Scratch { source } if source.kind() == ErrorKind::StorageFull => {
                Self::new(DISK_FULL, "there is no room on the disk")
            }
            data::Error::Scratch { .. } => internal(&error),
            _ => Self::new(INVALID_DATASET, error.to_string()),
        }
    }
}

impl From<model::TableRowsError> for Problem {
    fn from(error: model::TableRowsError) -> Self {
        match error {
            model::TableRowsError::Table(error) => Self::from(error),
            model::TableRowsError::Columns { .. } | model::TableRowsError::Cell { .. } => {
                Self::new(INVALID_DATASET, error.to_string())
            }
            model::TableRowsError::Model(error) => Self::from(error),
            model::TableRowsError::NotFinite { .. } => Self::new(NOT_FINITE, error.to_string()),
            model::TableRowsError::TooLong { .. } => Self::new(TOO_LARGE, error.to_string()),
            model::TableRowsError::Io(error) if error.kind() == ErrorKind::StorageFull => {
                Self::new(
                    DISK_FULL,
                    "the disk is full: the predictions could not be kept",
                )
            }
            model::TableRowsError::Io(error) => internal(&error),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let kind = match &error {
            store::Error::NotFound { .. }
            | store::Error::NoCheckpoint { .. }
            | store::Error::NoReport { .. }
            | store::Error::ModelGone { .. } => NOT_FOUND,
            store::Error::Exists { .. } => ALREADY_EXISTS,
            store::Error::InUse { .. } => IN_USE,
            store::Error::NoResult { .. } => NO_RESULT,
            store::Error::TooManyRevisions { .. } => TOO_LARGE,
            store::Error::IllegalMove { .. } => ILLEGAL_MOVE,
            store::Error::UnknownPlace { .. } => {
                return Self::violation(INVALID_QUERY, "/after", error.to_string());
            }
            store::Error::KeyReused { .. } => IDEMPOTENCY_KEY_REUSED,
            store::Error::Changed { revision, .. } => {
                return Self {
                    etag: Some(etag(*revision)),
                    ..Self::new(PRECONDITION_FAILED, error.to_string())
                };
            }
            store::Error::Full => DISK_FULL,
            store::Error::QueueFull { .. } => {
                let retry_after_seconds = Some(RETRY_QUEUE_SECONDS);
                return Self {
                    retry_after_seconds,
                    ..Self::new(QUEUE_FULL, error.to_string())
                };
            }
            store::Error::DiskFailed { .. } => STORAGE_FAILED,
            store::Error::Busy => {
                tracing::warn!(%error, "a request was refused");
                return Self::later(NOT_READY, &error);
            }
            _ if error.is_damage() => {
                tracing::error!(%error, "the store is damaged");
                DAMAGED
            }
            store::Error::Damaged { .. }
            | store::Error::Fenced
            | store::Error::Directory { .. }
            | store::Error::DirectoryInUse { .. }
            | store::Error::Migration { .. }
            | store::Error::Unusable { .. }
            | store::Error::Newer { .. }
            | store::Error::FileExists { .. }
            | store::Error::DatabaseExists { .. }
            | store::Error::Interrupted { .. }
            | store::Error::Unwritable { .. }
            | store::Error::OldSqlite { .. }
            | store::Error::Database(_) => return internal(&error),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<machine::Short> for Problem {
    fn from(short: machine::Short) -> Self {
        match short {
            machine::Short::Never { .. } => Self::new(TOO_LARGE, short.to_string()),
            machine::Short::Now { .. } => Self::later(INSUFFICIENT_MEMORY, &short),
        }
    }
}

impl From<jobs::Error> for Problem {
    fn from(error: jobs::Error) -> Self {
        match error {
            jobs::Error::Invalid { violations } => Self::violations(INVALID_SPEC, violations),
            jobs::Error::Model(error) => Self::from(error),
            jobs::Error::Store(error) => Self::from(error),
            jobs::Error::Unverifiable { .. } => Self::new(NOT_VERIFIABLE, error.to_string()),
            jobs::Error::Memory(short) => Self::from(short),
            jobs::Error::Busy { .. } => Self::later(BUSY, &error),
            jobs::Error::Ending => Self::later(NOT_READY, &error),
            jobs::Error::Threads { .. } => internal(&error),
        }
    }
}

impl From<serve::Error> for Problem {
    fn from(error: serve::Error) -> Self {
        match error {
            serve::Error::NotFound { .. } => Self::new(NOT_FOUND, error.to_string()),
            serve::Error::Model(error) => Self::from(error),
            serve::Error::TooLarge { .. } => Self::new(TOO_LARGE, error.to_string()),
            serve::Error::Memory(short) => Self::from(short),
            serve::Error::NotFinite { .. } => Self::new(NOT_FINITE, error.to_string()),
            serve::Error::Store(error) => Self::from(error),
            serve::Error::Broken { .. } => internal(&error),
        }
    }
}
