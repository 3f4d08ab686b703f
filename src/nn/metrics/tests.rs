//! The figures of scikit-learn, and what holds of every figure whatever the rows are.

use ndarray::{Array2, ArrayView2, array};
use serde::Deserialize;

use crate::nn::Dtype;
use crate::nn::metrics::{
    Average, Confusion, Tallies, Tally, brier, log_loss, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, r2, roc_auc, root_mean_squared_error,
    subset_accuracy, top_k_accuracy,
};
use crate::nn::random::{below, keyed};

const FIXTURE: &str = include_str!("../../../tests/fixtures/metrics/metrics.json");
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    outputs: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    weights: Option<Vec<f64>>,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(tag = "kind", content = "expected", rename_all = "snake_case")]
enum Expected {
    Classes {
        confusion: Vec<Vec<f64>>,
        accuracy: f64,
        top: Vec<f64>,
        precision: Averages<f64>,
        recall: Averages<f64>,
        f1: Averages<f64>,
        roc_auc: Averages<Option<f64>>,
        log_loss: f64,
        brier: f64,
    },
    Labels {
        accuracy: f64,
        precision: Averages<f64>,
        recall: Averages<f64>,
        f1: Averages<f64>,
        roc_auc: Averages<Option<f64>>,
    },
    Numbers {
        mean_absolute_error: f64,
        mean_squared_error: f64,
        root_mean_squared_error: f64,
        mean_absolute_percentage_error: f64,
        r2: Option<f64>,
    },
}

#[derive(Deserialize)]
struct Averages<F> {
    r#macro: F,
    micro: F,
    weighted: F,
    #[serde(default)]
    each: Vec<f64>,
}

impl<F: Copy> Averages<F> {
    fn of(&self, average: Average) -> F {
        match average {
            Average::Macro => self.r#macro,
            Average::Micro => self.micro,
            Average::Weighted => self.weighted,
        }
    }
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rows of one width")
}

#[track_caller]
fn near(case: &Case, what: &str, actual: impl Into<Option<f64>>, expected: impl Into<Option<f64>>) {
    let (actual, expected) = (actual.into(), expected.into());
    let is_near = match (actual, expected) {
        (Some(actual), Some(expected)) => {
            (actual - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let name = &case.name;
    assert!(
        is_near,
        "{what} of {name}: {actual:?} instead of {expected:?}"
    );
}

fn tallies_near(case: &Case, tallies: &Tallies, expected: [&Averages<f64>; 3]) {
    let averaged = [Tallies::precision, Tallies::recall, Tallies::f1];
    let single = [Tally::precision, Tally::recall, Tally::f1];
    let names = ["precision", "recall", "f1"];
    for (index, expected) in expected.into_iter().enumerate() {
        for average in Average::ALL {
            let what = format!("{} {}", average.name(), names[index]);
            near(
                case,
                &what,
                averaged[index](tallies, average),
                expected.of(average),
            );
        }
        assert_eq!(tallies.each().len(), expected.each.len());
        for (tally, &expected) in tallies.each().iter().zip(&expected.each) {
            near(case, names[index], single[index](tally), expected);
        }
    }
}

#[test]
fn the_figures_are_those_of_scikit_learn() {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture parses");
    assert_eq!(fixture.cases.len(), 41);
    for case in fixture.cases {
        let (outputs, targets) = (matrix(&case.outputs), matrix(&case.targets));
        let (a, y, weights) = (outputs.view(), targets.view(), case.weights.as_deref());
        let areas_near = |expected: &Averages<Option<f64>>| {
            for average in Average::ALL {
                let what = format!("{} roc_auc", average.name());
                near(
                    &case,
                    &what,
                    roc_auc(a, y, average, weights),
                    expected.of(average),
                );
            }
        };
        match &case.expected {
            Expected::Classes {
                confusion,
                accuracy,
                top,
                precision,
                recall,
                f1,
                roc_auc,
                log_loss: expected_log_loss,
                brier: expected_brier,
            } => {
                let counted = Confusion::of(a, y, weights).expect("sound rows");
                let pairs = counted
                    .counts()
                    .iter()
                    .flatten()
                    .zip(confusion.iter().flatten());
                pairs.for_each(|(&actual, &count)| near(&case, "a count", actual, count));
                assert_eq!(counted.counts().len(), confusion.len());
                near(&case, "accuracy", counted.accuracy(), *accuracy);
                for (k, &expected) in (1..).zip(top) {
                    let what = format!("top {k}");
                    near(&case, &what, top_k_accuracy(a, y, k, weights), expected);
                }
                tallies_near(&case, &counted.tallies(), [precision, recall, f1]);
                areas_near(roc_auc);
                let loss = log_loss(a, y, Dtype::Float64, weights);
                near(&case, "log_loss", loss, *expected_log_loss);
                near(&case, "brier", brier(a, y, weights), *expected_brier);
            }
            Expected::Labels {
                accuracy,
                precision,
                recall,
                f1,
                roc_auc,
            } => {
                near(&case, "accuracy", subset_accuracy(a, y, weights), *accuracy);
                let tallies = Tallies::of_labels(a, y, weights).expect("sound rows");
                tallies_near(&case, &tallies, [precision, recall, f1]);
                areas_near(roc_auc);
            }
            Expected::Numbers {
                mean_absolute_error: absolute,
                mean_squared_error: squared,
                root_mean_squared_error: root,
                mean_absolute_percentage_error: percentage,
                r2: explained,
            } => {
                near(
                    &case,
                    "absolute",
                    mean_absolute_error(a, y, weights),
                    *absolute,
                );
                near(
                    &case,
                    "squared",
                    mean_squared_error(a, y, weights),
                    *squared,
                );
                near(&case, "root", root_mean_squared_error(a, y, weights), *root);
                let relative = mean_absolute_percentage_error(a, y, weights);
                near(&case, "percentage", relative, *percentage);
                near(&case, "r2", r2(a, y, weights), *explained);
            }
        }
    }
}

/// Every figure of the rows, by name.
fn all_figures(
    a: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    weights: Option<&[f64]>,
) -> Vec<(&'static str, Option<f64>)> {
    let confusion = Confusion::of(a, y, weights);
    let of_classes = confusion.as_ref().map(Confusion::tallies);
    let of_labels = Tallies::of_labels(a, y, weights);
    let mut figures = vec![
        ("accuracy", confusion.as_ref().map(Confusion::accuracy)),
        ("top 0", top_k_accuracy(a, y, 0, weights)),
        ("top 2", top_k_accuracy(a, y, 2, weights)),
        ("subset_accuracy", subset_accuracy(a, y, weights)),
        ("log_loss", log_loss(a, y, Dtype::Float64, weights)),
        ("log_loss 32", log_loss(a, y, Dtype::Float32, weights)),
        ("brier", brier(a, y, weights)),
        ("absolute", mean_absolute_error(a, y, weights)),
        ("squared", mean_squared_error(a, y, weights)),
        ("root", root_mean_squared_error(a, y, weights)),
        ("percentage", mean_absolute_percentage_error(a, y, weights)),
        ("r2", r2(a, y, weights)),
    ];
    for average in Average::ALL {
        figures.push(("roc_auc", roc_auc(a, y, average, weights)));
        for tallies in [&of_classes, &of_labels] {
            let of = |figure: fn(&Tallies, Average) -> f64| {
                tallies.as_ref().map(|tallies| figure(tallies, average))
            };
            figures.push(("precision", of(Tallies::precision)));
            figures.push(("recall", of(Tallies::recall)));
            figures.push(("f1", of(Tallies::f1)));
        }
    }
    figures
}

#[test]
fn a_figure_is_finite_or_none_whatever_the_rows_and_weights_are() {
    let common = [0.0, 1.0, 0.5, 0.25, 0.75, 0.1];
    let odd = [
        -0.0,
        -1.0,
        2.0,
        1e308,
        -1e308,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let mut random = keyed(7, 0, 0, 0);
    let (mut figures_seen, mut none_of_sound_rows) = (0, 0);
    for round in 0..20_000 {
        let rows = below(&mut random, 5) as usize;
        let columns = below(&mut random, 4) as usize;
        // One round in four has common numbers alone, so that there are figures too.
        let oddness = [1, 8, 20, u64::MAX][round % 4];
        let mut number = || {
            let from = if below(&mut random, oddness) == 0 {
                &odd[..]
            } else {
                &common[..]
            };
            from[below(&mut random, from.len() as u64) as usize]
        };
        let mut entries = |_| number();
        let a = Array2::from_shape_fn((rows, columns), &mut entries);
        let y = Array2::from_shape_fn((rows, columns), &mut entries);
        let weights: Option<Vec<f64>> =
            (round % 3 > 0).then(|| (0..rows).map(|_| number()).collect());
        let weights = weights.as_deref();
        let given = weights.unwrap_or(&[]);
        let is_sound = rows * columns > 0
            && a.iter()
                .chain(&y)
                .chain(given)
                .all(|entry| entry.is_finite())
            && given.iter().all(|&weight| weight >= 0.0)
            && (weights.is_none() || given.iter().any(|&weight| weight > 0.0));
        for (name, figure) in all_figures(a.view(), y.view(), weights) {
            let at = || format!("{name} of {a} against {y} with {weights:?}: {figure:?}");
            assert!(figure.is_none_or(f64::is_finite), "{}", at());
            assert!(is_sound || figure.is_none(), "{}", at());
            let is_share = ![
                "log_loss",
                "log_loss 32",
                "brier",
                "absolute",
                "squared",
                "root",
                "percentage",
                "r2",
            ]
            .contains(&name);
            let in_range = figure.is_none_or(|figure| (0.0..=1.0 + 1e-15).contains(&figure));
            assert!(!is_share || in_range, "{}", at());
            figures_seen += usize::from(figure.is_some());
            none_of_sound_rows += usize::from(is_sound && figure.is_none());
        }
    }
    assert!(figures_seen > 100_000 && none_of_sound_rows > 1000);
}

#[test]
fn the_bits_do_not_depend_on_how_the_rows_lie_in_memory() {
    let mut random = keyed(8, 0, 0, 0);
    let mut entries = |_| below(&mut random, 1000) as f64 / 999.0;
    let a = Array2::from_shape_fn((300, 3), &mut entries);
    let y = Array2::from_shape_fn((300, 3), &mut entries);
    let lying = |matrix: &Array2<f64>| {
        let columns = matrix.t().as_standard_layout().into_owned();
        columns.reversed_axes()
    };
    assert!(!lying(&a).is_standard_layout());
    let expected = all_figures(a.view(), y.view(), None);
    let actual = all_figures(lying(&a).view(), lying(&y).view(), None);
    assert_eq!(actual, expected);
}

#[test]
fn weights_of_whole_numbers_are_rows_that_occur_as_often() {
    let a = array![
        [0.6, 0.3, 0.1],
        [0.2, 0.3, 0.5],
        [0.1, 0.8, 0.1],
        [0.4, 0.4, 0.2]
    ];
    let y = array![
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 0.0, 1.0]
    ];
    let times = [0, 1, 1, 1, 2, 3, 3];
    let weights = [1.0, 3.0, 1.0, 2.0];
    let (all_a, all_y) = (
        a.select(ndarray::Axis(0), &times),
        y.select(ndarray::Axis(0), &times),
    );
    let weighted = all_figures(a.view(), y.view(), Some(&weights));
    let repeated = all_figures(all_a.view(), all_y.view(), None);
    for ((name, weighted), (_, repeated)) in weighted.into_iter().zip(repeated) {
        let (weighted, repeated) = (weighted.expect(name), repeated.expect(name));
        assert!(
            (weighted - repeated).abs() < 1e-14 * repeated.max(1.0),
            "{name}: {weighted} {repeated}"
        );
    }
}

#[test]
fn a_confusion_has_a_row_per_true_class_in_json_too() {
    // True classes 0, 0, 1; predicted 1, 0 (the first of equals), 1.
    let a = array![[0.1, 0.9], [0.5, 0.5], [0.2, 0.8]];
    let y = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let confusion = Confusion::of(a.view(), y.view(), None).expect("sound rows");
    let json = serde_json::to_string(&confusion).expect("finite numbers");
    assert_eq!(json, "[[1.0,1.0],[0.0,1.0]]");
    let tallies = confusion.tallies();
    let expected = Tally {
        true_positives: 1.0,
        false_positives: 1.0,
        false_negatives: 0.0,
    };
    assert_eq!(tallies.each()[1], expected);
    assert_eq!((expected.precision(), expected.recall()), (0.5, 1.0));
}

#[test]
fn equal_scores_count_as_half_and_the_sign_of_zero_does_not_order_them() {
    let y = array![[1.0], [0.0]];
    for (scores, expected) in [
        ([0.0, -0.0], 0.5),
        ([-0.0, 0.0], 0.5),
        ([0.7, 0.2], 1.0),
        ([0.2, 0.7], 0.0),
    ] {
        let a = array![[scores[0]], [scores[1]]];
        assert_eq!(
            roc_auc(a.view(), y.view(), Average::Macro, None),
            Some(expected)
        );
    }
}

#[test]
fn a_perfect_order_has_an_area_of_exactly_1() {
    for rows in 2..200 {
        let a = Array2::from_shape_fn((rows, 1), |(row, _)| row as f64);
        let y = Array2::from_shape_fn((rows, 1), |(row, _)| f64::from(u8::from(row * 3 >= rows)));
        assert_eq!(roc_auc(a.view(), y.view(), Average::Micro, None), Some(1.0));
    }
}

#[test]
fn a_probability_of_0_for_what_is_true_costs_the_logarithm_of_epsilon() {
    let (a, y) = (array![[0.0, 1.0]], array![[1.0, 0.0]]);
    let of = |dtype| log_loss(a.view(), y.view(), dtype, None);
    assert_eq!(of(Dtype::Float64), Some(-f64::EPSILON.ln()));
    assert_eq!(of(Dtype::Float32), Some(-f64::from(f32::EPSILON).ln()));
}

#[test]
fn a_constant_whose_mean_is_rounded_has_no_r2() {
    // The mean of ten times 0.1 is 0.09999999999999999.
    let y = Array2::from_elem((10, 1), 0.1);
    let a = Array2::from_elem((10, 1), 0.2);
    assert_eq!(r2(a.view(), y.view(), None), None);
}

#[test]
fn an_average_is_spelled_as_in_the_api() {
    for average in Average::ALL {
        let json = serde_json::to_string(&average).expect("an average serializes");
        assert_eq!(json, format!("\"{}\"", average.name()));
    }
}

#[test]
#[should_panic(expected = "a target for each output")]
fn targets_of_another_shape_are_a_bug() {
    let (a, y) = (array![[0.1, 0.9]], array![[1.0]]);
    let _none = brier(a.view(), y.view(), None);
}
