//! The team: every row once, whatever the threads, leaders, pauses and panics.

use std::collections::HashSet;
use std::panic::panic_any;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::*;

/// Fewer rounds where each takes a thousand times as long.
const ROUNDS: usize = if cfg!(miri) { 5 } else { 500 };

fn team(threads: usize) -> Team {
    Team::new(threads, || {}).expect("threads")
}

/// Waits until something holds, which takes no time to speak of.
#[track_caller]
fn wait_until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never holds");
        thread::yield_now();
    }
}

/// Waits until all helpers sleep.
#[track_caller]
fn wait_until_asleep(team: &Team) {
    let helpers = team.helpers.as_ref().expect("helpers");
    for helper in &helpers.all {
        wait_until(|| helper.desk.state.load(SeqCst) == ASLEEP);
    }
}

/// One region over three arrays of 1, 3 and 0 numbers a row: numbers each row in the first and counts visits in the second.
/// Answers the ranges.
#[track_caller]
fn visit(team: &Team, rows: usize, unit: usize, work: usize) -> Vec<Range<usize>> {
    let (mut numbers, mut visits, mut nothing) = (vec![0; rows], vec![0; 3 * rows], vec![0; 0]);
    let ranges = Mutex::new(Vec::new());
    let arrays = [
        (numbers.as_mut_slice(), 1),
        (visits.as_mut_slice(), 3),
        (nothing.as_mut_slice(), 0),
    ];
    team.split(
        rows,
        unit,
        work,
        arrays,
        |range, [numbers, visits, none]| {
            assert_eq!(
                [numbers.len(), visits.len()],
                [range.len(), 3 * range.len()]
            );
            assert!(none.is_empty());
            for (number, row) in numbers.iter_mut().zip(range.clone()) {
                *number = row;
            }
            for visit in visits {
                *visit += 1;
            }
            ranges.lock().expect("no panic").push(range);
        },
    );
    assert_eq!(numbers, (0..rows).collect::<Vec<_>>());
    assert_eq!(visits, vec![1; 3 * rows]);
    let mut ranges = ranges.into_inner().expect("no panic");
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// A region of two parts that each wait for the other to have begun: a helper comes, though it had to be woken.
#[track_caller]
fn meet(team: &Team) {
    let begun = [const { AtomicBool::new(false) }; 2];
    let mut threads = [None, None];
    team.split(2, 1, usize::MAX, [(&mut threads, 1)], |range, [threads]| {
        begun[range.start].store(true, SeqCst);
        wait_until(|| begun[1 - range.start].load(SeqCst));
        threads[0] = Some(thread::current().id());
    });
    assert_eq!(
        threads[0],
        Some(thread::current().id()),
        "the leader has part 0"
    );
    assert_ne!(threads[0], threads[1], "a helper has part 1");
}

#[test]
fn every_row_is_in_one_range_and_every_range_but_the_last_in_units() {
    let most = if cfg!(miri) { 7 } else { 70 };
    for threads in if cfg!(miri) {
        vec![1, 3]
    } else {
        vec![1, 2, 3, 8]
    } {
        let team = team(threads);
        assert_eq!(team.threads(), threads);
        for rows in 0..=most {
            for unit in [1, 2, 3, 8, 64] {
                let ranges = visit(&team, rows, unit, usize::MAX);
                let units = rows.div_ceil(unit);
                assert_eq!(
                    ranges.len(),
                    threads.min(units).max(1),
                    "{rows} rows of {unit}"
                );
                let mut end = 0;
                for range in &ranges {
                    assert_eq!(range.start, end, "{ranges:?}");
                    assert_eq!(range.start % unit, 0, "{ranges:?}");
                    end = range.end;
                }
                assert_eq!(end, rows, "{ranges:?}");
                let lengths = ranges.iter().map(|range| range.len().div_ceil(unit));
                let longest = lengths.clone().max().expect("a range");
                assert!(lengths.min().expect("a range") + 1 >= longest, "{ranges:?}");
            }
        }
    }
}

#[test]
fn work_that_is_not_worth_it_is_not_divided() {
    let team = team(4);
    for (work, parts) in [(0, 1), (2 * LEAST_WORK - 1, 1), (2 * LEAST_WORK, 2)] {
        assert_eq!(visit(&team, 100, 1, work).len(), parts, "{work}");
    }
    assert_eq!(visit(&team, 100, 1, 4 * LEAST_WORK).len(), 4);
}

#[test]
fn leaders_share_the_threads() {
    let team = team(6);
    let parts = || visit(&team, 100, 1, usize::MAX).len();
    assert_eq!(parts(), 6);
    let one = team.lead();
    assert_eq!(parts(), 6);
    let two = team.clone().lead();
    assert_eq!(parts(), 3);
    let others = [(); 5].map(|()| team.lead());
    assert_eq!(parts(), 1);
    drop((one, others));
    assert_eq!(parts(), 6);
    drop(two);
    assert_eq!(parts(), 6);
}

#[test]
fn a_team_of_one_starts_no_thread() {
    let team = Team::new(1, || panic!("a thread")).expect("no thread");
    assert_eq!(team.threads(), 1);
    let _leading = team.lead();
    assert_eq!(visit(&team, 10, 1, usize::MAX).len(), 1);
    assert_eq!(visit(&Team::alone(), 10, 1, usize::MAX).len(), 1);
}

#[test]
fn helpers_start_as_they_are_told_and_end_with_the_last_clone() {
    let started = Arc::new(Mutex::new(HashSet::new()));
    let heard = Arc::clone(&started);
    let team = Team::new(4, move || {
        let this = thread::current();
        assert_eq!(this.name(), Some("training"));
        heard.lock().expect("no panic").insert(this.id());
    })
    .expect("threads");
    meet(&team);
    let clone = team.clone();
    drop(team);
    meet(&clone);
    drop(clone);
    // Each had a share in the closure.
    assert_eq!(Arc::strong_count(&started), 1);
    assert_eq!(started.lock().expect("no panic").len(), 3);
}

#[test]
fn helpers_that_sleep_are_woken_and_end() {
    let team = team(3);
    for _ in 0..if cfg!(miri) { 2 } else { 20 } {
        wait_until_asleep(&team);
        meet(&team);
        wait_until_asleep(&team);
        assert_eq!(visit(&team, 9, 2, usize::MAX).len(), 3);
    }
    wait_until_asleep(&team);
    drop(team);
}

#[test]
fn a_helper_that_does_not_come_is_not_waited_for() {
    let may_start = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&may_start);
    let team = Team::new(3, move || wait_until(|| told.load(SeqCst))).expect("threads");
    for _ in 0..3 {
        assert_eq!(visit(&team, 30, 4, usize::MAX).len(), 3);
    }
    may_start.store(true, SeqCst);
    meet(&team);
}

#[test]
fn a_helper_that_is_gone_is_not_waited_for() {
    let team = Team::new(2, || panic_any("it cannot start")).expect("threads");
    let helpers = team.helpers.as_ref().expect("helpers");
    wait_until(|| helpers.all[0].thread.is_finished());
    assert_eq!(visit(&team, 30, 4, usize::MAX).len(), 2);
}

#[test]
fn leaders_at_the_same_time_get_their_own_rows() {
    for threads in [2, 4] {
        let team = team(threads);
        thread::scope(|scope| {
            for leader in 0..3 {
                let team = &team;
                scope.spawn(move || {
                    // One of them does not say that it leads: helpers may all be taken.
                    let _leading = (leader > 0).then(|| team.lead());
                    for round in 0..ROUNDS {
                        visit(team, round % 40, 1 + leader, usize::MAX);
                    }
                });
            }
        });
        meet(&team);
    }
}

#[test]
fn a_panic_reaches_the_leader_after_all_parts_have_ended() {
    let team = team(3);
    for round in 0..ROUNDS.div_ceil(4) {
        // Of one part, of another, of all.
        for panics in [0..1, 2..3, 0..3] {
            let mut numbers = [0_usize; 3];
            let ended = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                team.split(3, 1, usize::MAX, [(&mut numbers, 1)], |range, [numbers]| {
                    numbers[0] = round + range.start;
                    ended.fetch_add(1, SeqCst);
                    if panics.contains(&range.start) {
                        // Without the hook that prints it.
                        resume_unwind(Box::new(range.start));
                    }
                });
            }));
            assert_eq!(ended.load(SeqCst), 3);
            assert_eq!(numbers, [round, round + 1, round + 2]);
            let panic = caught.expect_err("a panic").downcast::<usize>();
            assert!(panics.contains(&panic.expect("the index of a part")));
        }
    }
    assert_eq!(visit(&team, 7, 1, usize::MAX).len(), 3);
}

#[test]
#[should_panic(expected = "3 rows of 2")]
fn a_slice_of_the_wrong_size_is_a_bug() {
    Team::alone().split(3, 1, 0, [(&mut [0; 5], 2)], |_, _| {});
}
