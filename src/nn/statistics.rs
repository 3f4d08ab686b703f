//! Norm, mean, spread and range of many numbers; per layer, whether its units still learn.

use serde::{Deserialize, Serialize};

use crate::nn::spread::{distance, spread, spread_of_quotients};
use crate::nn::{Accumulator, BatchSums, Bins, Histogram, Layer, LayerGradient, Network, Scalar};

/// What describes a set of numbers; all zeros for an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// √Σ v².
    pub norm: f64,
    /// (1/n) Σ v.
    pub mean: f64,
    /// √((1/n) Σ v² − mean²), the standard deviation of the whole population; rounding leaves it wrong by up to about
    /// 1e-6 of the mean, which one pass costs and watching a training run does not notice.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Statistics {
    /// The statistics of the numbers, in one pass.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        Moments::of(values).statistics()
    }
}

/// The sums that statistics are made of; they can be added up over chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// n.
    pub count: u64,
    /// Σ v.
    pub sum: f64,
    /// Σ v².
    pub sum_of_squares: f64,
    /// The smallest; +∞ of none.
    pub min: f64,
    /// The largest; −∞ of none.
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// The sums over the numbers, in order.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut moments = Self::default();
        for value in values {
            moments.count += 1;
            moments.sum += value;
            moments.sum_of_squares += value * value;
            moments.min = moments.min.min(value);
            moments.max = moments.max.max(value);
        }
        moments
    }

    /// Norm, mean, standard deviation and range.
    pub fn statistics(&self) -> Statistics {
        if self.count == 0 {
            return Statistics::default();
        }
        let count = self.count as f64;
        let mean = self.sum / count;
        let variance = self.sum_of_squares / count - mean * mean;
        Statistics {
            norm: finite(self.sum_of_squares.sqrt()),
            mean: finite(mean),
            // Rounding can leave a variance of 0 slightly below it; `clamp` leaves NaN as it is.
            std: finite(variance.clamp(0.0, f64::INFINITY).sqrt()),
            min: self.min,
            max: self.max,
        }
    }
}

impl Accumulator for Moments {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// How one layer fares in one batch.
///
/// With dropout or noise, the numbers are those of the network that they leave in the step; a is counted before units of its
/// own layer are left out, so that none of these passes for saturated or dead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerStatistics {
    /// The layer's number, 1..L.
    pub layer: usize,
    /// Of ∂C/∂w, the mean over the batch.
    pub weight_gradient: Statistics,
    /// Of ∂C/∂b, the mean over the batch.
    pub bias_gradient: Statistics,
    /// Of δ, over all samples and units.
    pub deltas: Statistics,
    /// Of a, over all samples and units.
    pub activations: Statistics,
    /// Of w, as the network is now.
    pub weights: Statistics,
    /// ‖η ∂C/∂w‖ / ‖w‖; 0 where ‖w‖ is 0. About 1e-3 is usual where a network learns well.
    pub update_to_weight_ratio: f64,
    /// The share of activations that are saturated: sigmoid below 0.01 or above 0.99, tanh and softsign beyond ±0.99,
    /// hard_sigmoid at 0 or 1, others never.
    pub saturated: f64,
    /// The share of the layer's units that are 0 on every sample of the batch; relu only, else 0.
    pub dead: f64,
    /// How the same numbers are spread; none where they were recorded by a program that made no histograms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<LayerHistograms>,
}

/// How the numbers of one layer are spread in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerHistograms {
    /// Of ∂C/∂w, the mean over the batch.
    pub weight_gradient: Histogram,
    /// Of ∂C/∂b, the mean over the batch.
    pub bias_gradient: Histogram,
    /// Of δ, over all samples and units.
    pub deltas: Histogram,
    /// Of a, over all samples and units.
    pub activations: Histogram,
    /// Of w, as the network is now.
    pub weights: Histogram,
}

/// How one embedding fares in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingStatistics {
    /// The column whose categories have the vectors.
    pub column: String,
    /// Vectors in the table.
    pub categories: usize,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// Of ∂C/∂E, the mean over the batch: 0 for categories that no sample has.
    pub weight_gradient: Statistics,
    /// Of E, as the network is now.
    pub weights: Statistics,
    /// ‖η ∂C/∂E‖ / ‖E‖; 0 where ‖E‖ is 0.
    pub update_to_weight_ratio: f64,
    /// How the same numbers are spread; none where the pass did not record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<EmbeddingHistograms>,
}

/// How the numbers of one embedding are spread in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingHistograms {
    /// Of ∂C/∂E, the mean over the batch.
    pub weight_gradient: Histogram,
    /// Of E, as the network is now.
    pub weights: Histogram,
}

/// How all parts of a network fare in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredStatistics")]
pub struct NetworkStatistics {
    /// The layers, first to last.
    pub layers: Vec<LayerStatistics>,
    /// The embeddings, in the order of their inputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingStatistics>,
}

/// The same as it is read: before there were embeddings it was the layers alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredStatistics {
    Layers(Vec<LayerStatistics>),
    Network {
        layers: Vec<LayerStatistics>,
        #[serde(default)]
        embeddings: Vec<EmbeddingStatistics>,
    },
}

impl From<StoredStatistics> for NetworkStatistics {
    fn from(stored: StoredStatistics) -> Self {
        let (layers, embeddings) = match stored {
            StoredStatistics::Layers(layers) => (layers, Vec::new()),
            StoredStatistics::Network { layers, embeddings } => (layers, embeddings),
        };
        Self { layers, embeddings }
    }
}

/// The statistics of every layer and embedding for one batch: see [`layer_statistics`].
///
/// Panics: as there.
pub fn network_statistics<T: Scalar>(
    network: &Network<T>,
    sums: &BatchSums<T>,
    updated: &Network<T>,
) -> NetworkStatistics {
    let depth = network.layers().len();
    let gradients = sums.gradient.layers.iter().zip(updated.parts());
    let tables = network.embeddings().iter().zip(network.tables());
    let embeddings =
        tables
            .zip(gradients.skip(depth))
            .map(|((embedding, table), (gradient, updated))| {
                let weights = WeightStatistics::of(table, (gradient, mean_by(sums)), updated);
                EmbeddingStatistics {
                    column: embedding.column.clone(),
                    categories: table.inputs(),
                    dimensions: table.units(),
                    weight_gradient: weights.gradient,
                    weights: weights.weights,
                    update_to_weight_ratio: weights.update_ratio,
                    histograms: (!sums.moments.is_empty()).then(|| EmbeddingHistograms {
                        weight_gradient: weights.bins[0].histogram(),
                        weights: weights.bins[1].histogram(),
                    }),
                }
            });
    NetworkStatistics {
        embeddings: embeddings.collect(),
        layers: layer_statistics(network, sums, updated),
    }
}

/// What the weights of a layer, or a table of vectors, come to in a batch.
struct WeightStatistics {
    gradient: Statistics,
    weights: Statistics,
    update_ratio: f64,
    /// Of the gradient and of the weights.
    bins: [Bins; 2],
}

impl WeightStatistics {
    fn of<T: Scalar>(
        layer: &Layer<T>,
        (gradient, weight): (&LayerGradient<T>, f64),
        updated: &Layer<T>,
    ) -> Self {
        let [gradients, ..] = gradient.slices();
        let (gradient, gradient_bins) = spread_of_quotients(gradients, weight);
        let (weights, weight_bins) = spread(layer.weights_slice());
        let weights = weights.statistics();
        Self {
            gradient: gradient.statistics(),
            weights,
            update_ratio: if weights.norm == 0.0 {
                0.0
            } else {
                let distance = distance(layer.weights_slice(), updated.weights_slice());
                finite(distance) / weights.norm
            },
            bins: [gradient_bins, weight_bins],
        }
    }
}

/// What the sums of a batch are divided by. Of a batch that weighs nothing the sums are 0, and so are the means.
fn mean_by<T>(sums: &BatchSums<T>) -> f64 {
    if sums.weight > 0.0 { sums.weight } else { 1.0 }
}

/// The statistics of every layer for one batch.
///
/// `network` is the one that the pass was over, `updated` the same after the step. Where the pass did not record, what
/// needs its moments (deltas, activations, saturated, dead) is 0.
///
/// Panics: where `sums` is of a network of another depth, the caller's bug.
pub(crate) fn layer_statistics<T: Scalar>(
    network: &Network<T>,
    sums: &BatchSums<T>,
    updated: &Network<T>,
) -> Vec<LayerStatistics> {
    assert_eq!(
        network.parts().len(),
        sums.gradient.layers.len(),
        "sums of this network"
    );
    let weight = mean_by(sums);
    let statistics = |(index, layer): (usize, &Layer<T>)| {
        let gradient = &sums.gradient.layers[index];
        let moments = sums.moments.get(index);
        let [_, bias_gradients, _] = gradient.slices();
        let (bias_gradient, bias_gradient_bins) = spread_of_quotients(bias_gradients, weight);
        let weights = WeightStatistics::of(layer, (gradient, weight), &updated.layers()[index]);
        let [gradient_bins, weight_bins] = &weights.bins;
        let histograms = moments.map(|moments| LayerHistograms {
            weight_gradient: gradient_bins.histogram(),
            bias_gradient: bias_gradient_bins.histogram(),
            deltas: moments.delta_bins.histogram(),
            activations: moments.activation_bins.histogram(),
            weights: weight_bins.histogram(),
        });
        let share = |part: usize, whole: usize| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        LayerStatistics {
            layer: index + 1,
            weight_gradient: weights.gradient,
            bias_gradient: bias_gradient.statistics(),
            deltas: moments.map_or_else(Statistics::default, |moments| moments.deltas.statistics()),
            activations: moments.map_or_else(Statistics::default, |moments| {
                moments.activations.statistics()
            }),
            weights: weights.weights,
            update_to_weight_ratio: weights.update_ratio,
            saturated: moments.map_or(0.0, |moments| {
                share(moments.saturated as usize, moments.entries as usize)
            }),
            dead: moments.map_or(0.0, |moments| {
                share(
                    moments
                        .active
                        .iter()
                        .filter(|&&samples| samples == 0)
                        .count(),
                    moments.active.len(),
                )
            }),
            histograms,
        }
    };
    network
        .layers()
        .iter()
        .enumerate()
        .map(statistics)
        .collect()
}

/// A square beyond f64 leaves ∞ or NaN in a sum, though every number is finite: the largest number stands for it.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_few_numbers_are_those_of_the_textbook() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, population standard deviation 2, Σ v² = 232.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let expected = Statistics {
            norm: 232.0_f64.sqrt(),
            mean: 5.0,
            std: 2.0,
            min: 2.0,
            max: 9.0,
        };
        assert_eq!(Statistics::of(values.into_iter()), expected);
        let mut moments = Moments::of(values[..3].iter().copied());
        moments.add(&Moments::of(values[3..].iter().copied()));
        assert_eq!(moments.statistics(), expected);
    }

    #[test]
    fn nothing_has_statistics_of_zeros_and_a_constant_has_no_spread() {
        assert_eq!(Statistics::of(std::iter::empty()), Statistics::default());
        let constant = Statistics::of(std::iter::repeat_n(0.1, 100));
        assert!(constant.std < 1e-6 * 0.1);
        assert_eq!((constant.min, constant.max), (0.1, 0.1));
    }

    #[test]
    fn statistics_recorded_before_there_were_histograms_are_still_read() {
        let zeros = r#"{"norm":0.0,"mean":0.0,"std":0.0,"min":0.0,"max":0.0}"#;
        let recorded = format!(
            r#"{{"layer":1,"weight_gradient":{zeros},"bias_gradient":{zeros},"deltas":{zeros},"activations":{zeros},"weights":{zeros},"update_to_weight_ratio":0.0,"saturated":0.0,"dead":0.0}}"#
        );
        let read: LayerStatistics = serde_json::from_str(&recorded).expect("all its fields");
        assert_eq!(read.histograms, None);
        assert_eq!(
            serde_json::to_string(&read).expect("finite numbers"),
            recorded
        );
    }

    #[test]
    fn statistics_recorded_before_there_were_embeddings_are_still_read() {
        let read: NetworkStatistics = serde_json::from_str("[]").expect("a list of layers");
        let expected = NetworkStatistics {
            layers: Vec::new(),
            embeddings: Vec::new(),
        };
        assert_eq!(read, expected);
        let written = serde_json::to_string(&read).expect("finite numbers");
        assert_eq!(written, r#"{"layers":[]}"#);
        let read: NetworkStatistics = serde_json::from_str(&written).expect("its own text");
        assert_eq!(read, expected);
    }

    #[test]
    fn squares_beyond_f64_leave_the_largest_number_and_never_infinity_or_nan() {
        // ±1e300: Σ v² = ∞. Twice 1e300: the mean's square is ∞ too, and ∞ − ∞ is NaN.
        for values in [[1e300, -1e300], [1e300, 1e300]] {
            let huge = Statistics::of(values.into_iter());
            assert_eq!((huge.norm, huge.std), (f64::MAX, f64::MAX));
            assert_eq!((huge.min, huge.max), (values[0].min(values[1]), 1e300));
        }
    }
}
