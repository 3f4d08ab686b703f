//! The time of the matrix products of a layer by themselves, in the shapes of the workloads; elements are operations.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradientd::nn::products::{backward, forward, weight_gradient};

/// Samples, inputs and units.
const SHAPES: [[usize; 3]; 6] = [
    [150, 4, 8],
    [10, 784, 30],
    [64, 32, 64],
    [64, 64, 64],
    [128, 784, 512],
    [512, 2048, 2048],
];

fn numbers(len: usize) -> Vec<f32> {
    let number = |index: usize| (index * 7 % 11) as f32 / 40.0 - 0.125;
    (0..len).map(number).collect()
}

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernel");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    for [samples, inputs, units] in SHAPES {
        let (x, w) = (numbers(samples * inputs), numbers(inputs * units));
        let (b, deltas) = (numbers(units), numbers(samples * units));
        let mut z = vec![0.0; samples * units];
        let mut back = vec![0.0; samples * inputs];
        let mut panels = vec![0.0; samples * units.next_multiple_of(32)];
        let mut gradient = vec![0.0; inputs * units];
        let shape = format!("{samples}x{inputs}x{units}");
        group.throughput(Throughput::Elements((2 * samples * inputs * units) as u64));
        group.bench_function(BenchmarkId::new("forward", &shape), |bencher| {
            bencher.iter(|| forward(&x, &w, &b, &mut z));
        });
        group.bench_function(BenchmarkId::new("backward", &shape), |bencher| {
            bencher.iter(|| backward((&deltas, units), &w, &mut back));
        });
        group.bench_function(BenchmarkId::new("weight_gradient", &shape), |bencher| {
            bencher.iter(|| {
                weight_gradient((&x, inputs), (&deltas, units), &mut panels, &mut gradient);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
