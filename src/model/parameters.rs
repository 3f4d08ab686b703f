//! Parameters as they stand in a body: checked against the layers that they are for, and made into those layers.

use ndarray::Array1;
use serde::Deserialize;

use crate::model::spec::{LayerSpec, ModelSpec};
use crate::model::{Rows, Violations, given};
use crate::nn::{Layer, Normalization, Normalized, Scalar};

/// Parameters of one layer as they stand in a body.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerParameters {
    /// w (units × inputs).
    pub weights: Rows,
    /// b (units).
    pub biases: Vec<f64>,
    /// γ (units) of a normalized layer; left out, ones.
    #[serde(default, deserialize_with = "given")]
    pub scales: Option<Vec<f64>>,
    /// The running mean (units) of batch normalization; left out, zeros.
    #[serde(default, deserialize_with = "given")]
    pub running_mean: Option<Vec<f64>>,
    /// The running variance (units) of batch normalization; left out, ones.
    #[serde(default, deserialize_with = "given")]
    pub running_variance: Option<Vec<f64>>,
}

impl LayerParameters {
    /// What is given beside weights and biases: the name, and whether a layer of this normalization has it.
    fn beside(
        &self,
        by: Option<Normalization>,
    ) -> [(&'static str, &'static str, Option<&Vec<f64>>, bool); 3] {
        let of_batch = by.is_some_and(Normalization::is_of_batch);
        let (any, batch) = ("normalization", "batch normalization");
        [
            ("scales", any, self.scales.as_ref(), by.is_some()),
            ("running_mean", batch, self.running_mean.as_ref(), of_batch),
            (
                "running_variance",
                batch,
                self.running_variance.as_ref(),
                of_batch,
            ),
        ]
    }

    /// The layer of these parameters, which have been checked.
    pub(super) fn layer<T: Scalar>(&self, spec: &LayerSpec) -> Layer<T> {
        let cast = |values: &Vec<f64>| -> Array1<T> {
            values.iter().map(|&value| T::from_f64(value)).collect()
        };
        let normalization = spec.normalization.map(|by| {
            let first = Normalized::new(by, spec.units as usize);
            Normalized {
                by,
                scales: self.scales.as_ref().map_or(first.scales, cast),
                running_mean: self.running_mean.as_ref().map_or(first.running_mean, cast),
                running_variance: (self.running_variance.as_ref())
                    .map_or(first.running_variance, cast),
            }
        });
        Layer {
            weights: self.weights.view().mapv(T::from_f64),
            biases: cast(&self.biases),
            activation: spec.activation,
            normalization,
        }
    }
}

/// Notes what is wrong with the parameters given for the layers of a spec.
pub(super) fn check_parameters(
    spec: &ModelSpec,
    parameters: &[LayerParameters],
    violations: &mut Violations,
) {
    let own = spec
        .layers
        .iter()
        .position(|layer| layer.initializer.is_some());
    let given = own.map(|index| format!("/layers/{index}/initializer"));
    if let Some(pointer) = given.or_else(|| spec.initializer.map(|_| "/initializer".to_owned())) {
        violations.add(
            pointer,
            "must be left out where parameters are given: nothing is drawn",
        );
    }
    if parameters.len() != spec.layers.len() {
        let (layers, got) = (spec.layers.len(), parameters.len());
        violations.add(
            "/parameters",
            format!("must have one entry for each of the {layers} layers, got {got}"),
        );
        return;
    }
    let reads = spec.reads();
    let mut inputs = reads.expect("a spec in shape has inputs within the limit") as usize;
    for (index, (layer, given)) in spec.layers.iter().zip(parameters).enumerate() {
        let units = layer.units as usize;
        let (rows, width) = (given.weights.len(), given.weights.width());
        if (rows, width) != (units, inputs) {
            violations.add(
                format!("/parameters/{index}/weights"),
                format!("must be {units} rows (units) of {inputs} numbers (inputs), got {rows} of {width}"),
            );
        }
        if given.biases.len() != units {
            let got = given.biases.len();
            violations.add(
                format!("/parameters/{index}/biases"),
                format!("must be {units} numbers (units), got {got}"),
            );
        }
        check_beside(layer, index, given, violations);
        check_magnitude(spec, index, given, violations);
        inputs = units;
    }
}

/// Scales, running means and variances: there where the layer has them, in their number, no variance negative.
fn check_beside(
    layer: &LayerSpec,
    index: usize,
    given: &LayerParameters,
    violations: &mut Violations,
) {
    for (name, whose, values, has) in given.beside(layer.normalization) {
        let Some(values) = values else { continue };
        let (units, got) = (layer.units, values.len());
        let pointer = format!("/parameters/{index}/{name}");
        if !has {
            let detail = format!("must be left out where the layer has no {whose}");
            violations.add(pointer, detail);
        } else if got as u64 != units {
            let detail = format!("must be {units} numbers (units), got {got}");
            violations.add(pointer, detail);
        }
    }
    let variances = given.running_variance.iter().flatten().enumerate();
    for (unit, variance) in variances.filter(|(_, variance)| **variance < 0.0) {
        if violations.is_full() {
            return;
        }
        let pointer = format!("/parameters/{index}/running_variance/{unit}");
        violations.add(pointer, format!("must be at least 0, got {variance}"));
    }
}

fn check_magnitude(
    spec: &ModelSpec,
    index: usize,
    given: &LayerParameters,
    violations: &mut Violations,
) {
    let most = spec.dtype.max();
    let dtype = spec.dtype.name();
    let mut check = |pointer: &dyn Fn() -> String, value: f64| {
        if !spec.dtype.holds(value) && !violations.is_full() {
            let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}");
            violations.add(pointer(), detail);
        }
    };
    for ((row, column), &value) in given.weights.view().indexed_iter() {
        let pointer = || format!("/parameters/{index}/weights/{row}/{column}");
        check(&pointer, value);
    }
    let beside = given
        .beside(None)
        .map(|(name, _, values, _)| (name, values));
    for (name, values) in [("biases", Some(&given.biases))].into_iter().chain(beside) {
        for (unit, &value) in values.into_iter().flatten().enumerate() {
            check(&|| format!("/parameters/{index}/{name}/{unit}"), value);
        }
    }
}
