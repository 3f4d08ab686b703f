//! Denormal numbers taken for zero while a network computes.
//!
//! Below 1.2e-38 in float32 and 2.2e-308 in float64 numbers lose digits, one by one, and many processors lose a hundred
//! cycles and more in each operation that takes or makes one. Weights that decay, momentum that dies out and saturated units
//! make them in masses, and slow a training down many times over. So all arithmetic on networks runs with two switches of the
//! processor on: results too small are zero, and so are operands. A result must not depend on who computes it, so this is
//! done on every thread, at every entrance: of training, prediction, evaluation, inspection, and in a team's helpers.
//!
//! **On Rust's rules.** Rust takes the floating-point environment to be the default one, and by the letter of the standard
//! library (`core::arch::x86_64::_mm_setcsr`) code that runs with other switches is undefined. What follows from it in
//! practice is this. The compiler may compute an operation itself, at compile time, and then keeps the denormal; it may drop
//! one that changes nothing by the default rules, such as x · 1; and it may conclude that a number which is not zero by its
//! bits is not equal to zero. Each of these gives the result of the default rules in place of that of ours, of a number below
//! those bounds: no index, length or pointer comes of a float without a check here, so no memory is at stake, and as the
//! choice is made once, when the program is compiled, the bits are still the same on every thread. It may also move an
//! operation over a switch; but both are opaque to it and may read and write any memory, so that numbers are loaded after the
//! switch is on, and stored before it is off again, and the numbers of networks and samples are all in memory at both. What
//! remains is arithmetic on a few scalars in registers, for which the difference is of no account. Rust knows no other way to
//! have this but to write all arithmetic in assembly. C compilers and the frameworks that are built with them do the same.
//!
//! On processors that are neither x86-64 nor 64-bit ARM nothing is switched: denormal numbers are then computed with.
//! Miri, which knows no assembly, does not either.

use std::marker::PhantomData;

/// Has denormal numbers taken for zero on this thread, until it is dropped; what was then set before is set again. Guards
/// may stand within each other: only the outermost switches anything.
#[must_use]
pub(crate) struct Flushing {
    /// The control register as it was, unless both switches were on.
    before: Option<control::Register>,
    /// It belongs to a thread, and is not `Send`.
    on_thread: PhantomData<*const ()>,
}

/// Takes denormal numbers for zero from here on. A few nanoseconds.
pub(crate) fn flush_denormals() -> Flushing {
    let register = control::read();
    let is_on = register & control::FLUSH == control::FLUSH;
    if !is_on {
        control::write(register | control::FLUSH);
    }
    Flushing {
        before: (!is_on).then_some(register),
        on_thread: PhantomData,
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            control::write(before);
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[expect(
    unsafe_code,
    reason = "a control register is reached by assembly alone"
)]
mod control {
    use std::arch::asm;

    /// MXCSR, which vectors of every width go by.
    pub(super) type Register = u32;

    /// FTZ, bit 15: results. DAZ, bit 6: operands; it came soon after SSE2, and every processor of this target has it.
    pub(super) const FLUSH: Register = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Register {
        let mut register = 0;
        // SAFETY: it stores 4 bytes where there is room for them.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack)) };
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: it loads 4 bytes, which are what `read` gave but for the switches: no reserved bit is set, which would be a
        // fault. What the switches mean for the compiler is at the head of this file.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack)) };
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
#[expect(
    unsafe_code,
    reason = "a control register is reached by assembly alone"
)]
mod control {
    use std::arch::asm;

    /// FPCR.
    pub(super) type Register = u64;

    /// FZ, bit 24: results and operands of 32 and 64 bits.
    pub(super) const FLUSH: Register = 1 << 24;

    pub(super) fn read() -> Register {
        let register;
        // SAFETY: it reads a register that every program may read.
        unsafe { asm!("mrs {}, fpcr", out(reg) register, options(nostack)) };
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: it sets what `read` gave but for the switch. What that means for the compiler is at the head of this file.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nostack)) };
    }
}

#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri))]
mod control {
    /// Nothing.
    pub(super) type Register = u32;

    /// No switch.
    pub(super) const FLUSH: Register = 0;

    pub(super) fn read() -> Register {
        0
    }

    pub(super) fn write(_: Register) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod tests {
    use std::hint::black_box;
    use std::panic::{catch_unwind, resume_unwind};

    use super::*;
    use crate::nn::Scalar;
    use crate::nn::kernel::{Forward, InstructionSet, Matrix, Product, Team};

    /// Whether operands and results are flushed in single numbers, f32 and f64.
    fn flushed() -> [bool; 4] {
        [
            black_box(1e-40_f32) * black_box(1e30) == 0.0,
            black_box(1e-30_f32) * black_box(1e-10) == 0.0,
            black_box(1e-310_f64) * black_box(1e300) == 0.0,
            black_box(1e-300_f64) * black_box(1e-10) == 0.0,
        ]
    }

    #[test]
    fn denormals_are_zero_under_a_guard_and_what_they_are_after_it() {
        let before = control::read();
        assert_eq!(flushed(), [false; 4]);
        let outer = flush_denormals();
        assert_eq!(flushed(), [true; 4]);
        drop(flush_denormals());
        assert_eq!(flushed(), [true; 4]);
        drop(outer);
        assert_eq!(flushed(), [false; 4]);
        // But for the flags that tell of exceptions, bits 0 to 5 of MXCSR.
        assert_eq!(control::read() & !63, before & !63);
    }

    #[test]
    fn a_panic_leaves_no_thread_flushing() {
        let caught = catch_unwind(|| {
            let _flushing = flush_denormals();
            resume_unwind(Box::new(flushed()));
        });
        let within = caught.expect_err("a panic").downcast::<[bool; 4]>();
        assert_eq!(*within.expect("what was flushed"), [true; 4]);
        assert_eq!(flushed(), [false; 4]);
    }

    #[test]
    fn vectors_of_every_instruction_set_flush() {
        fn zeros<T: Scalar>(set: InstructionSet, x: f64, w: f64) -> usize {
            let (x, w) = ([T::from_f64(x)], [T::from_f64(w); 40]);
            let mut z = [T::one(); 40];
            let product = Forward::new(Matrix::new(&x, 1), &w, None, 40, &mut z);
            T::multiply(set, &mut Product::Forward(product));
            z.iter().filter(|number| number.is_zero()).count()
        }
        for set in InstructionSet::available() {
            let multiply = || {
                let zeros = zeros::<f32>(set, 1e30, 1e-40) + zeros::<f64>(set, 1e300, 1e-310);
                assert!(zeros == 0 || zeros == 80, "{set:?}: {zeros}");
                zeros == 80
            };
            assert!(!multiply(), "{set:?}");
            let _flushing = flush_denormals();
            assert!(multiply(), "{set:?}");
        }
    }

    #[test]
    fn every_thread_of_a_team_flushes_whoever_leads() {
        let team = Team::new(3, || {}).expect("threads");
        let check = || {
            for team in [&team, &Team::alone()] {
                for _ in 0..100 {
                    let mut found = [[false; 4]; 9];
                    team.split(9, 1, usize::MAX, [(&mut found, 1)], |_, [found]| {
                        for found in found {
                            *found = flushed();
                        }
                    });
                    assert_eq!(found, [[true; 4]; 9]);
                }
            }
        };
        check();
        assert_eq!(flushed(), [false; 4]);
        let _flushing = flush_denormals();
        check();
        assert_eq!(flushed(), [true; 4]);
    }
}
