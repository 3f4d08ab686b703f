//! Vectors in the place of categories: what layer 1 reads of a row, and the gradient of the tables.

use crate::nn::embedding::category;
use crate::nn::kernel::{self, Matrix};
use crate::nn::noise::ChunkNoise;
use crate::nn::workspace::backward::led_back;
use crate::nn::workspace::{ROWS_TOGETHER, Rows};
use crate::nn::{Layer, Network, Scalar, Team, Workspace};

/// What layer 1 reads where there are embeddings, and ∂C/∂x of the vectors in it.
#[derive(Clone, Debug)]
pub(super) struct Embedded<T> {
    /// Numbers as they are, and a vector in the place of each category.
    rows: Rows<T>,
    /// One entry for each embedding.
    vectors: Vec<Vectors<T>>,
}

/// Where the vectors of an embedding stand.
#[derive(Clone, Debug)]
struct Vectors<T> {
    /// The input that has the category.
    input: usize,
    /// Where its vector begins among what layer 1 reads.
    first: usize,
    /// ∂C/∂x of the vectors, row by row.
    deltas: Rows<T>,
}

impl<T: Scalar> Embedded<T> {
    /// Memory for so many rows; none where the network has no embeddings.
    pub(super) fn new(network: &Network<T>, capacity: usize) -> Option<Self> {
        let tables = network.embeddings().iter().zip(network.tables());
        // How much further to the right than its input a vector stands.
        let mut further = 0;
        let vectors = tables.map(|(embedding, table)| {
            let first = embedding.input + further;
            further += table.units() - 1;
            Vectors {
                input: embedding.input,
                first,
                deltas: Rows::new(table.units(), capacity),
            }
        });
        let vectors: Vec<_> = vectors.collect();
        (!vectors.is_empty()).then(|| Self {
            rows: Rows::new(network.reads(), capacity),
            vectors,
        })
    }

    /// What layer 1 reads.
    pub(super) fn rows(&self) -> &Rows<T> {
        &self.rows
    }

    /// Puts what layer 1 reads together: categories by x, numbers by what the noise has made of x.
    fn look_up(&mut self, tables: &[Layer<T>], x: Matrix<'_, T>, numbers: Matrix<'_, T>) {
        let Self { rows, vectors } = self;
        for (row, into) in rows
            .values
            .chunks_exact_mut(rows.width)
            .enumerate()
            .take(x.len())
        {
            let (x, numbers) = (x.row(row), numbers.row(row));
            let (mut read, mut written) = (0, 0);
            for (vectors, table) in vectors.iter().zip(tables) {
                let Vectors { input, first, .. } = *vectors;
                into[written..first].copy_from_slice(&numbers[read..input]);
                (read, written) = (input + 1, first + table.units());
                let into = &mut into[first..written];
                let category = category(x[input], table.inputs());
                let vector =
                    category.map(|category| vector(table.weights_slice(), category, into.len()));
                match vector {
                    Some(vector) => into.copy_from_slice(vector),
                    None => into.fill(T::zero()),
                }
            }
            into[written..].copy_from_slice(&numbers[read..]);
        }
    }
}

/// The vector of a category.
fn vector<T>(table: &[T], category: usize, dimensions: usize) -> &[T] {
    &table[category * dimensions..][..dimensions]
}

impl<T: Scalar> Workspace<T> {
    /// The inputs of a pass, as layer 1 reads them: with their noise, and with vectors in the place of categories.
    ///
    /// Panics: as [`Workspace::disturb`].
    pub(in crate::nn) fn take_inputs(
        &mut self,
        network: &Network<T>,
        x: Matrix<'_, T>,
        noise: Option<ChunkNoise<'_>>,
    ) {
        self.disturb(x, noise);
        if let Some(embedded) = &mut self.embedded {
            let disturbed = self.inputs.as_ref();
            let numbers = disturbed.map_or(x, |inputs| inputs.matrix(x.len()));
            embedded.look_up(network.tables(), x, numbers);
        }
    }

    /// ∂C/∂x = δ¹ w¹ of the vectors that layer 1 has read, where there are any.
    pub(super) fn pass_back_to_vectors(&mut self, network: &Network<T>, rows: usize, team: &Team) {
        let Some(embedded) = &mut self.embedded else {
            return;
        };
        let led = led_back(&self.deltas[0], self.normalized[0].as_ref(), rows);
        let layer = &network.layers()[0];
        for Vectors { first, deltas, .. } in &mut embedded.vectors {
            let (units, dimensions) = (layer.units(), deltas.width);
            let w = &layer.weights_slice()[*first * units..][..dimensions * units];
            let work = rows.saturating_mul(w.len());
            let arrays = [(deltas.slice_mut(rows), dimensions)];
            team.split(rows, ROWS_TOGETHER, work, arrays, |part, [deltas]| {
                kernel::backward(led.slice(part), w, deltas, None);
            });
        }
    }

    /// ∂C/∂E of an embedding, counted from 0: ∂C/∂x of the vectors of each category, added up in the order of the rows, of
    /// which a block has at most 512. Shapes: `table` (categories × dimensions).
    pub(in crate::nn) fn table_gradient(&self, index: usize, x: Matrix<'_, T>, table: &mut [T]) {
        let embedded = self.embedded.as_ref();
        let embedded = embedded.expect("a workspace of a network with embeddings");
        let Vectors { input, deltas, .. } = &embedded.vectors[index];
        let dimensions = deltas.width;
        table.fill(T::zero());
        let rows = deltas.slice(x.len()).chunks_exact(dimensions);
        for (row, delta) in rows.enumerate() {
            if let Some(category) = category(x.row(row)[*input], table.len() / dimensions) {
                let sums = &mut table[category * dimensions..][..dimensions];
                for (sum, &delta) in sums.iter_mut().zip(delta) {
                    *sum += delta;
                }
            }
        }
    }
}
