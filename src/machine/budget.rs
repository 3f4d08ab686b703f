//! The budget: bytes that are reserved before anything is allocated, and given back when what they were for is dropped.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a job that waits for memory trusts to be woken: what requests give back wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What bytes are reserved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Runs of jobs, batch predictions, verifications and trials: five eighths of the budget together, so that they never take
    /// what predictions need.
    Jobs,
    /// Versions of models in memory: a quarter each. Beyond a quarter together, they give way to whatever else is reserved.
    Models,
    /// Bodies that are still coming, beyond their first bytes: a quarter together, so that those that stop short leave most of the budget
    /// to what is carried out.
    Bodies,
    /// Bodies that have come, rows and answers of requests: three eighths each, which jobs leave.
    Requests,
}

/// Why bytes were not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Short {
    /// They never can be.
    #[error(
        "{purpose} needs {needed} bytes of memory and may have at most {allowed}: ask for less at once, or give the server more (--memory-mib)"
    )]
    Never {
        /// What they were for.
        purpose: Use,
        /// How many there would have to be.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// They can be once others have given theirs back.
    #[error(
        "{purpose} needs {needed} bytes of memory and {free} are free now: try again in a moment"
    )]
    Now {
        /// What they were for.
        purpose: Use,
        /// How many there would have to be.
        needed: u64,
        /// How many there are.
        free: u64,
    },
}

/// Bytes that the server may hold. Cheap to clone; reserving is a few atomics and no lock, so that no thread that trains can hold
/// up a prediction.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    bytes: u64,
    reserved: AtomicU64,
    /// Of those, what jobs have.
    jobs: AtomicU64,
    /// Of those, what versions of models have.
    models: AtomicU64,
    /// Of those, what bodies that are coming have.
    bodies: AtomicU64,
    /// Told when others than requests have given bytes back.
    returned: Notify,
    evict: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

/// Bytes that are reserved until this is dropped.
#[must_use]
pub struct Reservation {
    budget: Budget,
    purpose: Use,
    bytes: u64,
}

impl fmt::Display for Use {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jobs => "a job",
            Self::Models => "a version of a model",
            Self::Bodies => "a body",
            Self::Requests => "a request",
        })
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes for {}", self.bytes, self.purpose)
    }
}

impl Budget {
    /// A budget of so many bytes, none of which are reserved.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Inner {
            bytes,
            reserved: AtomicU64::new(0),
            jobs: AtomicU64::new(0),
            models: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            returned: Notify::new(),
            evict: OnceLock::new(),
        }))
    }

    /// All of its bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Bytes that are reserved.
    pub fn reserved(&self) -> u64 {
        self.0.reserved.load(Ordering::Acquire)
    }

    /// Bytes that one may have for a use, at most.
    pub fn allowed(&self, purpose: Use) -> u64 {
        let eighth = self.0.bytes / 8;
        match purpose {
            Use::Jobs => 5 * eighth,
            Use::Models | Use::Bodies => 2 * eighth,
            Use::Requests => 3 * eighth,
        }
    }

    /// Names the one who is asked to drop so many bytes of versions that nobody uses at the moment. It is called without any lock of
    /// the budget, and must not reserve.
    ///
    /// Panics: it is named twice, which is our bug.
    pub fn evict_by(&self, evict: impl Fn(u64) + Send + Sync + 'static) {
        let named = self.0.evict.set(Box::new(evict));
        assert!(named.is_ok(), "a budget has one who evicts");
    }

    /// Reserves bytes, where there are so many; versions of models that nobody uses make room for them.
    ///
    /// Errors: there are not, for now or never.
    pub fn try_reserve(&self, purpose: Use, bytes: u64) -> Result<Reservation, Short> {
        let mut reservation = Reservation {
            budget: self.clone(),
            purpose,
            bytes: 0,
        };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves bytes once there are so many. Nobody is held up meanwhile: what is free stays free for others.
    ///
    /// Errors: there never are.
    pub async fn reserve(&self, purpose: Use, bytes: u64) -> Result<Reservation, Short> {
        loop {
            let mut returned = std::pin::pin!(self.0.returned.notified());
            returned.as_mut().enable();
            match self.try_reserve(purpose, bytes) {
                Err(Short::Now { .. }) => {}
                settled => return settled,
            }
            let _ = timeout(LOOK_AGAIN, returned).await;
        }
    }

    fn take(&self, purpose: Use, bytes: u64) -> bool {
        let part = self.part(purpose);
        let most = match purpose {
            Use::Jobs | Use::Bodies => self.allowed(purpose),
            Use::Models | Use::Requests => self.0.bytes,
        };
        if part.is_some_and(|part| !add(part, bytes, most)) {
            return false;
        }
        let taken = add(&self.0.reserved, bytes, self.0.bytes);
        if let Some(part) = part
            && !taken
        {
            part.fetch_sub(bytes, Ordering::AcqRel);
        }
        taken
    }

    fn give_back(&self, purpose: Use, bytes: u64) {
        // Who waits would else be woken by its own failed attempt, over and over.
        if bytes == 0 {
            return;
        }
        self.0.reserved.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(part) = self.part(purpose) {
            part.fetch_sub(bytes, Ordering::AcqRel);
            self.0.returned.notify_waiters();
        }
    }

    /// Has versions dropped where that makes room for so many bytes.
    fn make_room(&self, purpose: Use, bytes: u64) {
        let models = self.0.models.load(Ordering::Acquire);
        let kept = match purpose {
            Use::Models => 0,
            Use::Jobs | Use::Bodies | Use::Requests => self.allowed(Use::Models),
        };
        let wanted = self.reserved().saturating_add(bytes);
        let missing = wanted.saturating_sub(self.0.bytes);
        if missing > 0
            && missing <= models.saturating_sub(kept)
            && let Some(evict) = self.0.evict.get()
        {
            evict(missing);
        }
    }

    fn free(&self, purpose: Use) -> u64 {
        let free = self.0.bytes.saturating_sub(self.reserved());
        let within = |part: &AtomicU64| {
            let held = part.load(Ordering::Acquire);
            free.min(self.allowed(purpose).saturating_sub(held))
        };
        match purpose {
            Use::Jobs => within(&self.0.jobs),
            Use::Bodies => within(&self.0.bodies),
            Use::Models | Use::Requests => free,
        }
    }

    /// The counter of a use; that of requests is what the others leave of the whole.
    fn part(&self, purpose: Use) -> Option<&AtomicU64> {
        match purpose {
            Use::Jobs => Some(&self.0.jobs),
            Use::Models => Some(&self.0.models),
            Use::Bodies => Some(&self.0.bodies),
            Use::Requests => None,
        }
    }
}

/// Adds bytes to a counter unless it would be beyond `most`.
fn add(counter: &AtomicU64, bytes: u64, most: u64) -> bool {
    let within = |held: u64| held.checked_add(bytes).filter(|&sum| sum <= most);
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
        .is_ok()
}

impl Reservation {
    /// Reserves more.
    ///
    /// Errors: as [`Budget::try_reserve`]; what was reserved before stays.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Short> {
        let (budget, purpose) = (&self.budget, self.purpose);
        let (needed, allowed) = (self.bytes.saturating_add(bytes), budget.allowed(purpose));
        if needed > allowed {
            return Err(Short::Never {
                purpose,
                needed,
                allowed,
            });
        }
        if !budget.take(purpose, bytes) {
            budget.make_room(purpose, bytes);
            if !budget.take(purpose, bytes) {
                let free = budget.free(purpose);
                return Err(Short::Now {
                    purpose,
                    needed,
                    free,
                });
            }
        }
        self.bytes = needed;
        Ok(())
    }

    /// Reserves more or gives back what is beyond, so that it is so many.
    ///
    /// Errors: as [`Budget::try_reserve`]; what was reserved before stays.
    pub fn settle(&mut self, bytes: u64) -> Result<(), Short> {
        let Some(beyond) = self.bytes.checked_sub(bytes) else {
            return self.grow(bytes - self.bytes);
        };
        self.budget.give_back(self.purpose, beyond);
        self.bytes = bytes;
        Ok(())
    }

    /// How many there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.purpose, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[track_caller]
    fn refused(reserved: Result<Reservation, Short>, text: &str) {
        assert_eq!(reserved.expect_err("too much").to_string(), text);
    }

    #[test]
    fn bodies_that_are_coming_leave_three_quarters_to_others() {
        let budget = Budget::new(800);
        let first = budget.try_reserve(Use::Bodies, 150).expect("it fits");
        refused(
            budget.try_reserve(Use::Bodies, 51),
            "a body needs 51 bytes of memory and 50 are free now: try again in a moment",
        );
        let _second = budget.try_reserve(Use::Bodies, 50).expect("it fits");
        let _job = budget.try_reserve(Use::Jobs, 300).expect("it is left");
        let _request = budget.try_reserve(Use::Requests, 300).expect("so is it");
        assert_eq!(budget.reserved(), 800);
        drop(first);
        assert_eq!((budget.reserved(), budget.free(Use::Bodies)), (650, 150));
    }

    #[test]
    fn what_is_dropped_is_free_again_and_what_never_fits_is_told_apart() {
        let budget = Budget::new(800);
        let jobs = budget.try_reserve(Use::Jobs, 400).expect("it fits");
        refused(
            budget.try_reserve(Use::Jobs, 501),
            "a job needs 501 bytes of memory and may have at most 500: ask for less at once, or give the server more (--memory-mib)",
        );
        refused(
            budget.try_reserve(Use::Jobs, 101),
            "a job needs 101 bytes of memory and 100 are free now: try again in a moment",
        );
        let request = budget.try_reserve(Use::Requests, 300).expect("it fits");
        refused(
            budget.try_reserve(Use::Requests, 101),
            "a request needs 101 bytes of memory and 100 are free now: try again in a moment",
        );
        assert_eq!(budget.reserved(), 700);
        drop(jobs);
        assert_eq!(budget.reserved(), 300);
        drop(request);
        let whole = budget.try_reserve(Use::Jobs, 500).expect("it is free");
        drop(whole);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn numbers_that_no_machine_has_are_refused_and_change_nothing() {
        let budget = Budget::new(u64::MAX);
        let mut held = budget
            .try_reserve(Use::Jobs, budget.allowed(Use::Jobs))
            .expect("it fits");
        assert!(matches!(
            held.grow(u64::MAX),
            Err(Short::Never {
                needed: u64::MAX,
                ..
            })
        ));
        assert!(budget.try_reserve(Use::Requests, u64::MAX).is_err());
        held.settle(7).expect("less");
        held.settle(8).expect("little more");
        assert_eq!((held.bytes(), budget.reserved()), (8, 8));
    }

    #[test]
    fn versions_make_room_down_to_their_quarter_and_for_each_other_to_nothing() {
        let budget = Budget::new(800);
        let held: Arc<Mutex<Vec<Reservation>>> = Arc::default();
        let evicted = Arc::clone(&held);
        budget.evict_by(move |bytes| {
            let mut held = evicted.lock().expect("no panic");
            let mut freed = 0;
            while freed < bytes && !held.is_empty() {
                freed += held.remove(0).bytes;
            }
        });
        for _ in 0..8 {
            let one = budget.try_reserve(Use::Models, 100).expect("it fits");
            held.lock().expect("no panic").push(one);
        }
        let jobs = budget.try_reserve(Use::Jobs, 450).expect("versions go");
        assert_eq!(held.lock().expect("no panic").len(), 3);
        refused(
            budget.try_reserve(Use::Requests, 200),
            "a request needs 200 bytes of memory and 50 are free now: try again in a moment",
        );
        let other = budget.try_reserve(Use::Models, 200).expect("versions go");
        assert_eq!(held.lock().expect("no panic").len(), 1);
        drop((jobs, other));
        assert_eq!(budget.reserved(), 100);
    }

    #[tokio::test]
    async fn a_job_waits_until_another_has_given_its_bytes_back() {
        let budget = Budget::new(800);
        let first = budget.try_reserve(Use::Jobs, 400).expect("it fits");
        let second = budget.clone();
        let waiting = tokio::spawn(async move { second.reserve(Use::Jobs, 200).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.expect("no panic").expect("it fits");
        assert_eq!(budget.reserved(), 200);
        drop(second);
        assert!(budget.reserve(Use::Jobs, 501).await.is_err());
    }

    #[test]
    fn threads_that_reserve_at_once_never_have_more_than_there_is() {
        let budget = Budget::new(800);
        std::thread::scope(|scope| {
            for purpose in [Use::Jobs, Use::Models, Use::Requests, Use::Bodies] {
                let budget = &budget;
                scope.spawn(move || {
                    for bytes in (1..200).cycle().take(20_000) {
                        let held = budget.try_reserve(purpose, bytes);
                        assert!(budget.reserved() <= 800);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(budget.reserved(), 0);
        let free = |purpose| (budget.free(purpose), budget.allowed(purpose));
        assert_eq!(free(Use::Jobs), (500, 500));
        assert_eq!(free(Use::Bodies), (200, 200));
    }
}
