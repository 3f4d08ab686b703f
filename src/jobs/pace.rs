//! Pace: under a quota of processors' time, training rests in between so that the process as a whole stays below it.
//!
//! A control group that has used its quota up stands still until its period ends, a tenth of a second as a rule, and predictions with
//! it; no priority helps. So what training takes is what the rest of the process leaves of nine tenths of the quota.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Of a quota, what the process takes, in percent.
const SHARE: u32 = 90;
/// How often the time of the process is looked at, and the shortest rest.
const GRAIN: Duration = Duration::from_millis(1);
/// The longest rest, and the most that is owed: a training goes on, though slowly, where predictions need all there is.
const LONGEST: Duration = Duration::from_millis(100);

/// What a thread that trains has taken beyond its share.
pub(crate) struct Pace {
    /// Seconds of processors' time that the process may take in a second; none without a quota.
    rate: Option<f64>,
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
            last: None,
            owed: 0.0,
        }
    }

    /// Rests where the process has taken more than it may.
    pub(crate) fn keep(&mut self) {
        let Some(rate) = self.rate else {
            return;
        };
        let now = Instant::now();
        let elapsed = match self.last {
            Some((looked, _)) if now - looked < GRAIN => return,
            Some((looked, _)) => now - looked,
            None => Duration::ZERO,
        };
        let taken = taken();
        let since = self.last.map_or(taken, |(_, before)| before);
        self.last = Some((now, taken));
        if let Some(rest) = self.rest(rate, elapsed, taken.saturating_sub(since)) {
            sleep(rest);
        }
    }

    /// How long to rest after so much time in which the process has taken so much.
    fn rest(&mut self, rate: f64, elapsed: Duration, taken: Duration) -> Option<Duration> {
        let owed = self.owed + taken.as_secs_f64() - rate * elapsed.as_secs_f64();
        self.owed = owed.clamp(0.0, rate * LONGEST.as_secs_f64());
        let rest = Duration::from_secs_f64(self.owed / rate);
        (rest >= GRAIN).then_some(rest)
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
        let mut pace = Pace::of(Some(500));
        let rate = pace.rate.expect("there is a quota");
        assert!((rate - 0.45).abs() < 1e-12);
        assert_eq!(pace.rest(rate, ms(10), ms(4)), None);
        // 9 ms in 10, where 4.5 were allowed: the other 4.5 are earned in another 10.
        let rest = pace.rest(rate, ms(10), ms(9)).expect("it is beyond");
        assert!((rest.as_secs_f64() - 0.010).abs() < 1e-6, "{rest:?}");
        assert_eq!(pace.rest(rate, ms(10), ms(0)), None);
        assert!(pace.owed < 1e-9);
        // What was not taken is not saved up.
        assert_eq!(pace.rest(rate, ms(10_000), ms(0)), None);
        assert!(pace.rest(rate, ms(10), ms(10)).is_some());
        assert_eq!(pace.rest(rate, ms(10), ms(10_000)), Some(LONGEST));
    }

    #[test]
    fn it_never_rests_without_a_quota() {
        for quota in [None, Some(0)] {
            let mut pace = Pace::of(quota);
            pace.keep();
            assert!(pace.rate.is_none() && pace.last.is_none());
        }
    }
}
