//! A job's spec completed by what its model says of the data: a model that was declared from a table knows its columns.

use crate::model::{Header, TargetRows, Targets};
use crate::train::JobSpec;

impl JobSpec {
    /// The spec with what the model says of its data, where it was declared from a table: the dataset and the targets.
    #[must_use]
    pub fn completed(mut self, base: &Header, dataset: Option<&str>) -> Self {
        if base.columns.is_none() {
            return self;
        }
        if self.data.dataset.is_none() && self.data.inputs.is_none() {
            self.data.dataset = dataset.map(str::to_owned);
        }
        if self.data.dataset.is_some() && self.data.target.is_none() && self.data.targets.is_none()
        {
            match &base.targets {
                Targets::Classes { name, .. } => self.data.target = Some(name.clone()),
                Targets::Values { names } | Targets::Labels { names } => {
                    self.data.targets = names.clone().map(TargetRows::Words);
                }
            }
        }
        self
    }
}
