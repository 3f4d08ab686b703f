//! Tensors: named arrays and a JSON header as safetensors bytes, the one format of artifacts and checkpoints.

use std::borrow::Cow;
use std::collections::HashMap;

use ndarray::{Array1, Array2, Axis};
use safetensors::tensor::TensorView;
use safetensors::{Dtype as TensorDtype, SafeTensors, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{AnyNetwork, Error, Header};
use crate::nn::{Dtype, Layer, Network, Normalization, Normalized, Scalar, worked};

/// The key of the header among the metadata of the bytes. One key alone, so that its place is always the same.
const HEADER: &str = "gradientd";

/// Rows of a matrix that are turned over together: 64 bytes of each column, or more.
const ROWS_TURNED: usize = 16;

/// Numbers that are made bytes without a pause.
const TOGETHER: usize = 64 << 10;
/// Multiply-adds that take about as long as turning one number over, or making it bytes.
const WORK: usize = 64;

struct Tensor {
    dtype: TensorDtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Tensor {
    fn dtype(&self) -> TensorDtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Named arrays on their way into bytes.
#[derive(Default)]
pub struct Tensors(Vec<(String, Tensor)>);

fn tensor_dtype(dtype: Dtype) -> TensorDtype {
    match dtype {
        Dtype::Float32 => TensorDtype::F32,
        Dtype::Float64 => TensorDtype::F64,
    }
}

impl Tensors {
    /// Adds an array under a name.
    pub fn push<'a, T: Scalar>(
        &mut self,
        name: String,
        shape: &[usize],
        values: impl Iterator<Item = &'a T>,
    ) {
        let count: usize = shape.iter().product();
        let mut bytes = Vec::with_capacity(count * T::DTYPE.bytes());
        for value in values {
            value.to_le(&mut bytes);
            worked(WORK);
        }
        self.0.push((
            name,
            Tensor {
                dtype: tensor_dtype(T::DTYPE),
                shape: shape.to_vec(),
                bytes,
            },
        ));
    }

    /// Adds a matrix under a name, row after row, in whatever order it is kept.
    pub fn push_matrix<T: Scalar>(&mut self, name: String, matrix: &Array2<T>) {
        let mut bytes = Vec::with_capacity(matrix.len() * T::DTYPE.bytes());
        in_rows(matrix, |values| {
            for values in values.chunks(TOGETHER) {
                for value in values {
                    value.to_le(&mut bytes);
                }
                worked(WORK * values.len());
            }
        });
        let tensor = Tensor {
            dtype: tensor_dtype(T::DTYPE),
            shape: matrix.shape().to_vec(),
            bytes,
        };
        self.0.push((name, tensor));
    }

    /// Adds bytes under a name.
    pub fn push_bytes(&mut self, name: String, bytes: Vec<u8>) {
        let tensor = Tensor {
            dtype: TensorDtype::U8,
            shape: vec![bytes.len()],
            bytes,
        };
        self.0.push((name, tensor));
    }

    /// The bytes: the same for the same header and arrays.
    pub fn encode(&self, header: &impl Serialize) -> Vec<u8> {
        let header = serde_json::to_string(header).expect("a header is plain data");
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        let tensors = self.0.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::serialize(tensors, Some(metadata))
            .expect("tensors have the sizes of their shapes")
    }
}

/// Gives the numbers of a matrix row after row. One that is kept column by column is turned over a few rows at a time, as
/// many as have whole cache lines of each column: number after number, each would fetch a line of its own.
pub(super) fn in_rows<T: Scalar>(matrix: &Array2<T>, mut take: impl FnMut(&[T])) {
    if let Some(values) = matrix.as_slice() {
        return take(values);
    }
    let columns = matrix.ncols();
    let mut turned = vec![T::zero(); ROWS_TURNED * columns];
    for rows in matrix.axis_chunks_iter(Axis(0), ROWS_TURNED) {
        for (index, column) in rows.columns().into_iter().enumerate() {
            for (row, &value) in column.iter().enumerate() {
                turned[row * columns + index] = value;
            }
            worked(WORK * column.len());
        }
        take(&turned[..rows.len()]);
    }
}

/// Named arrays read from bytes.
pub struct ReadTensors<'a>(SafeTensors<'a>);

impl<'a> ReadTensors<'a> {
    /// Reads the header and finds the arrays. Nothing is trusted: sizes and offsets are checked against the bytes.
    ///
    /// Errors: the bytes are none of ours.
    pub fn decode<H: DeserializeOwned>(bytes: &'a [u8]) -> Result<(H, Self), Error> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|error| Error::artifact(error.to_string()))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(HEADER));
        let header = header.ok_or_else(|| Error::artifact("they have no header"))?;
        let header =
            serde_json::from_str(header).map_err(|error| Error::artifact(error.to_string()))?;
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|error| Error::artifact(error.to_string()))?;
        Ok((header, Self(tensors)))
    }

    /// Whether there is an array of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn find<T: Scalar>(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let tensor = self
            .0
            .tensor(name)
            .map_err(|error| Error::artifact(error.to_string()))?;
        if tensor.dtype() == tensor_dtype(T::DTYPE) {
            return Ok(tensor);
        }
        Err(Error::artifact(format!(
            "tensor {name} must be {}",
            T::DTYPE.name()
        )))
    }

    /// The bytes that are kept under a name.
    ///
    /// Errors: there are none.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        let tensor = self
            .0
            .tensor(name)
            .map_err(|error| Error::artifact(error.to_string()))?;
        Ok(tensor.data().to_vec())
    }

    /// The values of an array of one dimension.
    ///
    /// Errors: there is none of that name, dtype and number of dimensions.
    pub fn vector<T: Scalar>(&self, name: &str) -> Result<Array1<T>, Error> {
        let tensor = self.find::<T>(name)?;
        let [length] = tensor.shape() else {
            return Err(Error::artifact(format!(
                "tensor {name} must have one dimension"
            )));
        };
        Ok(Array1::from_shape_vec(*length, values(tensor.data()))
            .expect("safetensors checks sizes"))
    }

    /// The values of an array of two dimensions, at least one.
    ///
    /// Errors: as [`ReadTensors::vector`]; there are none.
    pub fn matrix<T: Scalar>(&self, name: &str) -> Result<Array2<T>, Error> {
        let tensor = self.find::<T>(name)?;
        let &[rows, columns] = tensor.shape() else {
            return Err(Error::artifact(format!(
                "tensor {name} must have two dimensions"
            )));
        };
        // Of no numbers, one dimension may be anything in the bytes, also more rows than can be counted.
        let is_empty = rows == 0 || columns == 0;
        let matrix = Array2::from_shape_vec((rows, columns), values(tensor.data()));
        matrix
            .ok()
            .filter(|_| !is_empty)
            .ok_or_else(|| Error::artifact(format!("tensor {name} must have numbers")))
    }
}

fn values<T: Scalar>(bytes: &[u8]) -> Vec<T> {
    bytes
        .chunks_exact(T::DTYPE.bytes())
        .map(T::from_le)
        .collect()
}

impl Tensors {
    /// Adds a network's parameters as `layers.{l}.weights` (units × inputs) and `layers.{l}.biases` (units), l from 1, behind
    /// a prefix; of normalized layers also `.scales`, and of batch normalization `.running_mean` and `.running_variance`. The
    /// vectors of embeddings are `embeddings.{e}.weights` (categories × dimensions), e from 1.
    pub fn push_network(&mut self, prefix: &str, network: &AnyNetwork) {
        match network {
            AnyNetwork::Float32(network) => push_network(self, prefix, network),
            AnyNetwork::Float64(network) => push_network(self, prefix, network),
        }
    }
}

impl ReadTensors<'_> {
    /// The network of a header's layers, behind a prefix.
    ///
    /// Errors: a tensor is missing, or has another shape or dtype, or the widths do not chain.
    pub fn network(&self, prefix: &str, header: &Header) -> Result<AnyNetwork, Error> {
        match header.dtype {
            Dtype::Float32 => read_network(self, prefix, header).map(AnyNetwork::Float32),
            Dtype::Float64 => read_network(self, prefix, header).map(AnyNetwork::Float64),
        }
    }
}

fn push_network<T: Scalar>(tensors: &mut Tensors, prefix: &str, network: &Network<T>) {
    for (index, layer) in network.layers().iter().enumerate() {
        let number = index + 1;
        tensors.push_matrix(format!("{prefix}layers.{number}.weights"), &layer.weights);
        tensors.push(
            format!("{prefix}layers.{number}.biases"),
            layer.biases.shape(),
            layer.biases.iter(),
        );
        let normalized = layer.normalization.iter().flat_map(Normalized::arrays);
        for (name, array) in normalized.filter(|(_, array)| !array.is_empty()) {
            let name = format!("{prefix}layers.{number}.{name}");
            tensors.push(name, array.shape(), array.iter());
        }
    }
    for (index, vectors) in network.vectors().enumerate() {
        tensors.push(vectors_name(prefix, index), vectors.shape(), vectors.iter());
    }
}

/// The name of the vectors of an embedding, counted from 0.
fn vectors_name(prefix: &str, index: usize) -> String {
    format!("{prefix}embeddings.{}.weights", index + 1)
}

fn read_network<T: Scalar>(
    tensors: &ReadTensors,
    prefix: &str,
    header: &Header,
) -> Result<Network<T>, Error> {
    let shapes = &header.layers;
    let mut layers = Vec::with_capacity(shapes.len());
    for (index, shape) in shapes.iter().enumerate() {
        let number = index + 1;
        let vector = |name| tensors.vector(&format!("{prefix}layers.{number}.{name}"));
        let biases = vector("biases")?;
        // Before anything is made for as many units as the header says.
        if biases.len() != shape.units {
            return Err(Error::artifact(format!(
                "layer {number} must have {} units",
                shape.units
            )));
        }
        let normalized = |by: Normalization| {
            let mut normalized = Normalized::new(by, shape.units);
            normalized.scales = vector("scales")?;
            if by.is_of_batch() {
                normalized.running_mean = vector("running_mean")?;
                normalized.running_variance = vector("running_variance")?;
            }
            Ok::<_, Error>(normalized)
        };
        let layer = Layer {
            weights: tensors.matrix(&format!("{prefix}layers.{number}.weights"))?,
            biases,
            activation: shape.activation,
            normalization: shape.normalization.map(normalized).transpose()?,
        };
        layers.push(layer);
    }
    let mut tables = Vec::new();
    for (index, shape) in header.embeddings().into_iter().enumerate() {
        let vectors = tensors.matrix(&vectors_name(prefix, index))?;
        let (categories, dimensions) = (shape.categories, shape.dimensions);
        if vectors.dim() != (categories, dimensions) {
            let column = shape.column;
            let detail = format!(
                "the embedding of {column:?} must have {categories} vectors of {dimensions} numbers"
            );
            return Err(Error::artifact(detail));
        }
        tables.push((shape.place(), vectors));
    }
    let network = Network::new(layers).and_then(|layers| layers.with_embeddings(tables));
    network.map_err(|error| Error::artifact(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ndarray::ShapeBuilder;

    use super::*;

    #[test]
    fn a_matrix_is_given_row_after_row_however_it_is_kept() {
        for (rows, columns) in [(1, 1), (3, 5), (16, 2), (37, 20), (64, 1), (0, 3)] {
            let number = |(row, column)| (row * columns + column) as f32;
            let by_rows = Array2::from_shape_fn((rows, columns), number);
            let by_columns = Array2::from_shape_fn((rows, columns).f(), number);
            let expected: Vec<_> = (0..rows * columns).map(|index| index as f32).collect();
            for matrix in [&by_rows, &by_columns] {
                let mut got = Vec::new();
                in_rows(matrix, |values| got.extend_from_slice(values));
                assert_eq!(got, expected, "{rows} {columns}");
            }
        }
    }
}
