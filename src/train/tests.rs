//! Tests of whole runs: the same bits whether or not they are broken off, and a step that can be checked by hand.

use std::ops::ControlFlow;

use ndarray::Array2;

use crate::model::{AnyNetwork, Model, ModelLimits, ModelSpec, Violation};
use crate::nn::{Optimizer, OptimizerSpec, OptimizerState, Plateau, Team};
use crate::train::{
    CheckedSpec, Checkpoint, Context, EpochReport, Error, FullReport, JobLimits, JobSpec, Observer,
    Outcome, RawSamples, Source, Watched, check, train,
};

pub(super) const MODEL_LIMITS: ModelLimits = ModelLimits {
    layers: 8,
    units: 64,
    inputs: 64,
    parameters: 10_000,
};
pub(super) const JOB_LIMITS: JobLimits = JobLimits {
    epochs: 1000,
    batch_size: 1000,
    steps: 1_000_000,
    batch_activations: 1 << 40,
    seconds: 60,
    data_bytes: 1 << 20,
    classes: 100,
};

/// Breaks a run off after so many polls, and keeps what it is told.
#[derive(Default)]
pub(super) struct Witness {
    pub(super) polls: u64,
    pub(super) break_after: Option<u64>,
    /// Epochs after which it says that the run has had its time.
    pub(super) time: Option<usize>,
    pub(super) reports: Vec<EpochReport>,
    /// Of runs that leave a fold out.
    pub(super) of_folds: Vec<EpochReport>,
    pub(super) checkpoints: Vec<Checkpoint>,
}

impl Observer for Witness {
    fn poll(&mut self) -> ControlFlow<()> {
        self.polls += 1;
        if self.break_after.is_some_and(|most| self.polls > most) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn poll_preparing(&mut self) -> ControlFlow<()> {
        self.poll()
    }

    fn wants_checkpoint(&mut self, epoch_end: bool) -> bool {
        epoch_end
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.push(checkpoint);
    }

    fn wants_parameter_digest(&self) -> bool {
        true
    }

    fn epoch(&mut self, report: EpochReport) {
        self.reports.push(report);
    }

    fn epoch_of_fold(&mut self, _fold: u64, report: EpochReport) {
        self.of_folds.push(report);
    }

    fn is_out_of_time(&mut self) -> bool {
        self.time.is_some_and(|most| self.reports.len() >= most)
    }
}

pub(super) fn model(dtype: &str) -> Model {
    normalized_model(dtype, "null")
}

pub(super) fn normalized_model(dtype: &str, normalization: &str) -> Model {
    let text = format!(
        r#"{{"name":"m","inputs":2,"dtype":"{dtype}","preprocess":"standardize","seed":3,
            "layers":[{{"units":5,"activation":"tanh","normalization":{normalization}}},{{"units":1,"activation":"sigmoid"}}]}}"#
    );
    let spec: ModelSpec = serde_json::from_str(&text).expect("a spec");
    spec.check(&MODEL_LIMITS).expect("a good spec").build()
}

pub(super) fn source() -> Source {
    let inputs = Array2::from_shape_fn((150, 2), |(row, column)| {
        ((row * 7 + column * 3) % 11) as f64
    });
    let targets = Array2::from_shape_fn((150, 1), |(row, _)| f64::from(u8::from(row % 3 == 0)));
    Source {
        data: RawSamples::Inline {
            inputs,
            targets,
            weights: None,
        },
        validation: None,
        split_by: None,
        left_out: None,
        optimizer: None,
    }
}

/// The same, where `weighs`, with a weight of each row.
fn weighted(weighs: bool) -> Source {
    let mut source = source();
    if let RawSamples::Inline { weights, .. } = &mut source.data {
        *weights = weighs.then(|| (0..150).map(|row| f64::from(row % 4) / 3.0).collect());
    }
    source
}

pub(super) fn job(rest: &str) -> JobSpec {
    let RawSamples::Inline {
        inputs, targets, ..
    } = source().data
    else {
        unreachable!("inline data")
    };
    let rows = |matrix: &Array2<f64>| {
        let rows: Vec<Vec<f64>> = matrix.rows().into_iter().map(|row| row.to_vec()).collect();
        serde_json::to_string(&rows).expect("numbers")
    };
    let data = format!(
        r#"{{"inputs":{},"targets":{}}}"#,
        rows(&inputs),
        rows(&targets)
    );
    serde_json::from_str(&format!(r#"{{"model":"m","data":{data},{rest}}}"#)).expect("a spec")
}

/// What gradient descent with momentum remembers of a model before its first step.
fn momentum(model: &Model) -> OptimizerState<f32> {
    let AnyNetwork::Float32(network) = &model.network else {
        panic!("a float32 model")
    };
    let spec = OptimizerSpec::GradientDescent {
        learning_rate: 0.1,
        momentum: 0.9,
        nesterov: false,
    };
    Optimizer::new(spec, network).state().clone()
}

/// What the check makes of a job for a model, with its violations as pairs.
pub(super) fn checked(base: &Model, spec: JobSpec) -> Result<CheckedSpec, Vec<(String, String)>> {
    let context = Context {
        base: &base.header(),
        base_version: 1,
        continued: None,
        data: None,
        validation: None,
        limits: JOB_LIMITS,
    };
    let said = |violation: Violation| (violation.pointer, violation.detail);
    check(spec, &context)
        .map(|job| job.spec)
        .map_err(|violations| violations.into_iter().map(said).collect())
}

/// What comes of a run of the samples of [`source`] by one thread, from the start or from a checkpoint.
pub(super) fn trained(
    spec: &CheckedSpec,
    base: &Model,
    at: Option<Checkpoint>,
    witness: &mut Witness,
) -> Outcome {
    train(spec, base.clone(), source(), at, &Team::alone(), witness).expect("trains")
}

/// A run broken off at every poll and taken up again comes to what an undisturbed one does, and tells the same; that one.
pub(super) fn unmoved_by_breaks<T: PartialEq + std::fmt::Debug>(
    (spec, base): (&CheckedSpec, &Model),
    source: impl Fn() -> Source,
    came_to: impl Fn(Outcome) -> T,
    what: &str,
) -> (T, Witness) {
    let run = |at, witness: &mut Witness| {
        train(spec, base.clone(), source(), at, &Team::alone(), witness).expect("trains")
    };
    let mut whole = Witness::default();
    let undisturbed = came_to(run(None, &mut whole));
    for break_after in 0..whole.polls {
        let mut first = Witness {
            break_after: Some(break_after),
            ..Witness::default()
        };
        let at = match run(None, &mut first) {
            Outcome::Unprepared => None,
            Outcome::Stopped { at, .. } => {
                Some(Checkpoint::decode(&at.encode()).expect("a checkpoint reads back"))
            }
            Outcome::Finished { .. } => panic!("not stopped at {break_after}"),
        };
        let mut second = Witness::default();
        let resumed = came_to(run(at, &mut second));
        assert_eq!(resumed, undisturbed, "{what}, {break_after} polls");
        let reports: Vec<_> = first.reports.into_iter().chain(second.reports).collect();
        assert_eq!(reports, whole.reports, "{what}, {break_after} polls");
    }
    (undisturbed, whole)
}

pub(super) fn finished(outcome: Outcome) -> Model {
    reported(outcome).0
}

/// The model that a run ended with, and its report.
pub(super) fn reported(outcome: Outcome) -> (Model, FullReport) {
    match outcome {
        Outcome::Finished { model, report, .. } => (model, *report),
        Outcome::Unprepared => panic!("stopped before the first epoch"),
        Outcome::Stopped { at, .. } => panic!("stopped in epoch {}", at.epoch + 1),
    }
}

#[test]
fn a_run_broken_off_anywhere_ends_with_the_bits_of_an_undisturbed_one() {
    // L-BFGS, which takes no such schedules and regularization, has a test of its own.
    let [steps @ .., OptimizerSpec::Lbfgs(_)] = OptimizerSpec::all() else {
        unreachable!("L-BFGS is the last")
    };
    let optimizers = steps.map(|spec| spec.name().to_owned());
    let momentum = r#"{"type":"gradient_descent","momentum":0.9,"nesterov":true}"#;
    let centered = r#"{"type":"rmsprop","momentum":0.5,"centered":true}"#;
    let named = optimizers.iter().map(|name| format!("\"{name}\""));
    let optimizers = named.chain([momentum.to_owned(), centered.to_owned()]);
    for (number, optimizer) in optimizers.enumerate() {
        let dtype = ["float32", "float64"][number % 2];
        let schedule = [
            r#""schedule":"cosine","warmup_epochs":1.5"#,
            r#""schedule":{"type":"reduce_on_plateau","patience":0,"min_delta":0.5}"#,
            r#""schedule":{"type":"step","epochs":2},"early_stopping":{"patience":2,"min_delta":0.05}"#,
            r#""early_stopping":{"metric":"accuracy"},"target_metric":{"metric":"loss","value":0.001}"#,
        ];
        let schedule = schedule[number % schedule.len()];
        let noise = [
            r#""dropout":0.0"#,
            r#""dropout":[0.4],"input_dropout":0.1,"input_noise":0.2"#,
        ];
        let noise = noise[number / 2 % noise.len()];
        let class_weight = ["null", r#""balanced""#, r#"{"0":0.5,"1":3}"#][number % 3];
        let source = || weighted(number % 4 < 2);
        let rest = format!(
            r#""epochs":4,"batch_size":70,"seed":9,"validation":{{"fraction":0.2}},"metrics":["accuracy"],
               "optimizer":{optimizer},{schedule},"class_weight":{class_weight},"regularization":{{"l1":0.001,"clip_norm":0.5,{noise}}}"#
        );
        let normalization = ["null", r#""batch""#, r#""layer""#][number % 3];
        let base = normalized_model(dtype, normalization);
        let spec = checked(&base, job(&rest)).expect("a good job");
        let what = format!("{dtype} {optimizer}");
        let (_, whole) = unmoved_by_breaks((&spec, &base), source, reported, &what);
        assert!((2..=4).contains(&whole.reports.len()));
    }
}

#[test]
fn dropout_and_noise_are_in_the_training_steps_and_nowhere_else() {
    // A learning rate that is 0 in float32 and moves nothing: what differs is what is computed in the steps.
    let base = model("float32");
    let run = |regularization: &str| {
        let rest = format!(
            r#""epochs":2,"seed":9,"validation":{{"fraction":0.2}},"regularization":{regularization},
               "optimizer":{{"type":"gradient_descent","learning_rate":1e-300}}"#
        );
        let spec = checked(&base, job(&rest)).expect("a good job");
        let mut witness = Witness::default();
        let trained = trained(&spec, &base, None, &mut witness);
        (finished(trained), witness.reports)
    };
    let (model, plain) = run("{}");
    for regularization in [
        r#"{"dropout":0.5}"#,
        r#"{"dropout":[0.5]}"#,
        r#"{"input_dropout":0.5}"#,
        r#"{"input_noise":0.5}"#,
    ] {
        let (noisy_model, noisy) = run(regularization);
        assert_eq!(noisy_model, model);
        let inputs = Array2::from_shape_fn((9, 2), |(row, column)| (row + column) as f64);
        let predictions = |model: &Model| model.network.to_float64().predict(inputs.view());
        assert_eq!(predictions(&noisy_model), predictions(&base));
        for (noisy, plain) in noisy.iter().zip(&plain) {
            assert_eq!(noisy.validation, plain.validation, "{regularization}");
            assert_ne!(noisy.train.loss, plain.train.loss, "{regularization}");
            let of = |report: &EpochReport| {
                let statistics = report.statistics.clone().expect("a recorded epoch");
                statistics.layers[1].activations
            };
            assert_ne!(of(noisy), of(plain), "{regularization}");
        }
        // Each epoch draws anew.
        assert_ne!(noisy[0].train.loss, noisy[1].train.loss);
    }
}

#[test]
fn a_run_taken_up_from_each_epochs_checkpoint_ends_with_the_same_bits() {
    let base = model("float32");
    let spec = checked(&base, job(r#""epochs":3,"batch_size":"full""#)).expect("a good job");
    let mut whole = Witness::default();
    let undisturbed = finished(trained(&spec, &base, None, &mut whole));
    assert_eq!(whole.checkpoints.len(), 3);
    for checkpoint in whole.checkpoints {
        let resumed = train(
            &spec,
            base.clone(),
            source(),
            Some(checkpoint),
            &Team::alone(),
            &mut Witness::default(),
        );
        assert_eq!(finished(resumed.expect("trains")), undisturbed);
    }
}

#[test]
fn the_loss_of_an_epoch_is_the_mean_over_samples_of_losses_before_their_update() {
    // One weight w = 1, bias 0, identity: a = x. Rows x = 1, 2 with y = 0, batches of one, in order, η = 0.1.
    // Row 1: C = ½·1² = 0.5, δ = 1, w = 1 − 0.1·1·1 = 0.9, b = −0.1.
    // Row 2: a = 0.9·2 − 0.1 = 1.7, C = ½·1.7² = 1.445, δ = 1.7, w = 0.9 − 0.1·1.7·2 = 0.56, b = −0.27.
    let spec: ModelSpec = serde_json::from_str(
        r#"{"name":"m","inputs":1,"dtype":"float64","layers":[{"units":1,"activation":"identity"}],
            "parameters":[{"weights":[[1]],"biases":[0]}]}"#,
    )
    .expect("a spec");
    let base = spec.check(&MODEL_LIMITS).expect("a good spec").build();
    let job: JobSpec = serde_json::from_str(
        r#"{"model":"m","data":{"inputs":[[1],[2]],"targets":[[0],[0]]},"epochs":1,"batch_size":1,"shuffle":false}"#,
    )
    .expect("a spec");
    let spec = checked(&base, job).expect("a good job");
    let inputs = Array2::from_shape_vec((2, 1), vec![1.0, 2.0]).expect("two rows");
    let source = Source {
        data: RawSamples::Inline {
            inputs,
            targets: Array2::zeros((2, 1)),
            weights: None,
        },
        validation: None,
        split_by: None,
        left_out: None,
        optimizer: None,
    };
    let mut witness = Witness::default();
    let trained = finished(
        train(
            &spec,
            base.clone(),
            source,
            None,
            &Team::alone(),
            &mut witness,
        )
        .expect("trains"),
    );
    assert!((witness.reports[0].train.loss - 0.5 * (0.5 + 1.445)).abs() < 1e-15);
    let network = trained.network.to_float64();
    assert!((network.layers()[0].weights[(0, 0)] - 0.56).abs() < 1e-15);
    assert!((network.layers()[0].biases[0] + 0.27).abs() < 1e-15);
}

#[test]
fn a_run_that_diverges_says_in_which_epoch_and_step() {
    let spec: ModelSpec = serde_json::from_str(
        r#"{"name":"m","inputs":2,"dtype":"float32","layers":[{"units":1,"activation":"identity"}]}"#,
    )
    .expect("a spec");
    let base = spec.check(&MODEL_LIMITS).expect("a good spec").build();
    let rest = r#""epochs":100,"optimizer":{"type":"gradient_descent","learning_rate":1000}"#;
    let spec = checked(&base, job(rest)).expect("a good job");
    match train(
        &spec,
        base.clone(),
        source(),
        None,
        &Team::alone(),
        &mut Witness::default(),
    ) {
        Err(Error::Diverged { epoch, step, .. }) => {
            assert!((1..=100).contains(&epoch) && (1..=5).contains(&step));
        }
        other => panic!("must diverge, got {other:?}"),
    }
}

#[test]
fn a_checkpoint_without_the_state_of_its_optimizer_is_refused() {
    let base = model("float32");
    for (optimizer, refused) in [("adam", true), ("gradient_descent", false)] {
        let rest = format!(r#""epochs":3,"optimizer":"{optimizer}""#);
        let spec = checked(&base, job(&rest)).expect("a good job");
        let mut witness = Witness::default();
        finished(trained(&spec, &base, None, &mut witness));
        let mut at = witness.checkpoints[0].clone();
        at.optimizer = None;
        let resumed = train(
            &spec,
            base.clone(),
            source(),
            Some(at),
            &Team::alone(),
            &mut Witness::default(),
        );
        assert_eq!(
            matches!(resumed, Err(Error::Data { .. })),
            refused,
            "{optimizer}"
        );
    }
}

#[test]
fn bytes_that_are_no_checkpoint_are_refused_whatever_is_cut_or_flipped() {
    let model = model("float32");
    let whole = Checkpoint {
        epoch: 1,
        step: 2,
        sums: crate::train::EpochSums::default(),
        statistics: None,
        plateau: Plateau::default(),
        watched: Watched::default(),
        best: Some(model.network.clone()),
        optimizer: Some(momentum(&model).into()),
        folds: None,
        model,
    }
    .encode();
    for length in 0..whole.len() {
        assert!(
            Checkpoint::decode(&whole[..length]).is_err(),
            "cut to {length}"
        );
    }
    for place in 0..whole.len().min(400) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x20;
        // A flip may leave another legal checkpoint (the store's digest finds those); it must never panic.
        drop(Checkpoint::decode(&flipped));
    }
}
