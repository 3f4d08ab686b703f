//! Tests of cross-validation: each fold's run is one that can be had by itself, and it does not matter where it is broken off.

use ndarray::{Array2, Axis};

use crate::data::folds;
use crate::model::{Model, ModelSpec};
use crate::nn::Team;
use crate::train::tests::{
    MODEL_LIMITS, Witness, checked, job, model, reported, source, trained, unmoved_by_breaks,
};
use crate::train::{
    CheckedSpec, Checkpoint, CrossValidation, EpochReport, FullReport, RawSamples, Source, train,
};

const FOLDS: &str = r#""epochs":2,"batch_size":32,"seed":5,"cross_validation":{"folds":3}"#;

fn folded(base: &Model, rest: &str) -> CheckedSpec {
    checked(base, job(rest)).expect("a good job")
}

fn run(spec: &CheckedSpec, base: &Model, source: Source, team: &Team) -> (Model, FullReport) {
    let outcome = train(
        spec,
        base.clone(),
        source,
        None,
        team,
        &mut Witness::default(),
    );
    reported(outcome.expect("trains"))
}

fn cross_validation(report: FullReport) -> CrossValidation {
    report.cross_validation.expect("the job cross-validates")
}

/// The rows of [`source`] in a fold, or those in no other.
fn rows(fold: u32, is_left_out: bool) -> RawSamples {
    let RawSamples::Inline {
        inputs, targets, ..
    } = source().data
    else {
        unreachable!("inline data")
    };
    let dealt = folds(150, 3, 5).expect("150 rows");
    let chosen = dealt.iter().enumerate();
    let chosen = chosen.filter(|(_, of_row)| (**of_row == fold) == is_left_out);
    let chosen: Vec<usize> = chosen.map(|(row, _)| row).collect();
    let of = |matrix: &Array2<f64>| matrix.select(Axis(0), &chosen);
    RawSamples::Inline {
        inputs: of(&inputs),
        targets: of(&targets),
        weights: None,
    }
}

#[test]
fn a_fold_comes_to_what_a_job_comes_to_that_validates_on_it() {
    for dtype in ["float32", "float64"] {
        let base = model(dtype);
        let spec = folded(&base, FOLDS);
        let (published, report) = run(&spec, &base, source(), &Team::alone());
        assert_eq!((&report.validation, spec.train_rows), (&None, 150));
        let found = cross_validation(report.clone());
        assert_eq!(spec.fold_rows(), [50; 3]);
        assert_eq!(found.folds.len(), 3);
        for (fold, found) in found.folds.iter().enumerate() {
            let source = Source {
                validation: Some(rows(fold as u32, true)),
                ..Source::of(rows(fold as u32, false))
            };
            let alone = CheckedSpec {
                train_rows: 100,
                cross_validation: None,
                ..spec.clone()
            };
            let (_, expected) = run(&alone, &base, source, &Team::alone());
            let expected = expected.validation.expect("validation rows");
            assert_eq!((found.fold, found.rows), (fold as u64 + 1, 50));
            assert_eq!(found.metrics, expected.metrics.metrics, "{dtype} {fold}");
        }
        assert!(found.std["loss"] > 0.0, "folds are not all alike");

        // What is published knows nothing of folds.
        let plain = folded(&base, r#""epochs":2,"batch_size":32,"seed":5"#);
        let (expected, whole) = run(&plain, &base, source(), &Team::alone());
        assert_eq!((published, report.train), (expected, whole.train));
    }
}

#[test]
fn a_cross_validation_broken_off_anywhere_ends_with_the_bits_of_an_undisturbed_one() {
    for (number, optimizer) in ["adam", "lbfgs"].into_iter().enumerate() {
        let base = model(["float64", "float32"][number]);
        let rest = format!(
            r#""epochs":2,"batch_size":"full","optimizer":"{optimizer}","seed":5,"cross_validation":{{"folds":3}}"#
        );
        let spec = folded(&base, &rest);
        let ((_, report), whole) = unmoved_by_breaks((&spec, &base), source, reported, optimizer);
        assert_eq!(cross_validation(report).folds.len(), 3);
        let told: Vec<_> = whole.reports.iter().map(|report| report.epoch).collect();
        assert_eq!(told, [1, 2], "the history is that of the run on all rows");
        let places: Vec<_> = whole.checkpoints.iter().map(Checkpoint::place).collect();
        // One step an epoch: six before the last run begins.
        let expected = [
            (0, 1),
            (0, 2),
            (0, 3),
            (0, 4),
            (0, 5),
            (0, 6),
            (1, 0),
            (2, 0),
        ];
        assert_eq!(places, expected);
        let epochs: Vec<_> = whole
            .checkpoints
            .iter()
            .map(|made| made.fold_epochs(2))
            .collect();
        assert_eq!(epochs, [1, 2, 3, 4, 5, 6, 6, 6]);
    }
}

#[test]
fn a_cross_validation_comes_to_the_same_bits_with_any_number_of_threads() {
    let base = model("float32");
    let spec = folded(&base, FOLDS);
    let alone = run(&spec, &base, source(), &Team::alone());
    let team = Team::new(3, || {}).expect("threads");
    assert!(run(&spec, &base, source(), &team) == alone);
}

#[test]
fn a_fold_that_diverges_is_named() {
    let model = r#"{"name":"m","inputs":2,"layers":[{"units":1,"activation":"identity"}]}"#;
    let model: ModelSpec = serde_json::from_str(model).expect("a spec");
    let base = model.check(&MODEL_LIMITS).expect("a good spec").build();
    let rest = r#""optimizer":{"type":"gradient_descent","learning_rate":1e6},"cross_validation":{"folds":2}"#;
    let spec = folded(&base, rest);
    let witness = &mut Witness::default();
    let ended = train(&spec, base, source(), None, &Team::alone(), witness);
    let error = ended.expect_err("steps far too large");
    assert_eq!(error.code(), "diverged");
    assert!(error.place().is_some());
    let told = error.to_string();
    let expected = "in the run that leaves out fold 1: the ";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn the_parameters_of_runs_that_leave_a_fold_out_are_not_digested() {
    let base = model("float32");
    let mut witness = Witness::default();
    trained(&folded(&base, FOLDS), &base, None, &mut witness);
    let digested = |reports: &[EpochReport]| {
        let digests = reports.iter().filter_map(|report| report.parameter_digest);
        (reports.len(), digests.count())
    };
    assert_eq!(digested(&witness.of_folds), (6, 0));
    assert_eq!(digested(&witness.reports), (2, 2));
}
