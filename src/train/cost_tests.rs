//! Tests of what a run is said to cost.

use std::ops::ControlFlow;

use ndarray::Array2;

use crate::model::{ModelLimits, ModelSpec};
use crate::nn::Team;
use crate::train::tests::{MODEL_LIMITS, checked};
use crate::train::{Checkpoint, EpochReport, Observer, RawSamples, Source, memory_bytes, train};

/// Has a checkpoint of every epoch made and encoded, as a runner does.
struct Encoder;

impl Observer for Encoder {
    fn poll(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn poll_preparing(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        epoch_end
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        assert!(!checkpoint.encode().is_empty());
    }

    fn epoch(&mut self, _: EpochReport) {}
}

#[test]
fn the_memory_that_a_run_holds_is_what_was_estimated_within_a_factor_of_two() {
    let limits = ModelLimits {
        units: 1000,
        parameters: 1_000_000,
        ..MODEL_LIMITS
    };
    for (units, rows, batch, dropout, normalization) in [
        (2, 20_000, 32.into(), 0.0, "null"),
        (600, 300, 10.into(), 0.0, "null"),
        (300, 2000, serde_json::json!("full"), 0.0, "null"),
        (300, 2000, serde_json::json!("full"), 0.5, "null"),
        (300, 2000, serde_json::json!("full"), 0.5, "\"batch\""),
        (300, 2000, serde_json::json!("full"), 0.0, "\"layer\""),
    ] {
        let text = format!(
            r#"{{"name":"m","inputs":20,"layers":[{{"units":{units},"activation":"tanh","normalization":{normalization}}},
                {{"units":{units},"activation":"relu"}},{{"units":1,"activation":"sigmoid"}}]}}"#
        );
        let spec: ModelSpec = serde_json::from_str(&text).expect("a spec");
        let base = spec.check(&limits).expect("a good spec").build();
        let data = serde_json::json!({"inputs": vec![[0.5; 20]; rows], "targets": vec![[1]; rows]});
        let job = serde_json::json!({"model": "m", "data": data, "epochs": 2, "batch_size": batch,
            "regularization": {"dropout": dropout}});
        let spec = serde_json::from_value(job).expect("a job");
        let spec = checked(&base, spec).expect("a good job");
        let estimated = memory_bytes(&spec, &base.header(), 0) as f64;
        let held = allocation_counter::measure(|| {
            let base = base.clone();
            let source = Source {
                data: RawSamples::Inline {
                    inputs: Array2::from_elem((rows, 20), 0.5),
                    targets: Array2::ones((rows, 1)),
                    weights: None,
                },
                validation: None,
                optimizer: None,
            };
            let mut observer = Encoder;
            train(&spec, base, source, None, &Team::alone(), &mut observer)
                .expect("it does not diverge");
        });
        let ratio = held.bytes_max as f64 / estimated;
        assert!(
            (0.5..=2.0).contains(&ratio),
            "{units} {rows} {batch}: {ratio}"
        );
    }
}
