//! What a run costs: the memory that it holds, the chunks that it computes, and a trial of them on made-up samples.

use ndarray::Array2;

use crate::data::CHUNK_ROWS;
use crate::model::{Header, Model, Preprocess, Preprocessing};
use crate::nn::{
    BLOCK, Backpropagation, CHUNK, FAR_APART, LARGE_LAYER, OptimizerSpec, PANEL_UNITS, Team,
};
use crate::train::feed::block_rows;
use crate::train::full_report::{MOST_ANSWERS, MOST_WINDOWED_ANSWERS};
use crate::train::{CheckedData, CheckedSpec, Error, Observer, RawSamples, Source, train};

/// Rows of a trial, at most: enough for many steps of the usual batches.
const TRIAL_ROWS: usize = 4096;
/// Bytes that a report holds for an output of a row: it and its target in f64, both as they are ranked, and their order.
const ANSWER: u128 = 8 + 8 + 24 + 8;
/// Numbers in the samples of a trial, at most, unless one chunk has more: 32 MiB of raw values.
const TRIAL_NUMBERS: usize = 1 << 22;

/// An estimate of the bytes that a run holds where it holds most, from its shapes alone.
///
/// While it is prepared, the raw samples in f64 beside the prepared ones; while it trains, those beside the networks
/// (the one trained, it before a step that is recorded, the last epoch's), the optimizer's memory, the sums of gradients, z, a
/// and δ of the rows that are passed over at once, in training and in an evaluation, and a checkpoint, as arrays, as tensors
/// and as bytes, or the answers of a split whose figures are no sums. At its end, two networks less, those of the last
/// checkpoint too. Not counted are 256 KiB of each thread that computes products, which stay with it.
pub fn memory_bytes(spec: &CheckedSpec, base: &Header, validation_rows: usize) -> u64 {
    let width = base.dtype.bytes() as u128;
    let rows = spec.train_rows as u128 + validation_rows as u128;
    let in_parts = spec.window_rows.is_some();
    let sample = (base.inputs + base.outputs()) as u128;
    let parameters = u128::from(parameter_count(base));
    let is_normalized = base
        .layers
        .iter()
        .any(|layer| layer.normalization.is_some());
    let block = if is_normalized { CHUNK } else { BLOCK };
    let blocks = spec.batch_rows().div_ceil(block).max(1);
    // The gradient of a batch, and of several blocks the levels of `nn::FixedTree` and its second leaf.
    let tree = u128::from(blocks.ilog2()) + 2;
    let gradients = 1 + if blocks > 1 { tree } else { 0 };
    // The optimizer's memory, and in a checkpoint that of the state it is at.
    let slots = spec.optimizer.slots() as u128;
    let best = u128::from(spec.early_stopping.is_some_and(|early| early.restore_best));
    // Where L-BFGS is, where it goes, and the gradients there.
    let line = 4 * u128::from(matches!(spec.optimizer, OptimizerSpec::Lbfgs(_)));
    let taken_up = 1 + slots + best;
    let (networks, checkpoints) = (2 + taken_up + line, 3 * taken_up);
    let evaluated = evaluation(base, usize::max(spec.train_rows, validation_rows)) * width;
    // Two numbers in f64 of each sample of a batch.
    let weighted = u128::from(spec.data.is_weighted());
    let loss_weighted = weighted | u128::from(spec.class_weight.is_some());
    let of_batch = spec.batch_rows() as u128 * 16 * loss_weighted;
    // A weight in the table, and once in the loss and once in figures.
    let held = held_rows(spec, validation_rows);
    let prepared = held * sample * width + rows * 8 * (weighted + loss_weighted);
    // Of a table that is read in parts, targets, weights, places of rows, and the column that is fitted, as it is and in order; and
    // then a chunk of all columns.
    let raw = if in_parts {
        let outputs = base.outputs() as u128;
        (rows * (outputs + weighted + 3) + CHUNK_ROWS as u128 * sample) * 8
    } else {
        rows * (sample + weighted) * 8
    };
    let preparing = raw + parameters * taken_up * width;
    let running = (parameters * (networks + gradients) + workspace(spec, base)) * width
        + of_batch
        + spec.train_rows as u128 * 4;
    let validated = if validation_rows > 0 { evaluated } else { 0 };
    let checkpoint = parameters * checkpoints * width + validated;
    let answers = spec.train_rows.max(validation_rows) as u128 * base.outputs() as u128;
    // In every epoch, however many there are, where a figure needs them; else in the report, unless there are too many.
    let in_epochs = spec.metrics.iter().any(|metric| !metric.is_sum());
    let of_answers = |are_held: bool| answers * if are_held { ANSWER } else { 0 };
    let figures = of_answers(in_epochs) + evaluated;
    let is_held = spec.window().is_none() && spec.validation_window(validation_rows).is_none();
    let most_answers = if is_held {
        MOST_ANSWERS
    } else {
        MOST_WINDOWED_ANSWERS
    };
    let report = of_answers(in_epochs || answers <= most_answers as u128) + evaluated;
    // The last checkpoint is made into bytes and stored meanwhile.
    let end = parameters * (checkpoints - 2) * width + report;
    // Between the runs of a cross-validation the raw samples and the base are kept for the next.
    let kept = match spec.fold_rows() {
        [] if in_parts => raw,
        [] => 0,
        _ => raw + parameters * width,
    };
    let bytes = prepared + preparing.max(kept + running + checkpoint.max(figures).max(end));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The same of the trial of a run.
pub fn trial_bytes(spec: &CheckedSpec, base: &Header) -> u64 {
    memory_bytes(&tried(spec, base), base, 0)
}

/// Rows that are in memory at a time, as the network reads them, of those trained on and those validated on.
fn held_rows(spec: &CheckedSpec, validation_rows: usize) -> u128 {
    let beside = spec.batch_rows().max(BLOCK);
    let held = |rows: usize, window: Option<usize>| {
        window.map_or(rows, |window| {
            rows.min(window.max(block_rows(window)) + beside)
        }) as u128
    };
    held(spec.train_rows, spec.window())
        + held(validation_rows, spec.validation_window(validation_rows))
}

/// Numbers of the memory that a pass of training needs, which is that of `nn::Workspace`.
fn workspace(spec: &CheckedSpec, base: &Header) -> u128 {
    // z, a and δ of each layer, and of those with dropout the mask and what it leaves of a.
    let hidden = base.layers.len().saturating_sub(1);
    let drops = |layer| layer < hidden && spec.regularization.dropout.of(layer) > 0.0;
    // Of those with normalization, n(u) and what leads back through it.
    let normalized = |layer: usize| base.layers[layer].normalization.is_some();
    let units = base.layers.iter().enumerate().map(|(layer, shape)| {
        let arrays = 3 + 2 * u128::from(drops(layer)) + 2 * u128::from(normalized(layer));
        shape.units as u128 * arrays
    });
    // Inputs without noise are read where they are.
    let regularization = &spec.regularization;
    let disturbs = regularization.input_noise > 0.0 || regularization.input_dropout > 0.0;
    let inputs = if disturbs { base.inputs as u128 } else { 0 };
    let of_row = inputs + u128::from(embedded(base)) + base.outputs() as u128 + units.sum::<u128>();
    // Batch normalization needs the rows of a whole batch at once.
    if base.needs_whole_batch() {
        return spec.batch_rows() as u128 * of_row;
    }
    let is_normalized = (0..base.layers.len()).any(normalized);
    let block = if is_normalized { CHUNK } else { BLOCK };
    // δ of a wide layer once more, in the order in which its gradient reads them.
    let panels = widest_far_apart(base).next_multiple_of(PANEL_UNITS) as u128;
    block.min(spec.batch_rows()) as u128 * (of_row + panels)
}

/// Numbers of a row that a pass holds for its vectors: what layer 1 reads, and δ of each vector.
pub(super) fn embedded(base: &Header) -> u64 {
    let shapes = base.embeddings();
    let dimensions: usize = shapes.iter().map(|shape| shape.dimensions).sum();
    let reads = if dimensions > 0 { base.reads() } else { 0 };
    (reads + dimensions) as u64
}

/// Numbers of the memory that an evaluation of so many rows needs.
fn evaluation(base: &Header, rows: usize) -> u128 {
    let inputs = std::iter::once(base.reads()).chain(base.layers.iter().map(|layer| layer.units));
    let mut layers = inputs.zip(&base.layers);
    let is_large = layers.any(|(inputs, layer)| inputs * layer.units >= LARGE_LAYER);
    let block = if is_large { BLOCK } else { CHUNK };
    let units = base.layers.iter().map(|layer| {
        let arrays = 3 + 2 * u128::from(layer.normalization.is_some());
        layer.units as u128 * arrays
    });
    block.min(rows) as u128
        * (u128::from(embedded(base)) + base.outputs() as u128 + units.sum::<u128>())
}

/// Units of the widest layer whose numbers of several rows are far apart; else 0.
fn widest_far_apart(base: &Header) -> usize {
    let units = base.layers.iter().map(|layer| layer.units);
    let far_apart = units.filter(|&units| is_far_apart(base, units));
    far_apart.max().unwrap_or_default()
}

fn is_far_apart(base: &Header, width: usize) -> bool {
    width * base.dtype.bytes() >= FAR_APART
}

/// Weights, biases, scales and numbers of vectors together.
pub(super) fn parameter_count(base: &Header) -> u64 {
    let mut inputs = base.reads() as u64;
    let layers = base.layers.iter().map(|layer| {
        let units = layer.units as u64;
        let beside = 1 + u64::from(layer.normalization.is_some());
        (std::mem::replace(&mut inputs, units) + beside) * units
    });
    let tables = base.embeddings().into_iter();
    let vectors = tables.map(|shape| (shape.categories * shape.dimensions) as u64);
    layers.sum::<u64>() + vectors.sum::<u64>()
}

/// Chunks of rows that all epochs of a run compute, and its report; those of the validation and of the report count for a
/// third: they go forward only. One that is trained on counts as often as it is polled for, as in a trial.
///
/// A step of L-BFGS counts as one pass, which is the least that its line search needs.
///
/// A run that leaves out a fold meets it in its report alone.
pub fn chunks(spec: &CheckedSpec, base: &Header, validation_rows: usize) -> f64 {
    let folds = spec.fold_rows().iter().enumerate().map(|(fold, rows)| {
        let left_out = rows.div_ceil(CHUNK) as f64 / 3.0;
        chunks_of_run(&spec.without(fold), base, 0) + left_out
    });
    chunks_of_run(spec, base, validation_rows) + folds.sum::<f64>()
}

/// Those of one run.
fn chunks_of_run(spec: &CheckedSpec, base: &Header, validation_rows: usize) -> f64 {
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

/// The spec of a trial, with as many samples as it is of.
fn tried(spec: &CheckedSpec, base: &Header) -> CheckedSpec {
    let (inputs, outputs) = (base.inputs, base.outputs());
    // Of a whole batch, what every layer makes of each row is held at once.
    let held: usize = if base.needs_whole_batch() {
        let units: usize = base.layers.iter().map(|layer| layer.units).sum();
        usize::max(inputs + outputs, units + embedded(base) as usize)
    } else {
        inputs + outputs
    };
    let most = (TRIAL_NUMBERS / held).clamp(CHUNK, TRIAL_ROWS);
    let rows = spec.train_rows.min(most);
    CheckedSpec {
        data: CheckedData::Inline {
            rows,
            inputs,
            targets: outputs,
            weighted: false,
            digest: String::new(),
        },
        validation: None,
        cross_validation: None,
        class_weight: None,
        refit: true,
        train_rows: rows,
        window_rows: None,
        ..spec.clone()
    }
}

/// Trains `base` on made-up samples, in batches and epochs like those of the spec where those are not too
/// large, until they are done or the observer breaks it off. What comes of it is dropped.
///
/// Errors: the made-up run diverged.
pub fn trial(spec: &CheckedSpec, base: Model, observer: &mut impl Observer) -> Result<(), Error> {
    let (inputs, outputs) = (base.network.inputs(), base.network.outputs());
    let spec = tried(spec, &base.header());
    let rows = spec.train_rows;
    let data = RawSamples::Inline {
        inputs: Array2::from_shape_fn((rows, inputs), |(row, column)| {
            ((row + column) % 3) as f64 - 1.0
        }),
        targets: Array2::zeros((rows, outputs)),
        weights: None,
    };
    // Made-up rows are no table.
    let base = Model {
        preprocessing: Preprocessing::unfitted(Preprocess::None, &[]),
        ..base
    };
    train(
        &spec,
        base,
        Source::of(data),
        None,
        &Team::alone(),
        observer,
    )
    .map(|_| ())
}
