//! Compute: how much one request may ask for, and where it is computed so that others do not wait.

use crate::model::Model;
use crate::serve::Error;

/// Multiply-adds above which a request is computed off the threads that answer the others: about a millisecond.
const INLINE_WORK: u64 = 4_000_000;

/// The limits of one request's computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Rows of a request, at most.
    pub rows: u64,
    /// Multiply-adds of a request, at most.
    pub work: u64,
}

impl Compute {
    /// The multiply-adds of sending rows forward.
    ///
    /// Errors: the rows or the work are too many.
    pub(crate) fn admit(&self, model: &Model, rows: usize) -> Result<u64, Error> {
        self.admit_many(model, rows, 1)
    }

    /// The multiply-adds of sending rows forward, twice for each of `times` parameters.
    ///
    /// Errors: the rows or the work are too many.
    pub(crate) fn admit_many(
        &self,
        model: &Model,
        rows: usize,
        times: usize,
    ) -> Result<u64, Error> {
        let rows = rows as u64;
        if rows > self.rows {
            return Err(Error::TooLarge {
                name: "rows in one request",
                got: rows,
                most: self.rows,
            });
        }
        let work = (model.network.parameter_count() as u64)
            .saturating_mul(rows)
            .saturating_mul(times as u64);
        if work > self.work {
            return Err(Error::TooLarge {
                name: "rows times parameters of one request",
                got: work,
                most: self.work,
            });
        }
        Ok(work)
    }

    /// Computes at once where it is little, else on the blocking pool of the serving runtime.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: u64,
        compute: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if work <= INLINE_WORK {
            return compute();
        }
        let computed = tokio::task::spawn_blocking(compute).await;
        computed.unwrap_or_else(|error| {
            Err(Error::Broken {
                detail: error.to_string(),
            })
        })
    }
}
