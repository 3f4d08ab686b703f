//! The time of a training step of each workload: forward, backward and update, on made-up samples.

#[path = "workload/run.rs"]
mod run;
#[path = "workload/shapes.rs"]
mod shapes;

use std::ops::ControlFlow;
use std::time::Duration;

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};

use crate::run::{Timekeeper, UNRECORDED, run};
use crate::shapes::{ALL, Workload};

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

/// The time of so many steps, from whole epochs of few batches.
fn time(workload: &Workload, steps: u64) -> Duration {
    let batches = if workload.parameters() > 100_000 {
        2
    } else {
        16
    };
    let rows = workload.rows.min(batches * workload.batch);
    let spec = workload.spec(rows, UNRECORDED.max(steps), false);
    let (model, source) = workload.made_up(rows);
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
            bencher.iter_custom(|count| time(workload, count));
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
