//! A run with more threads: the same bits, also of denormal numbers.

use ndarray::Array2;

use crate::model::{AnyNetwork, Model, ModelLimits, ModelSpec};
use crate::nn::{Network, Scalar, Team};
use crate::train::tests::{MODEL_LIMITS, Witness, checked};
use crate::train::{EpochReport, FullReport, Outcome, RawSamples, Source, train};

/// Numbers of a row.
const INPUTS: usize = 48;
/// Rows, of which a batch has 130: its last chunk has 2, and the last batch 20.
const ROWS: usize = 150;

/// A number made so small that it is denormal in `T`, or zero in its place.
fn tiny<T: Scalar>(number: f64, zeros: bool) -> T {
    let largest = T::min_positive_value().to_f64() / 64.0;
    let made = number.clamp(-8.0, 8.0) * largest;
    T::from_f64(if zeros { 0.0 } else { made })
}

/// Makes all parameters of every fifth unit tiny.
fn thin<T: Scalar>(network: &mut Network<T>, zeros: bool) {
    for layer in network.layers_mut() {
        for unit in (0..layer.units()).step_by(5) {
            let mut weights = layer.weights.row_mut(unit);
            weights.mapv_inplace(|weight| tiny(Scalar::to_f64(weight), zeros));
            layer.biases[unit] = tiny(1.0, zeros);
        }
    }
}

/// A model whose products are worth dividing by three: 130 rows × 48 × 512 multiply-adds.
fn model(dtype: &str, zeros: bool) -> Model {
    let limits = ModelLimits {
        units: 512,
        parameters: 100_000,
        ..MODEL_LIMITS
    };
    let text = format!(
        r#"{{"name":"m","inputs":{INPUTS},"dtype":"{dtype}","seed":3,"layers":[{{"units":512,"activation":"tanh"}},
            {{"units":80,"activation":"relu"}},{{"units":2,"activation":"identity"}}]}}"#
    );
    let spec: ModelSpec = serde_json::from_str(&text).expect("a spec");
    let mut model = spec.check(&limits).expect("a good spec").build();
    match &mut model.network {
        AnyNetwork::Float32(network) => thin(network, zeros),
        AnyNetwork::Float64(network) => thin(network, zeros),
    }
    model
}

/// What three epochs come to on rows of which every fifth column is tiny.
fn outcome(dtype: &str, zeros: bool, team: &Team) -> (Model, FullReport, Vec<EpochReport>) {
    let numbers = |width| {
        Array2::from_shape_fn((ROWS, width), |(row, column)| {
            let number = ((row * 37 + column * 101) % 64) as f64 / 32.0 - 1.0;
            match (column % 5, dtype) {
                (0, "float32") => tiny::<f32>(number, zeros).into(),
                (0, _) => tiny(number, zeros),
                _ => number,
            }
        })
    };
    let (inputs, targets) = (numbers(INPUTS), numbers(2));
    let rows = |matrix: &Array2<f64>| -> Vec<Vec<f64>> {
        matrix.rows().into_iter().map(|row| row.to_vec()).collect()
    };
    let job = serde_json::json!({"model": "m", "data": {"inputs": rows(&inputs), "targets": rows(&targets)},
        "epochs": 3, "batch_size": 130, "optimizer": {"type": "adam"}, "seed": 5});
    let base = model(dtype, zeros);
    let spec = checked(&base, serde_json::from_value(job).expect("a job")).expect("a good job");
    let source = Source {
        data: RawSamples::Inline {
            inputs,
            targets,
            weights: None,
        },
        validation: None,
        split_by: None,
        left_out: None,
        optimizer: None,
    };
    let mut witness = Witness::default();
    let trained = train(&spec, base, source, None, team, &mut witness).expect("trains");
    match trained {
        Outcome::Finished { model, report, .. } => {
            // The golden set is of raw rows, which differ.
            let model = Model {
                golden: None,
                ..model
            };
            (model, *report, witness.reports)
        }
        Outcome::Stopped { .. } | Outcome::Unprepared => panic!("broken off"),
    }
}

#[test]
fn a_run_comes_to_the_same_bits_with_any_number_of_threads_and_denormals_are_zeros_on_all() {
    for dtype in ["float32", "float64"] {
        let alone = outcome(dtype, false, &Team::alone());
        assert_eq!(alone.2.len(), 3);
        assert!(alone.1.train.is_some());
        let team = Team::new(3, || {}).expect("threads");
        assert!(outcome(dtype, false, &team) == alone, "{dtype}");
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            let undigested =
                |(model, report, mut reports): (Model, FullReport, Vec<EpochReport>)| {
                    // A denormal number below 0 counts as −0, which is another bit than that of 0.
                    for report in &mut reports {
                        report.parameter_digest = None;
                    }
                    (model, report, reports)
                };
            let zeros = undigested(outcome(dtype, true, &team));
            assert!(zeros == undigested(alone), "{dtype} of zeros");
        }
    }
}
