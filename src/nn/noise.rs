//! What training leaves to chance inside a network: units that are left out, and noise on the inputs.

use rand_core::Rng;

use crate::nn::random::{DROPOUT, INPUT_NOISE, keyed};
use crate::nn::ziggurat::Ziggurat;
use crate::nn::{Regularization, Scalar};

/// Dropout and noise of a run, and the seed of their draws.
///
/// x ← x + s n, each n from N(0, 1); then, of the inputs and of each hidden layer, a ← m ⊙ a / (1 − p), where each entry of
/// m is 0 with probability p, else 1: the next layer sees a of the same mean, and prediction leaves a as it is.
///
/// The draws of a layer for a chunk of rows are those of ChaCha8 keyed by (seed, purpose, epoch, step), whose stream is
/// layer · 2³² + chunk, row by row: a function of what they are for, whatever has been drawn before.
///
/// Source: Srivastava et al. (2014), sections 4 and 10; noise on the inputs, Bishop (1995).
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    seed: u64,
    /// s.
    deviation: f64,
    /// What n is drawn by.
    normal: Ziggurat,
    /// p of layers 0..L−1, of which layer 0 is the input.
    dropout: Vec<f64>,
}

/// The noise of one chunk of rows in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkNoise<'a> {
    noise: &'a Noise,
    epoch: u64,
    step: u64,
    chunk: usize,
}

impl Noise {
    /// That of a run, for a network of so many hidden layers; none where nothing is left to chance.
    ///
    /// Panics: where dropout is a list that has not one entry for each hidden layer, the caller's bug.
    pub fn new(regularization: &Regularization, hidden_layers: usize, seed: u64) -> Option<Self> {
        let Regularization {
            dropout,
            input_dropout,
            input_noise,
            ..
        } = regularization;
        let hidden = (0..hidden_layers).map(|layer| dropout.of(layer));
        let noise = Self {
            seed,
            deviation: *input_noise,
            normal: Ziggurat::new(),
            dropout: std::iter::once(*input_dropout).chain(hidden).collect(),
        };
        let is_any = noise.deviation > 0.0 || noise.dropout.iter().any(|&p| p > 0.0);
        is_any.then_some(noise)
    }

    /// Whether units of a layer are left out; layer 0 is the input, and from the last layer none ever is.
    pub(crate) fn drops(&self, layer: usize) -> bool {
        self.dropout.get(layer).is_some_and(|&p| p > 0.0)
    }

    /// Whether anything happens to the inputs.
    pub(crate) fn disturbs(&self) -> bool {
        self.deviation > 0.0 || self.drops(0)
    }

    /// The noise of a chunk, counted from 0 in its batch.
    pub(crate) fn of(&self, (epoch, step): (u64, u64), chunk: usize) -> ChunkNoise<'_> {
        ChunkNoise {
            noise: self,
            epoch,
            step,
            chunk,
        }
    }
}

impl ChunkNoise<'_> {
    /// That of the chunk so many after it.
    pub(crate) fn plus(mut self, chunks: usize) -> Self {
        self.chunk += chunks;
        self
    }

    /// x ← m ⊙ (x + s n) / (1 − p), of layer 0.
    pub(crate) fn disturb<T: Scalar>(self, inputs: &mut [T]) {
        let (s, normal) = (self.noise.deviation, &self.noise.normal);
        if s > 0.0 {
            let mut random = self.random(INPUT_NOISE, 0);
            for x in &mut *inputs {
                *x += T::from_f64(s * normal.draw(&mut random));
            }
        }
        if self.noise.drops(0) {
            let mut factor = self.factors(0);
            for x in inputs {
                *x *= factor();
            }
        }
    }

    /// Draws m / (1 − p) of a hidden layer, 1..L−1, into `factors`, and m ⊙ a / (1 − p) into `dropped`.
    pub(crate) fn drop_out<T: Scalar>(
        self,
        layer: usize,
        a: &[T],
        factors: &mut [T],
        dropped: &mut [T],
    ) {
        let mut draw = self.factors(layer);
        for ((&a, factor), dropped) in a.iter().zip(factors).zip(dropped) {
            *factor = draw();
            *dropped = a * *factor;
        }
    }

    /// The entries of m / (1 − p), one after another. A draw of 32 bits is compared with p · 2³², so that p is kept to 2⁻³².
    fn factors<T: Scalar>(self, layer: usize) -> impl FnMut() -> T {
        let p = self.noise.dropout[layer];
        let dropped = (p * 2.0_f64.powi(32)) as u32;
        let kept = T::from_f64(1.0 / (1.0 - p));
        let mut random = self.random(DROPOUT, layer);
        move || {
            if random.next_u32() < dropped {
                T::zero()
            } else {
                kept
            }
        }
    }

    fn random(self, purpose: u64, layer: usize) -> impl Rng {
        let mut random = keyed(self.noise.seed, purpose, self.epoch, self.step);
        random.set_stream((layer as u64) << 32 | self.chunk as u64);
        random
    }
}
