//! The functions by their errors, their ends, and the place of a number in a slice.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled with the features of the function that calls it"
)]

use super::{exp_nonpositive, expm1_nonpositive, ln, ln_1p_to_one, sigmoid, tanh};
use crate::nn::Scalar;
use crate::nn::kernel::{Arithmetic, InstructionSet, Loops};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    Expm1,
    Sigmoid,
    Tanh,
    Ln,
    Ln1p,
}

use Function::{Exp, Expm1, Ln, Ln1p, Sigmoid, Tanh};

impl Function {
    const ALL: [Self; 6] = [Exp, Expm1, Sigmoid, Tanh, Ln, Ln1p];

    /// The name in the fixture.
    fn name(self) -> &'static str {
        match self {
            Exp => "exp",
            Expm1 => "expm1",
            Sigmoid => "sigmoid",
            Tanh => "tanh",
            Ln => "ln",
            Ln1p => "ln_1p",
        }
    }

    /// A little above the largest error that its documentation states, in ulp.
    fn error(self) -> f64 {
        match self {
            Exp => 1.01,
            Expm1 => 1.2,
            Sigmoid => 1.8,
            Tanh => 1.3,
            Ln | Ln1p => 1.05,
        }
    }

    /// Where it is defined.
    fn takes(self, x: f64) -> bool {
        match self {
            Exp | Expm1 => x <= 0.0,
            Sigmoid | Tanh => true,
            Ln => x > 0.0,
            Ln1p => (0.0..=1.0).contains(&x),
        }
    }

    /// By the standard library.
    fn of_f64(self, x: f64) -> f64 {
        match self {
            Exp => x.exp(),
            Expm1 => x.exp_m1(),
            Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
            Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Tanh => x.tanh(),
            Ln => x.ln(),
            Ln1p => x.ln_1p(),
        }
    }
}

struct Each<'a, T> {
    function: Function,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Scalar> Loops for Each<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { function, x, y } = self;
        match function {
            Exp => map(x, y, exp_nonpositive::<A, T>),
            Expm1 => map(x, y, expm1_nonpositive::<A, T>),
            Sigmoid => map(x, y, sigmoid::<A, T>),
            Tanh => map(x, y, tanh::<A, T>),
            Ln => map(x, y, ln::<A, T>),
            Ln1p => map(x, y, ln_1p_to_one::<A, T>),
        }
    }
}

#[inline(always)]
fn map<T: Scalar>(x: &[T], y: &mut [T], function: impl Fn(T) -> T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = function(x);
    }
}

fn each<T: Scalar>(set: InstructionSet, function: Function, x: &[T]) -> Vec<T> {
    let mut y = vec![T::nan(); x.len()];
    set.run(Each {
        function,
        x,
        y: &mut y,
    });
    y
}

/// |y − value − rest| in ulp of the value, of which `digits` are kept and `least` is the exponent of the last one of 0.
fn ulps(y: f64, value: f64, rest: f64, digits: i32, least: i32) -> f64 {
    if value == 0.0 {
        return if y == 0.0 { 0.0 } else { f64::INFINITY };
    }
    let exponent = value.abs().log2().floor() as i32;
    // The logarithm may be rounded up to the next integer.
    let exponent = if 2_f64.powi(exponent) > value.abs() {
        exponent - 1
    } else {
        exponent
    };
    let last = (exponent + 1 - digits).max(least);
    // In two steps, as 2⁻¹⁰⁷⁴ has no reciprocal.
    ((y - value) - rest).abs() * 2_f64.powi(-last / 2) * 2_f64.powi(-last + last / 2)
}

/// Where the result is no normal number, 0 is as good.
fn is_flushed<T: Scalar>(function: Function, y: f64, value: f64) -> bool {
    let least = T::min_positive_value().to_f64();
    matches!(function, Exp | Sigmoid) && value < least && (0.0..=least).contains(&y)
}

#[test]
fn f32_is_right_over_all_exponents() {
    // By the standard library's f64, whose error is 10⁻⁹ of an ulp here. Every 1,009th number, of both signs.
    let all = (0..u32::MAX / 1009).map(|index| f32::from_bits(index * 1009));
    let numbers: Vec<f32> = all.filter(|x| x.is_finite()).collect();
    for function in Function::ALL {
        let of = |x: &&f32| function.takes(f64::from(**x));
        let x: Vec<f32> = numbers.iter().filter(of).copied().collect();
        assert!(x.len() > 1_000_000);
        for set in InstructionSet::available() {
            for (&x, y) in x.iter().zip(each(set, function, &x)) {
                let (value, y) = (function.of_f64(f64::from(x)), f64::from(y));
                let right = is_flushed::<f32>(function, y, value)
                    || ulps(y, value, 0.0, 24, -149) <= function.error();
                assert!(right, "{set:?} {function:?} {x:e}: {y:e} for {value:e}");
            }
        }
    }
}

#[test]
fn f64_is_right_to_the_digits_of_mpmath() {
    let fixture = include_str!("../../../../tests/fixtures/functions/values.csv");
    for function in Function::ALL {
        let lines = fixture
            .lines()
            .map(|line| line.split(',').collect::<Vec<_>>());
        let of = lines.filter(|cells| cells[0] == function.name());
        let numbers: Vec<[f64; 3]> = of
            .map(|cells| [1, 2, 3].map(|cell| cells[cell].parse().expect("a number")))
            .collect();
        assert!(numbers.len() > 500, "{function:?}");
        let x: Vec<f64> = numbers.iter().map(|&[x, ..]| x).collect();
        for set in InstructionSet::available() {
            for (&[x, value, rest], y) in numbers.iter().zip(each(set, function, &x)) {
                assert!(function.takes(x), "{function:?} {x:e}");
                let right = is_flushed::<f64>(function, y, value)
                    || ulps(y, value, rest, 53, -1074) <= function.error();
                assert!(right, "{set:?} {function:?} {x:e}: {y:e} for {value:e}");
            }
        }
    }
}

#[test]
fn the_ends_are_exact() {
    fn check<T: Scalar>() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        let most = T::max_value().to_f64();
        let tiny = T::min_positive_value().to_f64();
        for (function, x, expected) in [
            (Exp, 0.0, 1.0),
            (Exp, -0.0, 1.0),
            (Exp, -tiny, 1.0),
            (Exp, -most, 0.0),
            (Exp, -infinity, 0.0),
            (Expm1, 0.0, 0.0),
            (Expm1, -0.0, -0.0),
            (Expm1, -tiny, -tiny),
            (Expm1, -most, -1.0),
            (Expm1, -infinity, -1.0),
            (Sigmoid, 0.0, 0.5),
            (Sigmoid, -0.0, 0.5),
            (Sigmoid, tiny, 0.5),
            (Sigmoid, most, 1.0),
            (Sigmoid, -most, 0.0),
            (Sigmoid, infinity, 1.0),
            (Sigmoid, -infinity, 0.0),
            (Tanh, 0.0, 0.0),
            (Tanh, -0.0, -0.0),
            (Tanh, tiny, tiny),
            (Tanh, -most, -1.0),
            (Tanh, infinity, 1.0),
            (Tanh, -infinity, -1.0),
            (Ln, 1.0, 0.0),
            (Ln, 0.0, -infinity),
            (Ln, -0.0, -infinity),
            (Ln, infinity, infinity),
            (Ln, -1.0, nan),
            (Ln, -tiny, nan),
            (Ln, -infinity, nan),
            (Ln1p, 0.0, 0.0),
            (Ln1p, tiny, tiny),
            (Exp, nan, nan),
            (Expm1, nan, nan),
            (Sigmoid, nan, nan),
            (Tanh, nan, nan),
            (Ln, nan, nan),
            (Ln1p, nan, nan),
            (Sigmoid, -nan, nan),
            (Tanh, -nan, nan),
        ] {
            for set in InstructionSet::available() {
                // In a vector and alone.
                for len in [33, 1] {
                    for y in each(set, function, &vec![T::from_f64(x); len]) {
                        let y = y.to_f64();
                        let same =
                            y == expected && y.is_sign_negative() == expected.is_sign_negative();
                        let right = same || (y.is_nan() && expected.is_nan());
                        assert!(right, "{set:?} {function:?} {x}: {y}");
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_number_has_the_same_bits_wherever_it_stands_and_whatever_the_length_of_its_slice() {
    fn check<T: Scalar>() {
        let bits = |y: T| y.to_f64().to_bits();
        for function in Function::ALL {
            let x: Vec<T> = (0..150_u8)
                .map(|index| {
                    let size = f64::from(index) * 0.037 + 1e-3;
                    let x = match function {
                        Exp | Expm1 => -size,
                        Sigmoid | Tanh => size - 2.0,
                        Ln => size,
                        Ln1p => size / 6.0,
                    };
                    T::from_f64(x)
                })
                .collect();
            for set in InstructionSet::available() {
                let alone: Vec<T> = x.iter().flat_map(|&x| each(set, function, &[x])).collect();
                for start in [0, 1, 7, 16] {
                    for len in (0..70).chain([134]) {
                        let range = start..start + len;
                        let y = each(set, function, &x[range.clone()]);
                        let same = y
                            .iter()
                            .zip(&alone[range])
                            .all(|(&y, &of)| bits(y) == bits(of));
                        assert!(same, "{set:?} {function:?}: {len} from {start}");
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}
