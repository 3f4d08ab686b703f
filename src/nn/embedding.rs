//! Embeddings: tables of vectors that a network learns, one vector for each category of an input.

use ndarray::{Array1, Array2, ArrayView2};
use rand_core::Rng;

use crate::nn::network::by_column;
use crate::nn::random::normal;
use crate::nn::{Activation, Error, Layer, Network, Scalar};

/// Where a network looks vectors up: an input that is no number but the place of a category, from 0.
///
/// Layer 1 reads the vector E\[c\] where the input has the place c: ∂C/∂E\[c\] is Σ ∂C/∂x of what layer 1 read, over the
/// samples of that category, and 0 where no sample has it. It is dense, as is that of PyTorch's `nn.Embedding`, so that an
/// optimizer with momentum, or decay, moves the vectors of all categories in every step. An input that is no place of the
/// table, such as −1, stands for an unknown category: layer 1 reads zeros, and nothing is learned of it.
///
/// Every place up to 2²⁴ is a number of either dtype, far beyond the categories that a dataset may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// The column whose categories they are.
    pub column: String,
    /// Its place among the inputs of the network, from 0.
    pub input: usize,
}

/// A table as a network keeps it: a layer without biases of which a category is an input, so that its weights are moved,
/// kept and measured as those of any other.
pub(super) fn table<T: Scalar>(vectors: Array2<T>) -> Layer<T> {
    Layer {
        weights: by_column(vectors.reversed_axes()),
        biases: Array1::zeros(0),
        activation: Activation::Identity,
        normalization: None,
    }
}

/// The first vectors of a table (categories × dimensions), from N(0, 1), row by row, in f64 and then rounded to `T`.
///
/// Source: PyTorch's `nn.Embedding`. Layer 1 reads numbers of variance 1 then, as those of a column with scale `standard` are,
/// which its own initializer counts on; Keras's U(−0.05, 0.05) would leave the category almost unheard beside them.
pub fn draw_vectors<T: Scalar>(
    (categories, dimensions): (usize, usize),
    random: &mut impl Rng,
) -> Array2<T> {
    let draw = || T::from_f64(normal(random));
    Array2::from_shape_simple_fn((categories, dimensions), draw)
}

/// The category that an input stands for; none where it is no place of a table of so many.
pub(super) fn category<T: Scalar>(input: T, categories: usize) -> Option<usize> {
    let place = input.to_f64();
    (place >= 0.0 && place < categories as f64).then_some(place as usize)
}

impl<T: Scalar> Network<T> {
    /// The same network reading vectors (categories × dimensions) in the place of some inputs, which rise.
    ///
    /// Shapes: K of the first layer counts the dimensions of each vector, in the place of its one input.
    ///
    /// Errors: a table has no category or no dimension, its input is not behind those of the tables before it or is none, or a
    /// number is not finite.
    pub fn with_embeddings(
        mut self,
        embeddings: Vec<(Embedding, Array2<T>)>,
    ) -> Result<Self, Error> {
        let dimensions: usize = embeddings.iter().map(|(_, vectors)| vectors.ncols()).sum();
        let inputs = (self.reads() + embeddings.len()).saturating_sub(dimensions);
        let mut least = 0;
        for (Embedding { column, input }, vectors) in embeddings {
            let (categories, dimensions) = vectors.dim();
            if categories == 0 || dimensions == 0 {
                return Err(Error::EmptyEmbedding {
                    column,
                    categories,
                    dimensions,
                });
            }
            if !(least..inputs).contains(&input) {
                return Err(Error::EmbeddingMismatch {
                    column,
                    least,
                    inputs,
                    got: input,
                });
            }
            if !vectors.iter().all(|number| number.is_finite()) {
                return Err(Error::NotFiniteEmbedding { column });
            }
            least = input + 1;
            self.parts.push(table(vectors));
            self.embeddings.push(Embedding { column, input });
        }
        Ok(self)
    }

    /// Where vectors are looked up, in the order of the inputs.
    pub fn embeddings(&self) -> &[Embedding] {
        &self.embeddings
    }

    /// The vectors of each embedding, (categories × dimensions).
    pub fn vectors(&self) -> impl Iterator<Item = ArrayView2<'_, T>> {
        self.tables().iter().map(|table| table.weights.t())
    }

    /// The tables of the embeddings.
    pub(super) fn tables(&self) -> &[Layer<T>] {
        &self.parts[self.layers().len()..]
    }

    /// Everything that has parameters: the layers, then the tables of the embeddings.
    pub(crate) fn parts(&self) -> &[Layer<T>] {
        &self.parts
    }

    /// The same, to change parameters. Shapes and orders in memory must stay as they are.
    pub(super) fn parts_mut(&mut self) -> &mut [Layer<T>] {
        &mut self.parts
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// One unit that reads a number, a vector of two, and a number.
    fn layers() -> Network<f64> {
        let layer = Layer {
            weights: array![[1.0, 10.0, 100.0, 1000.0]],
            biases: array![0.5],
            activation: Activation::Identity,
            normalization: None,
        };
        Network::new(vec![layer]).expect("one layer")
    }

    fn at(input: usize) -> Embedding {
        Embedding {
            column: "sku".to_owned(),
            input,
        }
    }

    fn vectors() -> Array2<f64> {
        array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    }

    #[test]
    fn a_place_is_read_as_its_vector_and_what_is_no_place_as_zeros() {
        let network = layers().with_embeddings(vec![(at(1), vectors())]);
        let network = network.expect("it fits");
        assert_eq!((network.inputs(), network.reads()), (3, 4));
        assert_eq!(network.parameter_count(), 5 + 6);
        let x = array![
            [7.0, 2.0, 9.0],
            [7.0, 0.0, 9.0],
            [7.0, -1.0, 9.0],
            [7.0, 3.0, 9.0],
            [7.0, f64::NAN, 9.0]
        ];
        // 7 + 10 E[c]_1 + 100 E[c]_2 + 9000 + 0.5.
        let expected = array![[9657.5], [9217.5], [9007.5], [9007.5], [9007.5]];
        assert_eq!(network.predict(x.view()), expected);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused_with_the_column() {
        let refusal = |embeddings| {
            let refused = layers().with_embeddings(embeddings);
            refused.expect_err("a faulty table").to_string()
        };
        assert_eq!(
            refusal(vec![(at(3), vectors())]),
            "the embedding of \"sku\" must be of an input in [0, 3), got 3"
        );
        let narrow = || array![[1.0]];
        assert_eq!(
            refusal(vec![(at(1), narrow()), (at(1), narrow())]),
            "the embedding of \"sku\" must be of an input in [2, 4), got 1"
        );
        assert_eq!(
            refusal(vec![(at(0), Array2::zeros((0, 2)))]),
            "the embedding of \"sku\" must have at least one category and one dimension, got 0 categories and 2 dimensions"
        );
        assert_eq!(
            refusal(vec![(at(0), array![[f64::NAN]])]),
            "the embedding of \"sku\" has a number that is not finite"
        );
        assert_eq!(
            refusal(vec![(at(0), Array2::zeros((1, 9)))]),
            "the embedding of \"sku\" must be of an input in [0, 0), got 0"
        );
    }
}
