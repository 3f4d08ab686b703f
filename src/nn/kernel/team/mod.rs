//! A team of threads among which the rows of a computation are divided, for work of a few microseconds upwards.
//!
//! A call of [`Team::split`] is a region. Its leader, the thread that calls, offers it to helpers that are free, each by
//! one compare-exchange, and computes part 0; whoever is done with a part takes the next one that nobody has begun, the
//! leader too. At the end the leader withdraws the region from those helpers that have not come for it, and waits only for
//! those that have. So nobody ever waits for a thread that sleeps, was preempted before it began, or works for another
//! leader, and a region needs no lock and no allocation. Which thread computes a part is left to chance; what is computed
//! is not.
//!
//! A helper without work looks for some for a while, and then sleeps until a leader wakes it: a system call, which regions
//! in quick succession do without.
#![expect(
    unsafe_code,
    reason = "rows are handed to threads that outlive the borrow; each block says why it holds"
)]

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::slice;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::nn::kernel::flush_denormals;
use crate::nn::kernel::sync::{
    Arc, AtomicPtr, AtomicUsize, JoinHandle, Mutex, MutexGuard, SPINS, spin_loop, thread,
};

/// Multiply-adds that a part has at least: some 7 µs in float32 at 145 GFLOP/s.
///
/// Two threads meet within 1 to 1.5 µs on two cores of a virtual machine, and gain 1.55 times where there are 5.5 µs of work
/// in all; but in a step, what one has written the other reads, at tens of nanoseconds a line: with parts of a tenth of this,
/// training 784-30-10 in batches of 10 took twice as long with two threads as with one, and 32-64-64-1 in batches of 64 too.
const LEAST_WORK: usize = if cfg!(miri) { 64 } else { 1_000_000 };

/// Threads that compute together: one that calls [`Team::split`], and helpers. Cheap to clone; helpers belong to all clones,
/// and end with the last.
#[derive(Clone)]
pub struct Team {
    helpers: Option<Arc<Helpers>>,
}

/// Says that a thread leads regions, for as long as it lives: leaders share the helpers.
#[must_use]
pub struct Leading {
    team: Team,
}

impl Team {
    /// The caller's own thread and no other. Starts no thread and allocates nothing.
    pub const fn alone() -> Self {
        Self { helpers: None }
    }

    /// So many threads, of which the caller's is one. Each of the others runs `on_start` first.
    ///
    /// Errors: a thread cannot be made; there is then none.
    pub fn new(threads: usize, on_start: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        if threads <= 1 {
            return Ok(Self::alone());
        }
        let on_start = Arc::new(on_start);
        let mut helpers = Helpers {
            all: Vec::with_capacity(threads - 1),
            leaders: AtomicUsize::new(0),
        };
        for _ in 1..threads {
            let desk = Arc::new(Desk::default());
            let (at, on_start) = (Arc::clone(&desk), Arc::clone(&on_start));
            let thread = thread::Builder::new()
                .name("training".to_owned())
                .spawn(move || {
                    on_start();
                    let _flushing = flush_denormals();
                    at.serve();
                })?;
            helpers.all.push(Helper { desk, thread });
        }
        Ok(Self {
            helpers: Some(Arc::new(helpers)),
        })
    }

    /// How many threads there are, with the caller's.
    pub fn threads(&self) -> usize {
        self.helpers
            .as_ref()
            .map_or(1, |helpers| helpers.all.len() + 1)
    }

    /// Counts the caller as a leader. Of N threads and L leaders, each takes at most max(1, N / L) threads, itself one of
    /// them; together they are then no more than N, where L is no more.
    pub fn lead(&self) -> Leading {
        if let Some(helpers) = &self.helpers {
            helpers.leaders.fetch_add(1, Relaxed);
        }
        Leading { team: self.clone() }
    }

    /// Cuts rows into consecutive ranges and calls `part(range, slices)` once for each, on the caller's thread and on those
    /// helpers that come in time; returns when all have ended. Every range but the last is a multiple of `unit` rows.
    ///
    /// `arrays` are slices with the numbers of each in a row, and a part gets the rows of its range of each; a slice may be
    /// empty, with a width of 0. `work` is how many multiply-adds there are in all: where they are not worth a second thread,
    /// or nobody else is there, the caller computes all rows as one range. Denormal numbers are zero in all parts. Allocates
    /// nothing.
    ///
    /// Panics: where a part does, with what it panicked with, after all parts have ended; where `unit` is 0 or a slice has
    /// not `rows` rows, the caller's bug.
    pub(crate) fn split<T: Send, const N: usize>(
        &self,
        rows: usize,
        unit: usize,
        work: usize,
        arrays: [(&mut [T], usize); N],
        part: impl Fn(Range<usize>, [&mut [T]; N]) + Sync,
    ) {
        // As on the helpers, or a row would have other bits on the leader.
        let _flushing = flush_denormals();
        let units = rows.div_ceil(unit);
        let arrays = arrays.map(|(slice, width)| Rows::new(slice, rows, width));
        let most = (work / LEAST_WORK).min(units);
        let (helpers, parts) = match &self.helpers {
            Some(helpers) => (Some(helpers), most.min(helpers.share())),
            None => (None, 1),
        };
        // Parts differ by one unit at most.
        let start = |index: usize| (index * units / parts * unit).min(rows);
        let compute = |range: Range<usize>| {
            // SAFETY: the ranges of the calls below are within the rows and share none: there is one of all rows, or one for
            // each index below `parts`, each given out once, from its `start` to that of the next, where `start` never falls
            // and ends at `rows`.
            let slices = arrays.each_ref().map(|array| unsafe { array.of(&range) });
            part(range, slices);
        };
        match helpers {
            Some(helpers) if parts > 1 => {
                helpers.run(parts, &|index| compute(start(index)..start(index + 1)));
            }
            _ => compute(0..rows),
        }
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team")
            .field("threads", &self.threads())
            .finish()
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        if let Some(helpers) = &self.team.helpers {
            helpers.leaders.fetch_sub(1, Relaxed);
        }
    }
}

/// The rows of a slice that is borrowed for 'a, to be given out in ranges.
struct Rows<'a, T> {
    first: *mut T,
    count: usize,
    width: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: all that can be had of it is a range of rows by itself, which is sent, as a `&mut [T]` may be where T is `Send`.
unsafe impl<T: Send> Sync for Rows<'_, T> {}

impl<'a, T> Rows<'a, T> {
    fn new(slice: &'a mut [T], rows: usize, width: usize) -> Self {
        assert_eq!(slice.len(), rows * width, "{rows} rows of {width}");
        Self {
            first: slice.as_mut_ptr(),
            count: rows,
            width,
            borrowed: PhantomData,
        }
    }

    /// The rows of a range.
    ///
    /// # Safety
    ///
    /// No other range that has been asked for shares a row with it.
    unsafe fn of(&self, range: &Range<usize>) -> &'a mut [T] {
        debug_assert!(range.start <= range.end && range.end <= self.count);
        // SAFETY: `first` is that of rows · width numbers, which nobody else may touch for 'a, as `new` took them by a
        // mutable borrow; the range is within the rows, and by the caller's promise these numbers are in no other slice.
        unsafe {
            slice::from_raw_parts_mut(
                self.first.add(range.start * self.width),
                range.len() * self.width,
            )
        }
    }
}

/// One call of `split`, on the stack of its leader.
struct Region<'a> {
    part: &'a (dyn Fn(usize) + Sync),
    parts: usize,
    /// The first part that nobody has begun.
    next: AtomicUsize,
    /// Helpers that came and will not touch the region again.
    left: AtomicUsize,
    /// What parts panicked with, the first of them first.
    panics: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Region<'_> {
    /// Computes parts for as long as there is one that nobody has begun.
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            if index >= self.parts {
                return;
            }
            self.compute(index);
        }
    }

    /// Computes a part. Never panics: others still use what the leader has borrowed.
    fn compute(&self, index: usize) {
        // The borrower is told of the panic, and it alone could see what is left half done.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.part)(index))) {
            self.panics().push(panic);
        }
    }

    fn panics(&self) -> MutexGuard<'_, Vec<Box<dyn Any + Send>>> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A helper may be offered a region.
const FREE: *mut Region<'static> = ptr::null_mut();
/// The same, but it must be woken for it.
const ASLEEP: *mut Region<'static> = ptr::without_provenance_mut(1);
/// It works in a region.
const BUSY: *mut Region<'static> = ptr::without_provenance_mut(2);
/// It is to end.
const ENDING: *mut Region<'static> = ptr::without_provenance_mut(3);

const _: () = assert!(
    align_of::<Region<'static>>() > 3,
    "the address of a region is none of the above"
);

/// Where a helper finds its work: the region that it is offered, or one of the values above. On cache lines of its own,
/// as it is looked at all the time.
#[derive(Default)]
#[repr(align(128))]
struct Desk {
    state: AtomicPtr<Region<'static>>,
}

impl Desk {
    /// Offers a region to the helper, if it is free. Answers what it was: `FREE`, or `ASLEEP` and to be woken.
    fn offer(&self, region: *mut Region<'static>) -> Option<*mut Region<'static>> {
        let was = self.state.load(Relaxed);
        let is_free = was == FREE || was == ASLEEP;
        // Release: the helper sees the region, and what its leader wrote before.
        let is_taken = is_free
            && self
                .state
                .compare_exchange(was, region, Release, Relaxed)
                .is_ok();
        is_taken.then_some(was)
    }

    /// Takes a region back that the helper has not come for; false where it has.
    fn withdraw(&self, region: *mut Region<'static>) -> bool {
        self.state
            .compare_exchange(region, FREE, Relaxed, Relaxed)
            .is_ok()
    }

    /// What a helper does from its start to its end.
    fn serve(&self) {
        let mut spins = 0;
        loop {
            let state = self.state.load(Relaxed);
            if state == FREE {
                if spins < SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    let _ = self.state.compare_exchange(FREE, ASLEEP, Relaxed, Relaxed);
                }
            } else if state == ASLEEP {
                // Whoever changes the state from here wakes the thread afterwards.
                thread::park();
                spins = 0;
            } else if state == ENDING {
                return;
            } else {
                self.come_for(state);
                spins = 0;
            }
        }
    }

    /// Works in the region that was offered, unless it has been withdrawn.
    fn come_for(&self, region: *mut Region<'static>) {
        let Ok(region) = self.state.compare_exchange(region, BUSY, Acquire, Relaxed) else {
            return;
        };
        // SAFETY: a pointer to a region is in `state` only from `Helpers::run`, between `offer` and the end of `withdraw`.
        // It was there at the exchange, so `withdraw` fails, or has not been called: `run` does not return, and the region
        // and all that its closure borrows live, until `left` counts this helper. That is the last use of it, below. The
        // region is shared by all who use it, and is `Sync` but for its closure, which is by its type. The exchange, which
        // acquires what `offer` released, makes it visible here. Its lifetime is 'static in name only: nothing of it is kept.
        let region = unsafe { &*region };
        region.work();
        // First this, so that the leader finds its helper free in its next region. Another leader may take it before the
        // next line, which does not disturb the region that it then comes for.
        self.state.store(FREE, Relaxed);
        // Release: the leader sees what was written here.
        region.left.fetch_add(1, Release);
    }
}

struct Helper {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

struct Helpers {
    all: Vec<Helper>,
    leaders: AtomicUsize,
}

impl Helpers {
    /// How many threads a leader may take, itself one of them.
    fn share(&self) -> usize {
        (self.all.len() + 1) / self.leaders.load(Relaxed).max(1)
    }

    /// Calls `part` with every index below `parts`, at least 2, and returns when all calls have ended.
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        let region = Region {
            part,
            parts,
            next: AtomicUsize::new(1),
            left: AtomicUsize::new(0),
            panics: Mutex::new(Vec::new()),
        };
        // From here to the end of the loop at `left` nothing may panic: helpers use the region.
        let offered = (&raw const region).cast_mut().cast::<Region<'static>>();
        let (mut coming, mut reach) = (0, 0);
        for helper in &self.all {
            if coming + 1 == parts {
                break;
            }
            reach += 1;
            if let Some(was) = helper.desk.offer(offered) {
                coming += 1;
                if was == ASLEEP {
                    helper.thread.thread().unpark();
                }
            }
        }
        region.compute(0);
        region.work();
        for helper in &self.all[..reach] {
            if helper.desk.withdraw(offered) {
                coming -= 1;
            }
        }
        let mut spins = 0;
        while region.left.load(Acquire) != coming {
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                // A helper was preempted within a part; perhaps for this thread.
                thread::yield_now();
            }
        }
        let first = region.panics().drain(..).next();
        if let Some(panic) = first {
            resume_unwind(panic);
        }
    }
}

/// Ends the threads. No region runs, as a leader borrows its team, so all are free or asleep.
impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in &self.all {
            // An exchange, as all that others change is: what the helper made of it before comes before this.
            helper.desk.state.swap(ENDING, Relaxed);
            helper.thread.thread().unpark();
        }
        for helper in self.all.drain(..) {
            // One that panicked in `on_start` has said so, and is gone.
            let _ = helper.thread.join();
        }
    }
}
