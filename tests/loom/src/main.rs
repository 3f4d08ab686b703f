//! The team of threads, compiled from the product's own file over loom, which runs what may happen: every order of its loads and
//! stores that the memory model allows, up to a number of preemptions.
//!
//! `cargo run --release` here; LOOM_MAX_PREEMPTIONS sets the number. Cells say whether they were written and read at the same
//! time, or without one before the other.

use std::ops::Range;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread;

use crate::team::Team;

/// The floor as far as the team's file names it.
mod nn {
    pub(crate) mod kernel {
        /// As `src/nn/kernel/sync.rs`, of loom. A model has no use for looking again and again.
        pub(crate) mod sync {
            pub(crate) use loom::hint::spin_loop;
            pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicUsize};
            pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
            pub(crate) use loom::thread;
            pub(crate) use loom::thread::JoinHandle;

            pub(crate) const SPINS: u32 = 1;
        }

        /// Not of memory.
        pub(crate) struct Flushing;

        pub(crate) fn flush_denormals() -> Flushing {
            Flushing
        }
    }
}

#[path = "../../../src/nn/kernel/team/mod.rs"]
mod team;

/// Preemptions in one execution, where the environment does not say.
const PREEMPTIONS: usize = 3;

/// One region over so many rows, each of which adds what its leader wrote before; then the leader reads all rows.
fn region(team: &Team, rows: usize) {
    let given = UnsafeCell::new(0);
    given.with_mut(|given| {
        // SAFETY: loom says so where another thread looks at it.
        unsafe { *given = 1 }
    });
    // Loom's cells are not `Sync`; that they are used as if they were is what is looked at.
    struct Shared<'a>(&'a UnsafeCell<usize>);
    // SAFETY: as above.
    unsafe impl Sync for Shared<'_> {}
    let shared = Shared(&given);
    let mut cells: Vec<_> = (0..rows).map(|_| UnsafeCell::new(0)).collect();
    team.split(
        rows,
        1,
        usize::MAX,
        [(&mut cells, 1)],
        |range: Range<usize>, [cells]| {
            let shared = &shared;
            // SAFETY: as above.
            let given = shared.0.with(|given| unsafe { *given });
            for (cell, row) in cells.iter().zip(range) {
                // SAFETY: as above.
                cell.with_mut(|cell| unsafe { *cell += row + given });
            }
        },
    );
    for (row, cell) in cells.iter().enumerate() {
        // SAFETY: as above.
        let got = cell.with(|cell| unsafe { *cell });
        assert_eq!(got, row + 1, "a row is computed once");
    }
    // Nobody looks at it any more.
    // SAFETY: as above.
    given.with_mut(|given| unsafe { *given = 2 });
}

fn team(threads: usize) -> Team {
    Team::new(threads, || {}).expect("threads")
}

fn one_region() {
    let team = team(2);
    let _leading = team.lead();
    region(&team, 2);
}

fn one_region_after_another() {
    let team = team(2);
    region(&team, 2);
    region(&team, 2);
}

fn two_helpers() {
    region(&team(3), 3);
}

fn two_leaders() {
    let team = team(2);
    let other = team.clone();
    let leader = thread::spawn(move || region(&other, 2));
    region(&team, 2);
    leader.join().expect("no panic");
}

fn main() {
    let models: [(&str, fn()); 4] = [
        ("a region of a leader and a helper", one_region),
        ("one region after another", one_region_after_another),
        ("two helpers", two_helpers),
        ("two leaders of one helper", two_leaders),
    ];
    for (what, model) in models {
        let mut builder = Builder::new();
        builder.preemption_bound.get_or_insert(PREEMPTIONS);
        let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = executions.clone();
        builder.check(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model();
        });
        let preemptions = builder.preemption_bound.unwrap_or_default();
        println!("{what}: held in {executions:?} executions of up to {preemptions} preemptions");
    }
}
