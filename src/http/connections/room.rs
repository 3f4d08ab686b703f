//! Room for connections: so many at the same time, and where there are no more, the one that has been silent longest goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::connections::ConnectionLimits;
use crate::http::connections::progress::{Phase, Progress};

/// How long a connection may be silent though others wait for its place.
const GRACE: Duration = Duration::from_secs(1);
/// How long it may where a request has begun: its body, or the answer, may go over a bad line.
const BODY_GRACE: Duration = Duration::from_secs(5);
/// After how long it is looked again for a silent one.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The connections that there are.
#[derive(Debug)]
pub(crate) struct Room {
    limits: ConnectionLimits,
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Arc<Progress>>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    progress: Arc<Progress>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            free: Arc::new(Semaphore::new(limits.connections)),
            taken: Mutex::default(),
        }
    }

    /// Connections that there are.
    pub(crate) fn taken(&self) -> usize {
        self.limits.connections - self.free.available_permits()
    }

    /// A place, once there is one.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        let free = Arc::clone(&self.free).acquire_owned();
        let mut free = std::pin::pin!(free);
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut free => break permit.expect("it is never closed"),
                () = self.make_room() => {}
            }
        };
        let progress = Arc::new(Progress::new());
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, Arc::clone(&progress));
        drop(taken);
        Place {
            room: Arc::clone(self),
            number,
            progress,
            _permit: permit,
        }
    }

    async fn make_room(&self) {
        self.dismiss();
        tokio::time::sleep(LOOK_AGAIN).await;
    }

    /// Ends the connection that has been silent longest, if one has been for a while: rather one that has sent no whole
    /// request than one that has been answered, and rather that than one whose body is coming.
    pub(super) fn dismiss(&self) {
        let taken = self.lock();
        let silent = taken.connections.values().filter_map(|progress| {
            let (phase, lasting) = progress.lasting();
            let (rank, grace) = match phase {
                Phase::First | Phase::Head => (3, GRACE),
                Phase::Idle => (2, GRACE),
                Phase::Body => (1, BODY_GRACE),
                Phase::Leaving => (0, BODY_GRACE),
                Phase::Answering => return None,
            };
            (lasting >= grace).then_some(((rank, lasting), progress))
        });
        if let Some((_, progress)) = silent.max_by_key(|(silence, _)| *silence) {
            progress.dismiss();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    pub(super) fn limits(&self) -> ConnectionLimits {
        self.room.limits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn room(connections: usize) -> Arc<Room> {
        let none = Duration::ZERO;
        Arc::new(Room::new(ConnectionLimits {
            connections,
            head: none,
            head_bytes: 0,
            idle: none,
            stall: none,
        }))
    }

    /// Which of these is dismissed.
    async fn dismissed(places: &[Place]) -> Option<usize> {
        let mut found = None;
        for (index, place) in places.iter().enumerate() {
            let told = timeout(Duration::ZERO, place.progress.dismissed()).await;
            if told.is_ok() {
                assert_eq!(found.replace(index), None);
            }
        }
        found
    }

    #[tokio::test]
    async fn a_place_is_given_back_and_the_next_one_waits_for_it() {
        let room = room(1);
        let first = room.enter().await;
        assert_eq!(room.taken(), 1);
        let enter = room.enter();
        let (_second, ()) = tokio::join!(enter, async { drop(first) });
        assert_eq!((room.taken(), room.lock().connections.len()), (1, 1));
    }

    #[tokio::test]
    async fn who_was_answered_goes_after_who_was_not_and_who_is_being_answered_stays() {
        let room = room(4);
        let mut places = Vec::new();
        for (phase, ago) in [
            (Phase::Idle, 9),
            (Phase::Head, 3),
            (Phase::First, 5),
            (Phase::Answering, 99),
        ] {
            let mut place = room.enter().await;
            let progress = Arc::new(Progress::since(phase, Duration::from_secs(ago)));
            let mut taken = room.lock();
            taken
                .connections
                .insert(place.number, Arc::clone(&progress));
            drop(taken);
            place.progress = progress;
            places.push(place);
        }
        for expected in [Phase::First, Phase::Head, Phase::Idle] {
            room.dismiss();
            let gone = dismissed(&places).await.expect("one goes");
            assert_eq!(places.remove(gone).progress.phase(), expected);
        }
        room.dismiss();
        assert_eq!(dismissed(&places).await, None);
        assert_eq!(places[0].progress.phase(), Phase::Answering);
    }
}
