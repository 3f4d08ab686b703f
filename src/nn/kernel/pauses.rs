//! Pauses: what a thread does in between, where products take long, or what is counted like them: activations, digests, copies.

use std::cell::{Cell, RefCell};

/// Multiply-adds between two pauses: some 0.14 ms in float32 at 145 GFLOP/s.
const BETWEEN: usize = if cfg!(miri) { 10_000 } else { 10_000_000 };

thread_local! {
    /// Multiply-adds until the next.
    static LEFT: Cell<usize> = const { Cell::new(BETWEEN) };
    static PAUSE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Has this thread do `pause` again and again while it computes products, each time after some 10⁷ multiply-adds, where it was not told
/// otherwise before. What is computed stays the same. It must not compute products itself, nor change what this thread does.
pub fn pause_by(pause: impl Fn() + 'static) {
    PAUSE.with_borrow_mut(|first| {
        first.get_or_insert_with(|| Box::new(pause));
    });
}

/// Does some work, during which this thread does `pause` again and again, as in [`pause_by`], and what it did before no more.
pub fn paused_by<R>(pause: impl Fn() + 'static, work: impl FnOnce() -> R) -> R {
    let _before = Before(PAUSE.replace(Some(Box::new(pause))));
    work()
}

/// What a thread did before, and does again when this is dropped, also by a panic.
struct Before(Option<Box<dyn Fn()>>);

impl Drop for Before {
    fn drop(&mut self) {
        PAUSE.set(self.0.take());
    }
}

/// Notes that this thread computes so many multiply-adds, or what takes as long, and pauses where it is due.
#[inline]
pub(crate) fn worked(multiply_adds: usize) {
    match LEFT.get().checked_sub(multiply_adds) {
        Some(left) => LEFT.set(left),
        None => pause(),
    }
}

#[cold]
fn pause() {
    LEFT.set(BETWEEN);
    PAUSE.with_borrow(|pause| {
        if let Some(pause) = pause {
            pause();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::rc::Rc;

    use super::*;
    use crate::nn::kernel::{Matrix, backward, forward, weight_gradient};

    #[test]
    fn a_thread_pauses_within_each_product_that_takes_long_and_after_many_that_do_not() {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        pause_by(move || counted.set(counted.get() + 1));
        pause_by(|| unreachable!("there is one already"));
        // 64 · 512 · 512 multiply-adds each: 16.8 million, in parts.
        let (m, n, small, times) = if cfg!(miri) {
            (4, 64, 4, 250)
        } else {
            (64, 512, 64, 1000)
        };
        let (x, w, mut z) = (vec![1.0_f32; m * n], vec![0.5; n * n], vec![0.0; m * n]);
        let mut gradient = vec![0.0; n * n];
        let rows = Matrix::new(&x, n);
        let mut before = 0;
        let mut paused = |least: usize, most: usize, what: &str| {
            let pauses = count.get() - before;
            assert!((least..=most).contains(&pauses), "{what}: {pauses}");
            before = count.get();
        };
        forward(rows, &w, None, &mut z);
        paused(1, 2, "forward");
        backward(rows, &w, &mut z, None);
        paused(1, 2, "backward");
        weight_gradient(rows, 0..n, (rows, None), &mut gradient);
        paused(1, 2, "the gradient");
        let rows = Matrix::new(&x[..4 * small], small);
        for _ in 0..times {
            forward(rows, &w[..small * small], None, &mut z[..4 * small]);
        }
        // Fewer than eight rows count as eight.
        paused(1, 4, "a thousand of 32,768 each");
        forward(rows, &w[..small * n], None, &mut vec![0.0; 4 * n]);
        // Another pause for a while, and then the same as before.
        let others = Rc::new(Cell::new(0));
        let counted = Rc::clone(&others);
        let long = Matrix::new(&x, n);
        paused_by(
            move || counted.set(counted.get() + 1),
            || forward(long, &w, None, &mut z),
        );
        let panic = catch_unwind(|| paused_by(|| unreachable!("no work"), || panic!("a bug")));
        assert!(panic.is_err());
        paused(0, 0, "meanwhile");
        assert!((1..=2).contains(&others.get()), "{}", others.get());
        forward(long, &w, None, &mut z);
        paused(1, 2, "afterwards");
        if !cfg!(miri) {
            let (x, mut z) = (vec![1.0; 512 * n], vec![0.0; 512 * 32]);
            forward(Matrix::new(&x, n), &w[..n * 32], None, &mut z);
            paused(0, 1, "little so far");
            let mut gradient = vec![0.0; n * 32];
            let deltas = Matrix::new(&z, 32);
            for _ in 0..3 {
                weight_gradient(Matrix::new(&x, n), 0..n, (deltas, None), &mut gradient);
            }
            paused(2, 3, "within the columns of one panel");
        }
    }
}
