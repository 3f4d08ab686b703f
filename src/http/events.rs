//! A job's event log, as a page or as a stream that follows it.

use std::vec;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use uuid::Uuid;

use crate::http::App;
use crate::http::answer::accepts;
use crate::http::jobs::job_id;
use crate::http::path::Path;
use crate::http::problem::{BUSY, INVALID_QUERY, Problem};
use crate::http::query::{FromQuery, Parameters, Query};
use crate::store::{Error, Event, Store};

/// Which events are wanted.
pub(crate) struct EventsQuery {
    after: u64,
    limit: u32,
}

/// Events of a page where the query does not say, and of one reading for a stream.
const DEFAULT_EVENTS: u32 = 100;
/// Events of a page, at most.
const MOST_EVENTS: u64 = 1000;
/// The largest number that an event can have.
const LAST: u64 = i64::MAX as u64;

impl FromQuery for EventsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let after = parameters.number("after", 0..=LAST).unwrap_or(0);
        let limit = parameters.number("limit", 1..=MOST_EVENTS);
        Self {
            after,
            limit: limit.map_or(DEFAULT_EVENTS, |limit| limit as u32),
        }
    }
}

/// `GET /v1/jobs/{id}/events`
pub(crate) async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(EventsQuery { after, limit }): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, seen) = (job_id(&id)?, last_event_id(&headers)?);
    let answer = if accepts(&headers, "text/event-stream") {
        follow(&app, id, seen.unwrap_or(after)).await?
    } else {
        Json(app.store.events(id, after, limit).await?.0).into_response()
    };
    Ok(([(header::VARY, "Accept")], answer).into_response())
}

/// The last event that a client has seen before its connection broke off.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(given) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(given.as_bytes());
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && *id <= LAST);
    id.map(Some).ok_or_else(|| {
        let detail = format!("Last-Event-ID must be a whole number in [0, {LAST}], got {text:?}");
        Problem::new(INVALID_QUERY, detail)
    })
}

/// A stream of the events after one, or no content where there will be none: a browser then asks no more.
async fn follow(app: &App, id: Uuid, after: u64) -> Result<Response, Problem> {
    let mut follower = Follower::new(app, id, after)?;
    follower.read().await?;
    if follower.is_over && follower.events.as_slice().is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let messages = stream::try_unfold(follower, Follower::next)
        .inspect_err(move |error| tracing::error!(job = %id, %error, "an event stream broke off"));
    let alive = KeepAlive::new().interval(app.limits.event_silence);
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(messages).keep_alive(alive)).into_response())
}

/// A reader of a job's log that goes on after the last event there is, and holds nothing of the store in between.
struct Follower {
    store: Store,
    id: Uuid,
    after: u64,
    /// What was read and is not sent yet.
    events: vec::IntoIter<Event>,
    /// Whether nothing comes after that.
    is_over: bool,
    told: watch::Receiver<u64>,
    ready: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// A follower at a place among the event streams.
    fn new(app: &App, id: Uuid, after: u64) -> Result<Self, Problem> {
        let place = app.event_streams.clone().try_acquire_owned();
        let place = place.map_err(|_| Problem {
            retry_after_seconds: Some(1),
            ..Problem::new(
                BUSY,
                format!("at most {} event streams at once", app.limits.event_streams),
            )
        })?;
        Ok(Self {
            store: app.store.clone(),
            id,
            after,
            events: Vec::new().into_iter(),
            is_over: false,
            told: app.store.told(),
            ready: app.ready.subscribe(),
            _place: place,
        })
    }

    /// Reads on after the last event.
    async fn read(&mut self) -> Result<(), Error> {
        self.told.mark_unchanged();
        let (page, status) = self
            .store
            .events(self.id, self.after, DEFAULT_EVENTS)
            .await?;
        self.after = page.data.last().map_or(self.after, |event| event.id);
        self.is_over = status.is_final() && !page.has_more;
        if page.has_more {
            self.told.mark_changed();
        }
        self.events = page.data.into_iter();
        Ok(())
    }

    /// The next event as it is sent. The stream is over after a job's last event, and at once where the server ends.
    async fn next(mut self) -> Result<Option<(Message, Self)>, Error> {
        while *self.ready.borrow() {
            if let Some(event) = self.events.next() {
                let message = Message::default().id(event.id.to_string());
                let json = serde_json::to_string(&event)?;
                return Ok(Some((message.event(event.data.name()).data(json), self)));
            }
            let is_told = !self.is_over
                && tokio::select! {
                    told = self.told.changed() => told.is_ok(),
                    _ = self.ready.changed() => false,
                };
            if !is_told {
                break;
            }
            self.read().await?;
        }
        Ok(None)
    }
}
