//! Preprocessing: from raw rows to what the network reads, the same for training, validation and predictions.

use std::collections::HashSet;

use ndarray::{Array2, ArrayView2};

use crate::model::columns::{Cell, ColumnSpec, Columns, Instance};
use crate::model::{
    Error, InputRows, Preprocess, Rows, Scaling, Violation, Violations, escaped, known,
};
use crate::nn::Scalar;

/// What a raw row goes through before the first layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Preprocessing {
    /// Each number is an input, perhaps scaled.
    Inputs {
        /// The scaling.
        scaling: Scaling,
        /// Names of the inputs, where the model was trained on a dataset.
        features: Option<Vec<String>>,
    },
    /// Columns of a table, each of which becomes one input or several.
    Columns(Columns),
}

impl Preprocessing {
    /// One whose numbers are not known yet: of columns, where there are any, else of each input.
    pub fn unfitted(preprocess: Preprocess, columns: &[ColumnSpec]) -> Self {
        if columns.is_empty() {
            return Self::Inputs {
                scaling: Scaling::unfitted(preprocess),
                features: None,
            };
        }
        Self::Columns(Columns::new(columns.to_vec()))
    }

    /// What is done to each input by itself.
    pub fn preprocess(&self) -> Preprocess {
        match self {
            Self::Inputs { scaling, .. } => scaling.preprocess(),
            Self::Columns(_) => Preprocess::None,
        }
    }

    /// Whether rows can be read: there is nothing to fit, or it is fitted.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Inputs { scaling, .. } => scaling.is_ready(),
            Self::Columns(columns) => columns.is_fitted(),
        }
    }

    /// The columns, where it is of columns.
    pub fn columns(&self) -> Option<&Columns> {
        match self {
            Self::Inputs { .. } => None,
            Self::Columns(columns) => Some(columns),
        }
    }

    /// Names of the feature columns, where there are any.
    pub fn features(&self) -> Option<Vec<String>> {
        match self {
            Self::Inputs { features, .. } => features.clone(),
            Self::Columns(columns) => Some(columns.features()),
        }
    }

    /// ∂C/∂x of one row from ∂C/∂x′ of what the network reads: (∂C/∂x′) / scale where x′ = (x − offset) / scale, else as it is.
    pub(crate) fn input_gradient(&self, mut gradients: ndarray::ArrayViewMut2<f64>) {
        let slopes = match self {
            Self::Inputs { scaling, .. } => scaling.scale().to_vec(),
            Self::Columns(columns) => columns.slopes(),
        };
        for mut row in gradients.rows_mut() {
            for (gradient, slope) in row.iter_mut().zip(&slopes) {
                *gradient /= slope;
            }
        }
    }

    /// What the network reads of raw rows: (rows × inputs).
    ///
    /// Errors: it is not fitted; rows of the wrong width, or without names where names are needed; a value that is refused or
    /// does not fit `T` once scaled.
    pub(crate) fn read<T: Scalar>(
        &self,
        rows: &InputRows,
        inputs: usize,
    ) -> Result<Array2<T>, Error> {
        if !self.is_ready() {
            let preprocess = self.described();
            return Err(Error::NotFitted { preprocess });
        }
        if rows.is_empty() {
            let detail = "must have at least one row, got 0";
            return Err(Error::invalid(rows.pointer(), detail));
        }
        match (self, rows) {
            (Self::Inputs { scaling, .. }, InputRows::Inputs(rows)) => {
                check_width(rows, inputs)?;
                scale_rows(scaling, &rows.view(), |row, column| {
                    format!("/inputs/{row}/{column}")
                })
            }
            (Self::Inputs { scaling, features }, InputRows::Instances(instances)) => {
                let (features, rows) = rows_of(features.as_deref(), instances)?;
                scale_rows(scaling, &rows.view(), |row, column| {
                    format!("/instances/{row}/{}", escaped(&features[column]))
                })
            }
            (Self::Columns(columns), InputRows::Instances(instances)) => columns.read(instances),
            (Self::Columns(columns), InputRows::Inputs(_)) => {
                let names = crate::model::shortened(&columns.features());
                let detail = format!(
                    "must be left out: this model reads columns ({names}); send them by name as instances"
                );
                Err(Error::invalid("/inputs", detail))
            }
        }
    }

    /// What is to be fitted, in the words of the declaration.
    pub fn described(&self) -> &'static str {
        match self {
            Self::Inputs { scaling, .. } => scaling.preprocess().name(),
            Self::Columns(_) => "of the columns",
        }
    }
}

fn check_width(rows: &Rows, expected: usize) -> Result<(), Error> {
    if rows.width() == expected {
        return Ok(());
    }
    let got = rows.width();
    let detail = format!("must have {expected} numbers, got {got}");
    Err(Error::invalid("/inputs/0", detail))
}

/// Scales raw values (N × K) in f64 and rounds them to `T`.
///
/// Errors: a scaled value does not fit `T`, with its pointer.
fn scale_rows<T: Scalar>(
    scaling: &Scaling,
    raw: &ArrayView2<f64>,
    pointer: impl Fn(usize, usize) -> String,
) -> Result<Array2<T>, Error> {
    let mut violations = Violations::default();
    let mut scaled = Array2::<T>::zeros(raw.raw_dim());
    for (((row, column), &value), place) in raw.indexed_iter().zip(scaled.iter_mut()) {
        let number = scaling.apply(column, value);
        *place = T::from_f64(number);
        if !place.is_finite() {
            let (dtype, most) = (T::DTYPE.name(), T::DTYPE.max());
            let made = if number == value {
                String::new()
            } else {
                format!(", which the preprocessing makes {number:e}")
            };
            let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}{made}");
            violations.add(pointer(row, column), detail);
            if violations.is_full() {
                break;
            }
        }
    }
    violations.finish().map_err(Error::from)?;
    Ok(scaled)
}

/// Rows from named values, in the order of the model's features.
///
/// Errors: the model has no named features; a feature is missing, unknown or no number.
fn rows_of<'a>(
    features: Option<&'a [String]>,
    instances: &[Instance],
) -> Result<(&'a [String], Rows), Error> {
    let Some(features) = features else {
        let detail = "must be left out: this version was not trained on a dataset with named columns; train the model on one, or send inputs";
        return Err(Error::invalid("/instances", detail));
    };
    let mut violations = Violations::default();
    let names: HashSet<&str> = features.iter().map(String::as_str).collect();
    let mut values = Vec::with_capacity(instances.iter().map(Instance::len).sum());
    for (row, instance) in instances.iter().enumerate() {
        if violations.is_full() {
            break;
        }
        for feature in features {
            match number(instance.get(feature), feature, row) {
                Ok(value) => values.push(value),
                Err(Violation { pointer, detail }) => violations.add(pointer, detail),
            }
            if violations.is_full() {
                break;
            }
        }
        let unknown = instance
            .keys()
            .filter(|name| !names.contains(name.as_str()));
        for name in unknown {
            if violations.is_full() {
                break;
            }
            let known = known(name, features);
            let detail = format!("has no feature {name:?}: {known}");
            violations.add(format!("/instances/{row}"), detail);
        }
    }
    violations.finish().map_err(Error::from)?;
    let rows = Rows::new(features.len(), values).expect("every row has every feature");
    Ok((features, rows))
}

fn number(cell: Option<&Cell>, feature: &str, row: usize) -> Result<f64, Violation> {
    match cell {
        Some(Cell::Number(number)) => Ok(*number),
        Some(Cell::Boolean(flag)) => Ok(f64::from(u8::from(*flag))),
        None => Err(Violation {
            pointer: format!("/instances/{row}"),
            detail: format!("must have feature {feature:?}"),
        }),
        Some(cell) => Err(Violation {
            pointer: format!("/instances/{row}/{}", escaped(feature)),
            detail: format!("must be a number, got {cell}"),
        }),
    }
}
