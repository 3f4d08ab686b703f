//! Rows of a text with a header, read by the names of a model's columns, and what the model answers to them, as CSV.

use std::collections::HashMap;
use std::io::Write;

use crate::data::{CsvWriter, Error as TableError, Kind, Place, TextRows, Written, parse_boolean};
use crate::model::columns::{Cell, Encoder, Instance};
use crate::model::{AnswerColumns, Error, InputRows, Model, Rows, Targets, known, shortened};

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
    answers: AnswerColumns<'a>,
    /// What answers go to, before the header has come.
    into: Option<W>,
    writer: Option<CsvWriter<W>>,
    /// Bytes that may be written.
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

impl Model {
    /// Rows that are predicted together, at most.
    pub fn rows_at_once(&self) -> usize {
        let row = self.network.inputs() + self.network.outputs();
        (NUMBERS / row).clamp(1, ROWS)
    }
}

impl<'a, W: Write> PredictedRows<'a, W> {
    /// Answers go to `into`, at most so many bytes, those of a thousand rows at a time.
    pub fn new(model: &'a Model, (into, most): (W, u64)) -> Self {
        let by_name = model.preprocessing.features().is_some();
        Self {
            model,
            answers: AnswerColumns::new(model, None),
            into: Some(into),
            writer: None,
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
        let writer = self.writer.expect("a text without a header is refused");
        Ok(writer.finish())
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
        let pushed = self.answers.push(&outputs);
        pushed.map_err(|_| TableRowsError::NotFinite { first, last })?;
        let answers = self.answers.take();
        let columns = answers.iter().map(|column| Written { column, first: 0 });
        let columns: Vec<_> = columns.collect();
        let writer = self.writer.as_mut().expect("a header before its rows");
        writer.write(&columns, rows.len())?;
        let most = self.most;
        if writer.bytes() > most {
            return Err(TableRowsError::TooLong { most });
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), TableRowsError> {
        let names = self.model.header().answer_columns(None);
        let into = self.into.take().expect("a text has one header");
        let names = names.iter().map(|(name, _)| name.as_str());
        self.writer = Some(CsvWriter::begin(into, names)?);
        Ok(())
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
            Targets::Values { .. } | Targets::Labels { .. } => self.model.targets.names(),
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
            return self.begin();
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
        self.begin()
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
        if rows >= self.model.rows_at_once() {
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
