//! The time of a prediction without HTTP and JSON: models from 4 inputs to 784, of 1, 8 and 64 rows.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradientd::nn::{Activation, Layer, Network, Workspace};
use ndarray::{Array1, Array2};

/// Inputs and units, and the activation of the hidden layers; the last one has sigmoid.
const MODELS: [(&str, &[usize], Activation); 3] = [
    ("M1", &[4, 8, 3], Activation::Sigmoid),
    ("M2", &[32, 64, 64, 1], Activation::Relu),
    ("M3", &[784, 512, 512, 10], Activation::Relu),
];

fn number(index: usize) -> f32 {
    (index * 7 % 11) as f32 / 40.0 - 0.125
}

fn network(widths: &[usize], hidden: Activation) -> Network<f32> {
    let last = widths.len() - 2;
    let layers = widths.windows(2).enumerate().map(|(index, pair)| Layer {
        weights: Array2::from_shape_fn((pair[1], pair[0]), |(unit, input)| {
            number(unit * pair[0] + input)
        }),
        biases: Array1::from_shape_fn(pair[1], number),
        activation: if index == last {
            Activation::Sigmoid
        } else {
            hidden
        },
        normalization: None,
    });
    Network::new(layers.collect()).expect("the widths of a model fit")
}

fn predictions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prediction");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    for (name, widths, hidden) in MODELS {
        let network = network(widths, hidden);
        for rows in [1, 8, 64] {
            let inputs = Array2::from_shape_fn((rows, network.inputs()), |(row, column)| {
                number(row * 5 + column)
            });
            let mut outputs = Array2::zeros((rows, network.outputs()));
            let mut workspace = Workspace::for_rows(&network, rows);
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                bencher.iter(|| {
                    network.predict_into(inputs.view(), &mut workspace, outputs.view_mut());
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, predictions);
criterion_main!(benches);
