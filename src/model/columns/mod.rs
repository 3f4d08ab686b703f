//! Columns: what the network reads of a table's columns, fitted on the rows that are trained on and kept in the model.

mod cell;
mod declared;
mod embedded;
mod encoder;
mod fit;
mod inferred;
mod normal;
mod reading;
#[cfg(test)]
mod scikit_learn;
mod spec;

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array2, Axis};

pub use crate::model::columns::cell::Cell;
pub use crate::model::columns::declared::ModelDeclaration;
pub(crate) use crate::model::columns::declared::meaning;
pub(crate) use crate::model::columns::embedded::check_vectors;
pub use crate::model::columns::embedded::{EmbeddingParameters, EmbeddingShape, embeddings};
pub use crate::model::columns::encoder::{Encoder, Fitted};
pub use crate::model::columns::fit::Affine;
pub(crate) use crate::model::columns::fit::{mean_and_std, range};
pub use crate::model::columns::inferred::TableView;
pub(crate) use crate::model::columns::inferred::{goes_with, name_of};
pub use crate::model::columns::reading::Reading;
pub use crate::model::columns::spec::{
    ColumnSpec, Constant, Encode, Impute, Part, Role, Scale, Unknown,
};
use crate::model::{Error, ReadTensors, Tensors, Violations, escaped, known};
use crate::nn::Scalar;

/// A row of named values, as its sender writes it.
pub type Instance = BTreeMap<String, Cell>;

/// A table's columns as a model reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    specs: Vec<ColumnSpec>,
    encoders: Vec<Encoder>,
    /// The scaling of each numeric target; empty until fitted, and where there is none.
    targets: Vec<Affine>,
}

impl Columns {
    /// Columns that are filled in, and not fitted yet.
    pub fn new(specs: Vec<ColumnSpec>) -> Self {
        let features = specs.iter().filter(|spec| spec.role == Role::Feature);
        Self {
            encoders: features
                .map(|spec| Encoder::new(spec.clone(), None))
                .collect(),
            specs,
            targets: Vec::new(),
        }
    }

    /// All columns, as declared and filled in.
    pub fn specs(&self) -> &[ColumnSpec] {
        &self.specs
    }

    /// The feature columns, in the order in which the network reads them.
    pub fn encoders(&self) -> &[Encoder] {
        &self.encoders
    }

    /// Numbers that the network reads of a row.
    pub fn width(&self) -> usize {
        let widths = self.encoders.iter().map(Encoder::width);
        widths.fold(0, usize::saturating_add)
    }

    /// Names of the feature columns.
    pub fn features(&self) -> Vec<String> {
        let names = self.encoders.iter().map(|encoder| &encoder.spec().name);
        names.cloned().collect()
    }

    /// The target columns.
    pub fn targets(&self) -> impl Iterator<Item = &ColumnSpec> {
        self.specs.iter().filter(|spec| spec.role == Role::Target)
    }

    /// Whether rows can be read: every column is fitted.
    pub fn is_fitted(&self) -> bool {
        self.encoders
            .iter()
            .all(|encoder| encoder.fitted().is_some())
    }

    /// The same columns with their encoders fitted, and the scaling of the targets.
    #[must_use]
    pub fn fitted(&self, encoders: Vec<Encoder>, targets: Vec<Affine>) -> Self {
        Self {
            specs: self.specs.clone(),
            encoders,
            targets,
        }
    }

    /// The scaling of each numeric target, where they are scaled.
    pub fn target_scaling(&self) -> &[Affine] {
        &self.targets
    }

    /// What each number that layer 1 reads was divided by, where its slope by the raw value is 1 over that; else 1.
    pub fn slopes(&self) -> Vec<f64> {
        self.encoders.iter().flat_map(Encoder::slopes).collect()
    }

    /// What the network reads of rows of named values: (rows × inputs).
    ///
    /// Errors: a key is not a feature; a value that is missing, unknown or of another kind, where that is refused; a number
    /// that does not fit `T` once scaled. All of them, each with its pointer.
    pub fn read<T: Scalar>(&self, instances: &[Instance]) -> Result<Array2<T>, Error> {
        let mut violations = Violations::default();
        let mut inputs = Array2::zeros((instances.len(), self.width()));
        let names: HashMap<&str, usize> = self.names();
        for (row, instance) in instances.iter().enumerate() {
            if violations.is_full() {
                break;
            }
            let mut places = inputs.index_axis_mut(Axis(0), row);
            let into = places.as_slice_mut().expect("rows follow one another");
            self.read_row(instance, row, into, &mut violations);
            for name in instance
                .keys()
                .filter(|name| !names.contains_key(name.as_str()))
            {
                let known = known(name, &self.features());
                let detail = format!("has no feature {name:?}: {known}");
                violations.add(format!("/instances/{row}"), detail);
            }
        }
        violations.finish().map_err(Error::from)?;
        Ok(inputs)
    }

    fn read_row<T: Scalar>(
        &self,
        instance: &Instance,
        row: usize,
        into: &mut [T],
        violations: &mut Violations,
    ) {
        let mut first = 0;
        for encoder in &self.encoders {
            let places = &mut into[first..first + encoder.width()];
            first += encoder.width();
            let name = &encoder.spec().name;
            let cell = instance.get(name).unwrap_or(&Cell::Missing);
            let pointer = || format!("/instances/{row}/{}", escaped(name));
            match encoder.value(cell) {
                Ok(value) if encoder.write(value, places) => {}
                Ok(value) => violations.add(pointer(), misfit::<T>(value)),
                Err(detail) => violations.add(pointer(), detail),
            }
        }
    }

    /// The place of each feature by its name. A target or an ignored column may stand in a row; it is not read.
    fn names(&self) -> HashMap<&str, usize> {
        let names = self.specs.iter().map(|spec| spec.name.as_str());
        names.zip(0..).collect()
    }

    /// Adds what was fitted, under names that begin with `preprocess.`; nothing before it is.
    pub(crate) fn push(&self, tensors: &mut Tensors) {
        let fitted = self.encoders.iter().map(Encoder::fitted);
        let Some(fitted) = fitted.collect::<Option<Vec<_>>>() else {
            return;
        };
        let mut push = |name: String, values: Vec<f64>| {
            tensors.push(format!("preprocess.{name}"), &[values.len()], values.iter());
        };
        push(
            "impute".to_owned(),
            fitted.iter().map(|fitted| fitted.impute).collect(),
        );
        let scaling = || fitted.iter().flat_map(|fitted| &fitted.scaling);
        push(
            "offset".to_owned(),
            scaling().map(|affine| affine.offset).collect(),
        );
        push(
            "scale".to_owned(),
            scaling().map(|affine| affine.scale).collect(),
        );
        for (place, fitted) in fitted.iter().enumerate() {
            if !fitted.quantiles.is_empty() {
                push(format!("quantiles.{}", place + 1), fitted.quantiles.clone());
            }
        }
        let targets = || self.targets.iter();
        push(
            "target_offset".to_owned(),
            targets().map(|affine| affine.offset).collect(),
        );
        push(
            "target_scale".to_owned(),
            targets().map(|affine| affine.scale).collect(),
        );
    }

    /// The columns of a header with what was fitted, as [`Columns::push`] wrote it.
    ///
    /// Errors: numbers are missing, too many, or none that fitting comes to.
    pub(crate) fn from_tensors(
        specs: Vec<ColumnSpec>,
        tensors: &ReadTensors,
    ) -> Result<Self, Error> {
        let columns = Self::new(specs);
        if !tensors.has("preprocess.impute") {
            return Ok(columns);
        }
        let vector = |name: &str| tensors.vector::<f64>(&format!("preprocess.{name}"));
        let impute = vector("impute")?;
        let mut scaling =
            affines(vector("offset")?.to_vec(), vector("scale")?.to_vec())?.into_iter();
        let targets = affines(
            vector("target_offset")?.to_vec(),
            vector("target_scale")?.to_vec(),
        )?;
        let wrong = || Error::artifact("the preprocessing does not fit together");
        if impute.len() != columns.encoders.len() {
            return Err(wrong());
        }
        let mut encoders = Vec::with_capacity(columns.encoders.len());
        for (place, (encoder, &impute)) in columns.encoders.iter().zip(&impute).enumerate() {
            let name = format!("quantiles.{}", place + 1);
            let quantiles = match encoder.spec().scale {
                Some(Scale::QuantileNormal) => vector(&name)?.to_vec(),
                _ => Vec::new(),
            };
            let fitted = Fitted {
                impute,
                scaling: scaling.by_ref().take(encoder.scaled()).collect(),
                quantiles,
            };
            let fitted = Encoder::new(encoder.spec().clone(), Some(fitted));
            encoders.push(fitted.sound().ok_or_else(wrong)?);
        }
        let is_whole =
            scaling.next().is_none() && [0, columns.targets().count()].contains(&targets.len());
        is_whole
            .then(|| columns.fitted(encoders, targets))
            .ok_or_else(wrong)
    }
}

/// What a number must be that does not fit `T` once scaled.
pub(crate) fn misfit<T: Scalar>(value: f64) -> String {
    let (dtype, most) = (T::DTYPE.name(), T::DTYPE.max());
    format!("must fit {dtype}, within ±{most:e}, once scaled, got {value:e}")
}

fn affines(offsets: Vec<f64>, scales: Vec<f64>) -> Result<Vec<Affine>, Error> {
    let finite = offsets.iter().chain(&scales).all(|value| value.is_finite());
    if !finite || offsets.len() != scales.len() || scales.iter().any(|&scale| scale <= 0.0) {
        return Err(Error::artifact("the preprocessing does not fit together"));
    }
    let pairs = offsets.into_iter().zip(scales);
    Ok(pairs
        .map(|(offset, scale)| Affine { offset, scale })
        .collect())
}
