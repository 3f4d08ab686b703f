//! Configuration: every flag and every limit of the server, with its unit, default and meaning.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::data::TableLimits;
use crate::http::{HttpLimits, Origin};
use crate::jobs::JobsConfig;
use crate::model::ModelLimits;
use crate::serve::Compute;
use crate::store::Retention;
use crate::train::JobLimits;

/// Flags of the server. Each can be given as an environment variable as well; the flag wins.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address and port to listen on
    #[arg(
        long,
        env = "GRADIENTD_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS",
        value_parser = address
    )]
    pub listen: SocketAddr,
    /// Directory that holds the database; made where it is missing
    #[arg(
        long,
        env = "GRADIENTD_DATA_DIR",
        default_value = "./gradientd-data",
        value_name = "DIRECTORY"
    )]
    pub data_dir: PathBuf,
    /// Origin whose pages may read the answers, such as http://localhost:3000; may be repeated
    #[arg(
        long = "cors-origin",
        env = "GRADIENTD_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,
    /// Jobs that train at the same time
    #[arg(long, env = "GRADIENTD_JOB_SLOTS", default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub job_slots: u16,
    /// Threads that training takes in all: jobs that train at the same time share them, and each has one at least
    #[arg(long, env = "GRADIENTD_TRAINING_THREADS", default_value_t = processors(), value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    pub training_threads: u16,
    /// MiB of rows, as the network reads them, that a job holds of a dataset; a larger one is read in parts. Jobs that train at
    /// the same time each hold as much
    #[arg(long, env = "GRADIENTD_TRAINING_DATA_MIB", default_value_t = TRAINING_DATA_MIB, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub training_data_mib: u32,
    /// Processes that may end in a row while they run a job, without a new checkpoint between; then the job fails
    #[arg(long, env = "GRADIENTD_MAX_ATTEMPTS", default_value_t = 3, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_attempts: u32,
    /// How much is kept of what has ended.
    #[command(flatten)]
    pub kept: Kept,
    /// The limits, which no flag changes yet.
    #[arg(skip)]
    pub limits: Limits,
}

/// Flags that say how much is kept of what has ended.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Kept {
    /// Jobs that have ended, the newest, that are kept; 0 keeps all
    #[arg(
        long,
        env = "GRADIENTD_KEEP_JOBS",
        default_value_t = 10_000,
        value_name = "N"
    )]
    pub keep_jobs: u32,
    /// Jobs that have ended, the newest, whose checkpoints are kept; 0 keeps all
    #[arg(
        long,
        env = "GRADIENTD_KEEP_CHECKPOINTS",
        default_value_t = 100,
        value_name = "N"
    )]
    pub keep_checkpoints: u32,
    /// Versions of each model, the newest, that are kept beside the first and those that have an alias or are needed; 0 keeps all
    #[arg(
        long,
        env = "GRADIENTD_KEEP_VERSIONS",
        default_value_t = 10,
        value_name = "N"
    )]
    pub keep_versions: u32,
    /// Batch predictions that have ended, the newest, that are kept with their results; 0 keeps all
    #[arg(
        long,
        env = "GRADIENTD_KEEP_PREDICTIONS",
        default_value_t = 1000,
        value_name = "N"
    )]
    pub keep_predictions: u32,
}

/// The most threads that training may be given.
const MOST_THREADS: u16 = 1024;
/// What a job holds of a dataset where nobody says otherwise: MNIST's 60,000 digits in float32 are 182 MiB.
pub const TRAINING_DATA_MIB: u32 = 256;

/// How many threads this process can run at the same time: as many as there are processors, but no more than its affinity
/// and, in a container, the quota of its control group allow.
fn processors() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors).map_or(MOST_THREADS, |processors| processors.min(MOST_THREADS))
}

/// An address and a port; a name such as `localhost` is looked up once, and an IPv4 address of it is preferred.
///
/// Errors: it is no address with a port, or a name that nobody knows.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!(
            "must be an address and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080: {why}"
        )
    };
    let found = text.to_socket_addrs().map_err(|error| wrong(&error))?;
    let best = found.min_by_key(SocketAddr::is_ipv6);
    best.ok_or_else(|| wrong(&"the name has no address"))
}

/// Every limit of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of a body that carries rows or parameters. Default 32 MiB.
    pub body_rows_bytes: usize,
    /// Bytes of the body of a prediction or inspection. Default 8 MiB.
    pub body_predict_bytes: usize,
    /// Bytes of any other JSON body. Default 256 KiB.
    pub body_control_bytes: usize,
    /// Bytes of an uploaded dataset. Default 4 GiB.
    pub body_dataset_bytes: u64,
    /// Uploads at the same time. Default 16.
    pub uploads: usize,
    /// Event streams at the same time. Default 256.
    pub event_streams: usize,
    /// Seconds after which a silent event stream shows that it lives. Default 15.
    pub event_silence_seconds: u64,
    /// Seconds that a body may make the server wait for its next piece. Default 30.
    pub body_idle_seconds: u64,
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

impl Default for Kept {
    fn default() -> Self {
        Self {
            keep_jobs: 10_000,
            keep_checkpoints: 100,
            keep_versions: 10,
            keep_predictions: 1000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_rows_bytes: 32 << 20,
            body_predict_bytes: 8 << 20,
            body_control_bytes: 256 << 10,
            body_dataset_bytes: 4 << 30,
            uploads: 16,
            event_streams: 256,
            event_silence_seconds: 15,
            body_idle_seconds: 30,
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

impl Config {
    /// What the `http` floor goes by.
    pub fn http(&self) -> HttpLimits {
        let limits = &self.limits;
        HttpLimits {
            body_rows: limits.body_rows_bytes,
            body_predict: limits.body_predict_bytes,
            body_control: limits.body_control_bytes,
            body_dataset: limits.body_dataset_bytes,
            uploads: limits.uploads,
            event_streams: limits.event_streams,
            event_silence: Duration::from_secs(limits.event_silence_seconds),
            body_idle: Duration::from_secs(limits.body_idle_seconds),
            idempotency: Duration::from_hours(limits.idempotency_hours),
            request: Duration::from_secs(limits.request_seconds),
            cors_origins: self.cors_origins.iter().map(Origin::header).collect(),
            answer_numbers: limits.answer_numbers,
            model: ModelLimits {
                layers: limits.layers,
                units: limits.units,
                inputs: limits.inputs,
                parameters: limits.parameters,
            },
            table: TableLimits {
                columns: limits.dataset_columns,
                cells: limits.dataset_cells,
                cell_bytes: limits.dataset_cell_bytes,
                categories: limits.dataset_categories,
                category_bytes: limits.dataset_category_bytes,
            },
            dataset_revisions: limits.dataset_revisions,
            in_force: self.in_force(),
        }
    }

    /// Every limit by its name, flags among them.
    fn in_force(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct InForce<'a> {
            job_slots: u16,
            training_threads: u16,
            training_data_mib: u32,
            max_attempts: u32,
            #[serde(flatten)]
            kept: &'a Kept,
            #[serde(flatten)]
            limits: &'a Limits,
        }
        let in_force = serde_json::to_value(InForce {
            job_slots: self.job_slots,
            training_threads: self.training_threads,
            training_data_mib: self.training_data_mib,
            max_attempts: self.max_attempts,
            kept: &self.kept,
            limits: &self.limits,
        });
        in_force.expect("numbers can be written as JSON")
    }

    /// What the `jobs` floor goes by.
    pub fn jobs(&self) -> JobsConfig {
        let Limits {
            epochs,
            batch_size,
            steps,
            batch_activations,
            classes,
            queued_jobs,
            queued_predictions,
            prediction_bytes,
            job_seconds,
            verify_seconds,
            ..
        } = self.limits;
        let limits = JobLimits {
            epochs,
            batch_size,
            steps,
            batch_activations,
            classes,
            seconds: job_seconds,
            data_bytes: u64::from(self.training_data_mib) << 20,
        };
        JobsConfig {
            slots: usize::from(self.job_slots),
            threads: usize::from(self.training_threads),
            attempts: u64::from(self.max_attempts),
            queue: queued_jobs,
            queued_predictions,
            prediction_bytes,
            verify_seconds,
            limits,
        }
    }

    /// How much the store keeps of what has ended.
    pub fn retention(&self) -> Retention {
        let kept = &self.kept;
        Retention {
            jobs: u64::from(kept.keep_jobs),
            checkpoints: u64::from(kept.keep_checkpoints),
            versions: u64::from(kept.keep_versions),
            predictions: u64::from(kept.keep_predictions),
        }
    }

    /// What the `serve` floor goes by.
    pub fn serve(&self) -> Compute {
        Compute {
            rows: self.limits.predict_rows,
            work: self.limits.predict_work,
            answer: self.limits.answer_numbers,
            inspection: self.limits.inspection_numbers,
            evaluation_work: self.limits.evaluate_work,
            evaluation: self.limits.evaluate_numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_takes_the_processors_that_there_are_unless_it_is_told_otherwise() {
        let processors = processors();
        assert!((1..=MOST_THREADS).contains(&processors));
        let command = Config::augment_args(clap::Command::new("gradientd"));
        let flag = command
            .get_arguments()
            .find(|flag| flag.get_long() == Some("training-threads"));
        let flag = flag.expect("the flag");
        assert_eq!(flag.get_default_values(), [&*processors.to_string()]);
        assert!(
            flag.get_env()
                .is_some_and(|name| name == "GRADIENTD_TRAINING_THREADS")
        );
    }

    #[test]
    fn an_address_is_a_number_or_a_name_and_always_has_a_port() {
        assert_eq!(address("127.0.0.1:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert!(address("localhost:8080").is_ok_and(|found| found.ip().is_loopback()));
        for text in [
            "",
            "localhost",
            "8080",
            "127.0.0.1",
            "127.0.0.1:65536",
            "http://localhost:8080",
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains("such as 127.0.0.1:8080"), "{error}");
        }
    }
}
