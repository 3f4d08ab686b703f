//! Metrics: what the server counts and measures of itself, as OpenMetrics text.

use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::http::App;
use crate::http::errors::internal;
use crate::http::problem::Problem;
use crate::store::build;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The route of a path that is none of ours: paths themselves would be labels without end.
const NO_ROUTE: &str = "none";

type Durations = Family<Endpoint, Histogram>;

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Durations,
    jobs: Family<Status, Gauge>,
    batch_predictions: Family<Status, Gauge>,
    models_loaded: Gauge,
    uploads: Gauge,
    connections: Gauge,
    in_flight: Family<OfClass, Gauge>,
    refused: Family<OfClass, Counter>,
    memory_reserved: Gauge,
    memory_budget: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("gradientd");
        let requests = Family::default();
        let help = "Requests answered";
        registry.register("http_requests", help, requests.clone());
        // From half a millisecond to sixteen seconds.
        let durations = Durations::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
        });
        let (name, help) = ("http_request_duration", "Time to the head of the answer");
        registry.register_with_unit(name, help, Unit::Seconds, durations.clone());
        let (jobs, models_loaded, uploads) =
            (Family::default(), Gauge::default(), Gauge::default());
        registry.register("jobs", "Jobs by their status", jobs.clone());
        let batch_predictions = Family::<Status, Gauge>::default();
        let help = "Batch predictions by their status";
        registry.register("batch_predictions", help, batch_predictions.clone());
        let help = "Versions of models in memory";
        registry.register("models_loaded", help, models_loaded.clone());
        registry.register("uploads", "Uploads being read", uploads.clone());
        let (connections, in_flight) = (Gauge::default(), Family::default());
        registry.register("connections", "Connections", connections.clone());
        let help = "Requests that are carried out";
        registry.register("requests_in_flight", help, in_flight.clone());
        let refused = Family::default();
        let help = "Requests that were refused because too many were carried out";
        registry.register("requests_refused", help, refused.clone());
        let (memory_reserved, memory_budget) = (Gauge::default(), Gauge::default());
        let help = "Memory that jobs, models and requests have reserved";
        let reserved = memory_reserved.clone();
        registry.register_with_unit("memory_reserved", help, Unit::Bytes, reserved);
        let help = "Memory that jobs, models and requests may reserve";
        registry.register_with_unit("memory_budget", help, Unit::Bytes, memory_budget.clone());
        let program = Info::new(vec![("build", build())]);
        registry.register("build", "The program and the machine type", program);
        Self {
            registry,
            requests,
            durations,
            jobs,
            batch_predictions,
            models_loaded,
            uploads,
            connections,
            in_flight,
            refused,
            memory_reserved,
            memory_budget,
        }
    }
}

/// `GET /metrics`
pub(crate) async fn scrape(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let metrics = &app.metrics;
    for (status, jobs) in app.store.count_jobs().await? {
        let status = status.name();
        metrics.jobs.get_or_create(&Status { status }).set(jobs);
    }
    for (status, count) in app.store.count_predictions().await? {
        let status = Status {
            status: status.name(),
        };
        metrics.batch_predictions.get_or_create(&status).set(count);
    }
    metrics.models_loaded.set(app.serve.loaded() as i64);
    metrics
        .uploads
        .set(app.admission.uploads.in_flight() as i64);
    metrics.connections.set(app.room.taken() as i64);
    for class in app.admission.classes() {
        let of = OfClass { class: class.name };
        let in_flight = class.in_flight() as i64;
        metrics.in_flight.get_or_create(&of).set(in_flight);
        let refused = metrics.refused.get_or_create(&of);
        refused.inner().store(class.refused(), Ordering::Relaxed);
    }
    metrics.memory_reserved.set(app.memory.reserved() as i64);
    metrics.memory_budget.set(app.memory.bytes() as i64);
    let mut text = String::new();
    encode(&mut text, &metrics.registry).map_err(|error| internal(&error))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}

/// Counts a request and measures how long its answer takes.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let endpoint = Endpoint { method, route };
    let durations = app.metrics.durations.get_or_create(&endpoint);
    durations.observe(began.elapsed().as_secs_f64());
    drop(durations);
    let answered = Answered {
        method,
        route: endpoint.route,
        status: response.status().as_u16(),
    };
    app.metrics.requests.get_or_create(&answered).inc();
    response
}

/// A method as a label: clients may make up any number of others.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
