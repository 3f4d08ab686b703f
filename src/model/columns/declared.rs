//! A model as its user declares it: by its layers, or by a table, from which inputs, columns and the last layer are inferred.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::data::{ColumnDescription, Kind};
use crate::model::columns::embedded::EmbeddingParameters;
use crate::model::columns::inferred::{Filling, TableView, usual_role};
use crate::model::columns::spec::{ColumnSpec, Role, Scale};
use crate::model::{
    CheckedModelSpec, LayerParameters, LayerSpec, ModelLimits, ModelSpec, Preprocess, Targets,
    Violation, Violations, choice, given, known, shortened,
};
use crate::nn::{Activation, Dtype, Initializer, Loss};

/// A model as its user declares it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDeclaration {
    /// The model's name.
    pub name: String,
    /// Numbers in an input row; left out where a table says it.
    #[serde(default, deserialize_with = "given")]
    pub inputs: Option<u64>,
    /// The layers, first to last; of a table, left out, `hidden` and a last one that goes by the targets.
    #[serde(default, deserialize_with = "given")]
    pub layers: Option<Vec<LayerSpec>>,
    /// The loss C.
    #[serde(default, deserialize_with = "choice::given")]
    pub loss: Option<Loss>,
    /// The initializer of every layer that has none of its own.
    #[serde(default, with = "choice::optional")]
    pub initializer: Option<Initializer>,
    /// The type of the parameters.
    #[serde(default = "float32")]
    pub dtype: Dtype,
    /// Fixes the drawing of the first parameters.
    #[serde(default)]
    pub seed: u64,
    /// What is done to the inputs, where there are no columns.
    #[serde(default)]
    pub preprocess: Preprocess,
    /// The dataset whose columns the model reads and predicts.
    #[serde(default, deserialize_with = "given")]
    pub dataset: Option<String>,
    /// The column to predict.
    #[serde(default, deserialize_with = "given")]
    pub target: Option<String>,
    /// Several columns to predict.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<Vec<String>>,
    /// What is done to columns, beyond what goes by the dataset.
    #[serde(default, deserialize_with = "given")]
    pub columns: Option<Vec<ColumnSpec>>,
    /// The layers before the last.
    #[serde(default, deserialize_with = "given")]
    pub hidden: Option<Vec<LayerSpec>>,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The user's own labels.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The first parameters, given instead of drawn.
    #[serde(default)]
    pub parameters: Option<Vec<LayerParameters>>,
    /// The first vectors of the columns that are embedded, given with the parameters.
    #[serde(default, deserialize_with = "given")]
    pub embeddings: Option<Vec<EmbeddingParameters>>,
}

fn float32() -> Dtype {
    Dtype::Float32
}

/// Units of the one hidden layer where none is declared.
const HIDDEN_UNITS: u64 = 16;

impl ModelDeclaration {
    /// Columns of the dataset that are declared categorical and hold numbers: their words are needed.
    pub fn to_load(&self, columns: &[ColumnDescription]) -> Vec<String> {
        let declared = self.columns.iter().flatten();
        let categorical = declared.filter(|column| column.kind == Some(Kind::Categorical));
        let names: Vec<&String> = categorical.map(|column| &column.name).collect();
        let held = columns
            .iter()
            .filter(|column| column.kind != Kind::Categorical);
        let wanted = held.filter(|column| names.contains(&&column.name));
        wanted.map(|column| column.name.clone()).collect()
    }

    /// The spec that is meant, checked. `table` is the dataset that is named, where there is one of that name.
    ///
    /// Errors: everything that is wrong with it, each with its pointer into the declaration.
    pub fn check(
        self,
        table: Option<&TableView>,
        limits: &ModelLimits,
    ) -> Result<CheckedModelSpec, Vec<Violation>> {
        let hidden = self.hidden.as_ref().map_or(0, Vec::len);
        self.resolve(table)?.check(limits).map_err(|violations| {
            let renamed = violations
                .into_iter()
                .map(|violation| in_hidden(violation, hidden));
            renamed.collect()
        })
    }

    /// The spec that is meant, with inputs, columns and layers filled in. `table` is the dataset that is named, where there is
    /// one of that name.
    ///
    /// Errors: what does not go together, each with its pointer; the spec itself is checked afterwards.
    fn resolve(self, table: Option<&TableView>) -> Result<ModelSpec, Vec<Violation>> {
        let mut violations = Violations::default();
        let resolved = if self.dataset.is_some() || self.columns.is_some() {
            self.of_columns(table, &mut violations)
        } else {
            self.of_inputs(&mut violations)
        };
        violations.finish()?;
        Ok(resolved.expect("what cannot be resolved breaks a rule"))
    }

    fn of_inputs(self, violations: &mut Violations) -> Option<ModelSpec> {
        let only_of_tables = [
            ("/target", self.target.is_some()),
            ("/targets", self.targets.is_some()),
            ("/hidden", self.hidden.is_some()),
        ];
        for (pointer, _) in only_of_tables.into_iter().filter(|(_, given)| *given) {
            violations.add(
                pointer,
                "must be left out where there is neither dataset nor columns",
            );
        }
        for (pointer, given) in [
            ("/inputs", self.inputs.is_some()),
            ("/layers", self.layers.is_some()),
        ] {
            if !given {
                violations.add(pointer, "must be given, or a dataset and its target");
            }
        }
        let (inputs, layers) = (self.inputs?, self.layers.clone()?);
        let loss = self.loss.unwrap_or(Loss::Quadratic);
        Some(self.spec(inputs, layers, loss, Vec::new()))
    }

    fn of_columns(
        self,
        table: Option<&TableView>,
        violations: &mut Violations,
    ) -> Option<ModelSpec> {
        if let (Some(name), None) = (&self.dataset, table) {
            let detail =
                format!("must name a dataset, got {name:?}, and there is none of that name");
            violations.add("/dataset", detail);
            return None;
        }
        if self.preprocess != Preprocess::None {
            let detail = "must be left out where there are columns: each has a scale of its own";
            violations.add("/preprocess", detail);
        }
        if self.hidden.is_some() && self.layers.is_some() {
            violations.add("/hidden", "must be left out where layers are given");
        }
        let columns = self.filled(table, violations)?;
        let meaning = self.meaning(&columns, violations)?;
        let inputs: usize = columns.iter().map(ColumnSpec::width).sum();
        if inputs == 0 {
            violations.add("/columns", "must have at least one feature, got none");
        }
        if let Some(got) = self.inputs.filter(|&got| got != inputs as u64) {
            let detail =
                format!("must be {inputs}, which the columns come to, or left out, got {got}");
            violations.add("/inputs", detail);
        }
        let last = last_layer(&meaning, &columns);
        let layers = match &self.layers {
            Some(layers) => layers.clone(),
            None => self
                .hidden_layers()
                .into_iter()
                .chain([last.clone()])
                .collect(),
        };
        check_last(&layers, &last, &meaning, violations);
        let activation = layers.last().map(|layer| layer.activation);
        let loss = self.loss.unwrap_or(match (&meaning, activation) {
            (
                Targets::Classes { .. } | Targets::Labels { .. },
                Some(Activation::Softmax | Activation::Sigmoid),
            ) => Loss::CrossEntropy {
                label_smoothing: 0.0,
            },
            _ => Loss::MeanSquaredError,
        });
        self.check_scales(&columns, violations);
        Some(self.spec(inputs as u64, layers, loss, columns))
    }

    fn spec(
        self,
        inputs: u64,
        layers: Vec<LayerSpec>,
        loss: Loss,
        columns: Vec<ColumnSpec>,
    ) -> ModelSpec {
        ModelSpec {
            name: self.name,
            inputs,
            layers,
            loss,
            initializer: self.initializer,
            dtype: self.dtype,
            seed: self.seed,
            preprocess: self.preprocess,
            dataset: self.dataset,
            columns,
            description: self.description,
            metadata: self.metadata,
            parameters: self.parameters,
            embeddings: self.embeddings,
        }
    }

    /// Whether numeric targets may be scaled: the last layer may answer any number, and the loss takes any.
    fn may_scale(&self) -> bool {
        let last = self.layers.iter().flatten().next_back();
        let answers_any = last.is_none_or(|layer| {
            !matches!(layer.activation, Activation::Sigmoid | Activation::Softmax)
        });
        let any = (f64::NEG_INFINITY, f64::INFINITY);
        answers_any && self.loss.is_none_or(|loss| loss.target_range() == any)
    }

    /// Whether numeric targets are scaled where nothing is declared.
    fn scales(&self) -> bool {
        let last = self.layers.iter().flatten().next_back();
        self.may_scale() && last.is_none_or(|layer| layer.activation == Activation::Identity)
    }

    /// Notes scaled targets where the outputs or the loss are for certain numbers alone.
    fn check_scales(&self, columns: &[ColumnSpec], violations: &mut Violations) {
        let scaled = |column: &&ColumnSpec| {
            column.role == Role::Target && !matches!(column.scale, None | Some(Scale::None))
        };
        if let Some(column) = columns.iter().find(scaled)
            && !self.may_scale()
        {
            let mut declared = self.columns.iter().flatten();
            let place = declared.position(|declared| declared.name == column.name);
            let detail = "must be none for a target where the last layer is of sigmoid or softmax units, or the loss takes only certain numbers";
            violations.add(format!("/columns/{}/scale", place.unwrap_or(0)), detail);
        }
    }

    fn hidden_layers(&self) -> Vec<LayerSpec> {
        let usual = || vec![LayerSpec::of(HIDDEN_UNITS, Activation::Relu)];
        self.hidden.clone().unwrap_or_else(usual)
    }

    /// Every column, filled in, in the table's order and then in that of the declaration.
    fn filled(
        &self,
        table: Option<&TableView>,
        violations: &mut Violations,
    ) -> Option<Vec<ColumnSpec>> {
        let targets = self.target_names(violations)?;
        let before = violations.len();
        let mut declared: HashMap<&str, (usize, &ColumnSpec)> = HashMap::new();
        for (place, column) in self.columns.iter().flatten().enumerate() {
            if declared.insert(&column.name, (place, column)).is_some() {
                let detail = format!("must be declared once, got {:?} again", column.name);
                violations.add(format!("/columns/{place}/name"), detail);
            }
        }
        let names: Vec<&str> = match table {
            Some(table) => table
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect(),
            None => self
                .columns
                .iter()
                .flatten()
                .map(|column| column.name.as_str())
                .collect(),
        };
        self.check_names(&targets, &names, violations);
        if violations.len() > before {
            return None;
        }
        let scales = self.scales();
        let described = table.iter().flat_map(|table| &table.columns);
        let described = described.map(|column| (column.name.as_str(), column));
        let described: HashMap<&str, &ColumnDescription> = described.collect();
        let columns = names.iter().map(|&name| {
            let description = described.get(name).copied();
            let found = declared.get(name);
            let mut spec = match found {
                Some((_, column)) => (*column).clone(),
                None => ColumnSpec::new(name, description.map_or(Role::Feature, usual_role)),
            };
            if targets.contains(&name) {
                if spec.role == Role::Ignore && found.is_some() {
                    let detail = format!("must not be ignored: {name:?} is to be predicted");
                    let place = found.map_or(0, |(place, _)| *place);
                    violations.add(format!("/columns/{place}/role"), detail);
                }
                spec.role = Role::Target;
            }
            let filling = Filling {
                declared: spec,
                pointer: found.map(|(place, _)| format!("/columns/{place}")),
                description,
                most: self.dtype.max(),
                words: table.and_then(|table| table.words.get(name)),
            };
            filling.fill(scales, violations)
        });
        let columns = columns.collect();
        (violations.len() == before).then_some(columns)
    }

    /// The names that are to be predicted.
    fn target_names(&self, violations: &mut Violations) -> Option<Vec<&str>> {
        let declared = self.columns.iter().flatten();
        let roles = declared.filter(|column| column.role == Role::Target);
        let mut names: Vec<&str> = roles.map(|column| column.name.as_str()).collect();
        if self.target.is_some() && self.targets.is_some() {
            violations.add("/targets", "must be left out where target is given");
            return None;
        }
        let named = self.target.iter().chain(self.targets.iter().flatten());
        for name in named {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        if names.is_empty() {
            let detail =
                "must name the column to predict, or one of the columns must have role \"target\"";
            violations.add("/target", detail);
            return None;
        }
        Some(names)
    }

    /// Notes targets and declared columns that the table does not have.
    fn check_names(&self, targets: &[&str], names: &[&str], violations: &mut Violations) {
        for &target in targets {
            if !names.contains(&target) {
                let pointer = if self.targets.is_some() {
                    "/targets"
                } else {
                    "/target"
                };
                let detail = format!(
                    "must name a column, got {target:?}: {}",
                    known(target, names)
                );
                violations.add(pointer, detail);
            }
        }
        for (place, column) in self.columns.iter().flatten().enumerate() {
            if !names.contains(&column.name.as_str()) {
                let known = known(&column.name, names);
                let detail = format!(
                    "must be a column of the dataset, got {:?}: {known}",
                    column.name
                );
                violations.add(format!("/columns/{place}/name"), detail);
            }
        }
    }

    fn meaning(&self, columns: &[ColumnSpec], violations: &mut Violations) -> Option<Targets> {
        let meaning = meaning(columns);
        if meaning.is_none() {
            let pointer = if self.target.is_some() {
                "/target"
            } else {
                "/targets"
            };
            let targets = columns.iter().filter(|column| column.role == Role::Target);
            let names: Vec<&String> = targets.map(|column| &column.name).collect();
            let detail = format!(
                "must be one column, or all numeric, or all boolean, got {}",
                shortened(&names)
            );
            violations.add(pointer, detail);
        }
        meaning
    }
}

/// A violation of one of the first layers, where those were declared as hidden ones.
fn in_hidden(violation: Violation, hidden: usize) -> Violation {
    let place = violation.pointer.strip_prefix("/layers/");
    let index = place.and_then(|place| place.split('/').next()?.parse::<usize>().ok());
    if index.is_none_or(|index| index >= hidden) {
        return violation;
    }
    Violation {
        pointer: violation.pointer.replacen("/layers", "/hidden", 1),
        ..violation
    }
}

/// What the outputs of a model of these columns mean: classes of one column, numbers, or labels. None of a mixture.
pub(crate) fn meaning(columns: &[ColumnSpec]) -> Option<Targets> {
    let targets = || columns.iter().filter(|column| column.role == Role::Target);
    let names: Vec<String> = targets().map(|column| column.name.clone()).collect();
    let all = |kind| targets().all(|column| column.kind() == kind);
    let single = targets().next().filter(|_| names.len() == 1);
    match single.map(|column| (column, column.kind())) {
        Some((column, Kind::Categorical)) => Some(Targets::Classes {
            name: column.name.clone(),
            classes: column.categories().to_vec(),
        }),
        Some((column, Kind::Boolean)) => Some(Targets::Classes {
            name: column.name.clone(),
            classes: ["false", "true"].map(str::to_owned).to_vec(),
        }),
        _ if all(Kind::Numeric) => Some(Targets::Values { names: Some(names) }),
        _ if all(Kind::Boolean) => Some(Targets::Labels { names: Some(names) }),
        _ => None,
    }
}

/// The last layer that goes by the targets: one sigmoid unit for two classes, a softmax of more, sigmoid units for labels,
/// identity units for numbers.
fn last_layer(meaning: &Targets, columns: &[ColumnSpec]) -> LayerSpec {
    let targets = columns
        .iter()
        .filter(|column| column.role == Role::Target)
        .count() as u64;
    match meaning {
        Targets::Classes { classes, .. } if classes.len() == 2 => {
            LayerSpec::of(1, Activation::Sigmoid)
        }
        Targets::Classes { classes, .. } => {
            LayerSpec::of(classes.len() as u64, Activation::Softmax)
        }
        Targets::Labels { .. } => LayerSpec::of(targets, Activation::Sigmoid),
        Targets::Values { .. } => LayerSpec::of(targets, Activation::Identity),
    }
}

/// Notes layers that do not end with as many units as the targets need.
fn check_last(
    layers: &[LayerSpec],
    usual: &LayerSpec,
    meaning: &Targets,
    violations: &mut Violations,
) {
    let Some((index, last)) = layers.iter().enumerate().next_back() else {
        return;
    };
    let needed = match meaning {
        Targets::Classes { classes, .. } if last.activation != Activation::Sigmoid => {
            classes.len() as u64
        }
        _ => usual.units,
    };
    if last.units != needed {
        let got = last.units;
        let detail = format!("must be {needed} in the last layer, as the targets are, got {got}");
        violations.add(format!("/layers/{index}/units"), detail);
    }
    if matches!(meaning, Targets::Labels { .. }) && last.activation != Activation::Sigmoid {
        let got = last.activation.name();
        let detail = format!("must be sigmoid in the last layer for labels, got {got}");
        violations.add(format!("/layers/{index}/activation"), detail);
    }
}
