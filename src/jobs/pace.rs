//! Pace: training gives way to whoever waits for its processor, and under a quota of processors' time it rests; so do those who make
//! and store its checkpoints.
//!
//! Its priority alone does not do it. Linux looks at who comes first when a thread wakes up or a clock ticks, every 4 ms as a rule, and
//! before a thread has had its slice, or where the one that wakes has lately had more than its share, it finds for the one that runs, so
//! that a prediction waits for a tick. So while predictions are asked for, a thread that trains gives way up to ten times in a
//! millisecond: it keeps nobody waiting, and loses half a microsecond where nobody does. Beside threads that never rest it gets almost
//! nothing then, which is why it does not where a job is to stop.
//!
//! A control group that has used its quota up stands still until its period ends, a tenth of a second as a rule, and predictions with
//! it; no priority helps. So what training takes is what the rest of the process leaves of nine tenths of the quota. Where a job is to
//! stop, nobody rests either.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::machine::is_predicting;

/// How long a thread that trains keeps its processor from others, if it is asked that often.
const KEEP: Duration = Duration::from_micros(100);
/// Of a quota, what the process takes, in percent.
const SHARE: u32 = 90;
/// How often the time of the process is looked at, and the shortest rest.
const GRAIN: Duration = Duration::from_millis(1);
/// The longest rest, and the most that is owed: a training goes on, though slowly, where predictions need all there is.
const LONGEST: Duration = Duration::from_millis(100);

/// What the process has taken beyond its share, for which those that train rest. One for all of them.
pub(crate) struct Pace {
    /// Seconds of processors' time that the process may take in a second; none without a quota.
    rate: Option<f64>,
    account: Mutex<Account>,
    /// How many want nobody to give way.
    hurried: AtomicUsize,
}

#[derive(Default)]
struct Account {
    /// When the time of the process was looked at last, and what it was.
    last: Option<(Instant, Duration)>,
    /// What the process has taken beyond its rate, in seconds.
    owed: f64,
}

impl Pace {
    /// The pace under a quota in thousandths of a processor.
    pub(crate) fn of(quota: Option<u32>) -> Self {
        let rate = quota.map(|quota| f64::from(quota) / 1000.0 * f64::from(SHARE) / 100.0);
        Self {
            rate: rate.filter(|rate| *rate > 0.0),
            account: Mutex::default(),
            hurried: AtomicUsize::new(0),
        }
    }

    /// Gives way, and rests where the process has taken more than it may.
    pub(crate) fn keep(&self) {
        let now = Instant::now();
        self.give_way_at(now);
        if let Some(rest) = self.rest_at(now) {
            sleep(rest);
        }
    }

    /// The same, where it rests for no longer than what is left, which becomes less by that.
    pub(crate) fn keep_within(&self, left: &Cell<Duration>) {
        self.give_way();
        if let Some(rest) = self.rest() {
            let rest = rest.min(left.get());
            left.set(left.get().saturating_sub(rest));
            sleep(rest);
        }
    }

    /// How long to rest, where the process has taken more than it may.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.rest_at(Instant::now())
    }

    fn rest_at(&self, now: Instant) -> Option<Duration> {
        let rate = self.rate?;
        if self.hurried.load(Ordering::Relaxed) > 0 {
            return None;
        }
        // Where somebody looks just now, what there is to rest is seen a little later.
        self.account.try_lock().ok()?.look(rate, now)
    }

    /// Lets others that wait for this thread's processor have it, where it has kept it for a while and predictions are asked for.
    pub(crate) fn give_way(&self) {
        self.give_way_at(Instant::now());
    }

    fn give_way_at(&self, now: Instant) {
        thread_local! {
            static GAVE_WAY: Cell<Option<Instant>> = const { Cell::new(None) };
        }
        let is_due = GAVE_WAY.get().is_none_or(|before| now - before >= KEEP);
        if is_due && is_predicting(now) && self.hurried.load(Ordering::Relaxed) == 0 {
            yield_now();
            GAVE_WAY.set(Some(Instant::now()));
        }
    }

    /// Has nobody give way or rest for as long as the answer lives.
    pub(crate) fn hurry(&self) -> Hurry<'_> {
        self.hurried.fetch_add(1, Ordering::Relaxed);
        Hurry(&self.hurried)
    }
}

impl Account {
    /// Looks at the time of the process; how long to rest now. Where somebody has just looked, that is seen a little later.
    fn look(&mut self, rate: f64, now: Instant) -> Option<Duration> {
        let elapsed = match self.last {
            Some((looked, _)) if now < looked + GRAIN => return None,
            Some((looked, _)) => now - looked,
            None => Duration::ZERO,
        };
        let taken = taken();
        let since = self.last.map_or(taken, |(_, before)| before);
        self.last = Some((now, taken));
        self.rest(rate, elapsed, taken.saturating_sub(since))
    }

    /// How long to rest after so much time in which the process has taken so much.
    fn rest(&mut self, rate: f64, elapsed: Duration, taken: Duration) -> Option<Duration> {
        let owed = self.owed + taken.as_secs_f64() - rate * elapsed.as_secs_f64();
        self.owed = owed.clamp(0.0, rate * LONGEST.as_secs_f64());
        let rest = Duration::from_secs_f64(self.owed / rate);
        (rest >= GRAIN).then_some(rest)
    }
}

/// While it lives, nobody gives way or rests: what it was made for is waited for.
pub(crate) struct Hurry<'a>(&'a AtomicUsize);

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time that all threads of this process have taken.
fn taken() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn it_rests_for_what_the_process_took_beyond_nine_tenths_of_the_quota() {
        let rate = Pace::of(Some(500)).rate.expect("there is a quota");
        let mut account = Account::default();
        assert!((rate - 0.45).abs() < 1e-12);
        assert_eq!(account.rest(rate, ms(10), ms(4)), None);
        // 9 ms in 10, where 4.5 were allowed: the other 4.5 are earned in another 10.
        let rest = account.rest(rate, ms(10), ms(9)).expect("it is beyond");
        assert!((rest.as_secs_f64() - 0.010).abs() < 1e-6, "{rest:?}");
        assert_eq!(account.rest(rate, ms(10), ms(0)), None);
        assert!(account.owed < 1e-9);
        // What was not taken is not saved up.
        assert_eq!(account.rest(rate, ms(10_000), ms(0)), None);
        assert!(account.rest(rate, ms(10), ms(10)).is_some());
        assert_eq!(account.rest(rate, ms(10), ms(10_000)), Some(LONGEST));
    }

    #[test]
    fn nobody_rests_while_something_is_waited_for_nor_longer_than_is_left() {
        let pace = Pace::of(Some(1));
        let begin = || {
            let last = Some((
                Instant::now().checked_sub(ms(50)).expect("a while"),
                Duration::ZERO,
            ));
            *pace.account.lock().expect("no panic") = Account { last, owed: 1.0 };
        };
        begin();
        assert_eq!(pace.rest(), Some(LONGEST));
        begin();
        let hurry = pace.hurry();
        assert_eq!(pace.rest(), None);
        drop(hurry);
        assert_eq!(pace.rest(), Some(LONGEST));
        let left = Cell::new(ms(3));
        for _ in 0..2 {
            begin();
            pace.keep_within(&left);
            assert_eq!(left.get(), Duration::ZERO);
        }
    }

    #[test]
    fn it_never_rests_without_a_quota() {
        for quota in [None, Some(0)] {
            let pace = Pace::of(quota);
            pace.keep();
            drop(pace.hurry());
            assert_eq!(pace.hurried.load(Ordering::Relaxed), 0);
            let account = pace.account.lock().expect("no panic");
            assert!(pace.rate.is_none() && account.last.is_none());
        }
    }
}
