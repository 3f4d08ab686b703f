//! Tests of what a run is said to cost.

use std::ops::ControlFlow;

use ndarray::Array2;

use crate::model::{Model, ModelLimits, ModelSpec};
use crate::nn::Team;
use crate::train::tests::{MODEL_LIMITS, checked};
use crate::train::{
    CheckedSpec, Checkpoint, EpochReport, Observer, RawSamples, Source, memory_bytes, train,
};

/// Takes the checkpoint of the first epoch, and makes it into bytes again and again in the third, as a runner may that was
/// slow: the run then has the parameters of the second epoch and those before its last step beside its own. During the report
/// it does so with the checkpoint of the end.
#[derive(Default)]
pub(super) struct Encoder {
    taken: Option<Checkpoint>,
    epochs: u64,
}

impl Observer for Encoder {
    fn poll(&mut self) -> ControlFlow<()> {
        if self.epochs >= 2 {
            let taken = self
                .taken
                .as_ref()
                .expect("that of the first epoch, or the last");
            assert!(!taken.encode().is_empty());
        }
        ControlFlow::Continue(())
    }

    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        epoch_end && self.taken.is_none()
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.taken = Some(checkpoint);
    }

    fn epoch(&mut self, report: EpochReport) {
        self.epochs = report.epoch;
    }
}

/// The most bytes that a run on so many rows holds.
fn held(spec: &CheckedSpec, base: &Model, rows: usize) -> f64 {
    let measured = allocation_counter::measure(|| {
        let source = Source::of(RawSamples::Inline {
            inputs: Array2::from_elem((rows, 20), 0.5),
            targets: Array2::ones((rows, 1)),
            weights: None,
        });
        let (base, mut observer) = (base.clone(), Encoder::default());
        train(spec, base, source, None, &Team::alone(), &mut observer)
            .expect("it does not diverge");
    });
    measured.bytes_max as f64
}

#[test]
fn the_memory_that_a_run_holds_is_what_was_estimated_within_a_tenth() {
    let limits = ModelLimits {
        units: 2000,
        parameters: 3_000_000,
        ..MODEL_LIMITS
    };
    let full = || serde_json::json!("full");
    for (units, rows, batch, normalization, more) in [
        // The samples while they are prepared, and the networks.
        (2, 20_000, 32.into(), "null", "{}"),
        (600, 300, 10.into(), "null", "{}"),
        (600, 300, 10.into(), "null", r#"{"optimizer":"adam"}"#),
        (
            600,
            300,
            10.into(),
            "null",
            r#"{"early_stopping":{"patience":9,"restore_best":true}}"#,
        ),
        // Panels of a wide layer, and the evaluation of a block of rows at once.
        (1200, 2000, 512.into(), "null", "{}"),
        (
            1200,
            2000,
            512.into(),
            "null",
            r#"{"validation":{"fraction":0.5}}"#,
        ),
        // The tree of several blocks, and what noise, normalization and weights need of a row.
        (300, 2000, full(), "null", "{}"),
        (
            300,
            2000,
            full(),
            "null",
            r#"{"regularization":{"dropout":0.5}}"#,
        ),
        (
            300,
            2000,
            full(),
            "\"batch\"",
            r#"{"regularization":{"dropout":0.5}}"#,
        ),
        (300, 2000, full(), "\"layer\"", "{}"),
        (
            2,
            20_000,
            full(),
            "null",
            r#"{"regularization":{"input_noise":0.5}}"#,
        ),
        (
            2,
            20_000,
            full(),
            "null",
            r#"{"class_weight":{"0":1,"1":2}}"#,
        ),
        // The base and the raw samples, which the next run needs.
        (
            600,
            300,
            10.into(),
            "null",
            r#"{"cross_validation":{"folds":2}}"#,
        ),
        (
            2,
            20_000,
            32.into(),
            "null",
            r#"{"cross_validation":{"folds":2}}"#,
        ),
    ] {
        let text = format!(
            r#"{{"name":"m","inputs":20,"layers":[{{"units":{units},"activation":"tanh","normalization":{normalization}}},
                {{"units":{units},"activation":"relu"}},{{"units":1,"activation":"sigmoid"}}]}}"#
        );
        let spec: ModelSpec = serde_json::from_str(&text).expect("a spec");
        let base = spec.check(&limits).expect("a good spec").build();
        let data = serde_json::json!({"inputs": vec![[0.5; 20]; rows], "targets": vec![[1]; rows]});
        let mut job: serde_json::Value = serde_json::from_str(more).expect("a part of a job");
        job["model"] = "m".into();
        job["data"] = data;
        job["epochs"] = 3.into();
        job["batch_size"] = batch;
        let spec = serde_json::from_value(job).expect("a job");
        let spec = checked(&base, spec).expect("a good job");
        let estimated = memory_bytes(&spec, &base.header(), rows - spec.train_rows) as f64;
        let ratio = held(&spec, &base, rows) / estimated;
        assert!(
            (0.9..=1.1).contains(&ratio),
            "{units} {rows} {normalization} {more}: {ratio}"
        );
    }
}

#[test]
fn the_memory_of_a_run_beyond_all_bounds_is_the_largest_number() {
    let spec =
        r#"{"name":"m","inputs":20,"dtype":"float64","layers":[{"units":1,"activation":"tanh"}]}"#;
    let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
    let base = spec.check(&MODEL_LIMITS).expect("a good spec").build();
    let job = serde_json::json!({"model": "m", "data": {"inputs": vec![[0.5; 20]; 2], "targets": [[1], [0]]},
        "epochs": 1, "batch_size": "full", "optimizer": {"type": "lbfgs"}, "metrics": ["loss", "r2"]});
    let small = serde_json::from_value(job).expect("a job");
    let small = checked(&base, small).expect("a good job");
    let mut header = base.header();
    // As many rows, inputs, layers and units as there may be, though not together: it is wider than any network.
    let widest = crate::model::LayerShape {
        units: 65_536,
        ..header.layers[0].clone()
    };
    header.inputs = 100_000;
    header.layers = vec![widest; 64];
    let spec = CheckedSpec {
        train_rows: 1_000_000_000,
        ..small.clone()
    };
    let needed = memory_bytes(&spec, &header, 1_000_000_000);
    // Rows of inputs and outputs in f64, and answers of 48 bytes; what else there is is less than a tenth of that.
    let rows = 2_000_000_000 * (100_000 + 65_536) * 8 + 1_000_000_000 * 65_536 * 48;
    assert!((rows..rows + rows / 10).contains(&needed), "{needed}");
    let spec = CheckedSpec {
        train_rows: usize::MAX,
        ..small
    };
    assert_eq!(memory_bytes(&spec, &header, usize::MAX), u64::MAX);
}
