//! The learning rates of PyTorch and scikit-learn, and what holds for every schedule at any step.

use serde::Deserialize;

use crate::nn::{Clock, Plateau, Schedule};

const FIXTURE: &str = include_str!("../../../tests/fixtures/schedules/schedules.json");
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    schedule: Schedule,
    steps_per_epoch: u64,
    epochs: u64,
    warmup_epochs: f64,
    losses: Vec<f64>,
    factors: Vec<f64>,
}

fn cases() -> Vec<Case> {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    fixture.cases
}

fn read(json: &str) -> Schedule {
    serde_json::from_str(json).expect("a schedule")
}

/// One of each, with its defaults.
fn each() -> Vec<Schedule> {
    Schedule::NAMES
        .iter()
        .map(|name| {
            let required = match *name {
                "step" => r#","epochs":3"#,
                "multi_step" => r#","milestones":[2,5]"#,
                "exponential" => r#","gamma":0.9"#,
                _ => "",
            };
            read(&format!(r#"{{"type":"{name}"{required}}}"#))
        })
        .collect()
}

#[test]
fn the_factors_are_those_of_pytorch_and_scikit_learn() {
    for case in cases() {
        let mut plateau = Plateau::default();
        assert_eq!(case.schedule.violations(), []);
        assert_eq!(
            case.factors.len() as u64,
            case.steps_per_epoch * case.epochs
        );
        for (step, &expected) in (0..).zip(&case.factors) {
            let clock = Clock {
                step,
                steps_per_epoch: case.steps_per_epoch,
                epochs: case.epochs,
            };
            let factor = case.schedule.factor(&clock, case.warmup_epochs, &plateau);
            assert!(
                (factor - expected).abs() <= TOLERANCE * expected,
                "{:?} at {clock:?}: {factor} instead of {expected}",
                case.schedule
            );
            if let Some(&loss) = case.losses.get(step as usize) {
                plateau.observe(&case.schedule, loss);
            }
        }
    }
}

#[test]
fn the_fixture_has_every_schedule() {
    let cases = cases();
    for name in Schedule::NAMES {
        assert!(cases.iter().any(|case| case.schedule.name() == name));
    }
}

#[test]
fn a_schedule_is_spelled_as_in_the_api() {
    for (schedule, name) in each().iter().zip(Schedule::NAMES) {
        assert_eq!(schedule.name(), name);
        assert_eq!(schedule.violations(), []);
        let json = serde_json::to_value(schedule).expect("a schedule serializes");
        assert_eq!(json["type"], name);
        let again: Schedule = serde_json::from_value(json).expect("what was written");
        assert_eq!(again, *schedule);
    }
    for wrong in [
        r#"{"type":"step"}"#,
        r#"{"type":"step","epochs":-1}"#,
        r#"{"type":"multi_step","gamma":0.5}"#,
        r#"{"type":"exponential"}"#,
        r#"{"type":"cosine","eta_min":0}"#,
        r#"{"type":"linear"}"#,
    ] {
        assert!(serde_json::from_str::<Schedule>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_defaults_are_those_of_the_libraries() {
    let written = |json: &str| serde_json::to_string(&read(json)).expect("a schedule");
    assert_eq!(
        written(r#"{"type":"one_cycle"}"#),
        r#"{"type":"one_cycle","warmup_fraction":0.3,"start":0.04,"end":4e-6}"#
    );
    assert_eq!(
        written(r#"{"type":"reduce_on_plateau"}"#),
        r#"{"type":"reduce_on_plateau","factor":0.1,"patience":10,"min_delta":0.0001,"cooldown":0,"minimum":0.0}"#
    );
    assert_eq!(
        written(r#"{"type":"cosine"}"#),
        r#"{"type":"cosine","end":0.0,"restart_factor":1}"#
    );
    assert_eq!(
        written(r#"{"type":"polynomial"}"#),
        r#"{"type":"polynomial","power":1.0,"end":0.0}"#
    );
    assert_eq!(
        written(r#"{"type":"inverse_scaling"}"#),
        r#"{"type":"inverse_scaling","power":0.5}"#
    );
}

#[test]
fn a_parameter_out_of_its_range_is_named() {
    for (json, expected) in [
        (
            r#"{"type":"step","epochs":0,"gamma":0}"#,
            "epochs must be in [1, 1000000000], got 0; gamma must be in (0, 1], got 0",
        ),
        (
            r#"{"type":"multi_step","milestones":[]}"#,
            "milestones must have at least one epoch, got none",
        ),
        (
            r#"{"type":"multi_step","milestones":[0,1]}"#,
            "milestones must have numbers in [1, 1000000000], got 0",
        ),
        (
            r#"{"type":"multi_step","milestones":[3,7,7],"gamma":1.5}"#,
            "gamma must be in (0, 1], got 1.5; milestones must have epochs that rise, got 7 after 7",
        ),
        (
            r#"{"type":"exponential","gamma":-0.5}"#,
            "gamma must be in (0, 1], got -0.5",
        ),
        (
            r#"{"type":"polynomial","power":0,"end":2}"#,
            "power must be in (0, 1000000], got 0; end must be in [0, 1], got 2",
        ),
        (
            r#"{"type":"inverse_scaling","power":-1}"#,
            "power must be in (0, 1000000], got -1",
        ),
        (
            r#"{"type":"cosine","end":-1,"restart_epochs":0,"restart_factor":0}"#,
            "end must be in [0, 1], got -1; restart_epochs must be in [1, 1000000000], got 0; \
             restart_factor must be in [1, 1000000000], got 0",
        ),
        (
            r#"{"type":"cosine","restart_factor":2}"#,
            "restart_factor must be left out where restart_epochs is, got 2",
        ),
        (
            r#"{"type":"one_cycle","warmup_fraction":1.1,"start":25,"end":-0.1}"#,
            "warmup_fraction must be in [0, 1], got 1.1; start must be in [0, 1], got 25; end must be in [0, 1], got -0.1",
        ),
        (
            r#"{"type":"reduce_on_plateau","factor":1,"min_delta":1,"minimum":2}"#,
            "factor must be in (0, 1), got 1; min_delta must be in [0, 1), got 1; minimum must be in [0, 1], got 2",
        ),
    ] {
        let faults = read(json).violations();
        let said: Vec<_> = faults
            .iter()
            .map(|(name, said)| format!("{name} {said}"))
            .collect();
        assert_eq!(said.join("; "), expected, "{json}");
    }
    assert_eq!(
        Schedule::Exponential { gamma: f64::NAN }.violations().len(),
        1
    );
    assert_eq!(
        Schedule::InverseScaling {
            power: f64::INFINITY
        }
        .violations()
        .len(),
        1
    );
}

/// Schedules at the ends of their ranges beside those with their defaults.
fn extreme() -> Vec<Schedule> {
    let most = 1_000_000_000_u64;
    let tiny = f64::MIN_POSITIVE;
    let mut schedules = each();
    schedules.extend(
        [
            format!(r#"{{"type":"step","epochs":{most},"gamma":{tiny:e}}}"#),
            format!(r#"{{"type":"step","epochs":1,"gamma":{tiny:e}}}"#),
            format!(r#"{{"type":"multi_step","milestones":[1,{most}],"gamma":{tiny:e}}}"#),
            format!(r#"{{"type":"exponential","gamma":{tiny:e}}}"#),
            r#"{"type":"exponential","gamma":1}"#.to_owned(),
            format!(r#"{{"type":"polynomial","power":{tiny:e},"end":{tiny:e}}}"#),
            r#"{"type":"polynomial","power":1e6,"end":1}"#.to_owned(),
            r#"{"type":"inverse_scaling","power":1e6}"#.to_owned(),
            format!(r#"{{"type":"inverse_scaling","power":{tiny:e}}}"#),
            r#"{"type":"cosine","end":1}"#.to_owned(),
            format!(r#"{{"type":"cosine","restart_epochs":{most},"restart_factor":{most}}}"#),
            format!(r#"{{"type":"cosine","restart_epochs":1,"restart_factor":{most}}}"#),
            r#"{"type":"cosine","restart_epochs":1,"restart_factor":2}"#.to_owned(),
            r#"{"type":"cosine","restart_epochs":1}"#.to_owned(),
            r#"{"type":"one_cycle","warmup_fraction":0,"start":0,"end":0}"#.to_owned(),
            r#"{"type":"one_cycle","warmup_fraction":1,"start":1,"end":1}"#.to_owned(),
            format!(r#"{{"type":"one_cycle","warmup_fraction":{tiny:e},"start":{tiny:e}}}"#),
            r#"{"type":"one_cycle","warmup_fraction":0.9999999999999999}"#.to_owned(),
        ]
        .iter()
        .map(|json| read(json)),
    );
    schedules
}

#[test]
fn a_factor_is_between_0_and_1_at_any_step_of_any_job() {
    let counts = [0, 1, 2, 3, 10, 1000, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let warmups = [0.0, 1e-300, 0.3, 1.0, 2.5, 1e6, 1e300];
    for schedule in extreme() {
        assert_eq!(schedule.violations(), []);
        for (steps_per_epoch, epochs) in counts.iter().flat_map(|&a| counts.map(|b| (a, b))) {
            let total = steps_per_epoch.saturating_mul(epochs);
            let near_the_end = [total.saturating_sub(1), total, total.saturating_add(1)];
            for step in counts.into_iter().chain(near_the_end) {
                let clock = Clock {
                    step,
                    steps_per_epoch,
                    epochs,
                };
                for warmup_epochs in warmups {
                    let factor = schedule.factor(&clock, warmup_epochs, &Plateau::default());
                    assert!(
                        (0.0..=1.0).contains(&factor),
                        "{schedule:?} at {clock:?} after {warmup_epochs}: {factor}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_job_that_goes_on_beyond_its_end_keeps_the_last_factor() {
    let at = |schedule: &Schedule, step| {
        let clock = Clock {
            step,
            steps_per_epoch: 4,
            epochs: 5,
        };
        schedule.factor(&clock, 0.0, &Plateau::default())
    };
    let end = 0.125;
    let (power, restart_epochs, restart_factor) = (2.0, None, 1);
    let polynomial = Schedule::Polynomial { power, end };
    let cosine = Schedule::Cosine {
        end,
        restart_epochs,
        restart_factor,
    };
    let cycle = Schedule::OneCycle {
        warmup_fraction: 0.3,
        start: 0.0,
        end,
    };
    for step in [20, 21, 30, 1 << 40] {
        for schedule in [&polynomial, &cosine, &cycle] {
            assert!((at(schedule, step) - end).abs() < 1e-15, "{schedule:?}");
        }
    }
    // The last step of a cycle is at its end already; that of the others is a step before it.
    assert!((at(&cycle, 19) - end).abs() < 1e-15);
    assert!(at(&polynomial, 19) > end && at(&cosine, 19) > end);
}

#[test]
fn a_warm_up_is_rounded_up_to_whole_steps() {
    let clock = |steps_per_epoch| Clock {
        step: 0,
        steps_per_epoch,
        epochs: 100,
    };
    for (epochs, steps_per_epoch, steps) in [
        (0.0, 10, 0),
        (1e-9, 10, 1),
        (0.25, 10, 3),
        (0.3, 10, 3),
        (0.7, 10, 7),
        // 1.1 · 10 and 4.35 · 100 are 11.000000000000002 and 434.99999999999994 in floating point.
        (1.1, 10, 11),
        (4.35, 100, 435),
        (2.0, 7, 14),
        (f64::NAN, 10, 0),
        (-1.0, 10, 0),
        (1e300, 10, u64::MAX),
    ] {
        assert_eq!(
            clock(steps_per_epoch).warmup_steps(epochs),
            steps,
            "{epochs} epochs of {steps_per_epoch}"
        );
    }
}

#[test]
fn a_warm_up_rises_to_the_first_factor_of_the_schedule() {
    let factor = |schedule: &Schedule, step, plateau: &Plateau| {
        let clock = Clock {
            step,
            steps_per_epoch: 4,
            epochs: 10,
        };
        schedule.factor(&clock, 1.0, plateau)
    };
    for schedule in each() {
        let plateau = Plateau::default();
        let first = factor(&schedule, 4, &plateau);
        for step in 0..4 {
            let expected = first * ((step + 1) as f64 / 4.0);
            assert_eq!(factor(&schedule, step, &plateau), expected, "{schedule:?}");
        }
    }
    // What the plateau has come to during the warm-up counts at once.
    let schedule = read(r#"{"type":"reduce_on_plateau","patience":0,"factor":0.5}"#);
    let mut plateau = Plateau::default();
    plateau.observe(&schedule, 1.0);
    plateau.observe(&schedule, 1.0);
    assert_eq!(plateau.factor, 0.5);
    assert_eq!(factor(&schedule, 1, &plateau), 0.25);
    assert_eq!(factor(&schedule, 30, &plateau), 0.5);
}

#[test]
fn a_plateau_never_counts_nan_as_better_and_goes_on_from_what_was_stored() {
    let schedule = read(r#"{"type":"reduce_on_plateau","patience":1,"factor":0.5,"cooldown":1}"#);
    let losses = [
        f64::NAN,
        f64::INFINITY,
        1.0,
        f64::NAN,
        1.0,
        1.0,
        0.5,
        0.5,
        0.5,
        0.5,
    ];
    let mut plateau = Plateau::default();
    let mut factors = vec![];
    for loss in losses {
        plateau.observe(&schedule, loss);
        let stored = serde_json::to_string(&plateau).expect("finite numbers");
        plateau = serde_json::from_str(&stored).expect("what was stored");
        factors.push(plateau.factor);
    }
    assert_eq!(
        factors,
        [1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125]
    );
}

#[test]
fn a_plateau_watches_for_its_own_schedule_only() {
    for schedule in each() {
        let mut plateau = Plateau::default();
        for _ in 0..20 {
            plateau.observe(&schedule, 1.0);
        }
        let changes = matches!(schedule, Schedule::ReduceOnPlateau { .. });
        assert_eq!(plateau != Plateau::default(), changes, "{schedule:?}");
    }
}
