//! A model's header: everything that is known of it without its parameters.

use std::collections::HashMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::model::columns::{ColumnSpec, EmbeddingShape, Role, embeddings};
use crate::model::{Error, Preprocess, TargetRows, Violations, choice, known};
use crate::nn::{Activation, Dtype, Loss, Normalization, Rightness};

/// Units, activation and normalization of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerShape {
    /// Neurons in the layer.
    pub units: usize,
    /// The layer's activation function.
    #[serde(with = "choice")]
    pub activation: Activation,
    /// How its weighted inputs are normalized, where they are.
    #[serde(
        default,
        with = "choice::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub normalization: Option<Normalization>,
}

/// What the outputs of a model mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Targets {
    /// Numbers; with the names of their columns where the model was trained on a dataset.
    Values {
        /// Names of the target columns, one for each output.
        names: Option<Vec<String>>,
    },
    /// One output for each class, or one sigmoid unit for two: the probability of the second.
    Classes {
        /// The target column.
        name: String,
        /// The classes in sorted order (numbers numerically).
        classes: Vec<String>,
    },
    /// One output for each label, which says yes or no for itself.
    Labels {
        /// Names of the target columns, one for each output, where the model was trained on a dataset.
        names: Option<Vec<String>>,
    },
}

/// A model without its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The type of the parameters.
    pub dtype: Dtype,
    /// Numbers in an input row.
    pub inputs: usize,
    /// The layers, first to last.
    pub layers: Vec<LayerShape>,
    /// The loss C.
    #[serde(with = "choice")]
    pub loss: Loss,
    /// What is done to the inputs.
    pub preprocess: Preprocess,
    /// Whether the preprocessing has its numbers (always true where there is none).
    pub fitted: bool,
    /// Names of the feature columns, where the model was trained on a dataset or declared from a table.
    pub features: Option<Vec<String>>,
    /// The columns, where the model was declared from a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<ColumnSpec>>,
    /// What the outputs mean.
    pub targets: Targets,
}

/// Numbers that class words may come to as target activations (rows × classes), at most: 512 MiB.
const MOST_ONE_HOT: usize = 1 << 26;

impl Targets {
    /// Whether outputs of this last activation can be right or wrong: they are classes or labels, or shares of 1, which are
    /// taken for classes. A half is then the bound where there is one output, and the largest wins where there are several.
    pub fn can_be_right(&self, last: Activation) -> bool {
        match self {
            Self::Classes { .. } | Self::Labels { .. } => true,
            Self::Values { .. } => matches!(last, Activation::Softmax | Activation::Sigmoid),
        }
    }

    /// When a row of outputs is right, where it can be.
    pub fn rightness(&self) -> Rightness {
        match self {
            Self::Classes { .. } | Self::Values { .. } => Rightness::OfClass,
            Self::Labels { .. } => Rightness::OfLabels,
        }
    }

    /// Whether so many outputs are one for two classes: the probability of the second.
    pub fn is_binary(&self, outputs: usize) -> bool {
        outputs == 1 && self.classes().is_some_and(|classes| classes.len() == 2)
    }

    /// The classes that have probabilities, of a network with these layers; none where its outputs are no probabilities of
    /// classes.
    pub fn probable_classes(&self, layers: &[LayerShape]) -> Option<&[String]> {
        let last = layers.last()?;
        let is_probable = self.is_binary(last.units) || last.activation == Activation::Softmax;
        self.classes().filter(|_| is_probable)
    }

    /// Names of the target columns of numbers or labels, where they have any.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Values { names } | Self::Labels { names } => names.as_deref().unwrap_or_default(),
            Self::Classes { .. } => &[],
        }
    }

    /// The classes, where the outputs are classes.
    pub fn classes(&self) -> Option<&[String]> {
        match self {
            Self::Classes { classes, .. } => Some(classes),
            Self::Values { .. } | Self::Labels { .. } => None,
        }
    }
}

impl Header {
    /// Whether it can predict.
    ///
    /// Errors: the preprocessing has not its numbers yet.
    pub fn check_fitted(&self) -> Result<(), Error> {
        if self.fitted {
            return Ok(());
        }
        let preprocess = match &self.columns {
            Some(_) => "of the columns",
            None => self.preprocess.name(),
        };
        Err(Error::NotFitted { preprocess })
    }

    /// The tables of vectors that the network reads, in the order of its inputs.
    pub fn embeddings(&self) -> Vec<EmbeddingShape> {
        embeddings(self.columns.as_deref().unwrap_or_default())
    }

    /// Numbers that layer 1 reads: the inputs, with a vector in the place of each category that is embedded.
    pub fn reads(&self) -> usize {
        let more = |shape: &EmbeddingShape| shape.dimensions - 1;
        let more = self
            .embeddings()
            .iter()
            .map(more)
            .fold(0, usize::saturating_add);
        self.inputs.saturating_add(more)
    }

    /// Numbers in an output row.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.units)
    }

    /// Whether a layer is normalized over the samples of a batch.
    pub fn needs_whole_batch(&self) -> bool {
        let normalizations = self.layers.iter().filter_map(|layer| layer.normalization);
        normalizations.into_iter().any(Normalization::is_of_batch)
    }

    /// Feature columns of a table that the model is trained on: as many as it has inputs, unless it was declared from a table.
    pub fn feature_count(&self) -> usize {
        let columns = self.columns.as_ref();
        columns.map_or(self.inputs, |columns| {
            columns
                .iter()
                .filter(|column| column.role == Role::Feature)
                .count()
        })
    }

    /// Whether the outputs are one for two classes: the probability of the second.
    pub fn is_binary(&self) -> bool {
        self.targets.is_binary(self.outputs())
    }

    /// The last layer's activation function.
    pub fn last_activation(&self) -> Activation {
        self.layers
            .last()
            .map_or(Activation::Identity, |layer| layer.activation)
    }

    /// Target activations (N × J) of targets as given: rows of numbers, or class words where the model has classes.
    ///
    /// Errors: a wrong width, an unknown class, a number outside what the loss accepts, each with its pointer.
    pub fn target_matrix(&self, targets: &TargetRows, pointer: &str) -> Result<Array2<f64>, Error> {
        match targets {
            TargetRows::Numbers(rows) if rows.is_empty() => {
                Err(Error::invalid(pointer, "must have at least one row, got 0"))
            }
            TargetRows::Numbers(rows) if rows.width() != self.outputs() => {
                let (outputs, got) = (self.outputs(), rows.width());
                let detail =
                    format!("must have {outputs} numbers (units of the last layer), got {got}");
                Err(Error::invalid(format!("{pointer}/0"), detail))
            }
            TargetRows::Numbers(rows) => {
                let matrix = rows.view().to_owned();
                self.check_targets(&matrix, pointer)?;
                Ok(matrix)
            }
            TargetRows::Words(words) => self.one_hot(words, pointer),
        }
    }

    fn check_targets(&self, targets: &Array2<f64>, pointer: &str) -> Result<(), Error> {
        let mut violations = Violations::default();
        let (dtype, most) = (self.dtype.name(), self.dtype.max());
        let (loss, (least, largest)) = (self.loss.name(), self.loss.target_range());
        for ((row, column), &value) in targets.indexed_iter() {
            if violations.is_full() {
                break;
            }
            if value < least || value > largest {
                let range = if largest.is_finite() {
                    format!("in [{least}, {largest}]")
                } else {
                    format!("at least {least}")
                };
                let detail = format!("must be {range} for loss {loss}, got {value}");
                violations.add(format!("{pointer}/{row}/{column}"), detail);
            } else if !self.dtype.holds(value) {
                let detail = format!("must fit {dtype}, within ±{most:e}, got {value:e}");
                violations.add(format!("{pointer}/{row}/{column}"), detail);
            }
        }
        violations.finish().map_err(Error::from)
    }

    fn one_hot(&self, words: &[String], pointer: &str) -> Result<Array2<f64>, Error> {
        let Some(classes) = self.targets.classes() else {
            let detail = "must be rows of numbers: this model has no classes yet, they come from a categorical target";
            return Err(Error::invalid(pointer, detail));
        };
        let numbers = words.len().saturating_mul(classes.len());
        if numbers > MOST_ONE_HOT {
            let (rows, classes) = (words.len(), classes.len());
            let detail = format!(
                "must come to at most {MOST_ONE_HOT} numbers, got {rows} rows of {classes} classes: upload a dataset"
            );
            return Err(Error::invalid(pointer, detail));
        }
        let places: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let mut violations = Violations::default();
        let mut matrix = Array2::zeros((words.len(), self.outputs()));
        for (row, word) in words.iter().enumerate() {
            if violations.is_full() {
                break;
            }
            if let Some(&class) = places.get(word.as_str()) {
                if self.is_binary() {
                    matrix[(row, 0)] = class as f64;
                } else {
                    matrix[(row, class)] = 1.0;
                }
            } else {
                let known = known(word, classes);
                violations.add(
                    format!("{pointer}/{row}"),
                    format!("must be a class of the model, got {word:?}: {known}"),
                );
            }
        }
        violations.finish().map_err(Error::from)?;
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(classes: usize) -> Header {
        Header {
            dtype: Dtype::Float32,
            inputs: 1,
            layers: vec![LayerShape {
                units: classes,
                activation: Activation::Softmax,
                normalization: None,
            }],
            loss: Loss::CrossEntropy {
                label_smoothing: 0.0,
            },
            preprocess: Preprocess::None,
            fitted: true,
            features: None,
            columns: None,
            targets: Targets::Classes {
                name: "class".to_owned(),
                classes: (0..classes).map(|class| class.to_string()).collect(),
            },
        }
    }

    fn words(words: impl Iterator<Item = usize>) -> TargetRows {
        TargetRows::Words(words.map(|word| word.to_string()).collect())
    }

    #[test]
    fn a_layer_is_written_as_ever_and_may_have_parameters() {
        let parametric = r#"{"units":3,"activation":{"type":"elu","alpha":2.0}}"#;
        for stored in [r#"{"units":3,"activation":"sigmoid"}"#, parametric] {
            let read: LayerShape = serde_json::from_str(stored).expect("a layer");
            assert_eq!(serde_json::to_string(&read).expect("a layer"), stored);
        }
    }

    #[test]
    fn each_word_lights_the_output_of_its_class() {
        let matrix = header(3).target_matrix(&words([2, 0].into_iter()), "/targets");
        let expected = ndarray::array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        assert_eq!(matrix.expect("known classes"), expected);
    }

    #[test]
    fn words_that_would_fill_the_memory_are_refused_before_they_do() {
        let many = header(10_000).target_matrix(&words(0..10_000), "/targets");
        let text = many.expect_err("too many").to_string();
        assert!(text.contains("10000 rows of 10000 classes"), "{text}");
    }

    #[test]
    fn unknown_words_are_listed_up_to_the_limit_with_the_first_classes() {
        let wrong = header(500).target_matrix(&words(1000..3000), "/targets");
        let Err(Error::Invalid { violations }) = wrong else {
            panic!("unknown classes pass")
        };
        assert_eq!(violations.len(), crate::model::MOST_VIOLATIONS);
        assert!(violations[0].detail.contains("30, 31, … 500 in all"));
    }
}
