//! Compute: how much one request may ask for, and where it is computed so that others do not wait.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::model::{Model, Targets};
use crate::nn::{BLOCK, CHUNK};
use crate::serve::Error;

/// Bytes of a number as it is written, about.
const NUMBER_BYTES: u64 = 16;
/// Multiply-adds above which a request is computed off the threads that answer the others: about a millisecond.
const INLINE_WORK: u64 = 4_000_000;

/// The limits of one request's computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Rows of a request, at most.
    pub rows: u64,
    /// Multiply-adds of a request, at most.
    pub work: u64,
    /// Numbers of an answer, at most.
    pub answer: u64,
    /// Numbers that an inspection holds for its rows and the tables of embeddings, at most.
    pub inspection: u64,
    /// Multiply-adds of an evaluation, at most.
    pub evaluation_work: u64,
    /// Numbers that an evaluation holds for its rows, at most.
    pub evaluation: u64,
}

impl Compute {
    /// The multiply-adds of predicting rows, and the length of the answer in numbers.
    ///
    /// Errors: the rows, the work or the answer are too many.
    pub(crate) fn admit_prediction(&self, model: &Model, rows: usize) -> Result<(u64, u64), Error> {
        let words = match &model.targets {
            Targets::Classes { classes, .. } => classes.as_slice(),
            Targets::Values { names } | Targets::Labels { names } => {
                names.as_deref().unwrap_or_default()
            }
        };
        // A word is written for each row, and counts for as many numbers as it is as long as.
        let words = words
            .iter()
            .map(|word| 1 + word.len() as u64 / NUMBER_BYTES);
        let row = model.network.outputs() as u64 + words.sum::<u64>();
        let numbers = (rows as u64).saturating_mul(row);
        let work = self.admit_passes((model, rows), 1, 0)?;
        // A row of names may be short and its inputs many.
        let held = inputs_of(model, rows);
        within("numbers that a prediction holds", held, self.inspection)?;
        within("numbers and words of one answer", numbers, self.answer)?;
        Ok((work, numbers))
    }

    /// The multiply-adds of inspecting rows: three passes, one forward and two backward.
    ///
    /// Errors: the rows, the work or the numbers to hold (x and ∂C/∂x, z, a and δ of each row, and tables of embeddings in the
    /// gradient, in the sums that lead to it and in the answer) are too many.
    pub(crate) fn admit_inspection(&self, model: &Model, rows: usize) -> Result<u64, Error> {
        let (numbers, blocks) = inspected(model, rows);
        within("numbers that an inspection holds", numbers, self.inspection)?;
        let summed = of_tables(model).saturating_mul(blocks);
        let pass = self.admit_passes((model, rows), 1, summed)?;
        Ok(pass.saturating_mul(3).saturating_add(summed))
    }

    /// The multiply-adds of checking so many parameters: two passes forward for each.
    ///
    /// Errors: as [`Compute::admit_inspection`].
    pub(crate) fn admit_check(
        &self,
        model: &Model,
        rows: usize,
        parameters: usize,
    ) -> Result<u64, Error> {
        let inspection = self.admit_inspection(model, rows)?;
        let passes = self.admit_passes((model, rows), 2 * parameters as u64, 0)?;
        Ok(passes.saturating_add(inspection))
    }

    /// The multiply-adds of evaluating rows.
    ///
    /// Errors: the work or the numbers to hold (x and y of each row, and a and y once more for the figures) are too many.
    pub(crate) fn admit_evaluation(&self, model: &Model, rows: u64) -> Result<u64, Error> {
        within(
            "numbers that an evaluation holds",
            evaluated(model, rows),
            self.evaluation,
        )?;
        let work = rows.saturating_mul(model.network.layer_parameter_count() as u64);
        let name = "rows times parameters of one evaluation";
        within(name, work, self.evaluation_work)?;
        Ok(work)
    }

    /// The multiply-adds of passes over the layers.
    ///
    /// Errors: the rows are too many, or the multiply-adds with those beside the passes.
    fn admit_passes(
        &self,
        (model, rows): (&Model, usize),
        passes: u64,
        beside: u64,
    ) -> Result<u64, Error> {
        within("rows in one request", rows as u64, self.rows)?;
        let work = (model.network.layer_parameter_count() as u64)
            .saturating_mul(rows as u64)
            .saturating_mul(passes);
        let name = "rows times parameters of one request";
        within(name, work.saturating_add(beside), self.work)?;
        Ok(work)
    }

    /// The same, where it is much, once there is a place for it. The place is kept until the computation has ended, also where its
    /// client has gone meanwhile; one that goes while it waits is not computed for.
    pub(crate) async fn run_in<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: u64,
        compute: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if work <= INLINE_WORK {
            return compute();
        }
        let place = Arc::clone(places).acquire_owned().await;
        self.run(work, move || {
            let _place = place;
            compute()
        })
        .await
    }

    /// Computes at once where it is little, else on the blocking pool of the serving runtime.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: u64,
        compute: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if work <= INLINE_WORK {
            return compute();
        }
        let computed = tokio::task::spawn_blocking(compute).await;
        computed.unwrap_or_else(|error| {
            Err(Error::Broken {
                detail: error.to_string(),
            })
        })
    }
}

/// Numbers of inputs that a prediction holds.
pub(crate) fn inputs_of(model: &Model, rows: usize) -> u64 {
    (rows as u64).saturating_mul(model.network.inputs() as u64)
}

/// Numbers that an evaluation holds for its rows: x and y of each, and a and y once more for the figures.
pub(crate) fn evaluated(model: &Model, rows: u64) -> u64 {
    let network = &model.network;
    rows.saturating_mul((network.inputs() + 3 * network.outputs()) as u64)
}

/// Numbers that an inspection holds for its rows and tables, and the blocks of rows that it computes.
pub(crate) fn inspected(model: &Model, rows: usize) -> (u64, u64) {
    let shape = model.network.shape();
    let units: u64 = shape.iter().map(|layer| layer.units as u64).sum();
    let row = 2 * model.network.reads() as u64 + 3 * units;
    let is_normalized = shape.iter().any(|layer| layer.normalization.is_some());
    let block = if is_normalized { CHUNK } else { BLOCK };
    // Each block has a gradient of its own, which is as long as the tables however few rows it is of.
    let blocks = rows.div_ceil(block).max(1) as u64;
    let (tables, levels) = (of_tables(model), u64::from(blocks.ilog2()) + 3);
    let numbers = (rows as u64)
        .saturating_mul(row)
        .saturating_add(tables.saturating_mul(levels));
    (numbers, blocks)
}

/// Numbers of vectors, which a gradient has an entry for, however few rows it is of.
fn of_tables(model: &Model) -> u64 {
    (model.network.parameter_count() - model.network.layer_parameter_count()) as u64
}

fn within(name: &'static str, got: u64, most: u64) -> Result<(), Error> {
    if got <= most {
        return Ok(());
    }
    Err(Error::TooLarge { name, got, most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelDeclaration, ModelLimits, ModelSpec};

    const COMPUTE: Compute = Compute {
        rows: 100,
        work: 1_000_000,
        answer: 1_000,
        inspection: 2_000,
        evaluation_work: 10_000_000,
        evaluation: 70_000,
    };

    /// 10 inputs and 20 outputs: 220 parameters, and 2 · 10 + 3 · 20 = 80 numbers held for each row.
    fn model() -> Model {
        let spec = r#"{"name":"m","inputs":10,"layers":[{"units":20,"activation":"tanh"}]}"#;
        let spec: ModelSpec = serde_json::from_str(spec).expect("a spec");
        let limits = ModelLimits {
            layers: 9,
            units: 99,
            inputs: 99,
            parameters: 9999,
        };
        spec.check(&limits).expect("a good spec").build()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(admitted: Result<T, Error>, text: &str) {
        assert_eq!(admitted.expect_err("too much").to_string(), text);
    }

    #[test]
    fn a_request_is_refused_for_its_rows_work_answer_and_memory_before_anything_is_computed() {
        let model = model();
        let admitted = COMPUTE.admit_prediction(&model, 50).expect("fits");
        assert_eq!(admitted, (11_000, 1_000));
        assert_eq!(COMPUTE.admit_inspection(&model, 25).expect("fits"), 16_500);
        refused(
            COMPUTE.admit_prediction(&model, 101),
            "rows in one request must be at most 100, got 101",
        );
        refused(
            COMPUTE.admit_prediction(&model, 51),
            "numbers and words of one answer must be at most 1000, got 1020",
        );
        assert_eq!(
            COMPUTE.admit_evaluation(&model, 1000).expect("fits"),
            220_000
        );
        refused(
            COMPUTE.admit_evaluation(&model, 1001),
            "numbers that an evaluation holds must be at most 70000, got 70070",
        );
        let few = Compute {
            evaluation_work: 219,
            ..COMPUTE
        };
        refused(
            few.admit_evaluation(&model, 1),
            "rows times parameters of one evaluation must be at most 219, got 220",
        );
        refused(
            COMPUTE.admit_inspection(&model, 26),
            "numbers that an inspection holds must be at most 2000, got 2080",
        );
        refused(
            COMPUTE.admit_check(&model, 25, 100),
            "rows times parameters of one request must be at most 1000000, got 1100000",
        );
    }

    #[test]
    fn a_row_meets_the_layers_and_one_vector_and_a_gradient_the_whole_table() {
        // A place among 9 categories with vectors of 5 numbers, and a unit: 45 numbers, and 6 parameters of the layer.
        let declared = r#"{"name":"m","target":"y","hidden":[],"columns":[{"name":"y","kind":"numeric"},
            {"name":"w","kind":"categorical","categories":["a","b","c","d","e","f","g","h","i"],
             "encode":{"type":"embedding","dimensions":5}}]}"#;
        let declared: ModelDeclaration = serde_json::from_str(declared).expect("a declaration");
        let limits = ModelLimits {
            layers: 9,
            units: 99,
            inputs: 99,
            parameters: 9999,
        };
        let model = declared
            .check(None, &limits)
            .expect("a good declaration")
            .build();
        let (work, _) = COMPUTE.admit_prediction(&model, 10).expect("little");
        assert_eq!(work, 10 * 6);
        assert_eq!(
            COMPUTE.admit_inspection(&model, 10).expect("little"),
            3 * 10 * 6 + 45
        );
        let check = COMPUTE.admit_check(&model, 10, 4).expect("little");
        assert_eq!(check, 2 * 4 * 10 * 6 + 3 * 10 * 6 + 45);
        // Of a row x and ∂C/∂x of 5 numbers and z, a and δ of a unit; of 10 rows, one block, the table three times over.
        let held = 10 * (2 * 5 + 3) + 3 * 45;
        let few = Compute {
            inspection: held - 1,
            ..COMPUTE
        };
        refused(
            few.admit_inspection(&model, 10),
            "numbers that an inspection holds must be at most 264, got 265",
        );
        let few = Compute {
            work: 104,
            ..COMPUTE
        };
        refused(
            few.admit_inspection(&model, 10),
            "rows times parameters of one request must be at most 104, got 105",
        );
        // Two blocks have two gradients, whose tree has a level more.
        let many = Compute {
            rows: 600,
            inspection: 600 * 13 + 4 * 45,
            ..COMPUTE
        };
        let work = many.admit_inspection(&model, 600).expect("just fits");
        assert_eq!(work, 3 * 600 * 6 + 2 * 45);
    }
}
