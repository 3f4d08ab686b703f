//! A network: layers, each taking what the one before it gives.

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::nn::kernel::{self, Filled, Matrix};
use crate::nn::{
    Activation, Embedding, Error, Normalized, Scalar, Team, Workspace, flush_denormals, worked,
};

/// Numbers that are copied without a pause, in whole columns.
const COPIED: usize = 64 << 10;
/// Multiply-adds that take about as long as copying a number.
const WORK: usize = 64;

/// One layer: a = σ(z), z = w·x + b, or with normalization z = γ ⊙ n(w·x) + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<T> {
    /// w, (J × K): units × inputs, as in PyTorch. A network keeps it column by column: the weights of one input to all
    /// units stand together, as the products read them.
    pub weights: Array2<T>,
    /// b, (J).
    pub biases: Array1<T>,
    /// σ.
    pub activation: Activation,
    /// γ and n, where there is normalization.
    pub normalization: Option<Normalized<T>>,
}

impl<T> Layer<T> {
    /// J, the number of units.
    pub fn units(&self) -> usize {
        self.weights.nrows()
    }

    /// K, the number of inputs.
    pub fn inputs(&self) -> usize {
        self.weights.ncols()
    }

    fn parameter_count(&self) -> usize {
        let scales = self.normalization.as_ref();
        let scales = scales.map_or(0, |normalized| normalized.scales.len());
        self.weights.len() + self.biases.len() + scales
    }
}

impl<T: Scalar> Layer<T> {
    /// The weights of one input to all units, input after input.
    pub(crate) fn weights_slice(&self) -> &[T] {
        let columns = self.weights.t().to_slice();
        columns.expect("a network keeps its weights column by column")
    }

    /// The biases in order.
    pub(crate) fn biases_slice(&self) -> &[T] {
        self.biases
            .as_slice()
            .expect("a network keeps its biases in one piece")
    }

    /// The weights, in the order of [`Layer::weights_slice`], and the biases, to be changed.
    pub(crate) fn slices_mut(&mut self) -> (&mut [T], &mut [T]) {
        let contiguous = "a network keeps its parameters in one piece";
        (
            self.weights.as_slice_memory_order_mut().expect(contiguous),
            self.biases.as_slice_mut().expect(contiguous),
        )
    }

    fn is_finite(&self) -> bool {
        let parameters = self.weights.iter().chain(&self.biases);
        let normalization = self.normalization.as_ref();
        parameters
            .into_iter()
            .all(|parameter| parameter.is_finite())
            && normalization.is_none_or(Normalized::is_finite)
    }

    /// γ in order; empty where there is no normalization.
    pub(crate) fn scales_mut(&mut self) -> &mut [T] {
        let scales = self.normalization.as_mut().map(|normalized| {
            let scales = normalized.scales.as_slice_mut();
            scales.expect("a network keeps its parameters in one piece")
        });
        scales.unwrap_or_default()
    }
}

/// Layers that fit each other, at least one, and the tables of the vectors that the first reads, where it reads any.
#[derive(Clone, Debug, PartialEq)]
pub struct Network<T> {
    /// The layers, then the tables.
    pub(super) parts: Vec<Layer<T>>,
    /// One for each table.
    pub(super) embeddings: Vec<Embedding>,
}

impl<T: Scalar> Network<T> {
    /// Moves the weights of large layers onto large pages, where the system has some: products step through them.
    pub(crate) fn prefer_large_pages(&self) {
        for layer in &self.parts {
            kernel::prefer_large_pages(layer.weights_slice(), Filled::Yes);
        }
    }

    /// Checks that the layers make a network.
    ///
    /// Errors: where there is no layer, a layer has no units or inputs, a layer's inputs are not the units before it, its
    /// biases are not one per unit, or a parameter is not finite.
    pub fn new(layers: Vec<Layer<T>>) -> Result<Self, Error> {
        let Some(first) = layers.first() else {
            return Err(Error::NoLayers);
        };
        let mut expected = first.inputs();
        for (layer, index) in layers.iter().zip(1..) {
            let (units, inputs) = (layer.units(), layer.inputs());
            if units == 0 || inputs == 0 {
                return Err(Error::EmptyLayer {
                    layer: index,
                    units,
                    inputs,
                });
            }
            if inputs != expected {
                return Err(Error::InputsMismatch {
                    layer: index,
                    expected,
                    got: inputs,
                });
            }
            if layer.biases.len() != units {
                return Err(Error::BiasesMismatch {
                    layer: index,
                    expected: units,
                    got: layer.biases.len(),
                });
            }
            if !layer.is_finite() {
                return Err(Error::NotFinite { layer: index });
            }
            let normalization = layer.normalization.as_ref();
            if !normalization.is_none_or(|normalized| normalized.fits(units)) {
                return Err(Error::NormalizationMismatch {
                    layer: index,
                    expected: units,
                });
            }
            expected = units;
        }
        Ok(Self {
            parts: layers.into_iter().map(in_columns).collect(),
            embeddings: Vec::new(),
        })
    }

    /// The layers, the one that takes the inputs first.
    pub fn layers(&self) -> &[Layer<T>] {
        &self.parts[..self.parts.len() - self.embeddings.len()]
    }

    /// The layers, to change their parameters. Shapes and orders in memory must stay as they are: later use panics else.
    pub fn layers_mut(&mut self) -> &mut [Layer<T>] {
        let layers = self.layers().len();
        &mut self.parts[..layers]
    }

    /// Numbers in an input row: K of the first layer, or fewer where it reads vectors, for each of which a row has one number.
    pub fn inputs(&self) -> usize {
        let dimensions: usize = self.tables().iter().map(Layer::units).sum();
        self.reads() + self.embeddings.len() - dimensions
    }

    /// K of the first layer.
    pub fn reads(&self) -> usize {
        self.layers()
            .first()
            .expect("a network has a layer")
            .inputs()
    }

    /// J of the last layer.
    pub fn outputs(&self) -> usize {
        self.last().units()
    }

    /// The layer whose activations are the outputs.
    pub fn last(&self) -> &Layer<T> {
        self.layers().last().expect("a network has a layer")
    }

    /// How many weights, biases, scales and numbers of vectors there are.
    pub fn parameter_count(&self) -> usize {
        self.parts.iter().map(Layer::parameter_count).sum()
    }

    /// How many of them every row meets: those of the layers. Of a table it reads one vector.
    pub fn layer_parameter_count(&self) -> usize {
        self.layers().iter().map(Layer::parameter_count).sum()
    }

    /// Whether a training step needs the whole batch at once: some layer is normalized over its samples.
    pub fn needs_whole_batch(&self) -> bool {
        let normalizations = self.layers().iter();
        let mut normalizations = normalizations.filter_map(|layer| layer.normalization.as_ref());
        normalizations.any(|normalized| normalized.by.is_of_batch())
    }

    /// Copies every number of another network of the same shape. Allocates nothing.
    ///
    /// Panics: where it is of other shapes, the caller's bug.
    pub fn assign(&mut self, from: &Self) {
        for (into, from) in self.parts.iter_mut().zip(&from.parts) {
            assert_eq!(into.weights.dim(), from.weights.dim(), "the same shapes");
            let columns = COPIED.div_ceil(from.units().max(1));
            let parts = into.weights.axis_chunks_iter_mut(Axis(1), columns);
            for (mut into, from) in parts.zip(from.weights.axis_chunks_iter(Axis(1), columns)) {
                into.assign(&from);
                worked(WORK * from.len());
            }
            into.biases.assign(&from.biases);
            if let (Some(into), Some(from)) = (&mut into.normalization, &from.normalization) {
                into.assign(from);
            }
        }
    }

    /// Whether no parameter is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.parts.iter().all(Layer::is_finite)
    }

    /// The same network in numbers of another kind, each rounded to the nearest.
    ///
    /// A number beyond the range of `U` becomes infinite, which `is_finite` tells.
    pub fn cast<U: Scalar>(&self) -> Network<U> {
        let cast = |&value: &T| U::from_f64(value.to_f64());
        let parts = self.parts.iter().map(|layer| Layer {
            weights: layer.weights.map(cast),
            biases: layer.biases.map(cast),
            activation: layer.activation,
            normalization: layer
                .normalization
                .as_ref()
                .map(|normalized| normalized.map(cast)),
        });
        Network {
            parts: parts.collect(),
            embeddings: self.embeddings.clone(),
        }
    }

    /// aᴸ of a whole batch, in chunks of `CHUNK` rows through the forward code of training.
    ///
    /// An answer depends on its own row alone: it has the same bits whatever other rows are in the batch.
    ///
    /// Shapes: (n × K) -> (n × J). Panics: where `inputs` has not K columns, the caller's bug.
    pub fn predict(&self, inputs: ArrayView2<T>) -> Array2<T> {
        let mut outputs = Array2::zeros((inputs.nrows(), self.outputs()));
        let mut workspace = Workspace::for_rows(self, inputs.nrows());
        workspace.keep_weighted_inputs(false);
        self.predict_into(inputs, &mut workspace, outputs.view_mut());
        outputs
    }

    /// `predict` without an allocation, where the rows of `inputs` stand one after another.
    ///
    /// Shapes: `inputs` (n × K), `outputs` (n × J). Panics: where they are not, or `workspace` was made for a network of
    /// other widths, the caller's bug.
    pub fn predict_into(
        &self,
        inputs: ArrayView2<T>,
        workspace: &mut Workspace<T>,
        mut outputs: ArrayViewMut2<T>,
    ) {
        assert_eq!(
            inputs.nrows(),
            outputs.nrows(),
            "as many rows of outputs as of inputs"
        );
        let _flushing = flush_denormals();
        let last = self.layers().len() - 1;
        let chunk = workspace.capacity();
        let team = Team::alone();
        let rows = inputs.axis_chunks_iter(ndarray::Axis(0), chunk);
        for (inputs, mut outputs) in rows.zip(outputs.axis_chunks_iter_mut(ndarray::Axis(0), chunk))
        {
            let rows = inputs.nrows();
            if let Some(numbers) = inputs.to_slice() {
                let x = Matrix::new(numbers, self.inputs());
                workspace.forward(self, x, None, &team);
            } else {
                let numbers = inputs.as_standard_layout();
                let numbers = numbers.as_slice().expect("it was made so");
                workspace.forward(self, Matrix::new(numbers, self.inputs()), None, &team);
            }
            outputs.assign(&workspace.activations(last, 0..rows));
        }
    }
}

/// The layer with its weights column by column.
fn in_columns<T: Scalar>(layer: Layer<T>) -> Layer<T> {
    Layer {
        weights: by_column(layer.weights),
        biases: if layer.biases.is_standard_layout() {
            layer.biases
        } else {
            layer.biases.as_standard_layout().into_owned()
        },
        ..layer
    }
}

/// The same numbers in the same places, column by column in memory.
pub(super) fn by_column<T: Scalar>(matrix: Array2<T>) -> Array2<T> {
    if matrix.t().is_standard_layout() {
        return matrix;
    }
    matrix.t().as_standard_layout().into_owned().reversed_axes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(units: usize, inputs: usize) -> Layer<f64> {
        Layer {
            weights: Array2::from_shape_fn((units, inputs), |(j, k)| (j * inputs + k) as f64),
            biases: Array1::zeros(units),
            activation: Activation::Identity,
            normalization: None,
        }
    }

    fn refusal(layers: Vec<Layer<f64>>) -> String {
        Network::new(layers)
            .expect_err("a faulty network")
            .to_string()
    }

    #[test]
    fn a_network_is_copied_in_parts_to_the_last_number() {
        // 64 Ki numbers are 219 columns of 300, the second part has 40, and layer 2 is smaller than one.
        let of = |add: f64| {
            let mut layers = vec![layer(300, 259), layer(2, 300)];
            layers[0].weights += add;
            layers[1].biases += add;
            Network::new(layers).expect("fits")
        };
        let (mut into, from) = (of(0.0), of(0.5));
        assert_ne!(into, from);
        into.assign(&from);
        assert_eq!(into, from);
    }

    #[test]
    #[should_panic(expected = "the same shapes")]
    fn a_network_of_other_shapes_is_not_copied() {
        let mut into = Network::new(vec![layer(2, 3)]).expect("fits");
        into.assign(&Network::new(vec![layer(2, 1)]).expect("fits"));
    }

    #[test]
    fn layers_that_do_not_fit_are_refused_with_the_number_of_the_layer() {
        assert_eq!(refusal(vec![]), "a network must have at least one layer");
        assert_eq!(
            refusal(vec![layer(3, 2), layer(1, 4)]),
            "layer 2 must take 3 inputs, the units of the layer before it, got 4"
        );
        assert_eq!(
            refusal(vec![layer(0, 2)]),
            "layer 1 must have at least one unit and one input, got 0 units and 2 inputs"
        );
        let faulty = Layer {
            biases: Array1::zeros(2),
            ..layer(3, 2)
        };
        assert_eq!(
            refusal(vec![faulty]),
            "layer 1 must have 3 biases, one per unit, got 2"
        );
    }

    #[test]
    fn a_parameter_that_is_not_finite_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut faulty = layer(1, 3);
            faulty.biases[0] = value;
            assert_eq!(
                refusal(vec![layer(3, 2), faulty]),
                "layer 2 has a weight or bias that is not finite"
            );
        }
    }

    #[test]
    fn weights_in_columns_are_the_same_weights() {
        let rows = layer(2, 3);
        let columns = Layer {
            weights: by_column(rows.weights.clone()),
            ..layer(2, 3)
        };
        assert_eq!(columns.weights, rows.weights);
        assert!(rows.weights.is_standard_layout() && !columns.weights.is_standard_layout());
        let x = ndarray::arr2(&[[1.0, 10.0, 100.0]]);
        // w = |0 1 2; 3 4 5|: 0 + 10 + 200 and 3 + 40 + 500.
        for layer in [rows, columns] {
            let network = Network::new(vec![layer]).expect("one layer");
            assert_eq!(network.predict(x.view()), ndarray::arr2(&[[210.0, 543.0]]));
        }
    }

    #[test]
    fn a_network_knows_its_sizes() {
        let network = Network::new(vec![layer(3, 2), layer(4, 3)]).expect("a 2-3-4 network");
        assert_eq!((network.inputs(), network.outputs()), (2, 4));
        assert_eq!(network.parameter_count(), 3 * 2 + 3 + 4 * 3 + 4);
        assert_eq!(network.predict(Array2::zeros((0, 2)).view()).dim(), (0, 4));
    }

    #[test]
    fn a_cast_there_and_back_keeps_every_f32() {
        let network = Network::new(vec![layer(3, 2)])
            .expect("one layer")
            .cast::<f32>();
        assert_eq!(network.cast::<f64>().cast::<f32>(), network);
        let large = Layer {
            weights: Array2::from_elem((1, 1), 1e300),
            ..layer(1, 1)
        };
        assert!(
            !Network::new(vec![large])
                .expect("finite in f64")
                .cast::<f32>()
                .is_finite()
        );
    }
}
