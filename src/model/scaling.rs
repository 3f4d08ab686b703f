//! Preprocessing of the inputs: fitted on training rows, kept in the model, applied the same way everywhere.

use serde::{Deserialize, Serialize};

use crate::model::columns::{Affine, mean_and_std, range};

/// What is done to each input before the first layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preprocess {
    /// Inputs go in as they are.
    #[default]
    None,
    /// x′ = (x − mean) / std, with the population standard deviation (as scikit-learn's `StandardScaler`).
    Standardize,
    /// x′ = (x − min) / (max − min), so that training rows lie in [0, 1].
    Minmax,
}

impl Preprocess {
    /// The word for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standardize => "standardize",
            Self::Minmax => "minmax",
        }
    }
}

/// A preprocessing and, once fitted, its numbers: x′ = (x − offset) / scale for each input.
///
/// Shapes: `offset` and `scale` (inputs). Both empty until fitted, and always for [`Preprocess::None`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    preprocess: Preprocess,
    offset: Vec<f64>,
    scale: Vec<f64>,
}

impl Scaling {
    /// A preprocessing whose numbers are not known yet.
    pub fn unfitted(preprocess: Preprocess) -> Self {
        Self {
            preprocess,
            offset: Vec::new(),
            scale: Vec::new(),
        }
    }

    /// A preprocessing with its numbers, as read back from an artifact. `None` where the numbers cannot be one.
    pub fn from_parts(preprocess: Preprocess, offset: Vec<f64>, scale: Vec<f64>) -> Option<Self> {
        let finite = offset.iter().chain(&scale).all(|value| value.is_finite());
        let divisible = scale.iter().all(|&value| value > 0.0);
        let wanted = preprocess != Preprocess::None || offset.is_empty();
        (offset.len() == scale.len() && finite && divisible && wanted).then_some(Self {
            preprocess,
            offset,
            scale,
        })
    }

    /// What is done to the inputs.
    pub fn preprocess(&self) -> Preprocess {
        self.preprocess
    }

    /// What is subtracted from each input; empty until fitted.
    pub fn offset(&self) -> &[f64] {
        &self.offset
    }

    /// What each input is divided by after that; empty until fitted.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Whether rows can be scaled: nothing is to be done, or the numbers are known.
    pub fn is_ready(&self) -> bool {
        self.preprocess == Preprocess::None || !self.offset.is_empty()
    }

    /// Fits the next input to its values in the training rows (in their order), adding its offset and scale.
    ///
    /// An input without spread scales by 1. Sums go over samples in the fixed tree, so the numbers are the same bits
    /// however the rows are held.
    pub fn fit_next(&mut self, values: &[f64]) {
        let (offset, scale) = match self.preprocess {
            Preprocess::None => return,
            Preprocess::Standardize => mean_and_std(values),
            Preprocess::Minmax => {
                let (low, high) = range(values);
                (low, high - low)
            }
        };
        let fitted = Affine::by(offset, scale);
        self.offset.push(fitted.offset);
        self.scale.push(fitted.scale);
    }

    /// x′ of input `column`.
    pub fn apply(&self, column: usize, value: f64) -> f64 {
        self.of(column).map_or(value, |of| of.apply(value))
    }

    /// That of input `column`; none where it goes in as it is.
    pub(crate) fn of(&self, column: usize) -> Option<Affine> {
        let offset = *self.offset.get(column)?;
        let scale = self.scale[column];
        Some(Affine { offset, scale })
    }

    /// ∂C/∂x from ∂C/∂x′ of input `column`: (∂C/∂x′) / scale.
    pub fn input_gradient(&self, column: usize, gradient: f64) -> f64 {
        self.scale
            .get(column)
            .map_or(gradient, |scale| gradient / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardize_uses_the_population_standard_deviation() {
        let mut scaling = Scaling::unfitted(Preprocess::Standardize);
        scaling.fit_next(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((scaling.offset()[0], scaling.scale()[0]), (5.0, 2.0));
        assert_eq!(scaling.apply(0, 9.0), 2.0);
        assert_eq!(scaling.input_gradient(0, 3.0), 1.5);
    }

    #[test]
    fn a_column_without_spread_scales_by_one() {
        for preprocess in [Preprocess::Standardize, Preprocess::Minmax] {
            let mut scaling = Scaling::unfitted(preprocess);
            scaling.fit_next(&[3.0; 5]);
            assert_eq!((scaling.offset()[0], scaling.scale()[0]), (3.0, 1.0));
            assert_eq!(scaling.apply(0, 4.0), 1.0);
        }
    }

    #[test]
    fn minmax_maps_the_training_rows_to_zero_and_one() {
        let mut scaling = Scaling::unfitted(Preprocess::Minmax);
        assert!(!scaling.is_ready());
        scaling.fit_next(&[10.0, 30.0, 20.0]);
        assert!(scaling.is_ready());
        assert_eq!(
            [10.0, 20.0, 30.0].map(|value| scaling.apply(0, value)),
            [0.0, 0.5, 1.0]
        );
    }

    #[test]
    fn parts_that_cannot_be_a_scaling_are_refused() {
        assert!(Scaling::from_parts(Preprocess::Minmax, vec![0.0], vec![0.0]).is_none());
        assert!(Scaling::from_parts(Preprocess::Minmax, vec![f64::NAN], vec![1.0]).is_none());
        assert!(Scaling::from_parts(Preprocess::Minmax, vec![0.0], vec![]).is_none());
        assert!(Scaling::from_parts(Preprocess::None, vec![0.0], vec![1.0]).is_none());
    }
}
