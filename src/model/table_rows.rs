//! Rows of a text with a header, read by the names of a model's columns, and what the model answers to them, as CSV.

use std::collections::HashMap;
use std::io::Write;

use crate::data::{Error as TableError, Kind, Place, TextRows, parse_boolean, quoted};
use crate::model::columns::{Cell, Encoder, Instance};
use crate::model::{Error, InputRows, Model, Outputs, Prediction, Rows, Targets, known, shortened};

/// Rows that are predicted together, at most.
const ROWS: usize = 1024;
/// Inputs and outputs of the rows that are predicted together, at most, but for a single row.
const NUMBERS: usize = 1 << 20;

/// Why rows of a text are not predicted.
#[derive(Debug, thiserror::Error)]
pub enum TableRowsError {
    /// The text.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The columns of the header.
    #[error("the columns must be those of the model: {detail}")]
    Columns {
        /// What is wrong with them.
        detail: String,
    },
    /// A cell.
    #[error("{place}: {detail}")]
    Cell {
        /// Where it stands.
        place: Place,
        /// What it must be.
        detail: String,
    },
    /// The model does not answer.
    #[error(transparent)]
    Model(#[from] Error),
    /// The outputs of these rows are not finite.
    #[error("lines {first} to {last}: the model answers these rows with NaN or infinity")]
    NotFinite {
        /// The line of the first.
        first: u64,
        /// The line of the last.
        last: u64,
    },
    /// The answers are too long.
    #[error("the predictions must have at most {most} bytes: send the rows in several parts")]
    TooLong {
        /// The most bytes that are allowed.
        most: u64,
    },
    /// The answers cannot be kept.
    #[error("the predictions could not be kept: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads rows and writes an answer for each.
pub struct PredictedRows<'a, W> {
    model: &'a Model,
    into: W,
    /// Bytes written, and the most that may be.
    written: u64,
    most: u64,
    columns: Vec<Reads<'a>>,
    waiting: Waiting,
    /// Lines of the rows that wait.
    lines: Option<(u64, u64)>,
}

/// What the model makes of a column.
enum Reads<'a> {
    /// A number: the input of its place, or the feature of this name.
    Number(Option<String>),
    /// A column that was declared.
    Column(&'a Encoder),
    /// Nothing: a target, or one that is ignored.
    Nothing,
}

/// Rows that wait to be predicted.
enum Waiting {
    Inputs(Vec<f64>),
    Instances(Vec<Instance>),
}

impl<'a, W: Write> PredictedRows<'a, W> {
    /// Answers go to `into`, at most so many bytes, those of a thousand rows at a time.
    pub fn new(model: &'a Model, (into, most): (W, u64)) -> Self {
        let by_name = model.preprocessing.features().is_some();
        Self {
            model,
            into,
            written: 0,
            most,
            columns: Vec::new(),
            waiting: if by_name {
                Waiting::Instances(Vec::new())
            } else {
                Waiting::Inputs(Vec::new())
            },
            lines: None,
        }
    }

    /// Answers what waits still.
    ///
    /// Errors: as of a row.
    pub fn finish(mut self) -> Result<W, TableRowsError> {
        self.answer()?;
        Ok(self.into)
    }

    fn answer(&mut self) -> Result<(), TableRowsError> {
        let Some((first, last)) = self.lines.take() else {
            return Ok(());
        };
        let rows = match &mut self.waiting {
            Waiting::Inputs(values) => {
                let values = std::mem::take(values);
                let rows = Rows::new(self.model.network.inputs(), values);
                InputRows::Inputs(rows.expect("every row has as many cells"))
            }
            Waiting::Instances(instances) => InputRows::Instances(std::mem::take(instances)),
        };
        let outputs = self.model.predict(&rows)?;
        if !outputs.is_finite() {
            return Err(TableRowsError::NotFinite { first, last });
        }
        match self.model.predictions(&outputs) {
            Some(predictions) if !predictions.iter().all(Prediction::is_finite) => {
                return Err(TableRowsError::NotFinite { first, last });
            }
            Some(predictions) => {
                for prediction in &predictions {
                    self.write(prediction)?;
                }
            }
            None => self.write_outputs(&outputs)?,
        }
        Ok(())
    }

    fn write_header(&mut self) -> Result<(), TableRowsError> {
        let probability = |name: &String| format!("probability_{name}");
        let names = match &self.model.targets {
            Targets::Classes { .. } => match self.model.probable_classes() {
                Some(classes) => {
                    let first = ["class", "probability"].map(str::to_owned).into_iter();
                    first.chain(classes.iter().map(probability)).collect()
                }
                None => vec!["class".to_owned()],
            },
            Targets::Labels { names: Some(names) } => {
                let first = std::iter::once("labels".to_owned());
                first.chain(names.iter().map(probability)).collect()
            }
            Targets::Values { names: Some(names) } => names.clone(),
            Targets::Labels { names: None } | Targets::Values { names: None } => {
                let outputs = 1..=self.model.network.outputs();
                outputs.map(|output| format!("output_{output}")).collect()
            }
        };
        self.write_line(names.iter().map(|name| quoted(name)))
    }

    fn write(&mut self, prediction: &Prediction) -> Result<(), TableRowsError> {
        let classes = self.model.targets.classes().unwrap_or_default();
        let cells: Vec<String> = match prediction {
            Prediction::Class { class } | Prediction::Top { class, .. } => {
                vec![quoted(class).into_owned()]
            }
            Prediction::Probable {
                class,
                probability,
                probabilities,
            } => {
                let each = classes.iter().map(|class| probabilities[class].to_string());
                let first = [quoted(class).into_owned(), probability.to_string()];
                first.into_iter().chain(each).collect()
            }
            Prediction::Labels {
                labels,
                probabilities,
            } => {
                let names = self.target_names().iter();
                let each = names.map(|name| probabilities[name].to_string());
                let first = quoted(&labels.join(";")).into_owned();
                std::iter::once(first).chain(each).collect()
            }
            Prediction::Number(number) => vec![number.to_string()],
            Prediction::Numbers(numbers) => {
                let names = self.target_names().iter();
                names.map(|name| numbers[name].to_string()).collect()
            }
        };
        self.write_line(cells)
    }

    fn write_outputs(&mut self, outputs: &Outputs) -> Result<(), TableRowsError> {
        match outputs {
            Outputs::Float32(rows) => {
                for row in rows.rows() {
                    self.write_line(row.iter().map(f32::to_string))?;
                }
            }
            Outputs::Float64(rows) => {
                for row in rows.rows() {
                    self.write_line(row.iter().map(f64::to_string))?;
                }
            }
        }
        Ok(())
    }

    fn write_line(
        &mut self,
        cells: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), TableRowsError> {
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                self.into.write_all(b",")?;
            }
            self.into.write_all(cell.as_ref().as_bytes())?;
            self.written += 1 + cell.as_ref().len() as u64;
        }
        self.into.write_all(b"\n")?;
        let most = self.most;
        if self.written > most {
            return Err(TableRowsError::TooLong { most });
        }
        Ok(())
    }

    fn target_names(&self) -> &'a [String] {
        match &self.model.targets {
            Targets::Values { names } | Targets::Labels { names } => {
                names.as_deref().unwrap_or_default()
            }
            Targets::Classes { .. } => &[],
        }
    }

    /// What the model makes of each column that it knows, by its name; none where it knows its inputs by their places.
    fn meanings(&self) -> Option<HashMap<String, Reads<'a>>> {
        let nothing = |name: &String| (name.clone(), Reads::Nothing);
        if let Some(columns) = self.model.preprocessing.columns() {
            let encoder = |encoder: &'a Encoder| {
                let name = encoder.spec().name.clone();
                (name, Reads::Column(encoder))
            };
            let names = columns.specs().iter().map(|spec| &spec.name);
            let read = columns.encoders().iter().map(encoder);
            return Some(names.map(nothing).chain(read).collect());
        }
        let targets = match &self.model.targets {
            Targets::Classes { name, .. } => std::slice::from_ref(name),
            Targets::Values { .. } | Targets::Labels { .. } => self.target_names(),
        };
        let number = |name: String| (name.clone(), Reads::Number(Some(name)));
        let features = self.model.preprocessing.features()?.into_iter();
        Some(
            targets
                .iter()
                .map(nothing)
                .chain(features.map(number))
                .collect(),
        )
    }
}

impl<W: Write> TextRows for PredictedRows<'_, W> {
    type Error = TableRowsError;

    fn header(&mut self, names: &[String]) -> Result<(), TableRowsError> {
        let wrong = |detail: String| TableRowsError::Columns { detail };
        let Some(mut meanings) = self.meanings() else {
            let (inputs, got) = (self.model.network.inputs(), names.len());
            if got != inputs {
                return Err(wrong(format!("it has {inputs} inputs, got {got} columns")));
            }
            self.columns
                .extend(names.iter().map(|_| Reads::Number(None)));
            return self.write_header();
        };
        let features = self.model.preprocessing.features().unwrap_or_default();
        for name in names {
            let reads = meanings.remove(name).ok_or_else(|| {
                let known = known(name, &features);
                wrong(format!("it has no column {name:?}: {known}"))
            })?;
            self.columns.push(reads);
        }
        let absent = features
            .iter()
            .filter(|feature| meanings.contains_key(*feature));
        let absent: Vec<&String> = absent.collect();
        if !absent.is_empty() {
            return Err(wrong(format!(
                "the header must have {}",
                shortened(&absent)
            )));
        }
        self.write_header()
    }

    fn row(
        &mut self,
        cells: &[Option<String>],
        place: impl Fn(usize) -> Place,
    ) -> Result<(), TableRowsError> {
        let wrong = |index: usize, detail: String| TableRowsError::Cell {
            place: place(index),
            detail,
        };
        let mut instance = Instance::new();
        for (index, (text, reads)) in cells.iter().zip(&self.columns).enumerate() {
            let text = text.as_deref();
            let (name, cell) = match reads {
                Reads::Nothing => continue,
                Reads::Column(encoder) => {
                    let cell = cell_of(text, encoder.spec().kind(), encoder.spec().held);
                    encoder
                        .value(&cell)
                        .map_err(|detail| wrong(index, detail))?;
                    (Some(&encoder.spec().name), cell)
                }
                Reads::Number(name) => match cell_of(text, Kind::Numeric, None) {
                    Cell::Number(number) => (name.as_ref(), Cell::Number(number)),
                    cell => return Err(wrong(index, format!("must be a number, got {cell}"))),
                },
            };
            match (&mut self.waiting, name, cell) {
                (Waiting::Instances(_), Some(name), cell) => {
                    instance.insert(name.clone(), cell);
                }
                (Waiting::Inputs(values), _, Cell::Number(number)) => values.push(number),
                (Waiting::Instances(_) | Waiting::Inputs(_), ..) => {
                    unreachable!("inputs are numbers")
                }
            }
        }
        if let Waiting::Instances(instances) = &mut self.waiting {
            instances.push(instance);
        }
        let line = place(0).at.number();
        let (first, rows) = self
            .lines
            .map_or((line, 1), |(first, _)| (first, self.waiting_rows()));
        self.lines = Some((first, line));
        let row = self.model.network.inputs() + self.model.network.outputs();
        if rows >= (NUMBERS / row).clamp(1, ROWS) {
            self.answer()?;
        }
        Ok(())
    }
}

impl<W> PredictedRows<'_, W> {
    fn waiting_rows(&self) -> usize {
        match &self.waiting {
            Waiting::Inputs(values) => values.len() / self.model.network.inputs(),
            Waiting::Instances(instances) => instances.len(),
        }
    }
}

/// A text as the value of a column: what it is to the model, unless the dataset held something else.
fn cell_of(text: Option<&str>, kind: Kind, held: Option<Kind>) -> Cell {
    let Some(text) = text else {
        return Cell::Missing;
    };
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    let found = match (kind, held) {
        (Kind::Categorical, Some(Kind::Boolean)) => parse_boolean(text).map(Cell::Boolean),
        (Kind::Categorical, None | Some(Kind::Categorical)) => None,
        (Kind::Numeric | Kind::Boolean | Kind::Timestamp | Kind::Categorical, _) => {
            number().map(Cell::Number)
        }
    };
    found.unwrap_or_else(|| Cell::Word(text.to_owned()))
}
