//! The memory of a forward and a backward pass, allocated once.

mod scores;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::nn::kernel::{self, Shape};
use crate::nn::loss::Output;
use crate::nn::noise::ChunkNoise;
use crate::nn::normalization::NormalizedRows;
use crate::nn::weights::weigh_deltas;
use crate::nn::{CHUNK, Loss, Network, Noise, Rightness, RowWeight, Scalar};

/// z, a and δ of every layer, and the inputs x and targets y, for up to `CHUNK` rows.
///
/// Layers are counted from 0 here, as in `Network::layers`. The views of a layer are those of the last pass.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    capacity: usize,
    inputs: Rows<T>,
    targets: Rows<T>,
    weighted_inputs: Vec<Rows<T>>,
    activations: Vec<Rows<T>>,
    deltas: Vec<Rows<T>>,
    /// One entry for each layer; none where no units are left out.
    dropped: Vec<Option<Dropped<T>>>,
    /// One entry for each layer; none where it is not normalized.
    normalized: Vec<Option<NormalizedRows<T>>>,
    rightness: Rightness,
}

/// What dropout draws for a layer, and what it makes of its activations.
#[derive(Clone, Debug)]
struct Dropped<T> {
    /// m / (1 − p).
    factors: Rows<T>,
    /// m ⊙ a / (1 − p), which the next layer takes.
    activations: Rows<T>,
}

/// Rows of one width, one after another.
#[derive(Clone, Debug)]
struct Rows<T> {
    width: usize,
    values: Vec<T>,
}

impl<T: Scalar> Rows<T> {
    fn new(width: usize, rows: usize) -> Self {
        Self {
            width,
            values: vec![T::zero(); width * rows],
        }
    }

    fn slice(&self, rows: usize) -> &[T] {
        &self.values[..rows * self.width]
    }

    fn slice_mut(&mut self, rows: usize) -> &mut [T] {
        &mut self.values[..rows * self.width]
    }

    fn view(&self, rows: usize) -> ArrayView2<'_, T> {
        ArrayView2::from_shape((rows, self.width), self.slice(rows))
            .expect("the slice is rows × width long")
    }

    fn view_mut(&mut self, rows: usize) -> ArrayViewMut2<'_, T> {
        let width = self.width;
        ArrayViewMut2::from_shape((rows, width), self.slice_mut(rows))
            .expect("the slice is rows × width long")
    }
}

impl<T: Scalar> Workspace<T> {
    /// Memory for chunks of `CHUNK` rows of the network's widths.
    pub fn new(network: &Network<T>) -> Self {
        Self::for_rows(network, CHUNK)
    }

    /// Memory for chunks of `rows` rows, at least 1 and at most `CHUNK`: enough where there are never more.
    pub fn for_rows(network: &Network<T>, rows: usize) -> Self {
        let capacity = rows.clamp(1, CHUNK);
        let layers = || {
            network
                .layers()
                .iter()
                .map(|layer| Rows::new(layer.units(), capacity))
                .collect()
        };
        Self {
            capacity,
            inputs: Rows::new(network.inputs(), capacity),
            targets: Rows::new(network.outputs(), capacity),
            weighted_inputs: layers(),
            activations: layers(),
            deltas: layers(),
            dropped: vec![None; network.layers().len()],
            normalized: (network.layers().iter())
                .map(|layer| {
                    let by = layer.normalization.as_ref()?.by;
                    Some(NormalizedRows::new(by, layer.units(), capacity))
                })
                .collect(),
            rightness: Rightness::default(),
        }
    }

    /// The same, counting rows as right where this says so.
    pub(crate) fn judging(mut self, rightness: Rightness) -> Self {
        self.rightness = rightness;
        self
    }

    /// The same, with memory for passes with this noise, which every forward pass must then be given.
    pub(crate) fn with(mut self, noise: &Noise) -> Self {
        for (index, (dropped, a)) in self.dropped.iter_mut().zip(&self.activations).enumerate() {
            *dropped = noise.drops(index + 1).then(|| Dropped {
                factors: Rows::new(a.width, self.capacity),
                activations: Rows::new(a.width, self.capacity),
            });
        }
        self
    }

    /// The most rows that a chunk may have here.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// x, (rows × K), to be filled. Panics: where `rows` is beyond the capacity, the caller's bug.
    pub fn inputs_mut(&mut self, rows: usize) -> ArrayViewMut2<'_, T> {
        self.inputs.view_mut(rows)
    }

    /// y, (rows × J), to be filled. Panics: where `rows` is beyond the capacity, the caller's bug.
    pub fn targets_mut(&mut self, rows: usize) -> ArrayViewMut2<'_, T> {
        self.targets.view_mut(rows)
    }

    /// x and y together, to be filled.
    pub(crate) fn samples_mut(
        &mut self,
        rows: usize,
    ) -> (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>) {
        (self.inputs.view_mut(rows), self.targets.view_mut(rows))
    }

    /// y, (rows × J).
    pub fn targets(&self, rows: usize) -> ArrayView2<'_, T> {
        self.targets.view(rows)
    }

    /// z of a layer, (rows × J).
    pub fn weighted_inputs(&self, layer: usize, rows: usize) -> ArrayView2<'_, T> {
        self.weighted_inputs[layer].view(rows)
    }

    /// a of a layer, (rows × J), before units of it are left out.
    pub fn activations(&self, layer: usize, rows: usize) -> ArrayView2<'_, T> {
        self.activations[layer].view(rows)
    }

    /// δ of a layer, (rows × J).
    pub fn deltas(&self, layer: usize, rows: usize) -> ArrayView2<'_, T> {
        self.deltas[layer].view(rows)
    }

    /// z = w·a + b and a = σ(z), layer after layer, from the inputs. The one forward pass of this program.
    ///
    /// With noise, which training alone has, x is disturbed in its place, and a layer takes m ⊙ a / (1 − p) of the one before
    /// it. Batch normalization goes by the running mean and variance. Panics: where the workspace has memory for other noise
    /// than is given, the caller's bug.
    pub(crate) fn forward(
        &mut self,
        network: &Network<T>,
        rows: usize,
        noise: Option<ChunkNoise<'_>>,
    ) {
        self.disturb(rows, noise);
        for index in 0..network.layers().len() {
            self.weigh(network, index, rows);
            self.take_running(network, index);
            self.activate(network, index, rows, noise);
        }
    }

    /// The noise of the inputs.
    pub(crate) fn disturb(&mut self, rows: usize, noise: Option<ChunkNoise<'_>>) {
        if let Some(noise) = noise {
            noise.disturb(self.inputs.slice_mut(rows));
        }
    }

    /// w·a of one layer: the first part of its forward pass.
    pub(crate) fn weigh(&mut self, network: &Network<T>, index: usize, rows: usize) {
        let layer = &network.layers()[index];
        let (before, dropped) = (&self.activations[..index], &self.dropped[..index]);
        let x = taken(&self.inputs, before, dropped).slice(rows);
        let shape = Shape {
            m: rows,
            k: layer.inputs(),
            n: layer.units(),
        };
        let u = match &mut self.normalized[index] {
            Some(normalized) => &mut normalized.values[..rows * layer.units()],
            None => self.weighted_inputs[index].slice_mut(rows),
        };
        kernel::nt(shape, x, layer.weights_slice(), u);
    }

    /// The running mean and variance of a layer, where it is normalized by them, for the next [`Workspace::activate`].
    pub(crate) fn take_running(&mut self, network: &Network<T>, index: usize) {
        let normalization = network.layers()[index].normalization.as_ref();
        if let (Some(normalized), Some(layer)) = (&mut self.normalized[index], normalization) {
            normalized.take_running(layer);
        }
    }

    /// From w·a to z and a = σ(z) of one layer: the second part of its forward pass.
    pub(crate) fn activate(
        &mut self,
        network: &Network<T>,
        index: usize,
        rows: usize,
        noise: Option<ChunkNoise<'_>>,
    ) {
        let layer = &network.layers()[index];
        let z = self.weighted_inputs[index].slice_mut(rows);
        match (&mut self.normalized[index], &layer.normalization) {
            (Some(normalized), Some(by)) => normalized.normalize(by, layer.biases_slice(), z),
            _ => {
                for z in z.chunks_exact_mut(layer.units()) {
                    for (z, &b) in z.iter_mut().zip(layer.biases_slice()) {
                        *z += b;
                    }
                }
            }
        }
        let a = self.activations[index].slice_mut(rows);
        layer.activation.apply(layer.units(), z, a);
        if let Some(dropped) = &mut self.dropped[index] {
            let noise = noise.expect("a workspace for noise is given it");
            let a = self.activations[index].slice(rows);
            let factors = dropped.factors.slice_mut(rows);
            noise.drop_out(index + 1, a, factors, dropped.activations.slice_mut(rows));
        }
    }

    /// δ of every layer, from the last to the first, each row that of its own sample's loss Cₙ, times wₙ where there are
    /// weights.
    ///
    /// Where the forward pass left units out, their part of ∂C/∂a is m / (1 − p) times the sum, before σ′, which is that of
    /// the whole a. Source: Arango, δᴸ = (aᴸ − y) σ′(zᴸ) and δˡ = σ′(zˡ) Σ δˡ⁺¹ wˡ⁺¹.
    ///
    /// Where rows weigh, δᴸ is times the weight of its row, and with it every δ.
    pub(crate) fn backward(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        rows: usize,
        weights: Option<&[RowWeight]>,
    ) {
        self.output_deltas(network, loss, rows, weights);
        for index in (0..network.layers().len()).rev() {
            self.lead_back(network, index, rows, None);
            self.pass_back(network, index, rows);
        }
    }

    /// δᴸ of the last layer, times the weights of rows, where there are any.
    pub(crate) fn output_deltas(
        &mut self,
        network: &Network<T>,
        loss: Loss,
        rows: usize,
        weights: Option<&[RowWeight]>,
    ) {
        let last = network.layers().len() - 1;
        let layer = network.last();
        let output = Output {
            units: layer.units(),
            z: self.weighted_inputs[last].slice(rows),
            a: self.activations[last].slice(rows),
            y: self.targets.slice(rows),
        };
        let deltas = self.deltas[last].slice_mut(rows);
        loss.output_deltas(layer.activation, output, deltas);
        if let Some(weights) = weights {
            weigh_deltas(deltas, layer.units(), weights);
        }
    }

    /// ∂C/∂(w·a) of a normalized layer from its δ; `sums` as in [`NormalizedRows::lead_back`].
    pub(super) fn lead_back(
        &mut self,
        network: &Network<T>,
        index: usize,
        rows: usize,
        sums: Option<(&[f64], &[f64], usize)>,
    ) {
        let layer = network.layers()[index].normalization.as_ref();
        if let (Some(normalized), Some(layer)) = (&mut self.normalized[index], layer) {
            normalized.lead_back(layer, self.deltas[index].slice(rows), sums);
        }
    }

    /// δ of the layer before this one, where there is one.
    pub(crate) fn pass_back(&mut self, network: &Network<T>, index: usize, rows: usize) {
        if index == 0 {
            return;
        }
        let (before, after) = self.deltas.split_at_mut(index);
        let deltas = before[index - 1].slice_mut(rows);
        let led = led_back(&after[0], self.normalized[index].as_ref(), rows);
        propagate(network, index, led, rows, deltas);
        if let Some(dropped) = &self.dropped[index - 1] {
            for (delta, &factor) in deltas.iter_mut().zip(dropped.factors.slice(rows)) {
                *delta *= factor;
            }
        }
        let layer = &network.layers()[index - 1];
        let z = self.weighted_inputs[index - 1].slice(rows);
        let a = self.activations[index - 1].slice(rows);
        layer.activation.backward(layer.units(), z, a, deltas);
    }

    /// ∂Cₙ/∂x = δ¹ w¹, which training has no use for. Shapes: `gradient` (rows × K), row-major.
    pub(crate) fn input_gradient(&self, network: &Network<T>, rows: usize, gradient: &mut [T]) {
        let deltas = led_back(&self.deltas[0], self.normalized[0].as_ref(), rows);
        propagate(network, 0, deltas, rows, gradient);
    }

    /// ∂C/∂w = δᵀ a, ∂C/∂b = Σ δ and ∂C/∂γ = Σ δ ⊙ n(w·a) of one layer, added up over the rows, into weights (J × K),
    /// biases (J) and scales (J, or none). In a normalized layer ∂C/∂w has ∂C/∂(w·a) for δ.
    ///
    /// Source: Arango, ∂C/∂w = δ a and ∂C/∂b = δ.
    pub(crate) fn gradient(&self, index: usize, rows: usize, into: [&mut [T]; 3]) {
        let [weights, biases, scales] = into;
        let deltas = &self.deltas[index];
        let (before, dropped) = (&self.activations[..index], &self.dropped[..index]);
        let x = taken(&self.inputs, before, dropped);
        let shape = Shape {
            m: deltas.width,
            k: rows,
            n: x.width,
        };
        let normalized = self.normalized[index].as_ref();
        let led = led_back(deltas, normalized, rows);
        kernel::tn(shape, led, x.slice(rows), weights);
        biases.fill(T::zero());
        for deltas in deltas.slice(rows).chunks_exact(deltas.width) {
            for (sum, &delta) in biases.iter_mut().zip(deltas) {
                *sum += delta;
            }
        }
        if let Some(normalized) = normalized {
            scales.fill(T::zero());
            let values = normalized.values.chunks_exact(normalized.units);
            for (deltas, values) in deltas.slice(rows).chunks_exact(deltas.width).zip(values) {
                for ((sum, &delta), &value) in scales.iter_mut().zip(deltas).zip(values) {
                    *sum += delta * value;
                }
            }
        }
    }

    /// The normalized rows of a layer. Panics: where it is not normalized, the caller's bug.
    pub(super) fn normalized(&self, layer: usize) -> &NormalizedRows<T> {
        let normalized = self.normalized[layer].as_ref();
        normalized.expect("the layer is normalized")
    }

    /// The same, to be changed.
    pub(super) fn normalized_mut(&mut self, layer: usize) -> &mut NormalizedRows<T> {
        let normalized = self.normalized[layer].as_mut();
        normalized.expect("the layer is normalized")
    }

    /// δ of a layer, row by row, of the last pass and beyond.
    pub(super) fn deltas_slice(&self, layer: usize) -> &[T] {
        &self.deltas[layer].values
    }
}

/// What the layer after these takes: x where there is none, else a of the last, without the units that were left out.
fn taken<'a, T>(
    inputs: &'a Rows<T>,
    before: &'a [Rows<T>],
    dropped: &'a [Option<Dropped<T>>],
) -> &'a Rows<T> {
    match (before.last(), dropped.last()) {
        (Some(_), Some(Some(dropped))) => &dropped.activations,
        (Some(activations), Some(None) | None) => activations,
        (None, _) => inputs,
    }
}

/// ∂C/∂(w·a) of a layer: its δ, unless it is normalized.
fn led_back<'a, T: Scalar>(
    deltas: &'a Rows<T>,
    normalized: Option<&'a NormalizedRows<T>>,
    rows: usize,
) -> &'a [T] {
    match normalized {
        Some(normalized) => &normalized.deltas[..rows * normalized.units],
        None => deltas.slice(rows),
    }
}

/// Σⱼ δⱼ wⱼ of a layer, as ∂C/∂a of the one before it: (rows × J) · (J × K) -> (rows × K).
fn propagate<T: Scalar>(
    network: &Network<T>,
    index: usize,
    deltas: &[T],
    rows: usize,
    gradient: &mut [T],
) {
    let layer = &network.layers()[index];
    let shape = Shape {
        m: rows,
        k: layer.units(),
        n: layer.inputs(),
    };
    kernel::nn(shape, deltas, layer.weights_slice(), gradient);
}

/// The class that a row of outputs names: of its largest entry, the first of equals, or, where there is one output, whether
/// it is at least ½.
///
/// Panics: where the row is empty, the caller's bug.
pub(crate) fn class_of<T: Scalar>(row: &[T]) -> usize {
    if let [single] = row {
        return usize::from(*single >= T::from_f64(0.5));
    }
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}
