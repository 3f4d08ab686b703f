//! Runs of models whose categories are embedded: the same bits wherever they are broken off, and by any number of threads.

use crate::data::Column;
use crate::model::{AnyNetwork, Model, ModelDeclaration, ModelLimits, Violations};
use crate::nn::{Scalar, Team};
use crate::train::cost_tests::Encoder;
use crate::train::normalization::check_normalization;
use crate::train::tests::{
    JOB_LIMITS, MODEL_LIMITS, Witness, checked, finished, job, model, reported, unmoved_by_breaks,
};
use crate::train::{CheckedSpec, Features, JobLimits, RawSamples, Source, memory_bytes, train};

const WORDS: [&str; 4] = ["ash", "elm", "fir", "oak"];

/// A column of words, some of them missing and some unknown, beside one of numbers. Both have a value for missing ones: NaN,
/// which stands for none, would make equal models differ.
fn base(dtype: &str, normalization: &str) -> Model {
    let text = format!(
        r#"{{"name":"m","target":"y","dtype":"{dtype}","seed":3,"columns":[
            {{"name":"x","kind":"numeric","impute":"mean"}},
            {{"name":"tree","kind":"categorical","categories":["ash","elm","fir","oak"],"unknown":"zeros",
              "impute":"most_frequent","indicator":true,"encode":{{"type":"embedding","dimensions":3}}}},
            {{"name":"y","kind":"numeric"}}],
            "hidden":[{{"units":5,"activation":"tanh","normalization":{normalization}}}]}}"#
    );
    let declared: ModelDeclaration = serde_json::from_str(&text).expect("a declaration");
    let checked = declared.check(None, &MODEL_LIMITS);
    checked.expect("a good declaration").build()
}

fn source() -> Source {
    let words: Vec<_> = (0..150_usize)
        .map(|row| (row % 11 != 3).then(|| *WORDS.get(row % 13 % 5).unwrap_or(&"yew")))
        .collect();
    let numbers = |name: &str, factor: usize| {
        let numbers = (0..150_usize).map(move |row| (row * factor % 13) as f64);
        Column::numeric(name, numbers).expect("finite")
    };
    Source::of(RawSamples::Columns {
        features: Features::Held(vec![numbers("x", 5), Column::categorical("tree", &words)]),
        targets: vec![numbers("y", 7)],
        weights: None,
    })
}

/// A job checked against another model of as many rows and outputs: that it is of a table is of no account in a run.
fn spec(base: &Model, rest: &str) -> CheckedSpec {
    CheckedSpec {
        targets: base.targets.clone(),
        ..checked(&model("float32"), job(rest)).expect("a good job")
    }
}

#[test]
fn a_run_with_vectors_broken_off_anywhere_ends_with_the_bits_of_an_undisturbed_one() {
    for (number, optimizer) in [
        r#"{"type":"gradient_descent","momentum":0.9}"#,
        r#""adam""#,
        r#""nadam""#,
    ]
    .into_iter()
    .enumerate()
    {
        let dtype = ["float32", "float64"][number % 2];
        let normalization = ["null", r#""batch""#, r#""layer""#][number];
        let rest = format!(
            r#""epochs":3,"batch_size":40,"seed":9,"validation":{{"fraction":0.2}},"optimizer":{optimizer},
               "regularization":{{"l2":0.001,"clip_norm":0.5,"input_noise":0.1}},"early_stopping":{{"patience":9}}"#
        );
        let base = base(dtype, normalization);
        let spec = spec(&base, &rest);
        let what = format!("{dtype} {optimizer}");
        let (_, whole) = unmoved_by_breaks((&spec, &base), source, reported, &what);
        let recorded = whole.reports[0]
            .statistics
            .as_ref()
            .expect("a recorded epoch");
        let of_tree = &recorded.embeddings[0];
        assert_eq!(of_tree.column, "tree");
        assert_eq!((of_tree.categories, of_tree.dimensions), (4, 3));
        assert!(of_tree.weight_gradient.norm > 0.0 && of_tree.update_to_weight_ratio > 0.0);
    }
}

#[test]
fn a_run_with_vectors_has_the_same_bits_by_any_number_of_threads() {
    let base = base("float32", "null");
    let spec = spec(
        &base,
        r#""epochs":3,"batch_size":"full","optimizer":"adam""#,
    );
    let run = |team: &Team| {
        let outcome = train(
            &spec,
            base.clone(),
            source(),
            None,
            team,
            &mut Witness::default(),
        );
        finished(outcome.expect("trains"))
    };
    let alone = run(&Team::alone());
    for threads in [2, 3, 7] {
        assert_eq!(run(&Team::new(threads, || {}).expect("threads")), alone);
    }
    let vectors = |model: &Model| match &model.network {
        AnyNetwork::Float32(network) => network.vectors().next().expect("a table").to_owned(),
        AnyNetwork::Float64(_) => unreachable!("a float32 model"),
    };
    assert_ne!(vectors(&alone), vectors(&base));
    assert!(
        vectors(&alone)
            .iter()
            .all(|number| Scalar::to_f64(*number).abs() < 9.0)
    );
    let read = Model::decode(&alone.encode()).expect("its own bytes");
    assert_eq!(read, alone);
}

#[test]
fn vectors_are_frozen_with_layer_1_and_kept_by_a_run_that_goes_on() {
    let base = base("float64", "null");
    let run = |base: &Model, rest: &str| {
        let (spec, mut witness) = (spec(base, rest), Witness::default());
        let outcome = train(
            &spec,
            base.clone(),
            source(),
            None,
            &Team::alone(),
            &mut witness,
        );
        finished(outcome.expect("trains"))
    };
    let vectors = |model: &Model| {
        let network = model.network.to_float64();
        network.vectors().next().expect("a table").to_owned()
    };
    let trained = run(&base, r#""epochs":2"#);
    assert_ne!(vectors(&trained), vectors(&base));
    let frozen = run(&trained, r#""epochs":2,"layers":[{"frozen":true},{}]"#);
    assert_eq!(vectors(&frozen), vectors(&trained));
    assert_ne!(frozen.network, trained.network);
    let still = run(
        &trained,
        r#""epochs":2,"layers":[{"learning_rate_multiplier":0},{}]"#,
    );
    assert_eq!(vectors(&still), vectors(&trained));
}

#[test]
fn a_whole_batch_is_refused_for_its_vectors_too() {
    let base = base("float32", r#""batch""#);
    let spec = spec(&base, r#""epochs":1,"batch_size":"full""#);
    let refused = |batch_activations| {
        let mut violations = Violations::default();
        let limits = JobLimits {
            batch_activations,
            ..JOB_LIMITS
        };
        check_normalization(&spec, &base.header(), &limits, &mut violations);
        violations.finish().err()
    };
    // Of each row 5 + 1 units, the 5 numbers that layer 1 reads, and δ of 3 of them.
    assert_eq!(refused(150 * 14), None);
    let refused = refused(150 * 14 - 1).expect("too many");
    assert_eq!(
        refused[0].detail,
        "must be at most 149 for batch normalization, which holds 6 units and 8 numbers of vectors of each row at once, got 150"
    );
}

#[test]
fn the_memory_of_a_run_with_vectors_is_what_was_estimated_within_a_tenth() {
    let words: Vec<_> = (0..200).map(|place| format!("w{place}")).collect();
    let text = serde_json::json!({"name": "m", "target": "y", "hidden": [{"units": 8, "activation": "tanh"}], "columns": [
        {"name": "x", "kind": "numeric"}, {"name": "y", "kind": "numeric"},
        {"name": "w", "kind": "categorical", "categories": words, "encode": {"type": "embedding", "dimensions": 640}}]});
    let declared: ModelDeclaration = serde_json::from_value(text).expect("a declaration");
    let limits = ModelLimits {
        inputs: 1000,
        parameters: 200_000,
        ..MODEL_LIMITS
    };
    let base = declared
        .check(None, &limits)
        .expect("a good declaration")
        .build();
    let numbers = |name: &str| {
        let numbers = (0..150).map(|row| f64::from(row % 7));
        Column::numeric(name, numbers).expect("finite")
    };
    for rest in [
        r#""epochs":3,"batch_size":50"#,
        r#""epochs":3,"batch_size":"full","optimizer":"adam","regularization":{"input_noise":0.1}"#,
    ] {
        let spec = spec(&base, rest);
        let estimated = memory_bytes(&spec, &base.header(), 0) as f64;
        let measured = allocation_counter::measure(|| {
            let of_rows: Vec<_> = (0..150_usize)
                .map(|row| Some(&words[row * 7 % 200]))
                .collect();
            let source = Source::of(RawSamples::Columns {
                features: Features::Held(vec![numbers("x"), Column::categorical("w", &of_rows)]),
                targets: vec![numbers("y")],
                weights: None,
            });
            let outcome = train(
                &spec,
                base.clone(),
                source,
                None,
                &Team::alone(),
                &mut Encoder::default(),
            );
            finished(outcome.expect("trains"));
        });
        let ratio = measured.bytes_max as f64 / estimated;
        assert!((0.9..=1.1).contains(&ratio), "{rest}: {ratio}");
    }
}
