//! Trains the workloads W1–W5 in this process, and measures what else the comparison with peers needs.
//!
//! `benches/side_by_side.py` and `tests/instructions/run.py` start it; every command answers in lines of JSON.

mod files;
mod memory;
mod peak;
mod run;
mod shapes;

use std::convert::Infallible;
use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use gradientd::model::AnyNetwork;
use gradientd::nn::{Backpropagation, Batch, Optimizer, Stepped, Team};
use gradientd::train::RawSamples;
use ndarray::s;
use serde_json::{Value, json};

use crate::run::{Timekeeper, UNRECORDED, run};
use crate::shapes::{ALL, Workload};

#[derive(Parser)]
struct CommandLine {
    /// What `cargo bench` adds
    #[arg(long, global = true, hide = true)]
    bench: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains on the files of a folder and times units: epochs, of W1 a thousand of them
    Train(Train),
    /// Writes the samples of a folder as CSV to standard output
    Csv {
        #[arg(value_parser = workload)]
        workload: &'static Workload,
        #[arg(long)]
        data: PathBuf,
    },
    /// Times steps with and without recording gradients, on made-up samples
    Record {
        #[arg(value_parser = workload)]
        workload: &'static Workload,
        /// Steps of each kind in a round, at most 200
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=200))]
        steps: u64,
        /// Rounds, of both kinds in turn
        #[arg(long, default_value_t = 5)]
        rounds: u64,
    },
    /// Takes a few steps on made-up samples, for a tool that counts instructions
    Count {
        #[arg(value_parser = workload)]
        workload: &'static Workload,
        #[arg(long, default_value_t = 1)]
        epochs: u64,
    },
    /// Multiply-adds in registers, on one thread up to so many
    Peak {
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

#[derive(Args)]
struct Train {
    #[arg(value_parser = workload)]
    workload: &'static Workload,
    /// The folder with NAME.inputs.f32, NAME.targets.f32 and NAME.parameters.f32
    #[arg(long)]
    data: PathBuf,
    /// Units to train
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// Begin each unit only when a line comes on standard input, and end when there is none
    #[arg(long)]
    on_demand: bool,
    /// Threads that train
    #[arg(long, default_value_t = 1)]
    training_threads: usize,
    /// Shuffle the rows in each epoch
    #[arg(long)]
    shuffle: bool,
}

fn workload(name: &str) -> Result<&'static Workload, String> {
    let found = ALL.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("must be one of W1 to W5, got {name}"))
}

/// Epochs that are timed as one.
fn epochs_of_unit(workload: &Workload) -> u64 {
    if workload.name == "W1" { 1000 } else { 1 }
}

fn main() -> io::Result<()> {
    let CommandLine { command, .. } = CommandLine::parse();
    match command {
        Command::Train(options) => train(&options),
        Command::Csv { workload, data } => {
            return files::write_csv(&data, workload, io::stdout().lock());
        }
        Command::Record {
            workload,
            steps,
            rounds,
        } => tell(&record(workload, steps, rounds)),
        Command::Count { workload, epochs } => tell(&count(workload, epochs)),
        Command::Peak { threads } => {
            for threads in 1..=threads {
                let (gflops, width) = peak::peak(threads);
                tell(&json!({"threads": threads, "gflops": gflops, "width": width}));
            }
        }
    }
    Ok(())
}

fn tell(line: &Value) {
    println!("{line}");
    io::stdout().flush().expect("standard output takes a line");
}

/// Times units, and waits for a line before each where they are on demand.
struct Units {
    epochs_each: u64,
    left: u64,
    on_demand: bool,
    epoch: u64,
    spent: f64,
    seconds: Vec<f64>,
    /// Of loading and preparing, and of training.
    peaks: [Option<u64>; 2],
    /// When the run was called, and when its last unit was done.
    called: Instant,
    done: Instant,
    preparing: f64,
}

impl Units {
    fn is_wanted(&self) -> bool {
        let mut line = String::new();
        if self.on_demand {
            return io::stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0);
        }
        self.left > 0
    }
}

impl Timekeeper for Units {
    fn begin(&mut self) {
        self.preparing = self.called.elapsed().as_secs_f64();
        if self.seconds.is_empty() {
            self.peaks[0] = memory::peak();
            memory::forget();
        }
    }

    fn epoch(&mut self, seconds: f64) -> ControlFlow<()> {
        self.epoch += 1;
        self.spent += seconds;
        if self.epoch < self.epochs_each {
            return ControlFlow::Continue(());
        }
        self.peaks[1] = memory::peak();
        tell(&json!({"unit": self.seconds.len() + 1, "seconds": self.spent}));
        self.seconds.push(self.spent);
        (self.epoch, self.spent, self.left) = (0, 0.0, self.left.saturating_sub(1));
        // A run of many epochs a unit ends by itself.
        let goes_on = self.epochs_each > 1 || self.is_wanted();
        self.done = Instant::now();
        if goes_on {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// A unit of one epoch is an epoch of one run, of whose up to 200 each is recorded; of W1 it is a run of a thousand, of
/// which every fifth is, as in jobs of so many.
fn train(options: &Train) {
    let workload = options.workload;
    let each = epochs_of_unit(workload);
    let mut units = Units {
        epochs_each: each,
        left: options.repeat,
        on_demand: options.on_demand,
        epoch: 0,
        spent: 0.0,
        seconds: Vec::new(),
        peaks: [None; 2],
        called: Instant::now(),
        done: Instant::now(),
        preparing: 0.0,
    };
    let team = Team::new(options.training_threads, || {}).expect("threads can be made");
    let mut model = files::model(&options.data, workload);
    let (mut loss, mut reporting) = (None, 0.0);
    tell(&json!({"ready": workload.name}));
    while units.is_wanted() {
        let epochs = if each > 1 { each } else { 200 };
        let spec = workload.spec(workload.rows, epochs, options.shuffle);
        let source = files::samples(&options.data, workload);
        units.called = Instant::now();
        let (trained, report) = run(&spec, model, source, &team, &mut units);
        reporting = units.done.elapsed().as_secs_f64();
        (model, loss) = (
            trained,
            report.train.map(|split| split.metrics.metrics.loss),
        );
        if each == 1 {
            break;
        }
    }
    units.seconds.sort_by(f64::total_cmp);
    tell(&json!({
        "workload": workload.name,
        "units": units.seconds.len(),
        "median_seconds": units.seconds.get(units.seconds.len() / 2),
        "least_seconds": units.seconds.first(),
        "loss": loss,
        "preparing_seconds": units.preparing,
        "reporting_seconds": reporting,
        "peak_preparing_bytes": units.peaks[0],
        "peak_training_bytes": units.peaks[1],
        "needed_bytes": needed(workload),
    }));
}

/// Data once in the dtype, parameters with their gradient and the optimizer's memory, and the activations of a batch.
fn needed(workload: &Workload) -> usize {
    let (inputs, outputs) = workload.ends();
    let slots = workload.spec(1, 1, false).optimizer.slots();
    let units: usize = workload.widths[1..].iter().sum();
    let numbers = workload.rows * (inputs + outputs)
        + workload.parameters() * (2 + slots)
        + workload.batch * units;
    numbers * size_of::<f32>()
}

/// Keeps every epoch's seconds, and ends a run after so many.
struct Seconds {
    most: usize,
    of_epochs: Vec<f64>,
}

impl Timekeeper for Seconds {
    fn epoch(&mut self, seconds: f64) -> ControlFlow<()> {
        self.of_epochs.push(seconds);
        if self.of_epochs.len() < self.most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// Epochs of one step each: of a job of up to 200 all are recorded, of one of many only the first.
fn record(workload: &Workload, steps: u64, rounds: u64) -> Value {
    let rows = workload.batch;
    let (model, source) = workload.made_up(rows);
    let median = |epochs| {
        let mut seconds = Seconds {
            most: steps as usize,
            of_epochs: Vec::new(),
        };
        run(
            &workload.spec(rows, epochs, false),
            model.clone(),
            source.clone(),
            &Team::alone(),
            &mut seconds,
        );
        let mut of_epochs = seconds.of_epochs.split_off(1);
        of_epochs.sort_by(f64::total_cmp);
        of_epochs[of_epochs.len() / 2]
    };
    let least = |one: [f64; 2], other: [f64; 2]| [one[0].min(other[0]), one[1].min(other[1])];
    let rounds = (0..rounds).map(|_| [median(UNRECORDED), median(steps)]);
    let [plain, recorded] = rounds.fold([f64::INFINITY; 2], least);
    let steps_of_epoch = workload.rows.div_ceil(workload.batch);
    let (epochs, recordings) = match epochs_of_unit(workload) {
        1 => (1.0, 1.0),
        epochs => (epochs as f64, 201.0),
    };
    json!({
        "workload": workload.name,
        "step_seconds": plain,
        "recorded_step_seconds": recorded,
        "share_of_a_job": (recorded - plain) * recordings / (plain * steps_of_epoch as f64 * epochs),
    })
}

/// Takes the steps of so many epochs over a few batches, none of them recorded; how many these were.
fn count(workload: &Workload, epochs: u64) -> Value {
    let batches: usize = match workload.name {
        "W2" | "W3" => 20,
        _ => 1,
    };
    let (model, source) = workload.made_up(batches * workload.batch);
    let loss = model.loss;
    let (
        AnyNetwork::Float32(mut network),
        RawSamples::Inline {
            inputs, targets, ..
        },
    ) = (model.network, source.data)
    else {
        unreachable!("a workload is in float32, on rows")
    };
    let (x, y) = (inputs.mapv(|x| x as f32), targets.mapv(|y| y as f32));
    let mut backpropagation = Backpropagation::new(&network, workload.batch);
    let mut optimizer = Optimizer::new(workload.spec(1, 1, false).optimizer, &network);
    for step in 0..batches as u64 * epochs {
        let first = step as usize % batches * workload.batch;
        let rows = s![first..first + workload.batch, ..];
        let stepped = backpropagation.step(
            &mut network,
            loss,
            Batch::new(x.slice(rows), y.slice(rows)),
            (&mut optimizer, 1.0),
            false,
            || ControlFlow::<Infallible>::Continue(()),
        );
        let ControlFlow::Continue((stepped, _)) = stepped;
        assert_eq!(stepped, Stepped::Moved);
    }
    json!({"workload": workload.name, "steps": batches as u64 * epochs})
}
