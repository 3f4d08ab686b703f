//! A simulation of jobs in the store from one seed: users, two processes that train, a clock that jumps, a disk that is full for a
//! while, and power that fails in the middle of a commit. Training is real, and so is SQLite. Nothing in it depends on
//! the machine, so a seed that fails fails again.
//!
//! `SIMULATION_SEEDS=10000` runs so many seeds instead of a few; `SIMULATION_SEED=77` runs that one.

mod disk;
mod met;
mod runner;
mod world;

use crate::store::simulation::world::World;

/// Seeds of the short form.
const SEEDS: u64 = 20;

/// Draws from a seed (splitmix64): the same everywhere.
pub(crate) struct Draws(u64);

impl Draws {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Tells, where a panic goes by, which seed it was.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "seed {} fails: SIMULATION_SEED={} runs it alone",
                self.0, self.0
            );
        }
    }
}

fn asked(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(given.parse().expect("a whole number"))
}

#[test]
fn whatever_happens_nothing_is_lost_and_every_job_ends_with_the_same_bits() {
    let seeds = match asked("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut met = met::Met::default();
    for seed in seeds {
        let _told = Told(seed);
        met.add(&World::new(seed).run());
    }
    println!("{met:?}");
    if std::env::var("SIMULATION_SEED").is_err() {
        met.check();
    }
}
