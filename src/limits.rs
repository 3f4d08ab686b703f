//! Limits: how large, how many and how long anything may be, each with its unit, default and meaning.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::known;

/// Every limit of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a body that carries rows or parameters. Default 32 MiB.
    pub body_rows_bytes: usize,
    /// Bytes of the body of a prediction or inspection. Default 8 MiB.
    pub body_predict_bytes: usize,
    /// Bytes of any other JSON body. Default 256 KiB.
    pub body_control_bytes: usize,
    /// Objects in a body of JSON; in a prediction's, as many as rows, and one. Default 250,000.
    pub body_objects: u64,
    /// Bytes of an uploaded dataset. Default 4 GiB.
    pub body_dataset_bytes: u64,
    /// Connections at the same time; further ones wait for a place, which is that of the one that has been silent longest. At most
    /// half of the descriptors that the process may open. Default 4,096.
    pub connections: usize,
    /// Seconds from the connection, or from the first byte of a later request, to the end of the request's head. Default 10.
    pub head_seconds: u64,
    /// Bytes of the head of a request. Default 32 KiB.
    pub head_bytes: usize,
    /// Headers of a request. Default 64.
    pub headers: usize,
    /// Bytes of the path and query of a request. Default 8 KiB.
    pub uri_bytes: usize,
    /// Seconds that a connection may be silent between two requests. Default 60.
    pub idle_seconds: u64,
    /// Seconds that an answer waits for a client that takes less than 1 KiB of it a second. Default 30.
    pub stall_seconds: u64,
    /// Predictions that are carried out at the same time; as many wait. Default 6 for each processor.
    pub predictions: usize,
    /// Inspections, gradient checks, evaluations, self-tests, verifications and predictions by a checkpoint that are carried out at
    /// the same time; as many wait. Default 16.
    pub inspections: usize,
    /// Other requests that are carried out at the same time; as many wait. Default 64.
    pub control_requests: usize,
    /// Milliseconds that a request waits for its turn. Default 100.
    pub patience_milliseconds: u64,
    /// Uploads at the same time, those of tables to predict among them. Default 16.
    pub uploads: usize,
    /// Event streams at the same time. Default 256.
    pub event_streams: usize,
    /// Seconds after which a silent event stream shows that it lives. Default 15.
    pub event_silence_seconds: u64,
    /// Seconds that a body may make the server wait for its next piece. Default 30.
    pub body_idle_seconds: u64,
    /// Seconds that a body may come at any pace. Default 10.
    pub body_grace_seconds: u64,
    /// Seconds that a body may make the server wait, an upload's not among them. Default 60.
    pub body_seconds: u64,
    /// Bytes of a body in a second, at least, once `body_grace_seconds` are over; an upload's not among them. Default 1 KiB.
    pub body_bytes_per_second: u64,
    /// Bytes of an upload in a second, at least, once `body_grace_seconds` are over. Default 16 KiB.
    pub upload_bytes_per_second: u64,
    /// Hours that an idempotency key is known. Default 24.
    pub idempotency_hours: u64,
    /// Seconds that a request may take; uploads and streams are none. Default 120.
    pub request_seconds: u64,
    /// Columns of a dataset. Default 100,000.
    pub dataset_columns: usize,
    /// Cells of a dataset. Default 10⁹.
    pub dataset_cells: u64,
    /// Bytes of one cell. Default 64 KiB.
    pub dataset_cell_bytes: usize,
    /// Different words of a categorical column. Default 10⁶.
    pub dataset_categories: usize,
    /// Bytes that the different words of all columns of a dataset take, with 20 more for each. Default 128 MiB.
    pub dataset_category_bytes: u64,
    /// Revisions of a dataset, of which each append makes one. Default 1,000.
    pub dataset_revisions: u64,
    /// Layers of a network. Default 64.
    pub layers: u64,
    /// Units of a layer. Default 65,536.
    pub units: u64,
    /// Inputs of a network, and numbers that its first layer reads, vectors of categories among them. Default 100,000.
    pub inputs: u64,
    /// Weights, biases, scales and vectors of categories of a network. Default 50 million.
    pub parameters: u64,
    /// Epochs of a job. Default 100,000.
    pub epochs: u64,
    /// Samples of a batch given as a number. Default 65,536.
    pub batch_size: u64,
    /// Steps of a job. Default 10⁹.
    pub steps: u64,
    /// Rows × units, and numbers of vectors, that batch normalization holds of a batch at once; each unit is some seven numbers.
    /// Default 64 million.
    pub batch_activations: u64,
    /// Classes of a target. Default 10,000.
    pub classes: usize,
    /// Jobs that wait. Default 256.
    pub queued_jobs: u64,
    /// Batch predictions that wait. Default 256.
    pub queued_predictions: u64,
    /// Bytes of the result of a batch prediction. Default 4 GiB.
    pub prediction_bytes: u64,
    /// Seconds that a job may train, in all its attempts; one that is not done by then fails as `time_limit`, with its checkpoint.
    /// Default 86,400, a day.
    pub job_seconds: u64,
    /// Seconds that the epochs of one verification took when they were trained, together; it must come to its end within
    /// `request_seconds`. Default 60.
    pub verify_seconds: u64,
    /// Rows of one prediction or inspection. Default 4,096.
    pub predict_rows: u64,
    /// Multiply-adds of one prediction or inspection (rows × parameters of layers). Default 10⁹.
    pub predict_work: u64,
    /// Multiply-adds of one evaluation (rows × parameters of layers). Default 10¹¹.
    pub evaluate_work: u64,
    /// Numbers that an evaluation holds for its rows (rows × inputs and outputs). Default 250 million.
    pub evaluate_numbers: u64,
    /// Numbers in one JSON answer; a word counts for one and one more for every 16 bytes. Default 4 million.
    pub answer_numbers: u64,
    /// Numbers that an inspection holds for its rows and the tables of embeddings, whatever it answers. Default 32 million.
    pub inspection_numbers: u64,
    /// Bytes of the disk that are kept free for deletions and the ends of jobs, or a twentieth of it where that is less. Default
    /// 256 MiB.
    pub free_disk_bytes: u64,
    /// Seconds that requests have to finish once the server is told to end. Default 5.
    pub drain_seconds: u64,
    /// Seconds that jobs have to store a checkpoint after that. Default 2.
    pub checkpoint_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_rows_bytes: 32 << 20,
            body_predict_bytes: 8 << 20,
            body_control_bytes: 256 << 10,
            body_objects: 250_000,
            body_dataset_bytes: 4 << 30,
            connections: 4096,
            head_seconds: 10,
            head_bytes: 32 << 10,
            headers: 64,
            uri_bytes: 8 << 10,
            idle_seconds: 60,
            stall_seconds: 30,
            predictions: 6 * std::thread::available_parallelism().map_or(1, usize::from),
            inspections: 16,
            control_requests: 64,
            patience_milliseconds: 100,
            uploads: 16,
            event_streams: 256,
            event_silence_seconds: 15,
            body_idle_seconds: 30,
            body_grace_seconds: 10,
            body_seconds: 60,
            body_bytes_per_second: 1 << 10,
            upload_bytes_per_second: 16 << 10,
            idempotency_hours: 24,
            request_seconds: 120,
            dataset_columns: 100_000,
            dataset_cells: 1_000_000_000,
            dataset_cell_bytes: 64 << 10,
            dataset_categories: 1_000_000,
            dataset_category_bytes: 128 << 20,
            dataset_revisions: 1000,
            layers: 64,
            units: 65_536,
            inputs: 100_000,
            parameters: 50_000_000,
            epochs: 100_000,
            batch_size: 65_536,
            steps: 1_000_000_000,
            batch_activations: 64_000_000,
            classes: 10_000,
            queued_jobs: 256,
            queued_predictions: 256,
            prediction_bytes: 4 << 30,
            job_seconds: 86_400,
            verify_seconds: 60,
            predict_rows: 4096,
            predict_work: 1_000_000_000,
            evaluate_work: 100_000_000_000,
            evaluate_numbers: 250_000_000,
            answer_numbers: 4_000_000,
            inspection_numbers: 32_000_000,
            free_disk_bytes: 256 << 20,
            drain_seconds: 5,
            checkpoint_seconds: 2,
        }
    }
}

/// What a limit is set to, at most: as hours it still is a time, and as places it can be counted.
const LARGEST: u64 = 1_000_000_000_000_000;

/// A limit that is set otherwise than by default: `NAME=NUMBER`, as `/v1/limits` calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    name: String,
    number: u64,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once('=').ok_or_else(|| {
            format!("must be NAME=NUMBER, such as predict_rows=8192, got {text:?}")
        })?;
        let names = Limits::default().numbers();
        if !names.contains_key(name) {
            let names: Vec<_> = names.keys().map(String::as_str).collect();
            return Err(format!(
                "there is no limit {name:?}: {}",
                known(name, &names)
            ));
        }
        let setting = number.parse().ok();
        let setting = setting.filter(|number| (1..=LARGEST).contains(number));
        let number = setting.ok_or_else(|| {
            format!("{name} must be a whole number in [1, {LARGEST}], got {number:?}")
        })?;
        Ok(Self {
            name: name.to_owned(),
            number,
        })
    }
}

impl Limits {
    /// These limits with some set otherwise.
    #[must_use]
    pub fn with(&self, settings: &[Setting]) -> Self {
        let mut numbers = self.numbers();
        for Setting { name, number } in settings {
            numbers.insert(name.clone(), (*number).into());
        }
        serde_json::from_value(numbers.into()).expect("whole numbers of limits that there are")
    }

    fn numbers(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(numbers)) => numbers,
            other => unreachable!("limits are an object of numbers: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Setting>().expect_err(text)
    }

    #[test]
    fn a_limit_is_set_by_its_name_and_the_others_stay() {
        let settings = ["predict_rows=8192", "uploads=1"].map(|text| text.parse().expect(text));
        let limits = Limits {
            predict_rows: 8192,
            uploads: 1,
            ..Limits::default()
        };
        assert_eq!(Limits::default().with(&settings), limits);
    }

    #[test]
    fn what_is_no_limit_or_no_number_is_refused() {
        assert_eq!(
            error("predict_rows"),
            "must be NAME=NUMBER, such as predict_rows=8192, got \"predict_rows\""
        );
        let told = error("predict_row=1");
        assert!(
            told.starts_with(
                "there is no limit \"predict_row\": did you mean `predict_rows`? known: "
            ),
            "{told}"
        );
        for number in ["", "0", "-1", "1.5", "1000000000000001", "1e3"] {
            let told = error(&format!("uploads={number}"));
            let expected =
                format!("uploads must be a whole number in [1, 1000000000000000], got {number:?}");
            assert_eq!(told, expected);
        }
    }
}
