//! Summaries of tables: associations and warnings as numpy, scipy and pandas have them, and by hand.

use crate::data::tests::{WIDE, read_within};
use crate::data::{Association, Code, Column, Measure, Summarizer, Summary};

/// The summary of some columns, one of which may be the target.
fn summary(columns: &[Column], target: Option<&str>) -> Summary {
    let target = target.and_then(|target| columns.iter().find(|column| column.name() == target));
    let mut summarizer = Summarizer::new(target);
    for column in columns {
        summarizer.add(column);
    }
    summarizer.finish()
}

fn numbers(name: &str, values: impl IntoIterator<Item = f64>) -> Column {
    Column::numeric(name, values).expect("finite numbers")
}

fn words<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Column {
    let words = values.into_iter();
    let words: Vec<_> = words
        .map(|word| (!word.is_empty()).then_some(word))
        .collect();
    Column::categorical(name, &words)
}

/// Column and code of each warning.
fn codes(summary: &Summary) -> Vec<(Option<&str>, Code)> {
    let warnings = summary.warnings.iter();
    warnings
        .map(|warning| (warning.column.as_deref(), warning.code))
        .collect()
}

fn association(one: Column, other: Column) -> Association {
    let target = other.name().to_owned();
    let summary = summary(&[one, other], Some(&target));
    summary.columns[0].association.expect("a target is named")
}

#[test]
fn associations_and_counts_of_rows_are_those_of_numpy_scipy_and_pandas() {
    let fixture = include_str!("../../../tests/fixtures/tables/associations.json");
    let fixture: serde_json::Value = serde_json::from_str(fixture).expect("the fixture");
    let tables = [
        (
            "iris",
            include_str!("../../../tests/fixtures/tables/iris.csv"),
        ),
        (
            "penguins",
            include_str!("../../../tests/fixtures/tables/penguins.csv"),
        ),
        (
            "visits",
            include_str!("../../../tests/fixtures/tables/visits.csv"),
        ),
    ];
    for (name, csv) in tables {
        let table = read_within(csv, WIDE).expect("a table");
        let of_table = &fixture[name];
        for (target, expected) in of_table["targets"].as_object().expect("targets") {
            let summary = summary(&table, Some(target));
            for column in &summary.columns {
                let (name, expected) = (&column.name, &expected["associations"][&column.name]);
                let found = column.association.and_then(|found| found.value);
                assert_eq!(column.association.is_none(), name == target);
                match (found, expected.as_f64()) {
                    (Some(found), Some(expected)) => assert!(
                        (found - expected).abs() < 1e-9,
                        "{name} {target}: {found} {expected}"
                    ),
                    (found, expected) => assert_eq!(found, expected, "{name} {target}"),
                }
            }
            let counted = |code| {
                let mut warnings = summary.warnings.iter();
                let detail = warnings.find(|warning| warning.code == code);
                let count = detail.and_then(|warning| warning.detail.split(' ').next());
                count.map_or(0, |count| count.parse().expect("a count"))
            };
            let duplicates = counted(Code::DuplicateRows);
            assert_eq!(of_table["duplicates"], duplicates, "{name} {target}");
            let conflicts = counted(Code::ConflictingLabels);
            assert_eq!(expected["conflicts"], conflicts, "{name} {target}");
        }
    }
}

#[test]
fn a_measure_goes_by_the_kinds_of_both_columns_and_needs_two_values_of_each() {
    let x = || numbers("x", [2.0, 3.0, 4.0, f64::NAN]);
    let y = |values: [f64; 4]| numbers("y", values);
    let w = |name, values: [&'static str; 4]| words(name, values);
    let is = |measure, value| Association { measure, value };
    let falling = y([4.0, 3.0, 2.0, 99.0]);
    assert_eq!(association(x(), falling), is(Measure::Pearson, Some(-1.0)));
    // Of the rows in which both are present, y has one value.
    let same = y([0.1, 0.1, 0.1, 99.0]);
    assert_eq!(association(x(), same), is(Measure::Pearson, None));
    let determined = association(w("v", ["a", "a", "b", "b"]), w("w", ["p", "p", "q", "q"]));
    assert_eq!(determined, is(Measure::CramersV, Some(1.0)));
    let independent = association(w("v", ["a", "a", "b", "b"]), w("w", ["p", "q", "p", "q"]));
    assert_eq!(independent, is(Measure::CramersV, Some(0.0)));
    let one = association(w("v", ["a", "a", "b", ""]), w("w", ["p", "p", "p", "q"]));
    assert_eq!(one, is(Measure::CramersV, None));
    // Groups {2, 4} and {3}: both have the mean 3, and nothing is between them.
    let none = association(w("w", ["a", "b", "a", "b"]), x());
    assert_eq!(none, is(Measure::CorrelationRatio, Some(0.0)));
    // Means 2.5 and 4 of {2, 3} and {4}: (2·0.25 + 1) / 2 = 0.75.
    let some = association(x(), w("w", ["a", "a", "b", "b"]));
    let eta = some.value.expect("two values of each");
    assert!((eta - 0.75_f64.sqrt()).abs() < 1e-15, "{eta}");
}

#[test]
fn numbers_at_the_ends_of_float64_have_a_correlation() {
    let huge = numbers("x", [f64::MAX, -f64::MAX, f64::MAX, -f64::MAX]);
    let tiny = numbers("y", [5e-324, 0.0, 5e-324, 0.0]);
    assert_eq!(association(huge, tiny).value, Some(1.0));
}

#[test]
fn columns_that_teach_nothing_are_told() {
    let each = || (0..20).map(f64::from);
    let names: Vec<String> = (0..20).map(|row| format!("n{row}")).collect();
    let named = || names.iter().map(String::as_str);
    let columns = [
        numbers("same", [2.5; 20]),
        words("word", ["a"; 20]),
        numbers("empty", [f64::NAN; 20]),
        numbers("number", each()),
        numbers("measure", each().map(|row| row + 0.5)),
        words("name", named()),
        numbers(
            "few",
            each().map(|row| if row < 1.0 { f64::NAN } else { row }),
        ),
        numbers("again", each().map(|row| row.max(1.0))),
    ];
    let summary = summary(&columns, None);
    let expected = [
        (Some("same"), Code::Constant),
        (Some("word"), Code::Constant),
        (Some("empty"), Code::AllMissing),
        (Some("number"), Code::IdLike),
        (Some("name"), Code::IdLike),
    ];
    assert_eq!(codes(&summary), expected);
    let details: Vec<_> = summary
        .warnings
        .iter()
        .map(|one| one.detail.as_str())
        .collect();
    assert_eq!(
        details[..4],
        [
            "every present value is 2.5, which teaches nothing: leave it out of the features",
            "every present value is \"a\", which teaches nothing: leave it out of the features",
            "it has no value: leave it out of the features",
            "its 20 present values are whole numbers of which no two are equal, as if they named the rows: where they do, leave it out of the features",
        ]
    );
}

#[test]
fn a_target_is_told_of_as_a_target() {
    let target = |column: Column| {
        let name = column.name().to_owned();
        let other = numbers("x", (0..20).map(|row| f64::from(row % 7)));
        let summary = summary(&[other, column], Some(&name));
        let of_target = summary.warnings.into_iter();
        let of_target = of_target.filter(|one| one.column.as_deref() == Some(&name));
        of_target.map(|one| one.detail).collect::<Vec<_>>()
    };
    let constant = "every present value is 1, which teaches nothing: choose another target";
    assert_eq!(target(numbers("y", [1.0; 20])), [constant]);
    // Numbers to be predicted may well differ in every row.
    assert!(target(numbers("y", (0..20).map(f64::from))).is_empty());
    let names: Vec<String> = (0..20).map(|row| format!("n{row}")).collect();
    let classes = target(words("y", names.iter().map(String::as_str)));
    assert!(classes[0].ends_with("choose another target"), "{classes:?}");
}

#[test]
fn a_column_that_gives_the_target_away_is_suspected_unless_it_numbers_the_rows() {
    let outcome = words("y", (0..60).map(|row| ["ill", "well"][row % 2]));
    let told = |feature: Column| {
        let summary = summary(&[feature, outcome.clone()], Some("y"));
        let leaks = summary.warnings.into_iter();
        let leaks = leaks.filter(|one| one.code == Code::Leakage);
        leaks.map(|one| one.detail).next()
    };
    let code = numbers("code", (0..60).map(|row| f64::from(row % 2)));
    assert_eq!(
        told(code).as_deref(),
        Some(
            "the correlation ratio with target \"y\" is 1.000 over 60 rows: where it is made from the target, or known only after it, leave it out of the features"
        )
    );
    // Each word stands in one outcome only: five rows a word are enough to tell, four are not.
    let group =
        |rows: usize| (0..60).map(move |row| format!("g{}", row % 2 + 2 * (row / 2 / rows)));
    let five: Vec<String> = group(5).collect();
    let detail = told(words("g", five.iter().map(String::as_str))).expect("a leak");
    assert!(detail.starts_with("cramér's v with target"), "{detail}");
    let four: Vec<String> = group(4).collect();
    assert_eq!(told(words("g", four.iter().map(String::as_str))), None);
    // One row in ten is otherwise: r² = 0.64.
    let noisy = (0..60).map(|row| f64::from((row + row / 54) % 2));
    assert_eq!(told(numbers("noisy", noisy)), None);
}

#[test]
fn rows_are_equal_where_all_they_have_and_miss_is() {
    let x = numbers("x", [0.0, -0.0, f64::NAN, f64::NAN, 1.0, 1.0]);
    let w = words("w", ["a", "a", "", "", "a", "b"]);
    let repeated = summary(&[x.clone(), w.clone()], None);
    assert_eq!(codes(&repeated), [(None, Code::DuplicateRows)]);
    assert!(
        repeated.warnings[0]
            .detail
            .starts_with("2 rows repeat an earlier row")
    );
    // The first two contradict each other; of the next two one has no target.
    let y = words("y", ["p", "q", "p", "", "p", "p"]);
    let contradicted = summary(&[x, y, w], Some("y"));
    assert_eq!(codes(&contradicted), [(None, Code::ConflictingLabels)]);
    assert_eq!(
        contradicted.warnings[0].detail,
        "2 rows are equal to another in every column but target \"y\", and different there: no model is right on all of them; mend the targets, or add a feature that tells the rows apart"
    );
}
