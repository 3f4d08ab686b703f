//! A model's answers as the columns of a table, under the names and in the order in which every table of answers has them.

use crate::data::{Column, Kind};
use crate::model::{Header, Model, Outputs, Prediction, Targets, Violations};

/// Answers that are collected, column by column.
#[derive(Clone, Debug)]
pub struct AnswerColumns<'a> {
    model: &'a Model,
    top_k: Option<u64>,
    columns: Vec<AnswerColumn>,
}

#[derive(Clone, Debug)]
struct AnswerColumn {
    name: String,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Words(Vec<Option<String>>),
    Numbers(Vec<f64>),
}

/// The places of one answer.
struct Places<'a>(std::slice::IterMut<'a, AnswerColumn>);

impl Header {
    /// The columns of the answers: of classes `class`, `probability` and `probability_…` of each class, or of the `top_k` most
    /// probable ones `class_1`, `probability_1` and on; of labels `labels` and `probability_…`; of numbers the names of the
    /// targets; else `output_1` and on.
    pub fn answer_columns(&self, top_k: Option<u64>) -> Vec<(String, Kind)> {
        let word = |name: String| (name, Kind::Categorical);
        let number = |name: String| (name, Kind::Numeric);
        let probability = |name: &String| number(format!("probability_{name}"));
        match &self.targets {
            Targets::Classes { .. } => {
                let mut columns = vec![word("class".to_owned())];
                if let Some(classes) = self.probable_classes() {
                    columns.push(number("probability".to_owned()));
                    let place = |place: u64| {
                        let class = word(format!("class_{place}"));
                        [class, number(format!("probability_{place}"))]
                    };
                    match top_k.map(|k| k.min(classes.len() as u64)) {
                        None => columns.extend(classes.iter().map(probability)),
                        Some(k) => columns.extend((1..=k).flat_map(place)),
                    }
                }
                columns
            }
            Targets::Labels { names: Some(names) } => {
                let first = std::iter::once(word("labels".to_owned()));
                first.chain(names.iter().map(probability)).collect()
            }
            Targets::Values { names: Some(names) } => names.iter().cloned().map(number).collect(),
            Targets::Labels { names: None } | Targets::Values { names: None } => {
                let outputs = 1..=self.outputs();
                outputs
                    .map(|output| number(format!("output_{output}")))
                    .collect()
            }
        }
    }

    /// Bytes of the words of one answer, at most.
    pub fn answered_bytes(&self, top_k: Option<u64>) -> usize {
        let words = self.answer_columns(top_k).into_iter();
        let words = words.filter(|(_, kind)| *kind == Kind::Categorical).count();
        let longest = match &self.targets {
            Targets::Classes { classes, .. } => classes.iter().map(String::len).max(),
            // All of them, and what stands between them.
            Targets::Labels { names } => {
                let names = names.iter().flatten();
                Some(names.map(|name| name.len() + 1).sum())
            }
            Targets::Values { .. } => None,
        };
        words * longest.unwrap_or_default()
    }

    /// Notes a number of most probable classes that the model does not have.
    pub fn check_top_k(&self, k: u64, violations: &mut Violations) {
        match self.probable_classes() {
            Some(classes) => violations.range("/top_k", k, 1, classes.len() as u64),
            None => violations.add(
                "/top_k",
                "must be left out: the outputs are no probabilities of classes",
            ),
        }
    }

    fn probable_classes(&self) -> Option<&[String]> {
        self.targets.probable_classes(&self.layers)
    }
}

impl<'a> AnswerColumns<'a> {
    /// Columns without answers.
    pub fn new(model: &'a Model, top_k: Option<u64>) -> Self {
        let columns = model.header().answer_columns(top_k);
        let columns = columns.into_iter().map(|(name, kind)| AnswerColumn {
            name,
            values: Values::of(kind),
        });
        Self {
            model,
            top_k,
            columns: columns.collect(),
        }
    }

    /// Adds the answers that outputs are.
    ///
    /// Errors: the first row whose answer is not finite; nothing is added then.
    pub fn push(&mut self, outputs: &Outputs) -> Result<(), usize> {
        if let Some(row) = outputs.first_not_finite() {
            return Err(row);
        }
        let Some(predictions) = self.model.predictions(outputs) else {
            outputs.each_row(|row| {
                let mut places = Places(self.columns.iter_mut());
                row.for_each(|output| places.number(output));
            });
            return Ok(());
        };
        let beyond = |prediction: &Prediction| !prediction.is_finite();
        if let Some(row) = predictions.iter().position(beyond) {
            return Err(row);
        }
        for prediction in predictions {
            self.push_one(prediction);
        }
        Ok(())
    }

    /// The answers so far, which are gone then.
    pub fn take(&mut self) -> Vec<Column> {
        let columns = self.columns.iter_mut();
        columns.map(AnswerColumn::take).collect()
    }

    fn push_one(&mut self, prediction: Prediction) {
        let targets = &self.model.targets;
        let classes = targets.classes().unwrap_or_default();
        let prediction = match self.top_k {
            Some(k) => prediction.top(k as usize, classes),
            None => prediction,
        };
        let mut places = Places(self.columns.iter_mut());
        match prediction {
            Prediction::Class { class } => places.word(class),
            Prediction::Probable {
                class,
                probability,
                probabilities,
            } => {
                places.word(class);
                places.number(probability);
                let each = classes.iter().map(|class| probabilities[class]);
                each.for_each(|probability| places.number(probability));
            }
            Prediction::Top {
                class,
                probability,
                top,
            } => {
                places.word(class);
                places.number(probability);
                for next in top {
                    places.word(next.class);
                    places.number(next.probability);
                }
            }
            Prediction::Labels {
                labels,
                probabilities,
            } => {
                places.word(labels.join(";"));
                let each = targets.names().iter().map(|name| probabilities[name]);
                each.for_each(|probability| places.number(probability));
            }
            Prediction::Number(number) => places.number(number),
            Prediction::Numbers(numbers) => {
                let each = targets.names().iter().map(|name| numbers[name]);
                each.for_each(|number| places.number(number));
            }
        }
    }
}

impl AnswerColumn {
    fn take(&mut self) -> Column {
        match &mut self.values {
            Values::Words(words) => {
                let column = Column::categorical(self.name.as_str(), words);
                words.clear();
                column
            }
            Values::Numbers(numbers) => {
                let column = Column::numeric(self.name.as_str(), numbers.drain(..));
                column.expect("answers that are not finite were refused")
            }
        }
    }
}

impl Values {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Categorical | Kind::Timestamp | Kind::Boolean => Self::Words(Vec::new()),
            Kind::Numeric => Self::Numbers(Vec::new()),
        }
    }
}

impl Places<'_> {
    fn word(&mut self, word: String) {
        match self.next() {
            Values::Words(words) => words.push(Some(word)),
            Values::Numbers(_) => unreachable!("a word has a column of words"),
        }
    }

    fn number(&mut self, number: f64) {
        match self.next() {
            Values::Numbers(numbers) => numbers.push(number),
            Values::Words(_) => unreachable!("a number has a column of numbers"),
        }
    }

    fn next(&mut self) -> &mut Values {
        let column = self.0.next();
        &mut column
            .expect("an answer has a value for each column")
            .values
    }
}
