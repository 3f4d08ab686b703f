//! The time of a training step of each workload: forward, backward and update, on made-up samples, and on those whose numbers and
//! weights are denormal, which may take twice as long at most.

#[path = "workload/run.rs"]
mod run;
#[path = "workload/shapes.rs"]
mod shapes;

use std::ops::ControlFlow;
use std::time::Duration;

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use gradientd::model::Model;
use gradientd::train::Source;
use ndarray::Array2;

use crate::run::{Timekeeper, UNRECORDED, run};
use crate::shapes::{ALL, Workload, source};

/// Adds up the seconds of so many epochs.
struct Sum {
    left: u64,
    seconds: f64,
}

impl Timekeeper for Sum {
    fn epoch(&mut self, seconds: f64) -> ControlFlow<()> {
        self.seconds += seconds;
        self.left -= 1;
        if self.left > 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// A model and so many samples whose weights and inputs are below the smallest normal number.
fn denormal(workload: &Workload, rows: usize) -> (Model, Source) {
    let (inputs, outputs) = workload.ends();
    let model = workload.model(|_| 1e-40);
    let x = Array2::from_elem((rows, inputs), 1e-40);
    (model, source(x, Array2::ones((rows, outputs))))
}

/// The time of so many steps, from whole epochs of few batches.
fn time(
    workload: &Workload,
    steps: u64,
    made_up: impl Fn(&Workload, usize) -> (Model, Source),
) -> Duration {
    let batches = if workload.parameters() > 100_000 {
        2
    } else {
        16
    };
    let rows = workload.rows.min(batches * workload.batch);
    let spec = workload.spec(rows, UNRECORDED.max(steps), false);
    let (model, source) = made_up(workload, rows);
    let epochs = steps.div_ceil(spec.steps_per_epoch());
    let mut sum = Sum {
        left: epochs,
        seconds: 0.0,
    };
    run(
        &spec,
        model,
        source,
        &gradientd::nn::Team::alone(),
        &mut sum,
    );
    let trained = epochs * spec.steps_per_epoch();
    Duration::from_secs_f64(sum.seconds * steps as f64 / trained as f64)
}

/// Multiplications and additions of the products of a step.
fn operations(workload: &Workload) -> u64 {
    let pairs = workload.widths.windows(2);
    let each = pairs.map(|pair| pair[0] * pair[1]);
    // Forward, ∂C/∂w and, but for the first layer, ∂C/∂a.
    let first = workload.widths[0] * workload.widths[1];
    let rows = workload.rows.min(workload.batch);
    2 * (rows * (3 * each.sum::<usize>() - first)) as u64
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    for workload in &ALL {
        group.throughput(Throughput::Elements(operations(workload)));
        group.bench_function(BenchmarkId::from_parameter(workload.name), |bencher| {
            bencher.iter_custom(|count| time(workload, count, Workload::made_up));
        });
        let name = format!("{}, denormal", workload.name);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| time(workload, count, denormal));
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
