//! HTTP: the only floor that knows of methods, paths, headers and status codes.

mod access;
mod admission;
mod aliases;
mod answer;
mod batch_predictions;
mod batches;
mod body;
mod checkpoints;
mod connections;
mod datasets;
mod docs;
mod errors;
mod etag;
mod evaluations;
mod events;
mod format;
mod gradients;
mod head;
mod health;
mod history;
mod host;
mod hyperparameters;
mod idempotency;
mod jobs;
mod kept;
mod metrics;
mod models;
mod origin;
mod pace;
mod path;
mod paths;
mod predictions;
mod problem;
mod query;
mod requests;
mod routes;
mod rows;
mod strict;
mod token;
mod upload;
mod versions;
mod wording;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::data::TableLimits;
use crate::jobs::Jobs;
use crate::machine::Budget;
use crate::model::ModelLimits;
use crate::serve::Serve;
use crate::store::Store;

pub use crate::http::access::Access;
use crate::http::admission::Admission;
pub use crate::http::admission::AdmissionLimits;
pub use crate::http::body::parse;
pub use crate::http::connections::ConnectionLimits;
use crate::http::connections::room::Room;
pub use crate::http::host::{AllowedHost, Hosts};
use crate::http::metrics::Metrics;
pub use crate::http::origin::Origin;
pub use crate::http::pace::Slowest;
pub use crate::http::problem::{PROBLEMS, Problem};
pub use crate::http::token::{LONGEST as LONGEST_TOKEN, Token};

/// The largest requests that are accepted.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Bytes of a body that carries rows or parameters, at most.
    pub body_rows: usize,
    /// Bytes of a prediction's body, at most.
    pub body_predict: usize,
    /// Bytes of any other body, at most.
    pub body_control: usize,
    /// Objects in a body, at most, but for a prediction's.
    pub body_objects: u64,
    /// Rows of a prediction, at most.
    pub predict_rows: u64,
    /// Bytes of an uploaded dataset, at most.
    pub body_dataset: u64,
    /// Event streams at the same time, at most.
    pub event_streams: usize,
    /// After how long a silent event stream shows that it lives.
    pub event_silence: Duration,
    /// How slowly a body of JSON may come.
    pub pace: Slowest,
    /// How slowly an upload may come.
    pub upload_pace: Slowest,
    /// Headers of a request, at most.
    pub headers: usize,
    /// Bytes of a path and query, at most.
    pub uri_bytes: usize,
    /// Connections, and their times.
    pub connections: ConnectionLimits,
    /// Requests that are carried out at the same time.
    pub admission: AdmissionLimits,
    /// How long an idempotency key is known.
    pub idempotency: Duration,
    /// How long a request may take; not an upload.
    pub request: Duration,
    /// Numbers in one answer, at most.
    pub answer_numbers: u64,
    /// The largest networks.
    pub model: ModelLimits,
    /// The largest tables.
    pub table: TableLimits,
    /// Revisions of a dataset, at most.
    pub dataset_revisions: u64,
    /// Every limit of the server, as `/v1/limits` answers them.
    pub in_force: serde_json::Value,
}

/// What the handlers share. A request clones it some forty times: each layer around the routes clones those inside it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The same, once.
pub struct Shared {
    /// What is durable.
    pub store: Store,
    /// What trains.
    pub jobs: Jobs,
    /// What predicts.
    pub serve: Serve,
    /// What bodies, uploads and answers take their memory from.
    pub(crate) memory: Budget,
    /// The largest requests.
    pub limits: Arc<HttpLimits>,
    /// Where answers are kept until they are sent.
    spool: Arc<Path>,
    admission: Arc<Admission>,
    room: Arc<Room>,
    event_streams: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// An app that is ready. Answers that are kept until they are sent go to files without names in `spool`.
    pub fn new(
        (store, spool): (Store, &Path),
        jobs: Jobs,
        serve: Serve,
        limits: HttpLimits,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            jobs,
            memory: serve.memory().clone(),
            serve,
            spool: spool.into(),
            admission: Arc::new(Admission::new(&limits.admission)),
            room: Arc::new(Room::new(limits.connections)),
            event_streams: Arc::new(Semaphore::new(limits.event_streams)),
            limits: Arc::new(limits),
            metrics: Arc::new(Metrics::new()),
            ready: watch::Sender::new(true),
        }))
    }

    /// Lets `/readyz` say that no more requests should come, and ends the event streams.
    pub fn drain(&self) {
        self.ready.send_replace(false);
    }

    fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }
}

/// Answers what comes to a listener until `ending` says true, and is done once the last answer has left.
pub async fn serve(listener: TcpListener, app: App, access: Access, ending: watch::Receiver<bool>) {
    let room = Arc::clone(&app.room);
    connections::serve(listener, router(app, access), room, ending).await;
}

/// Every route, and around them what every request goes through.
fn router(app: App, access: Access) -> Router {
    let limits = &app.limits;
    let routes = routes::routes(&app)
        .layer(middleware::from_fn_with_state(app.clone(), kept::kept))
        .layer(middleware::from_fn_with_state(app.clone(), errors::heard))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            admission::admitted,
        ));
    let routes = routes.layer(middleware::from_fn_with_state(app.clone(), head::checked));
    let routes = requests::around(routes, limits.request, &app.admission, access);
    routes
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}
