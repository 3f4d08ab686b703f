//! Networks that read vectors in the place of categories: by hand, by differences, to the same bits, without an allocation.

use std::convert::Infallible;
use std::ops::ControlFlow;

use allocation_counter::measure;
use ndarray::{Array2, array, s};

use super::{matrix, network, pass};
use crate::nn::{
    Activation, Backpropagation, Batch, CheckOptions, Dropout, Embedding, Layer, LayerRule, Lbfgs,
    LbfgsSpec, Loss, Network, Noise, Normalization, Normalized, Optimizer, OptimizerSpec,
    Regularization, Scalar, Stepped, Team, check_gradients, inspect, network_statistics,
};

const CATEGORIES: [usize; 2] = [7, 5];

fn at(column: &str, input: usize) -> Embedding {
    let column = column.to_owned();
    Embedding { column, input }
}

/// Six inputs, of which the second and the third are places in tables of 7 vectors of 3 and of 5 of 4 numbers.
fn embedded<T: Scalar>(widths: &[usize], activations: &[Activation]) -> Network<T> {
    let widths = [&[4 + 3 + 4], widths].concat();
    let tables = [("sku", 1, 7, 3), ("city", 2, 5, 4)];
    let tables = tables.map(|(column, input, categories, dimensions)| {
        (
            at(column, input),
            matrix(categories, dimensions, 8 + input as u64),
        )
    });
    let network = network(&widths, activations, 1);
    network
        .with_embeddings(tables.to_vec())
        .expect("tables that fit")
}

/// Rows for it, some of unknown categories, none of the last category.
fn rows<T: Scalar>(count: usize) -> Array2<T> {
    let mut x = matrix(count, 6, 2);
    for (row, mut x) in x.rows_mut().into_iter().enumerate() {
        for (column, categories) in CATEGORIES.into_iter().enumerate() {
            let place = (row * (5 + column)) % categories;
            x[column + 1] = T::from_f64(place as f64 - 1.0);
        }
    }
    x
}

fn targets<T: Scalar>(count: usize, units: usize) -> Array2<T> {
    matrix::<T>(count, units, 3).mapv(|value| T::one() / (T::one() + value.abs()))
}

fn bits<T: Scalar>(network: &Network<T>) -> Vec<u64> {
    let parts = network.parts().iter();
    let numbers = parts.flat_map(|part| part.weights.iter().chain(&part.biases));
    numbers
        .map(|&number| Scalar::to_f64(number).to_bits())
        .collect()
}

#[test]
fn every_number_of_a_step_is_the_one_worked_by_hand() {
    // a = w · (x, E[c]) + b with w = (2, 3, −1), b = 0.5, C = ½ (a − y)².
    let layer = Layer {
        weights: array![[2.0, 3.0, -1.0]],
        biases: array![0.5],
        activation: Activation::Identity,
        normalization: None,
    };
    let table = array![[1.0, 2.0], [0.0, -1.0], [5.0, 5.0]];
    let network = Network::new(vec![layer]).expect("one layer");
    let mut network = network
        .with_embeddings(vec![(at("sku", 1), table)])
        .expect("it fits");
    // Rows of category 0, 1, 0 and of an unknown one:
    // a = 2·1 + 3·1 − 2 + 0.5 = 3.5;  2·0 + 0 + 1 + 0.5 = 1.5;  2·2 + 3 − 2 + 0.5 = 5.5;  2·1 + 0.5 = 2.5.
    let x = array![[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, -1.0]];
    // δ = a − y = 1, −2, 3, 4.
    let y = array![[2.5], [3.5], [2.5], [-1.5]];
    let seen = inspect(&network, Loss::Quadratic, x.view(), y.view());
    assert_eq!(seen.layers[0].deltas, array![[1.0], [-2.0], [3.0], [4.0]]);
    // ∂C/∂E: of category 0 (1 + 3)(3, −1)/4, of category 1 −2 (3, −1)/4, of category 2, which no row has, 0.
    let gradient = array![[3.0, -1.0], [-1.5, 0.5], [0.0, 0.0]];
    assert_eq!(seen.embeddings[0].weight_gradient, gradient);
    assert_eq!(seen.embeddings[0].column, "sku");
    // ∂C/∂w: Σ δ (x, E[c])/4 = (1 + 6 + 4, 1 + 3, 2 + 2 + 6)/4; ∂C/∂b = 6/4.
    assert_eq!(seen.layers[0].weight_gradient, array![[2.75, 1.0, 2.5]]);
    assert_eq!(seen.layers[0].bias_gradient, array![1.5]);
    // ∂Cₙ/∂x = δ w, of the number and of the vector.
    let by_input = array![
        [2.0, 3.0, -1.0],
        [-4.0, -6.0, 2.0],
        [6.0, 9.0, -3.0],
        [8.0, 12.0, -4.0]
    ];
    assert_eq!(seen.input_gradient, by_input);
    // p ← p − 0.5 ∂C/∂p.
    let before = network.clone();
    let mut backpropagation = Backpropagation::new(&network, 4);
    let mut optimizer = Optimizer::new(OptimizerSpec::descent(0.5), &network);
    let stepped = backpropagation.step(
        &mut network,
        Loss::Quadratic,
        Batch::new(x.view(), y.view()),
        (&mut optimizer, 1.0),
        true,
        || ControlFlow::<()>::Continue(()),
    );
    let (stepped, sums) = stepped.continue_value().expect("nothing breaks");
    assert_eq!(stepped, Stepped::Moved);
    let vectors = network.vectors().next().expect("a table");
    assert_eq!(vectors, array![[-0.5, 2.5], [0.75, -1.25], [5.0, 5.0]]);
    assert_eq!(network.layers()[0].weights, array![[0.625, 2.5, -2.25]]);
    let statistics = network_statistics(&before, sums, &network);
    let [of_table] = statistics.embeddings.as_slice() else {
        panic!("one embedding")
    };
    assert_eq!((of_table.categories, of_table.dimensions), (3, 2));
    // Of 3, −1, −1.5, 0.5, 0, 0: Σ g² = 12.5; ‖E‖² = 56; η = 0.5.
    let (g, e) = (12.5_f64.sqrt(), 56.0_f64.sqrt());
    assert_eq!(
        (of_table.weight_gradient.norm, of_table.weights.norm),
        (g, e)
    );
    assert!((of_table.update_to_weight_ratio - 0.5 * g / e).abs() < 1e-15);
    assert!(of_table.histograms.is_some());
}

#[test]
fn the_gradient_of_the_vectors_is_the_limit_of_its_difference_quotient() {
    let options = CheckOptions {
        sample: usize::MAX,
        ..CheckOptions::default()
    };
    for activations in [
        [Activation::Tanh, Activation::Identity],
        [Activation::Relu, Activation::Sigmoid],
    ] {
        let network = embedded::<f64>(&[9, 2], &activations);
        let (x, y) = (rows(150), targets(150, 2));
        let check = check_gradients(
            &network,
            Loss::Quadratic,
            x.view(),
            y.view(),
            &options,
            || ControlFlow::<Infallible>::Continue(()),
        );
        let ControlFlow::Continue(check) = check;
        assert!(check.passed, "{check:?}");
        assert_eq!(check.checked + check.skipped, network.parameter_count());
        let found: Vec<_> = (check.embeddings.iter())
            .map(|check| {
                (
                    check.column.as_str(),
                    check.found.checked + check.found.skipped,
                )
            })
            .collect();
        assert_eq!(found, [("sku", 21), ("city", 20)]);
    }
}

#[test]
fn a_wrong_number_of_a_vector_is_named_by_its_column_category_and_dimension() {
    // ε = 10 goes far beyond where the loss is a parabola: all quotients are about the same, ½ (C(∞) − C(−∞))/10, and the
    // largest derivative, that of the number by which most is multiplied, is the furthest from it.
    let layer = Layer {
        weights: array![[1e-3, 1.0, 3.0]],
        biases: array![0.0],
        activation: Activation::Sigmoid,
        normalization: None,
    };
    let table = array![[0.0, 0.0], [0.0, 0.5]];
    let network = Network::new(vec![layer])
        .and_then(|layers| layers.with_embeddings(vec![(at("sku", 1), table)]));
    let options = CheckOptions {
        epsilon: 10.0,
        sample: usize::MAX,
        ..CheckOptions::default()
    };
    let (x, y) = (array![[1e-3, 1.0]], array![[0.25]]);
    let network = network.expect("it fits");
    let check = check_gradients(
        &network,
        Loss::Quadratic,
        x.view(),
        y.view(),
        &options,
        || ControlFlow::<Infallible>::Continue(()),
    );
    let ControlFlow::Continue(check) = check;
    let worst = check.worst.expect("something was compared");
    assert!(!check.passed);
    assert_eq!((worst.layer, worst.parameter), (None, "weight"));
    assert_eq!(worst.embedding.as_deref(), Some("sku"));
    assert_eq!((worst.row, worst.column), (1, Some(1)));
    assert!(check.embeddings[0].found.max_relative_error > 0.01);
}

/// The parameters after four steps by so many threads: batches of one block and of two, recorded and not.
fn trained_by<T: Scalar>(threads: usize, spec: OptimizerSpec) -> Vec<u64> {
    let activations = [Activation::Relu, Activation::Tanh, Activation::Sigmoid];
    let mut network = embedded::<T>(&[512, 300, 5], &activations);
    let (x, y) = (rows::<T>(700), targets::<T>(700, 5));
    let team = Team::new(threads, || {}).expect("threads");
    let mut backpropagation = Backpropagation::new(&network, 700).by(team);
    let mut optimizer = Optimizer::new(spec, &network);
    for (step, rows) in [0..300, 300..364, 0..700, 200..301].into_iter().enumerate() {
        let batch = Batch::new(x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
        let stepped = backpropagation.step(
            &mut network,
            Loss::Quadratic,
            batch,
            (&mut optimizer, 0.1),
            step == 1,
            || ControlFlow::<()>::Continue(()),
        );
        let (stepped, _) = stepped.continue_value().expect("nothing breaks");
        assert_eq!(stepped, Stepped::Moved);
    }
    bits(&network)
}

#[test]
fn vectors_have_the_same_bits_by_any_number_of_threads() {
    for spec in [OptimizerSpec::descent(0.1), OptimizerSpec::all()[4]] {
        let (alone, alone64) = (trained_by::<f32>(1, spec), trained_by::<f64>(1, spec));
        for threads in [2, 3, 7] {
            assert!(trained_by::<f32>(threads, spec) == alone, "{threads}");
            assert!(trained_by::<f64>(threads, spec) == alone64, "{threads}");
        }
    }
}

#[test]
fn a_row_is_predicted_to_the_same_bits_alone_and_in_any_batch() {
    let network = embedded::<f32>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    let x = rows::<f32>(200);
    let whole = network.predict(x.view());
    for row in [0, 1, 63, 64, 199] {
        let alone = network.predict(x.slice(s![row..=row, ..]));
        assert_eq!(alone.row(0), whole.row(row));
    }
}

#[test]
fn rows_that_are_picked_are_read_as_rows_in_order() {
    let network = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    let (x, y) = (rows(100), targets(100, 2));
    let order: Vec<u32> = (0..100).collect();
    let poll = || ControlFlow::<()>::Continue(());
    let mut backpropagation = Backpropagation::new(&network, 100);
    let in_order = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y)
        .gradient
        .clone();
    let picked = Batch::picked(x.view(), y.view(), &order);
    let sums = backpropagation.run(&network, Loss::Quadratic, picked, false, poll);
    assert_eq!(
        sums.continue_value().expect("nothing breaks").gradient,
        in_order
    );
}

#[test]
fn a_step_in_passing_ends_where_a_whole_gradient_and_an_update_do() {
    let regularization = Regularization {
        l1: 1e-3,
        l2: 1e-2,
        max_norm: Some(1.5),
        clip_value: Some(0.01),
        ..Regularization::default()
    };
    for (spec, regularization) in [
        (OptimizerSpec::descent(0.1), Regularization::default()),
        (OptimizerSpec::all()[4], regularization),
    ] {
        let mut stepped = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
        let mut updated = stepped.clone();
        let optimizer = Optimizer::new(spec, &stepped).with(regularization, &[]);
        let mut optimizers = [optimizer.clone(), optimizer];
        let (x, y) = (rows(150), targets(150, 2));
        let mut backpropagation = Backpropagation::new(&stepped, 150);
        let batch = Batch::new(x.view(), y.view());
        for record in [false, true, false] {
            let poll = || ControlFlow::<()>::Continue(());
            let sums = backpropagation.run(&updated, Loss::Quadratic, batch, record, poll);
            let sums = sums.continue_value().expect("nothing breaks");
            assert!(optimizers[1].update(&mut updated, sums, 1.0));
            let by = (&mut optimizers[0], 1.0);
            let step = backpropagation.step(&mut stepped, Loss::Quadratic, batch, by, record, poll);
            assert!(step.is_continue());
            assert_eq!(stepped, updated);
        }
    }
}

#[test]
fn vectors_are_frozen_with_layer_1_and_kept_within_max_norm() {
    let start = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    let (x, y) = (rows(100), targets(100, 2));
    let rule = |frozen| LayerRule {
        frozen,
        ..LayerRule::default()
    };
    let poll = || ControlFlow::<()>::Continue(());
    let regularization = Regularization {
        max_norm: Some(0.5),
        ..Regularization::default()
    };
    for frozen in [false, true] {
        let mut network = start.clone();
        let optimizer = Optimizer::new(OptimizerSpec::descent(0.1), &network);
        let mut optimizer = optimizer.with(regularization.clone(), &[rule(frozen), rule(false)]);
        let mut backpropagation = Backpropagation::new(&network, 100);
        let batch = Batch::new(x.view(), y.view());
        let by = (&mut optimizer, 1.0);
        let step = backpropagation.step(&mut network, Loss::Quadratic, batch, by, true, poll);
        let (_, sums) = step.continue_value().expect("nothing breaks");
        let moved = (sums.gradient.layers.iter().skip(2))
            .all(|table| table.weights.iter().any(|&g| g != 0.0));
        assert!(moved, "a gradient that is recorded is whole");
        for (vectors, before) in network.vectors().zip(start.vectors()) {
            assert_eq!(vectors == before, frozen);
            let norms = vectors
                .rows()
                .into_iter()
                .map(|vector| vector.dot(&vector).sqrt());
            assert_eq!(norms.fold(0.0, f64::max) <= 0.5 + 1e-12, !frozen);
        }
    }
}

#[test]
fn noise_of_the_inputs_leaves_the_categories_alone() {
    let network = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    // All numbers are 0 and stay 0 by dropout: what is left of x are the categories.
    let mut x = rows::<f64>(100);
    for column in [0, 3, 4, 5] {
        x.column_mut(column).fill(0.0);
    }
    let y = targets(100, 2);
    let regularization = Regularization {
        input_dropout: 0.9,
        ..Regularization::default()
    };
    let mut plain = Backpropagation::new(&network, 100);
    let noise = Noise::new(&regularization, 1, 1);
    let mut noisy = Backpropagation::new(&network, 100).with(noise);
    let expected = pass(&mut plain, &network, Loss::Quadratic, &x, &y)
        .gradient
        .clone();
    assert_eq!(
        pass(&mut noisy, &network, Loss::Quadratic, &x, &y).gradient,
        expected
    );
}

#[test]
fn batch_normalization_over_several_chunks_leads_back_to_the_vectors() {
    let plain = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    let normalized = |by: Normalization| {
        let layers = plain.layers().iter().map(|layer| Layer {
            normalization: (layer.units() == 9).then(|| Normalized::new(by, layer.units())),
            ..layer.clone()
        });
        let tables = plain.embeddings().iter().cloned();
        let tables = tables.zip(plain.vectors().map(|vectors| vectors.to_owned()));
        Network::new(layers.collect()).and_then(|layers| layers.with_embeddings(tables.collect()))
    };
    for by in Normalization::ALL {
        let network = normalized(by).expect("it fits");
        let (x, y) = (rows(150), targets(150, 2));
        let mut backpropagation = Backpropagation::new(&network, 150);
        let mean = |network: &Network<f64>, backpropagation: &mut Backpropagation<f64>| {
            pass(backpropagation, network, Loss::Quadratic, &x, &y).mean_loss()
        };
        let sums = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
        let gradient = sums.gradient.layers[2].weights.clone() / 150.0;
        for (place, &analytic) in gradient.indexed_iter() {
            let quotient = [1e-5, -1e-5].map(|step| {
                let mut moved = network.clone();
                moved.parts_mut()[2].weights[place] += step;
                mean(&moved, &mut backpropagation)
            });
            let numeric = (quotient[0] - quotient[1]) / 2e-5;
            assert!(
                (numeric - analytic).abs() < 1e-8,
                "{place:?} {numeric} {analytic}"
            );
        }
    }
}

#[test]
fn lbfgs_finds_the_vectors_too() {
    // Vectors and w can make the squares of 3 categories as small as can be: only those of unknown categories are left.
    let mut network = embedded::<f64>(&[9, 2], &[Activation::Tanh, Activation::Identity]);
    let (x, y) = (rows(150), targets(150, 2));
    let mut lbfgs = Lbfgs::new(LbfgsSpec::default(), &network, 0.0, &[]);
    let mut backpropagation = Backpropagation::new(&network, 150);
    let first = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y);
    let before = first.mean_loss();
    lbfgs.begin(&network, first);
    let start = network.clone();
    for _ in 0..30 {
        let step = lbfgs.step(&mut network, |network, gradient| {
            let sums = pass(&mut backpropagation, network, Loss::Quadratic, &x, &y);
            gradient.copy_from(&sums.gradient);
            ControlFlow::<Infallible, _>::Continue(sums.loss)
        });
        assert!(step.is_continue());
    }
    let after = pass(&mut backpropagation, &network, Loss::Quadratic, &x, &y).mean_loss();
    assert!(after < 0.5 * before, "{before} {after}");
    assert!(
        network
            .vectors()
            .zip(start.vectors())
            .all(|(now, then)| now != then)
    );
}

fn allocations<T: Scalar>(spec: OptimizerSpec, regularization: &Regularization) -> u64 {
    let mut network = embedded::<T>(
        &[30, 9, 4],
        &[Activation::Relu, Activation::Tanh, Activation::Sigmoid],
    );
    let (x, y) = (rows::<T>(600), targets::<T>(600, 4));
    let mut outputs = Array2::zeros((600, 4));
    let mut workspace = crate::nn::Workspace::new(&network);
    let noise = Noise::new(regularization, 2, 1);
    let mut backpropagation = Backpropagation::new(&network, 600).with(noise);
    let mut optimizer = Optimizer::new(spec, &network).with(regularization.clone(), &[]);
    let mut step = |samples: usize, record| {
        let batch = Batch::new(x.slice(s![..samples, ..]), y.slice(s![..samples, ..]));
        let by = (&mut optimizer, 1.0);
        let stepped = backpropagation.at(1, samples as u64).step(
            &mut network,
            Loss::Quadratic,
            batch,
            by,
            record,
            || ControlFlow::<Infallible>::Continue(()),
        );
        let ControlFlow::Continue((stepped, _)) = stepped;
        assert_eq!(stepped, Stepped::Moved);
        network.predict_into(x.view(), &mut workspace, outputs.view_mut());
    };
    step(600, false);
    let counted = measure(|| {
        for samples in [600, 1, 64, 65, 300] {
            step(samples, false);
            step(samples, true);
        }
    });
    counted.count_total
}

#[test]
fn steps_and_predictions_with_vectors_allocate_nothing() {
    let regularization = Regularization {
        l2: 0.1,
        max_norm: Some(1.0),
        clip_norm: Some(0.1),
        dropout: Dropout::All(0.1),
        input_dropout: 0.2,
        input_noise: 0.1,
        ..Regularization::default()
    };
    for spec in [OptimizerSpec::descent(0.1), OptimizerSpec::all()[4]] {
        for regularization in [&Regularization::default(), &regularization] {
            assert_eq!(allocations::<f32>(spec, regularization), 0);
            assert_eq!(allocations::<f64>(spec, regularization), 0);
        }
    }
}
