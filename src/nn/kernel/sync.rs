//! What the team of threads is built of: the standard library's, but where `tests/loom` compiles the team over a model of memory.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicPtr, AtomicUsize};
pub(super) use std::sync::{Arc, Mutex, MutexGuard};
pub(super) use std::thread;
pub(super) use std::thread::JoinHandle;

/// How often a helper looks for a region before it sleeps, and a leader for the end of its own before it lets others have
/// its processor: some tens of microseconds.
pub(super) const SPINS: u32 = if cfg!(miri) { 8 } else { 1_000 };
