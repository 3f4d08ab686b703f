//! Leases of jobs: this process tells that it runs its own, and takes over those that nobody tells of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::jobs::control::Control;
use crate::jobs::{Jobs, lock};
use crate::store::{Beat, Owner, Timestamp};

/// How long a job is left to who owns it, though nobody tells of it.
const LEASE: Duration = Duration::from_secs(30);
/// How often whoever runs a job tells of it: two may be lost.
const BEAT: Duration = Duration::from_secs(10);

/// The beats of running jobs, and since when each stands still.
#[derive(Default)]
struct Seen(HashMap<Uuid, (Beat, Instant)>);

impl Jobs {
    /// Beats for the jobs that this process runs, and takes over those whose beat stands still, until the server ends.
    pub(super) async fn keep_leases(self) {
        let mut stopping = self.inner.stopping.subscribe();
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        while !*stopping.borrow_and_update() {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.changed() => return,
            }
            if let Err(error) = self.keep(&mut seen).await {
                self.inner.store.notice(&error);
                tracing::error!(%error, "the leases of jobs could not be renewed");
            }
        }
    }

    async fn keep(&self, seen: &mut Seen) -> Result<(), crate::store::Error> {
        let store = &self.inner.store;
        let own = self.owners();
        // Its own first: this process may have stood still itself.
        if !own.is_empty() {
            store.beat(&own).await?;
        }
        let expired = seen.expired(Instant::now(), store.beats().await?, &own);
        for beat in expired {
            let (most, now) = (self.inner.config.attempts, Timestamp::now());
            if store.take_over(beat, most, &now).await? {
                let (Owner { id, attempt }, _) = beat;
                tracing::warn!(job = %id, attempt, "nobody tells of a job any longer; it is taken over");
                self.wake();
            }
        }
        Ok(())
    }

    /// The jobs that this process runs.
    fn owners(&self) -> Vec<Owner> {
        let running = lock(&self.inner.running);
        let owner = |(id, control): (&Uuid, &Arc<Control>)| Owner {
            id: *id,
            attempt: control.attempt(),
        };
        running.iter().map(owner).collect()
    }
}

impl Seen {
    /// Those of the running jobs, but for this process's own, whose beat has stood still for a lease.
    fn expired(&mut self, now: Instant, beats: Vec<Beat>, own: &[Owner]) -> Vec<Beat> {
        let before = std::mem::take(&mut self.0);
        for beat in beats.into_iter().filter(|(owner, _)| !own.contains(owner)) {
            let (owner, _) = beat;
            let since = match before.get(&owner.id) {
                Some((same, since)) if *same == beat => *since,
                _ => now,
            };
            self.0.insert(owner.id, (beat, since));
        }
        let stood = self.0.values().filter(|(_, since)| now - *since >= LEASE);
        stood.map(|(beat, _)| *beat).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: u128, attempt: u64) -> Owner {
        let id = Uuid::from_u128(id);
        Owner { id, attempt }
    }

    #[test]
    fn a_job_is_taken_over_only_once_its_beat_has_stood_still_for_a_lease() {
        let (began, mut seen) = (Instant::now(), Seen::default());
        let mut expired = |seconds, beats: &[Beat], own: &[Owner]| {
            let now = began + Duration::from_secs(seconds);
            seen.expired(now, beats.to_vec(), own)
        };
        let (dead, alive, own) = (owner(1, 1), owner(2, 5), owner(3, 1));
        assert!(expired(0, &[(dead, 7), (alive, 1), (own, 0)], &[own]).is_empty());
        assert!(expired(29, &[(dead, 7), (alive, 2), (own, 0)], &[own]).is_empty());
        let stood = expired(30, &[(dead, 7), (alive, 2), (own, 0)], &[own]);
        assert_eq!(stood, [(dead, 7)]);
        // Another attempt at it is another beat, and a job that is no longer its own begins to be looked at.
        let again = owner(1, 2);
        assert!(expired(40, &[(again, 7), (alive, 3), (own, 0)], &[]).is_empty());
        assert!(expired(69, &[(again, 8), (alive, 4), (own, 0)], &[]).is_empty());
        assert_eq!(
            expired(70, &[(again, 8), (alive, 5), (own, 0)], &[]),
            [(own, 0)]
        );
    }
}
