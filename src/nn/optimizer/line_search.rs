//! How far to go along a direction: a step that fulfils the strong Wolfe conditions.
//!
//! With φ(α) = f(x + α d), such a step has φ(α) ≤ φ(0) + c₁ α φ′(0) and |φ′(α)| ≤ c₂ |φ′(0)|.

use std::ops::ControlFlow;

/// c₁ of the strong Wolfe conditions. Source: Nocedal and Wright (2006), section 3.1.
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// c₂, for directions of a quasi-Newton method. Source: as above.
const CURVATURE: f64 = 0.9;
/// Where the next, longer trial step is looked for: that share of the last lengthening beyond it, at least and at most.
/// Source: Moré and Thuente (1994), section 4.
const LENGTHENING: (f64, f64) = (1.1, 4.0);
/// The share of a bracket at either end where no trial step is taken, so that brackets shrink.
const MARGIN: f64 = 0.1;

/// A step that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::nn) struct Trial {
    /// α.
    pub(in crate::nn) step: f64,
    /// φ(α).
    pub(in crate::nn) value: f64,
    /// φ′(α).
    pub(in crate::nn) slope: f64,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::nn) enum Found {
    /// The last step that was tried fulfils both conditions, or the first of them when no more could be tried.
    Last(Trial),
    /// The best step that was tried, which fulfils the first condition; others were tried after it.
    Earlier(Trial),
    /// No step makes the value smaller by enough; `finite` tells whether any had a finite value.
    Nothing { finite: bool },
}

/// A line search, with the trials that it may still make.
struct Search<E> {
    start: Trial,
    left: usize,
    finite: bool,
    evaluate: E,
}

/// Looks for a step that fulfils the strong Wolfe conditions, trying at most `most` steps, `first` the first of them.
///
/// `start` is φ(0) and φ′(0) < 0; `evaluate(α)` is φ(α) and φ′(α), and its `Break` ends the search. Steps whose value is NaN
/// or infinite are too long. Allocates nothing.
///
/// Source: Nocedal and Wright (2006), algorithms 3.5 and 3.6, with the cubic of equation 3.59 kept off the ends of the
/// bracket.
pub(in crate::nn) fn search<B>(
    (value, slope): (f64, f64),
    first: f64,
    most: usize,
    evaluate: impl FnMut(f64) -> ControlFlow<B, (f64, f64)>,
) -> ControlFlow<B, Found> {
    let start = Trial {
        step: 0.0,
        value,
        slope,
    };
    let search = Search {
        start,
        left: most,
        finite: false,
        evaluate,
    };
    search.run(first)
}

impl<B, E: FnMut(f64) -> ControlFlow<B, (f64, f64)>> Search<E> {
    /// Algorithm 3.5: lengthens the step until there is a bracket.
    fn run(mut self, first: f64) -> ControlFlow<B, Found> {
        let (mut before, mut step) = (self.start, first);
        loop {
            let Some(trial) = self.attempt(step)? else {
                return ControlFlow::Continue(self.given_up(before, true));
            };
            if !self.decreases(&trial) || trial.value >= before.value {
                return self.zoom(before, trial);
            }
            if self.is_flat(&trial) {
                return ControlFlow::Continue(Found::Last(trial));
            }
            if trial.slope >= 0.0 {
                return self.zoom(trial, before);
            }
            let length = trial.step - before.step;
            let (least, most) = LENGTHENING;
            let (least, most) = (trial.step + least * length, trial.step + most * length);
            step = minimum(&before, &trial).map_or(most, |step| step.clamp(least, most));
            before = trial;
        }
    }

    /// Algorithm 3.6: narrows a bracket. `low` has the smallest value of all steps that decrease enough, and the minimum is
    /// on its side of `high`.
    fn zoom(mut self, mut low: Trial, mut high: Trial) -> ControlFlow<B, Found> {
        let mut last_is_low = low.step > high.step;
        loop {
            let (from, to) = (low.step.min(high.step), low.step.max(high.step));
            let margin = MARGIN * (to - from);
            let step = minimum(&low, &high).unwrap_or(f64::midpoint(from, to));
            let step = step.clamp(from + margin, to - margin);
            if step <= from || step >= to {
                return ControlFlow::Continue(self.given_up(low, last_is_low));
            }
            let Some(trial) = self.attempt(step)? else {
                return ControlFlow::Continue(self.given_up(low, last_is_low));
            };
            if !self.decreases(&trial) || trial.value >= low.value {
                (high, last_is_low) = (trial, false);
                continue;
            }
            if self.is_flat(&trial) {
                return ControlFlow::Continue(Found::Last(trial));
            }
            if trial.slope * (high.step - low.step) >= 0.0 {
                high = low;
            }
            (low, last_is_low) = (trial, true);
        }
    }

    /// φ at a step; none where no more may be tried. A value or slope that is not finite becomes an infinite value.
    fn attempt(&mut self, step: f64) -> ControlFlow<B, Option<Trial>> {
        if self.left == 0 {
            return ControlFlow::Continue(None);
        }
        self.left -= 1;
        let (value, slope) = (self.evaluate)(step)?;
        let finite = value.is_finite() && slope.is_finite();
        self.finite |= finite;
        ControlFlow::Continue(Some(Trial {
            step,
            value: if finite { value } else { f64::INFINITY },
            slope,
        }))
    }

    /// The first condition.
    fn decreases(&self, trial: &Trial) -> bool {
        let Trial { value, slope, .. } = self.start;
        trial.value <= value + SUFFICIENT_DECREASE * trial.step * slope
    }

    /// The second condition.
    fn is_flat(&self, trial: &Trial) -> bool {
        trial.slope.abs() <= -CURVATURE * self.start.slope
    }

    fn given_up(&self, low: Trial, is_last: bool) -> Found {
        match (low.step > 0.0, is_last) {
            (true, true) => Found::Last(low),
            (true, false) => Found::Earlier(low),
            (false, _) => Found::Nothing {
                finite: self.finite,
            },
        }
    }
}

/// Where the cubic through two trials has its minimum; none where it has none, or a trial is not finite.
///
/// Source: Nocedal and Wright (2006), equation 3.59.
fn minimum(a: &Trial, b: &Trial) -> Option<f64> {
    let d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step);
    let d2 = (d1 * d1 - a.slope * b.slope).sqrt() * (b.step - a.step).signum();
    let share = (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    let step = b.step - (b.step - a.step) * share;
    step.is_finite().then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search, and how many steps it tried.
    fn searched(
        first: f64,
        most: usize,
        phi: impl Fn(f64) -> (f64, f64),
    ) -> (Found, usize, (f64, f64)) {
        let (mut tried, start) = (0, phi(0.0));
        let found = search(start, first, most, |step| {
            tried += 1;
            ControlFlow::<(), _>::Continue(phi(step))
        });
        let found = found.continue_value().expect("nothing breaks");
        (found, tried, start)
    }

    type Function = fn(f64) -> (f64, f64);

    /// Functions with their slopes, each falling at 0: a parabola, the first of Moré and Thuente (1994) with β = 2, the
    /// second with β = 0.004, a quartic with two valleys, a flat exponential, a wavy line.
    fn functions() -> Vec<(&'static str, Function)> {
        vec![
            ("parabola", |a| ((a - 3.0).powi(2), 2.0 * (a - 3.0))),
            ("first", |a| {
                let q = a * a + 2.0;
                (-a / q, (a * a - 2.0) / (q * q))
            }),
            ("second", |a| {
                let t = a + 0.004;
                (
                    t.powi(5) - 2.0 * t.powi(4),
                    5.0 * t.powi(4) - 8.0 * t.powi(3),
                )
            }),
            ("valleys", |a| {
                let t = a - 2.0;
                (t.powi(4) - 3.0 * t * t - t, 4.0 * t.powi(3) - 6.0 * t - 1.0)
            }),
            ("exponential", |a| {
                ((-a).exp() + 0.01 * a, 0.01 - (-a).exp())
            }),
            ("wavy", |a| {
                (-0.3 * a + (5.0 * a).cos(), -0.3 - 5.0 * (5.0 * a).sin())
            }),
        ]
    }

    #[test]
    fn a_step_fulfils_both_conditions_from_any_first_trial() {
        for (name, phi) in functions() {
            for first in [1e-3, 0.1, 1.0, 10.0, 1e3] {
                let (found, tried, (value, slope)) = searched(first, 40, phi);
                let Found::Last(trial) = found else {
                    panic!("{name} from {first}: {found:?}");
                };
                assert!(slope < 0.0 && trial.step > 0.0 && tried <= 40, "{name}");
                assert_eq!((trial.value, trial.slope), phi(trial.step), "{name}");
                assert!(
                    trial.value <= value + 1e-4 * trial.step * slope,
                    "{name} from {first}: not enough lower at {}",
                    trial.step
                );
                assert!(
                    trial.slope.abs() <= 0.9 * slope.abs(),
                    "{name} from {first}: too steep at {}",
                    trial.step
                );
            }
        }
    }

    #[test]
    fn a_first_trial_that_is_good_enough_is_the_only_one() {
        let (found, tried, _) = searched(3.0, 40, functions()[0].1);
        assert_eq!(tried, 1);
        assert!(matches!(found, Found::Last(Trial { step: 3.0, .. })));
    }

    #[test]
    fn a_step_to_where_nothing_is_finite_is_shortened() {
        // −ln(1 − a) − 4a: its slope is −3 at 0 and 0 at a = ¾; from 1 on it is infinite or NaN.
        let phi = |a: f64| (-(1.0 - a).ln() - 4.0 * a, 1.0 / (1.0 - a) - 4.0);
        let (found, _, (_, slope)) = searched(50.0, 40, phi);
        let Found::Last(trial) = found else {
            panic!("{found:?}")
        };
        assert!(trial.step < 1.0 && trial.slope.abs() <= -0.9 * slope);
        let (found, tried, _) = searched(1.0, 7, |a| {
            if a > 0.0 {
                (f64::NAN, 0.0)
            } else {
                (0.0, -1.0)
            }
        });
        assert_eq!((found, tried), (Found::Nothing { finite: false }, 7));
    }

    #[test]
    fn a_search_without_success_says_what_it_has() {
        // The slope is a lie: nothing is below φ(0).
        let (found, tried, _) = searched(1.0, 9, |a| (a, -1.0));
        assert_eq!((found, tried), (Found::Nothing { finite: true }, 9));
        // It falls without end: the last trial is the best.
        let (found, tried, _) = searched(1.0, 3, |a| (-a, -1.0));
        assert_eq!(tried, 3);
        assert!(matches!(found, Found::Last(trial) if trial.step > 1.0));
        // A valley too narrow for a second trial: what decreases enough is kept though it is too steep.
        let steep = |a: f64| if a < 1.5 { (-a, -1.0) } else { (10.0, 1.0) };
        let (found, _, _) = searched(1.0, 2, steep);
        assert!(matches!(found, Found::Earlier(Trial { step: 1.0, .. })));
    }

    #[test]
    fn a_break_ends_the_search() {
        let broken = search((1.0, -1.0), 1.0, 5, |_| ControlFlow::Break("stop"));
        assert_eq!(broken, ControlFlow::Break("stop"));
    }
}
