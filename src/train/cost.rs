//! What a run costs: the memory that it holds, the chunks that it computes, and a trial of them on made-up samples.

use ndarray::Array2;

use crate::model::{Header, Model};
use crate::nn::{BLOCK, Backpropagation, CHUNK, Dtype, OptimizerSpec, Team};
use crate::train::full_report::MOST_ANSWERS;
use crate::train::{CheckedData, CheckedSpec, Error, Observer, RawSamples, Source, train};

/// Rows of a trial, at most: enough for many steps of the usual batches.
const TRIAL_ROWS: usize = 4096;
/// Bytes that a report holds for an output of a row: it and its target in f64, both as they are ranked, and their order.
const ANSWER: u64 = 8 + 8 + 24 + 8;
/// Numbers in the samples of a trial, at most, unless one chunk has more: 32 MiB of raw values.
const TRIAL_NUMBERS: usize = 1 << 22;

/// An estimate of the bytes that a run holds where it holds most, from its shapes alone.
///
/// While it is prepared, the raw samples in f64 beside the prepared ones; while it trains, those beside the networks
/// (the base, the one trained, the last epoch's), the optimizer's memory, the sums of gradients, the chunk's z, a and δ, and a checkpoint of
/// both networks, as tensors and as bytes, or at its end the answers of the split that is reported on.
pub fn memory_bytes(spec: &CheckedSpec, base: &Header, validation_rows: usize) -> u64 {
    let width = match base.dtype {
        Dtype::Float32 => 4,
        Dtype::Float64 => 8,
    };
    let rows = (spec.train_rows + validation_rows) as u64;
    let units = base.layers.iter().map(|layer| layer.units as u64);
    let sample = (base.inputs + base.outputs()) as u64;
    let parameters = parameter_count(base);
    let is_normalized = base
        .layers
        .iter()
        .any(|layer| layer.normalization.is_some());
    let block = if is_normalized { CHUNK } else { BLOCK };
    let blocks = spec.batch_rows().div_ceil(block).max(1);
    // The gradient of a batch, and of several blocks the levels of `nn::FixedTree` and its second leaf.
    let tree = u64::from(blocks.ilog2()) + 2;
    let gradients = 1 + if blocks > 1 { tree } else { 0 };
    // The optimizer's memory, and in a checkpoint that of the state it is at, as tensors and as bytes.
    let slots = spec.optimizer.slots() as u64;
    let best = u64::from(spec.early_stopping.is_some_and(|early| early.restore_best));
    // Where L-BFGS is, where it goes, and the gradients there.
    let line = 4 * u64::from(matches!(spec.optimizer, OptimizerSpec::Lbfgs(_)));
    let (networks, checkpoints) = (3 + slots + line + best, 2 * (2 + slots + best));
    // z, a and δ of each layer, and of those with dropout the mask and what it leaves of a.
    let hidden = base.layers.len().saturating_sub(1);
    let drops = |layer| layer < hidden && spec.regularization.dropout.of(layer) > 0.0;
    let units = units.enumerate();
    // Of those with normalization, n(u) and what leads back through it.
    let normalized = |layer: usize| base.layers[layer].normalization.is_some();
    let units = units.map(|(layer, units)| {
        units * (3 + 2 * u64::from(drops(layer)) + 2 * u64::from(normalized(layer)))
    });
    // Batch normalization needs the rows of a whole batch at once.
    let rows_at_once = if base.needs_whole_batch() {
        spec.batch_rows()
    } else {
        block.min(spec.batch_rows())
    };
    let workspace = rows_at_once as u64 * (sample + units.sum::<u64>());
    // A weight in the table, and once in the loss and once in figures.
    let weighted = u64::from(spec.data.is_weighted());
    let loss_weighted = weighted | u64::from(spec.class_weight.is_some());
    let prepared = rows * sample * width + rows * 8 * (weighted + loss_weighted);
    let preparing = rows * (sample + weighted) * 8 + parameters * 2 * width;
    let running =
        (parameters * (networks + gradients) + workspace) * width + spec.train_rows as u64 * 4;
    let checkpoint = parameters * checkpoints * width;
    let answers = spec.train_rows.max(validation_rows) * base.outputs();
    let report = answers as u64 * if answers <= MOST_ANSWERS { ANSWER } else { 0 };
    prepared + preparing.max(running + checkpoint.max(report))
}

/// Weights, biases and scales together.
pub(super) fn parameter_count(base: &Header) -> u64 {
    let mut inputs = base.inputs as u64;
    let layers = base.layers.iter().map(|layer| {
        let units = layer.units as u64;
        let beside = 1 + u64::from(layer.normalization.is_some());
        (std::mem::replace(&mut inputs, units) + beside) * units
    });
    layers.sum()
}

/// Chunks of rows that all epochs of a run compute, and its report; those of the validation and of the report count for a
/// third: they go forward only. One that is trained on counts as often as it is polled for, as in a trial.
///
/// A step of L-BFGS counts as one pass, which is the least that its line search needs.
pub fn chunks(spec: &CheckedSpec, base: &Header, validation_rows: usize) -> f64 {
    let whole_batch = base.needs_whole_batch();
    let polls_of_chunk = Backpropagation::<f64>::polls_of_chunk(base.layers.len(), whole_batch);
    let (rows, batch) = (spec.train_rows, spec.batch_rows());
    let whole = (rows / batch) as f64 * batch.div_ceil(CHUNK) as f64;
    let last = (rows % batch).div_ceil(CHUNK) as f64;
    let validation = validation_rows.div_ceil(CHUNK) as f64 / 3.0;
    let report = rows.div_ceil(CHUNK) as f64 / 3.0 + validation;
    let training = polls_of_chunk as f64 * (whole + last);
    spec.epochs as f64 * (training + validation) + report
}

/// Trains `base` on made-up samples, in batches and epochs like those of the spec where those are not too
/// large, until they are done or the observer breaks it off. What comes of it is dropped.
///
/// Errors: the made-up run diverged.
pub fn trial(spec: &CheckedSpec, base: Model, observer: &mut impl Observer) -> Result<(), Error> {
    let (inputs, outputs) = (base.network.inputs(), base.network.outputs());
    // Of a whole batch, what every layer makes of each row is held at once.
    let header = base.header();
    let held: usize = if header.needs_whole_batch() {
        let units = header.layers.iter().map(|layer| layer.units).sum();
        usize::max(inputs + outputs, units)
    } else {
        inputs + outputs
    };
    let most = (TRIAL_NUMBERS / held).clamp(CHUNK, TRIAL_ROWS);
    let rows = spec.train_rows.min(most);
    let data = RawSamples::Inline {
        inputs: Array2::from_shape_fn((rows, inputs), |(row, column)| {
            ((row + column) % 3) as f64 - 1.0
        }),
        targets: Array2::zeros((rows, outputs)),
        weights: None,
    };
    let spec = CheckedSpec {
        data: CheckedData::Inline {
            rows,
            inputs,
            targets: outputs,
            weighted: false,
            digest: String::new(),
        },
        validation: None,
        class_weight: None,
        refit: true,
        train_rows: rows,
        ..spec.clone()
    };
    let source = Source {
        data,
        validation: None,
        optimizer: None,
    };
    train(&spec, base, source, None, &Team::alone(), observer).map(|_| ())
}
