//! Loops over slices, compiled for the vectors that the machine has.
//!
//! Advice: a task is a struct that holds its slices. Its `run` and all that it calls must be `#[inline(always)]`, or it is
//! compiled for the oldest processor of the target; and without branches, or the compiler leaves it in single numbers.
//! Rust never joins a multiplication and an addition by itself, so that a task which does not ask `Arithmetic` for it
//! comes to the same bits on every processor.
#![expect(
    clippy::inline_always,
    reason = "a body must be compiled with the features of the function that calls it"
)]

use crate::nn::Scalar;
use crate::nn::kernel::InstructionSet;

/// How x·y + z is rounded where nothing else is asked for: once where the processor can, else twice.
pub(crate) trait Arithmetic {
    /// x·y + z.
    fn multiply_add<T: Scalar>(x: T, y: T, z: T) -> T;
}

/// Rounded once.
struct Once;

impl Arithmetic for Once {
    #[inline(always)]
    fn multiply_add<T: Scalar>(x: T, y: T, z: T) -> T {
        x.mul_add(y, z)
    }
}

/// Rounded twice: in software, rounding once takes a hundred times as long.
struct Twice;

impl Arithmetic for Twice {
    #[inline(always)]
    fn multiply_add<T: Scalar>(x: T, y: T, z: T) -> T {
        x * y + z
    }
}

/// Loops over slices, which [`vectorize`] runs.
pub(crate) trait Loops {
    /// What comes of them.
    type Output;

    /// Runs them. To be `#[inline(always)]`.
    fn run<A: Arithmetic>(self) -> Self::Output;
}

/// Runs loops in the widest vectors that this machine has.
pub(crate) fn vectorize<L: Loops>(loops: L) -> L::Output {
    InstructionSet::best().run(loops)
}

impl InstructionSet {
    /// Runs loops with the instructions of a set, which this machine must have.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "functions compiled for more than the target's instructions"
        )
    )]
    pub(super) fn run<L: Loops>(self, loops: L) -> L::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<L: Loops>(loops: L) -> L::Output {
            loops.run::<Once>()
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
        fn avx512<L: Loops>(loops: L) -> L::Output {
            loops.run::<Once>()
        }

        match self {
            Self::Portable => loops.run::<Twice>(),
            // SAFETY: `best` alone makes this value outside of tests, after the processor has said that it has AVX2 and
            // FMA; tests ask in the same way.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(loops) },
            // SAFETY: as above, with the five parts of AVX-512 that every processor since Skylake has.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(loops) },
        }
    }
}

#[cfg(test)]
impl InstructionSet {
    /// [`InstructionSet::run`] with a set that this machine has, for the tests of loops elsewhere.
    pub(in crate::nn) fn try_out<L: Loops>(self, loops: L) -> L::Output {
        assert!(Self::available().contains(&self), "{self:?}");
        self.run(loops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::InstructionSet;

    struct Squares<'a>(&'a mut [f32]);

    impl Loops for Squares<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<A: Arithmetic>(self) -> f32 {
            let mut largest = 0.0;
            for x in self.0 {
                *x = A::multiply_add(*x, *x, 1.0);
                largest = if *x > largest { *x } else { largest };
            }
            largest
        }
    }

    #[test]
    fn loops_come_to_the_same_on_every_instruction_set() {
        for set in InstructionSet::available() {
            let mut numbers: Vec<f32> = (0..100_u8).map(f32::from).collect();
            assert_eq!(set.run(Squares(&mut numbers)), 9802.0, "{set:?}");
            assert!((0..100_u16).all(|i| numbers[usize::from(i)] == f32::from(i * i + 1)));
        }
    }
}
