//! The rules by which single parameters move, one after the other, in one pass over parameters, gradient and memory.

use crate::nn::kernel::{Arithmetic, Loops, vectorize};
use crate::nn::optimizer::OptimizerSpec;
use crate::nn::{OptimizerState, Scalar};

/// The most numbers that a rule remembers of each parameter.
pub(in crate::nn) const MOST_SLOTS: usize = 3;

/// A rule with its constants for one step.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) enum Rule<T> {
    /// `rate_of_sum` is η/N, for a gradient that is a sum.
    Descend {
        rate: T,
        rate_of_sum: T,
    },
    Momentum {
        rate: T,
        momentum: T,
        nesterov: bool,
    },
    Adagrad {
        rate: T,
        epsilon: T,
    },
    Adadelta {
        rate: T,
        rho: T,
        epsilon: T,
    },
    Rmsprop(Rmsprop<T>),
    Adam {
        adam: Adam<T>,
        decay: T,
        decoupled: bool,
        largest: bool,
    },
    Nadam {
        adam: Adam<T>,
        ahead: T,
    },
    Lion {
        rate: T,
        beta1: T,
        beta2: T,
        kept: T,
    },
}

/// RMSprop in its four forms. Slots: s, then c if centered, then b if there is momentum.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Rmsprop<T> {
    rate: T,
    rho: T,
    epsilon: T,
    momentum: Option<T>,
    centered: bool,
}

/// What Adam and its kin share.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Adam<T> {
    /// What m is multiplied by; in Nadam, what g is.
    rate: T,
    /// 1 − β₁.
    fresh1: T,
    beta2: T,
    epsilon: T,
    /// 1/√(1 − β₂ᵗ).
    correction: T,
}

/// How many numbers the optimizer remembers of each parameter.
pub(super) fn slots(spec: &OptimizerSpec) -> usize {
    match *spec {
        OptimizerSpec::GradientDescent { momentum, .. } => usize::from(momentum > 0.0),
        OptimizerSpec::Adagrad { .. } | OptimizerSpec::Lion { .. } => 1,
        OptimizerSpec::Rmsprop {
            momentum, centered, ..
        } => 1 + usize::from(centered) + usize::from(momentum > 0.0),
        OptimizerSpec::Adadelta { .. }
        | OptimizerSpec::Adam { .. }
        | OptimizerSpec::Adamw { .. }
        | OptimizerSpec::Nadam { .. } => 2,
        OptimizerSpec::Amsgrad { .. } => 3,
        OptimizerSpec::Lbfgs(spec) => spec.slots(),
    }
}

/// μₜ of Nadam.
pub(super) fn nadam_momentum(beta1: f64, momentum_decay: f64, step: u64) -> f64 {
    beta1 * (1.0 - 0.5 * 0.96_f64.powf(step as f64 * momentum_decay))
}

impl<T: Scalar> Rule<T> {
    /// The rule of step t = `state.steps`, of which `powers` are [`powers`], with η = `rate`, for a batch of Σ wₙ = `weight`.
    #[expect(clippy::too_many_lines, reason = "an arm for each optimizer")]
    pub(super) fn of(
        spec: &OptimizerSpec,
        state: &OptimizerState<T>,
        powers: [f64; 2],
        (rate, weight): (f64, f64),
    ) -> Self {
        let number = T::from_f64;
        let adam = |rate: f64, beta1: f64, beta2: f64, epsilon: f64| Adam {
            rate: number(rate),
            fresh1: number(1.0 - beta1),
            beta2: number(beta2),
            epsilon: number(epsilon),
            correction: number(1.0 / (1.0 - powers[1]).sqrt()),
        };
        let corrected = rate / (1.0 - powers[0]);
        match *spec {
            OptimizerSpec::GradientDescent {
                momentum, nesterov, ..
            } if momentum > 0.0 => Self::Momentum {
                rate: number(rate),
                momentum: number(momentum),
                nesterov,
            },
            OptimizerSpec::GradientDescent { .. } => Self::Descend {
                rate: number(rate),
                rate_of_sum: number(rate / weight),
            },
            OptimizerSpec::Adagrad { epsilon, .. } => Self::Adagrad {
                rate: number(rate),
                epsilon: number(epsilon),
            },
            OptimizerSpec::Adadelta { rho, epsilon, .. } => Self::Adadelta {
                rate: number(rate),
                rho: number(rho),
                epsilon: number(epsilon),
            },
            OptimizerSpec::Rmsprop {
                rho,
                epsilon,
                momentum,
                centered,
                ..
            } => Self::Rmsprop(Rmsprop {
                rate: number(rate),
                rho: number(rho),
                epsilon: number(epsilon),
                momentum: (momentum > 0.0).then(|| number(momentum)),
                centered,
            }),
            OptimizerSpec::Adam {
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..
            }
            | OptimizerSpec::Amsgrad {
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..
            } => Self::Adam {
                adam: adam(corrected, beta1, beta2, epsilon),
                decay: number(weight_decay),
                decoupled: false,
                largest: matches!(spec, OptimizerSpec::Amsgrad { .. }),
            },
            OptimizerSpec::Adamw {
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..
            } => Self::Adam {
                adam: adam(corrected, beta1, beta2, epsilon),
                decay: number(1.0 - rate * weight_decay),
                decoupled: true,
                largest: false,
            },
            OptimizerSpec::Nadam {
                beta1,
                beta2,
                epsilon,
                momentum_decay,
                ..
            } => {
                let now = nadam_momentum(beta1, momentum_decay, state.steps);
                let next = nadam_momentum(beta1, momentum_decay, state.steps + 1);
                let product = state.momentum_product;
                Self::Nadam {
                    adam: adam(rate * (1.0 - now) / (1.0 - product), beta1, beta2, epsilon),
                    ahead: number(rate * next / (1.0 - product * next)),
                }
            }
            OptimizerSpec::Lion {
                beta1,
                beta2,
                weight_decay,
                ..
            } => Self::Lion {
                rate: number(rate),
                beta1: number(beta1),
                beta2: number(beta2),
                kept: number(1.0 - rate * weight_decay),
            },
            OptimizerSpec::Lbfgs(_) => panic!("L-BFGS moves all parameters together"),
        }
    }

    /// Moves the parameters, whose gradient is `gradient(sum, parameter)`; whether every one is finite after it.
    ///
    /// Shapes: all slices are as long as `parameters`, but for slots that the rule has no use for.
    pub(in crate::nn) fn apply(
        self,
        parameters: &mut [T],
        sums: &[T],
        slots: [&mut [T]; MOST_SLOTS],
        gradient: impl Fn(T, T) -> T,
    ) -> bool {
        let one = T::one();
        match self {
            Self::Descend { rate, .. } => pass(parameters, sums, slots, move |p, sum| {
                *p -= rate * gradient(sum, *p);
            }),
            Self::Momentum {
                rate,
                momentum,
                nesterov,
            } => pass1(parameters, sums, slots, move |p, sum, b| {
                let g = gradient(sum, *p);
                *b = momentum * *b + g;
                *p -= rate * if nesterov { g + momentum * *b } else { *b };
            }),
            Self::Adagrad { rate, epsilon } => pass1(parameters, sums, slots, move |p, sum, s| {
                let g = gradient(sum, *p);
                *s += g * g;
                *p -= rate * g / (s.sqrt() + epsilon);
            }),
            Self::Adadelta { rate, rho, epsilon } => {
                pass2(parameters, sums, slots, move |p, sum, s, u| {
                    let g = gradient(sum, *p);
                    *s = rho * *s + (one - rho) * g * g;
                    let d = (*u + epsilon).sqrt() / (*s + epsilon).sqrt() * g;
                    *u = rho * *u + (one - rho) * d * d;
                    *p -= rate * d;
                })
            }
            Self::Rmsprop(rule) => rule.apply(parameters, sums, slots, gradient),
            Self::Adam {
                adam,
                decay,
                decoupled: true,
                largest: false,
            } => pass2(parameters, sums, slots, move |p, sum, m, v| {
                let g = gradient(sum, *p);
                *p *= decay;
                adam.remember(g, m, v);
                *p -= adam.rate * *m / (v.sqrt() * adam.correction + adam.epsilon);
            }),
            Self::Adam {
                adam,
                decay,
                decoupled: false,
                largest: false,
            } => pass2(parameters, sums, slots, move |p, sum, m, v| {
                let g = gradient(sum, *p) + decay * *p;
                adam.remember(g, m, v);
                *p -= adam.rate * *m / (v.sqrt() * adam.correction + adam.epsilon);
            }),
            Self::Adam {
                adam,
                decay,
                decoupled: _,
                largest: true,
            } => pass3(parameters, sums, slots, move |p, sum, m, v, u| {
                let g = gradient(sum, *p) + decay * *p;
                adam.remember(g, m, v);
                *u = u.max(*v);
                *p -= adam.rate * *m / (u.sqrt() * adam.correction + adam.epsilon);
            }),
            Self::Nadam { adam, ahead } => pass2(parameters, sums, slots, move |p, sum, m, v| {
                let g = gradient(sum, *p);
                adam.remember(g, m, v);
                let divisor = v.sqrt() * adam.correction + adam.epsilon;
                *p -= adam.rate * g / divisor;
                *p -= ahead * *m / divisor;
            }),
            Self::Lion {
                rate,
                beta1,
                beta2,
                kept,
            } => pass1(parameters, sums, slots, move |p, sum, m| {
                let g = gradient(sum, *p);
                let direction = sign(beta1 * *m + (one - beta1) * g);
                *p = kept * *p - rate * direction;
                *m = beta2 * *m + (one - beta2) * g;
            }),
        }
    }
}

impl<T: Scalar> Rmsprop<T> {
    fn apply(
        self,
        parameters: &mut [T],
        sums: &[T],
        slots: [&mut [T]; MOST_SLOTS],
        gradient: impl Fn(T, T) -> T,
    ) -> bool {
        let rate = self.rate;
        match (self.centered, self.momentum) {
            (false, None) => pass1(parameters, sums, slots, move |p, sum, s| {
                let g = gradient(sum, *p);
                *p -= rate * g / self.divisor(g, s);
            }),
            (true, None) => pass2(parameters, sums, slots, move |p, sum, s, c| {
                let g = gradient(sum, *p);
                *p -= rate * g / self.centered_divisor(g, s, c);
            }),
            (false, Some(momentum)) => pass2(parameters, sums, slots, move |p, sum, s, b| {
                let g = gradient(sum, *p);
                *b = momentum * *b + g / self.divisor(g, s);
                *p -= rate * *b;
            }),
            (true, Some(momentum)) => pass3(parameters, sums, slots, move |p, sum, s, c, b| {
                let g = gradient(sum, *p);
                *b = momentum * *b + g / self.centered_divisor(g, s, c);
                *p -= rate * *b;
            }),
        }
    }

    /// s ← ρ s + (1 − ρ) g²; √s + ε.
    fn divisor(&self, g: T, s: &mut T) -> T {
        *s = self.rho * *s + (T::one() - self.rho) * g * g;
        s.sqrt() + self.epsilon
    }

    /// The same, and c ← c + (1 − ρ) (g − c); √(s − c²) + ε.
    fn centered_divisor(&self, g: T, s: &mut T, c: &mut T) -> T {
        *s = self.rho * *s + (T::one() - self.rho) * g * g;
        *c += (T::one() - self.rho) * (g - *c);
        let variance = *s - *c * *c;
        // Not `max`, which would turn a NaN into 0.
        let variance = if variance < T::zero() {
            T::zero()
        } else {
            variance
        };
        variance.sqrt() + self.epsilon
    }
}

impl<T: Scalar> Adam<T> {
    /// m ← m + (1 − β₁) (g − m), v ← β₂ v + (1 − β₂) g².
    fn remember(&self, g: T, m: &mut T, v: &mut T) {
        *m += self.fresh1 * (g - *m);
        *v = self.beta2 * *v + (T::one() - self.beta2) * g * g;
    }
}

/// 1, 0 or −1; NaN of NaN.
pub(in crate::nn) fn sign<T: Scalar>(x: T) -> T {
    if x == T::zero() { x } else { x.signum() }
}

/// β₁ᵗ and β₂ᵗ of Adam and its kin; of others nothing.
pub(super) fn powers(spec: &OptimizerSpec, step: u64) -> [f64; 2] {
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    match *spec {
        OptimizerSpec::Adam { beta1, beta2, .. }
        | OptimizerSpec::Adamw { beta1, beta2, .. }
        | OptimizerSpec::Amsgrad { beta1, beta2, .. }
        | OptimizerSpec::Nadam { beta1, beta2, .. } => [beta1.powi(step), beta2.powi(step)],
        OptimizerSpec::GradientDescent { .. }
        | OptimizerSpec::Adagrad { .. }
        | OptimizerSpec::Adadelta { .. }
        | OptimizerSpec::Rmsprop { .. }
        | OptimizerSpec::Lion { .. }
        | OptimizerSpec::Lbfgs(_) => [0.0; 2],
    }
}

/// Defines a pass over parameters, sums of the gradient and so many slots, which are all of one length: whether every parameter
/// is finite after it.
///
/// Each slice has a name, and not a place in an array, and a step owns its constants: only then does the compiler see that
/// nothing that is written is read again, and computes in vectors.
macro_rules! pass {
    ($pass:ident, $loops:ident: $($slot:ident)*; [$($taken:pat),*]) => {
        fn $pass<T: Scalar>(
            parameters: &mut [T],
            sums: &[T],
            [$($taken),*]: [&mut [T]; MOST_SLOTS],
            step: impl Fn(&mut T, T, $(pass!(@ $slot T)),*),
        ) -> bool {
            vectorize($loops {
                parameters,
                sums,
                $($slot,)*
                step,
            })
        }

        struct $loops<'a, T, F> {
            parameters: &'a mut [T],
            sums: &'a [T],
            $($slot: &'a mut [T],)*
            step: F,
        }

        impl<T: Scalar, F: Fn(&mut T, T, $(pass!(@ $slot T)),*)> Loops for $loops<'_, T, F> {
            type Output = bool;

            #[inline(always)]
            fn run<A: Arithmetic>(self) -> bool {
                let Self { parameters, sums, $($slot,)* step } = self;
                let len = parameters.len();
                let sums = &sums[..len];
                $(let $slot = &mut $slot[..len];)*
                let mut finite = true;
                for index in 0..len {
                    step(&mut parameters[index], sums[index], $(&mut $slot[index]),*);
                    finite &= parameters[index].is_finite();
                }
                finite
            }
        }
    };
    (@ $slot:ident $scalar:ident) => { &mut $scalar };
}

pass!(pass, Pass: ; [..]);
pass!(pass1, Pass1: a; [a, ..]);
pass!(pass2, Pass2: a b; [a, b, _]);
pass!(pass3, Pass3: a b c; [a, b, c]);
