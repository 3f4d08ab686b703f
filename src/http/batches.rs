//! Batches: rows of CSV predicted as they come in, and the predictions given back as CSV, neither whole in memory.

use std::fs::File;
use std::io::{BufWriter, Read, Seek};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use tokio::sync::mpsc;

use crate::data::{CsvOptions, TableLimits, read_texts};
use crate::http::App;
use crate::http::body::check_length;
use crate::http::errors::internal;
use crate::http::format::CSV;
use crate::http::problem::Problem;
use crate::http::upload::{PIECES, Pieces, feed, slot};
use crate::model::{Model, PredictedRows, TableRowsError};
use crate::serve::VersionName;

/// Bytes of predictions that are sent at a time.
const SENT: usize = 64 << 10;

/// Predicts the rows of a CSV body.
///
/// The answer is kept in a file without a name until all rows have come: a fault in the last row is told by its place and a
/// status, and a client may send all before it reads anything.
///
/// Errors: there is no such version; the body breaks off or is too large; a row that the version does not take, with its place.
pub(crate) async fn predict(
    app: &App,
    (model, version): (&str, &VersionName),
    headers: &HeaderMap,
    (body, options): (Body, CsvOptions),
) -> Result<Response, Problem> {
    check_length(headers, app.limits.body_dataset)?;
    let model = app.serve.version(model, version).await?.model;
    let _slot = slot(app).await?;
    let kept = tempfile::tempfile_in(&*app.spool)
        .map_err(|error| Problem::from(TableRowsError::Io(error)))?;
    let (pieces, incoming) = mpsc::channel(PIECES);
    let (limits, most) = (app.limits.table, app.limits.body_dataset);
    let predicting = tokio::task::spawn_blocking(move || {
        predicted(
            &model,
            (Pieces::new(incoming), &options),
            limits,
            (kept, most),
        )
    });
    let fed = feed(body, Some(pieces), &app.limits);
    let (fed, predicted) = tokio::join!(fed, predicting);
    fed?;
    let kept = predicted.map_err(|error| internal(&error))??;
    let sent = Body::from_stream(try_unfold(Arc::new(kept), piece));
    Ok(([(header::CONTENT_TYPE, CSV)], sent).into_response())
}

/// The predictions of all rows, in a file that stands at its beginning.
fn predicted(
    model: &Model,
    (text, options): (impl Read, &CsvOptions),
    limits: TableLimits,
    (kept, most): (File, u64),
) -> Result<File, TableRowsError> {
    let mut rows = PredictedRows::new(model, (BufWriter::new(kept), most));
    read_texts(text, options, limits, &mut rows)?;
    let kept = rows.finish()?.into_inner();
    let mut kept = kept.map_err(|error| TableRowsError::Io(error.into_error()))?;
    kept.rewind()?;
    Ok(kept)
}

/// The next piece of a file; none at its end.
async fn piece(kept: Arc<File>) -> Result<Option<(Bytes, Arc<File>)>, std::io::Error> {
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(SENT);
        (&*kept).take(SENT as u64).read_to_end(&mut piece)?;
        Ok((piece, kept))
    });
    let read: Result<_, std::io::Error> = read.await.map_err(std::io::Error::other)?;
    let (piece, kept) = read?;
    Ok((!piece.is_empty()).then(|| (piece.into(), kept)))
}
