//! Tests of runs that end before their last epoch, and of those by L-BFGS: the same bits whether or not they are broken off.

use crate::model::{Model, ModelLimits, ModelSpec};
use crate::nn::Team;
use crate::train::tests::{
    self, Witness, finished, job, model, normalized_model, source, trained, unmoved_by_breaks,
};
use crate::train::{CheckedSpec, Checkpoint, EndedBy, Outcome, train};

fn checked(base: &Model, rest: &str) -> Result<CheckedSpec, Vec<(String, String)>> {
    tests::checked(base, job(rest))
}

#[test]
fn a_run_by_lbfgs_broken_off_anywhere_ends_with_the_bits_of_an_undisturbed_one() {
    for (dtype, rest) in [
        (
            "float64",
            r#""epochs":9,"regularization":{"l2":0.001},"optimizer":{"type":"lbfgs","history_size":3}"#,
        ),
        (
            "float32",
            r#""epochs":5,"optimizer":"lbfgs","early_stopping":{"patience":2},"metrics":["accuracy","f1"]"#,
        ),
        (
            "float64",
            r#""epochs":6,"optimizer":{"type":"lbfgs","max_evaluations":2,"learning_rate":40},
               "layers":[{},{"frozen":true}]"#,
        ),
        (
            "float32",
            r#""epochs":400,"optimizer":{"type":"lbfgs","tolerance":0.02},"regularization":{"l2":0.1}"#,
        ),
    ] {
        let base = model(dtype);
        let rest = format!(r#"{rest},"seed":9,"validation":{{"fraction":0.2}}"#);
        let spec = checked(&base, &rest).expect("a good job");
        let (undisturbed, whole) = unmoved_by_breaks((&spec, &base), source, finished, &rest);
        assert!((2..=9).contains(&whole.reports.len()), "{rest}");
        for checkpoint in whole.checkpoints {
            let at = Checkpoint::decode(&checkpoint.encode()).expect("a checkpoint reads back");
            let resumed = train(
                &spec,
                base.clone(),
                source(),
                Some(at),
                &Team::alone(),
                &mut Witness::default(),
            );
            assert_eq!(finished(resumed.expect("trains")), undisturbed, "{rest}");
        }
    }
}

#[test]
fn a_run_by_lbfgs_ends_where_it_has_converged() {
    let base = model("float64");
    let rest = r#""epochs":400,"optimizer":{"type":"lbfgs","tolerance":0.001},"regularization":{"l2":0.01}"#;
    let spec = checked(&base, rest).expect("a good job");
    assert!(!spec.shuffle && spec.steps_per_epoch() == 1);
    let mut witness = Witness::default();
    let outcome = trained(&spec, &base, None, &mut witness);
    let Outcome::Finished { epochs, .. } = outcome else {
        panic!("not broken off")
    };
    assert!((5..200).contains(&epochs), "{epochs}");
    let losses: Vec<f64> = witness.reports.iter().map(|r| r.train.loss).collect();
    assert!(losses[losses.len() - 1] < losses[0], "{losses:?}");
    // The seed of the shuffle is of no account.
    let spec = checked(&base, &format!(r#"{rest},"seed":5,"shuffle":true"#)).expect("a good job");
    let mut other = Witness::default();
    trained(&spec, &base, None, &mut other);
    assert_eq!(other.reports, witness.reports);
}

#[test]
fn what_does_not_go_with_lbfgs_is_refused_by_name() {
    let base = model("float64");
    let rest = r#""optimizer":"lbfgs","batch_size":149,"schedule":"cosine","warmup_epochs":1.5,
        "layers":[{"learning_rate_multiplier":2},{"frozen":true}],
        "regularization":{"l1":0.1,"l2":0.1,"max_norm":3,"clip_value":1,"clip_norm":2,"dropout":[0.5],
            "input_dropout":0.25,"input_noise":0.125}"#;
    let found = checked(&base, rest).expect_err("violations");
    let expected = [
        ("/regularization/l1", "must be 0 with lbfgs, got 0.1"),
        ("/regularization/max_norm", "must be null with lbfgs, got 3"),
        (
            "/regularization/clip_value",
            "must be null with lbfgs, got 1",
        ),
        (
            "/regularization/clip_norm",
            "must be null with lbfgs, got 2",
        ),
        ("/regularization/dropout/0", "must be 0 with lbfgs, got 0.5"),
        (
            "/regularization/input_dropout",
            "must be 0 with lbfgs, got 0.25",
        ),
        (
            "/regularization/input_noise",
            "must be 0 with lbfgs, got 0.125",
        ),
        (
            "/schedule",
            "must be \"constant\" with lbfgs, which finds how far to go, got \"cosine\"",
        ),
        (
            "/warmup_epochs",
            "must be 0 with lbfgs, which finds how far to go, got 1.5",
        ),
        (
            "/layers/0/learning_rate_multiplier",
            "must be 1 with lbfgs, which moves all layers together, got 2",
        ),
        (
            "/batch_size",
            "must be \"full\" with lbfgs, or at least the 150 rows, got 149",
        ),
    ];
    let expected = expected.map(|(pointer, detail)| (pointer.to_owned(), detail.to_owned()));
    assert_eq!(found, expected);
    for fine in [
        r#""batch_size":150"#,
        r#""batch_size":"full","regularization":{"l2":0.1,"dropout":[0.0]}"#,
        r#""layers":[{"frozen":true},{}]"#,
    ] {
        assert!(checked(&base, &format!(r#""optimizer":"lbfgs",{fine}"#)).is_ok());
    }
}

#[test]
fn a_run_that_has_had_its_time_ends_with_the_epoch_and_stays_ended() {
    let base = model("float32");
    let spec = checked(&base, r#""epochs":4,"optimizer":"adam""#).expect("a good job");
    let ended = |most, at| {
        let mut witness = Witness {
            time: Some(most),
            ..Witness::default()
        };
        match trained(&spec, &base, at, &mut witness) {
            Outcome::Finished {
                model,
                epochs,
                ended_by,
                ..
            } => (model, epochs, ended_by, witness),
            Outcome::Unprepared | Outcome::Stopped { .. } => panic!("not broken off"),
        }
    };
    let (model, epochs, ended_by, witness) = ended(2, None);
    assert_eq!((epochs, ended_by), (2, EndedBy::MaxSeconds));
    // A process that dies before the end is stored finds it in the checkpoint.
    let at = witness.checkpoints[1].clone();
    let (again, epochs, ended_by, witness) = ended(99, Some(at));
    assert_eq!((epochs, ended_by), (2, EndedBy::MaxSeconds));
    assert_eq!(again, model);
    assert!(witness.reports.is_empty());
    // So many epochs are the same parameters.
    let short = checked(&base, r#""epochs":2,"optimizer":"adam""#).expect("a good job");
    let all = train(
        &short,
        base.clone(),
        source(),
        None,
        &Team::alone(),
        &mut Witness::default(),
    )
    .expect("trains");
    assert_eq!(finished(all), model);
    // In the last epoch there is nothing left to be ended.
    let (_, epochs, ended_by, _) = ended(4, None);
    assert_eq!((epochs, ended_by), (4, EndedBy::Epochs));
}

#[test]
fn lbfgs_remembers_no_more_than_a_checkpoint_can_hold() {
    // 2 · 500,000 + 500,000 and 500,000 + 1 parameters: 2,000,001, of 8 bytes each, are in 62 of the 999,000,000 bytes.
    let text = r#"{"name":"m","inputs":2,"dtype":"float64","layers":[{"units":500000,"activation":"tanh"},
        {"units":1,"activation":"sigmoid"}]}"#;
    let spec: ModelSpec = serde_json::from_str(text).expect("a spec");
    let limits = ModelLimits {
        layers: 2,
        units: 500_000,
        inputs: 2,
        parameters: 3_000_000,
    };
    let base = spec.check(&limits).expect("a good spec").build();
    let of = |size| {
        let rest = format!(r#""optimizer":{{"type":"lbfgs","history_size":{size}}}"#);
        checked(&base, &rest)
    };
    assert!(of(30).is_ok());
    let detail = "must be at most 30 for 2000001 parameters, of each of which a checkpoint has 2 numbers for each step that is remembered, got 31";
    let expected = ("/optimizer/history_size".to_owned(), detail.to_owned());
    assert_eq!(of(31).expect_err("too long"), [expected]);
}

#[test]
fn the_digest_of_the_epoch_that_a_run_ends_with_is_that_of_its_model_and_of_its_checkpoint() {
    for (dtype, normalization, rest) in [
        ("float32", "null", r#""optimizer":"adam""#),
        ("float64", r#""batch""#, r#""optimizer":"lion""#),
        (
            "float32",
            r#""layer""#,
            r#""optimizer":"gradient_descent","early_stopping":{"patience":2,"min_delta":0.5}"#,
        ),
        (
            "float64",
            "null",
            r#""optimizer":"lbfgs","batch_size":"full""#,
        ),
    ] {
        let base = normalized_model(dtype, normalization);
        let rest = format!(r#"{rest},"epochs":6,"seed":9,"validation":{{"fraction":0.2}}"#);
        let spec = checked(&base, &rest).expect("a good job");
        let mut witness = Witness::default();
        let outcome = trained(&spec, &base, None, &mut witness);
        let Outcome::Finished {
            model,
            epochs,
            best,
            ..
        } = outcome
        else {
            panic!("not broken off")
        };
        let published = best.map_or(epochs, |best| best.epoch);
        let stops = spec.early_stopping.is_some();
        assert_eq!(published < epochs, stops, "{rest}");
        let digest = |epoch: u64| {
            let report = &witness.reports[epoch as usize - 1];
            report.parameter_digest.expect("it is wanted").to_string()
        };
        assert_eq!(digest(published), model.parameter_digest(), "{rest}");
        for checkpoint in &witness.checkpoints {
            let kept = checkpoint.model.parameter_digest();
            assert_eq!(digest(checkpoint.epoch), kept, "{rest}");
        }
        let digests: std::collections::HashSet<_> = (1..=epochs).map(digest).collect();
        assert_eq!(digests.len() as u64, epochs, "every epoch moves: {rest}");
    }
}
