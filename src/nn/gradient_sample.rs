//! Which parameters a gradient check looks at.

use std::collections::BTreeSet;

use ndarray::ArrayView2;
use rand_core::Rng;

use crate::nn::embedding::category;
use crate::nn::random::{GRADIENT_CHECK, below, keyed};
use crate::nn::{CheckOptions, Network};

/// The numbers of the parameters to look at, rising.
pub(super) fn chosen(
    network: &Network<f64>,
    inputs: ArrayView2<f64>,
    options: &CheckOptions,
) -> BTreeSet<usize> {
    let (all, sample) = (network.parameter_count(), options.sample);
    if sample >= all {
        return (0..all).collect();
    }
    // A vector that no sample reads has the derivative 0 on either side, and most may be such.
    let layers = network.layer_parameter_count();
    let met = Met::of(network, inputs);
    let of_tables = met.iter().map(Met::numbers).sum::<usize>();
    let of_layers = layers.min(sample.div_ceil(2).max(sample.saturating_sub(of_tables)));
    let mut random = keyed(options.seed, GRADIENT_CHECK, 0, 0);
    let mut chosen = drawn(of_layers, layers, &mut random);
    for number in drawn(sample - of_layers, of_tables, &mut random) {
        let mut behind = number;
        let table = met.iter().find(|table| {
            let is_there = behind < table.numbers();
            if !is_there {
                behind -= table.numbers();
            }
            is_there
        });
        let table = table.expect("a number of a table");
        chosen.insert(table.number(behind));
    }
    chosen
}

/// What samples read of a table.
struct Met {
    /// The number of its first parameter.
    first: usize,
    /// Categories and dimensions of the table.
    categories: usize,
    dimensions: usize,
    /// The categories that samples have, rising.
    read: Vec<usize>,
}

impl Met {
    /// What these samples read of the tables of a network.
    fn of(network: &Network<f64>, inputs: ArrayView2<f64>) -> Vec<Self> {
        let mut first = network.layer_parameter_count();
        let tables = network.embeddings().iter().zip(network.vectors());
        let tables = tables.map(|(embedding, vectors)| {
            let (categories, dimensions) = vectors.dim();
            let places = inputs.column(embedding.input).into_iter();
            let read: BTreeSet<usize> = places
                .filter_map(|&place| category(place, categories))
                .collect();
            let table = Self {
                first,
                categories,
                dimensions,
                read: read.into_iter().collect(),
            };
            first += categories * dimensions;
            table
        });
        tables.collect()
    }

    fn numbers(&self) -> usize {
        self.read.len() * self.dimensions
    }

    /// The number of a parameter, as a gradient check counts it, by its place among those that are read.
    fn number(&self, place: usize) -> usize {
        let (row, read) = (place / self.read.len(), place % self.read.len());
        self.first + row * self.categories + self.read[read]
    }
}

/// So many numbers below a count, or all.
///
/// Source: Floyd, in Bentley and Floyd (1987), "A sample of brilliance": every subset is as likely as the others.
fn drawn(sample: usize, count: usize, random: &mut impl Rng) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in count.saturating_sub(sample)..count {
        let number = below(random, last as u64 + 1) as usize;
        if !chosen.insert(number) {
            chosen.insert(last);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::nn::{Activation, Embedding, Layer};

    /// Layers of 5 + 1 parameters that read a number and two vectors of two numbers, one of 1000 categories and one of 3.
    fn network() -> Network<f64> {
        let layer = Layer {
            weights: Array2::ones((1, 5)),
            biases: array![0.0],
            activation: Activation::Identity,
            normalization: None,
        };
        let tables = [(1, 1000), (2, 3)].map(|(input, categories)| {
            let column = input.to_string();
            (Embedding { column, input }, Array2::ones((categories, 2)))
        });
        let network = Network::new(vec![layer]).expect("one layer");
        network.with_embeddings(tables.to_vec()).expect("they fit")
    }

    #[test]
    fn half_of_a_sample_is_of_layers_and_the_rest_of_vectors_that_samples_read() {
        let network = network();
        // Categories 900 and 7 of the first table and 2 of the second are read, and an unknown one.
        let x = array![[0.5, 900.0, 2.0], [0.5, 7.0, -1.0], [0.5, 900.0, 2.0]];
        // By dimensions, behind 6 parameters of the layer; the second table is behind 2000 of the first.
        let read = [13, 906, 1013, 1906, 2008, 2011];
        let chosen = |sample, seed| {
            let options = CheckOptions {
                sample,
                seed,
                ..CheckOptions::default()
            };
            chosen(&network, x.view(), &options)
        };
        for sample in 0..=12 {
            let drawn = chosen(sample, 4);
            assert_eq!(drawn.len(), sample);
            assert_eq!(drawn.range(..6).count(), sample.div_ceil(2));
            assert!(drawn.range(6..).all(|number| read.contains(number)));
        }
        // There are no more of which the derivative is another than 0, unless all are wanted.
        assert!(chosen(13, 4).into_iter().eq((0..6).chain(read)));
        assert_eq!(chosen(2012, 4).len(), 2012);
        assert_eq!(chosen(5, 4), chosen(5, 4));
        assert_ne!(chosen(5, 4), chosen(5, 5));
    }

    #[test]
    fn what_the_vectors_leave_of_a_sample_is_of_layers() {
        let options = CheckOptions {
            sample: 5,
            ..CheckOptions::default()
        };
        let unknown = array![[0.5, -1.0, 2.0]];
        let drawn = chosen(&network(), unknown.view(), &options);
        assert_eq!((drawn.len(), drawn.range(6..).count()), (5, 2));
        let unknown = array![[0.5, -1.0, -1.0]];
        let drawn = chosen(&network(), unknown.view(), &options);
        assert_eq!((drawn.len(), drawn.range(6..).count()), (5, 0));
    }
}
