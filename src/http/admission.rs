//! Admission: how many requests of a class are carried out at the same time, over all connections, and who waits for a turn.
//!
//! A request takes its turn once its body has come, so that slow bodies keep nobody from one. Where nobody could get a turn in time
//! it is refused at once: a client that is told to come again costs less than one that waits, and those that were admitted are
//! answered as fast as ever.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::http::App;
use crate::http::body::is_csv;
use crate::http::problem::{BUSY, Problem};

/// After how many seconds a client that was refused may come again.
const RETRY_SECONDS: u64 = 1;
/// The share of a new turn in the mean of how long turns are held: one in so many.
const MEMORY: u64 = 8;

/// How many requests of each class are carried out at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Predictions of rows in JSON.
    pub predictions: usize,
    /// Inspections, gradient checks, evaluations, self-tests, verifications and predictions by a checkpoint.
    pub inspections: usize,
    /// Everything else that is short.
    pub control: usize,
    /// Tables that come in, those predicted as they come among them.
    pub uploads: usize,
    /// How long a request of the first three waits for a turn.
    pub patience: Duration,
}

/// The classes of requests.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) predictions: Arc<Class>,
    pub(crate) inspections: Arc<Class>,
    pub(crate) control: Arc<Class>,
    pub(crate) uploads: Arc<Class>,
}

impl Admission {
    pub(crate) fn new(limits: &AdmissionLimits) -> Self {
        let class = |name, what, at_once, patience| {
            Arc::new(Class {
                name,
                what,
                at_once,
                turns: Arc::new(Semaphore::new(at_once)),
                patience,
                waiting: AtomicUsize::new(0),
                held: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            })
        };
        let patience = limits.patience;
        Self {
            predictions: class("predict", "predictions", limits.predictions, patience),
            inspections: class("inspect", "inspections", limits.inspections, patience),
            control: class("control", "control requests", limits.control, patience),
            uploads: class("upload", "uploads", limits.uploads, Duration::ZERO),
        }
    }

    pub(crate) fn classes(&self) -> [&Arc<Class>; 4] {
        [
            &self.predictions,
            &self.inspections,
            &self.control,
            &self.uploads,
        ]
    }

    /// The class that a request needs a turn of before it is carried out. Uploads take theirs by themselves: what was
    /// carried out before is answered without one. Probes and metrics answer whatever else goes on.
    fn class_of(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<&Arc<Class>> {
        let is_post = *method == Method::POST;
        let ends = |ends: &[&str]| ends.iter().any(|end| path.ends_with(end));
        match path {
            "" | "/healthz" | "/readyz" | "/metrics" => None,
            "/v1/datasets" | "/v1/datasets/{name}/rows" if is_post => None,
            _ if ends(&["/checkpoints/{epoch}/predict"]) => Some(&self.inspections),
            _ if ends(&["/predict"]) && is_csv(headers) => None,
            _ if ends(&["/predict"]) => Some(&self.predictions),
            _ if ends(&["/gradient-check", "/evaluate", "/selftest", "/verify"]) => {
                Some(&self.inspections)
            }
            _ if is_post && ends(&["/gradients"]) => Some(&self.inspections),
            _ => Some(&self.control),
        }
    }
}

/// One class.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    what: &'static str,
    at_once: usize,
    turns: Arc<Semaphore>,
    patience: Duration,
    waiting: AtomicUsize,
    /// The mean of how long turns are held, in nanoseconds.
    held: AtomicU64,
    refused: AtomicU64,
}

/// The right to be carried out, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    class: Arc<Class>,
    began: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Class {
    /// A turn, now or soon.
    ///
    /// Errors: it would not come, or did not come, in time.
    pub(crate) async fn admit(self: &Arc<Self>) -> Result<Permit, Problem> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(self.permit(turn));
        }
        let _place = self.place().ok_or_else(|| self.refuse())?;
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        match turn {
            Ok(turn) => Ok(self.permit(turn.expect("it is never closed"))),
            Err(_) => Err(self.refuse()),
        }
    }

    /// Errors: nobody can be admitted now.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.turns.available_permits() > 0 || self.is_short(self.waiting.load(Ordering::Relaxed))
        {
            return Ok(());
        }
        Err(self.refuse())
    }

    /// Requests that are being carried out.
    pub(crate) fn in_flight(&self) -> usize {
        self.at_once - self.turns.available_permits()
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn permit(self: &Arc<Self>, turn: OwnedSemaphorePermit) -> Permit {
        Permit {
            class: Arc::clone(self),
            began: Instant::now(),
            _turn: turn,
        }
    }

    /// A place among those that wait, if it is short.
    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        self.is_short(before).then_some(place)
    }

    /// Whether who waits behind so many gets a turn in time: turns end every `held / at_once`.
    fn is_short(&self, waiting: usize) -> bool {
        if self.patience.is_zero() || waiting >= self.at_once {
            return false;
        }
        let held = Duration::from_nanos(self.held.load(Ordering::Relaxed));
        held.saturating_mul(waiting as u32 + 1) / self.at_once as u32 <= self.patience
    }

    fn refuse(&self) -> Problem {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Problem {
            retry_after_seconds: Some(RETRY_SECONDS),
            ..Problem::new(
                BUSY,
                format!("at most {} {} at once", self.at_once, self.what),
            )
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = self.began.elapsed().as_nanos() as u64;
        let mean = self.class.held.load(Ordering::Relaxed);
        // Of two that end at the same time one may go unnoticed.
        let mean = mean - mean / MEMORY + held / MEMORY;
        self.class.held.store(mean, Ordering::Relaxed);
    }
}

/// A place among those that wait, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The turn that a request takes once its body has come, and holds until it is answered.
#[derive(Clone)]
pub(crate) struct Turn(Arc<(Arc<Class>, OnceLock<Permit>)>);

impl Turn {
    /// Errors: as [`Class::admit`].
    pub(crate) async fn take(&self) -> Result<(), Problem> {
        let (class, permit) = &*self.0;
        if permit.get().is_none() {
            let _ = permit.set(class.admit().await?);
        }
        Ok(())
    }
}

/// Whether a route reads a body of JSON, and so takes its turn only once that has come.
fn reads_json(method: &Method, path: &str) -> bool {
    let reads_nothing = ["/cancel", "/pause", "/resume", "/publish"];
    let reads = *method == Method::POST || *method == Method::PUT;
    reads && !reads_nothing.iter().any(|end| path.ends_with(end))
}

/// Refuses a request that nobody could be carried out with now, before anything else is done for it: of ten times as many as can be
/// answered, each costs what the others are to have.
pub(crate) async fn refused_when_full(
    State(admission): State<Arc<Admission>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let class = admission.class_of(request.method(), path, request.headers());
    match class.map_or(Ok(()), |class| class.check()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Gives each request its turn, or refuses it.
pub(crate) async fn admitted(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let class = app
        .admission
        .class_of(request.method(), path, request.headers());
    let Some(class) = class else {
        return next.run(request).await;
    };
    if !reads_json(request.method(), path) {
        return match class.admit().await {
            Ok(_permit) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
    }
    let turn = Turn(Arc::new((Arc::clone(class), OnceLock::new())));
    request.extensions_mut().insert(turn.clone());
    let answer = next.run(request).await;
    drop(turn);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(at_once: usize, patience: u64) -> Arc<Class> {
        let admission = Admission::new(&AdmissionLimits {
            predictions: at_once,
            inspections: 1,
            control: 1,
            uploads: 1,
            patience: Duration::from_millis(patience),
        });
        admission.predictions
    }

    #[tokio::test]
    async fn so_many_are_carried_out_and_who_could_not_be_in_time_is_refused_at_once() {
        let class = class(2, 60_000);
        let permits = [
            class.admit().await.expect("a turn"),
            class.admit().await.expect("a turn"),
        ];
        assert_eq!(class.in_flight(), 2);
        // Turns that are held for a minute end every half a minute: two could wait for one, and a third could not.
        class.held.store(60_000_000_000, Ordering::Relaxed);
        assert!(class.is_short(0) && class.is_short(1) && !class.is_short(2));
        class.held.store(120_000_000_000, Ordering::Relaxed);
        assert!(class.is_short(0) && !class.is_short(1));
        class.held.store(120_100_000_000, Ordering::Relaxed);
        assert!(!class.is_short(0));
        let problem = class.admit().await.expect_err("no turn");
        assert_eq!(problem.detail, "at most 2 predictions at once");
        assert_eq!(problem.retry_after_seconds, Some(1));
        class.check().expect_err("no turn");
        assert_eq!(class.refused(), 2);
        drop(permits);
        class.check().expect("a turn");
        assert_eq!(
            (class.in_flight(), class.waiting.load(Ordering::Relaxed)),
            (0, 0)
        );
    }

    #[tokio::test]
    async fn who_waits_is_carried_out_when_a_turn_ends_and_refused_when_none_does() {
        let class = class(1, 50);
        let held = class.admit().await.expect("a turn");
        let (waiting, ()) = tokio::join!(class.admit(), async { drop(held) });
        let held = waiting.expect("a turn");
        class.held.store(0, Ordering::Relaxed);
        class.admit().await.expect_err("no turn");
        drop(held);
        class.admit().await.expect("a turn");
    }

    #[test]
    fn every_route_has_its_class() {
        let admission = Admission::new(&AdmissionLimits {
            predictions: 1,
            inspections: 1,
            control: 1,
            uploads: 1,
            patience: Duration::ZERO,
        });
        let class = |method: Method, path: &str| {
            let class = admission.class_of(&method, path, &HeaderMap::new());
            class.map_or("none", |class| class.name)
        };
        for (method, path, name) in [
            (Method::GET, "/healthz", "none"),
            (Method::GET, "/metrics", "none"),
            (Method::GET, "", "none"),
            (Method::POST, "/v1/datasets", "none"),
            (Method::GET, "/v1/datasets", "control"),
            (Method::POST, "/v1/models/{name}/predict", "predict"),
            (
                Method::POST,
                "/v1/models/{name}/versions/{version}/predict",
                "predict",
            ),
            (Method::POST, "/v1/models/{name}/predictions", "control"),
            (Method::POST, "/v1/models/{name}/gradients", "inspect"),
            (Method::GET, "/v1/jobs/{id}/gradients", "control"),
            (
                Method::POST,
                "/v1/jobs/{id}/checkpoints/{epoch}/predict",
                "inspect",
            ),
            (Method::POST, "/v1/jobs/{id}/verify", "inspect"),
            (Method::POST, "/v1/jobs", "control"),
        ] {
            assert_eq!(class(method, path), name, "{path}");
        }
        let mut csv = HeaderMap::new();
        csv.insert(
            "content-type",
            axum::http::HeaderValue::from_static("text/csv"),
        );
        let path = "/v1/models/{name}/predict";
        assert!(admission.class_of(&Method::POST, path, &csv).is_none());
    }
}
