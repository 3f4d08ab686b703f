//! Configuration: every flag of the server, and what each floor is told of flags and limits.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::access::AccessFlags;
use crate::data::TableLimits;
use crate::http::{AdmissionLimits, ConnectionLimits, HttpLimits, Slowest};
use crate::jobs::JobsConfig;
pub use crate::limits::{Limits, Setting};
use crate::machine::{Budget, LEAST_MIB, default_mib, processor_quota};
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
    /// Who may ask.
    #[command(flatten)]
    pub access: AccessFlags,
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
    /// MiB of memory that jobs, models and requests may hold together (default: 80 % of the machine's or, in a container, of its
    /// control group's, less 64)
    #[arg(long, env = "GRADIENTD_MEMORY_MIB", default_value_t = default_mib(Path::new("/")), value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(i64::from(LEAST_MIB)..))]
    pub memory_mib: u32,
    /// Processes that may end in a row while they run a job, without a new checkpoint between; then the job fails
    #[arg(long, env = "GRADIENTD_MAX_ATTEMPTS", default_value_t = 3, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_attempts: u32,
    /// How much is kept of what has ended.
    #[command(flatten)]
    pub kept: Kept,
    /// A limit by its name at /v1/limits, such as predict_rows=8192; may be repeated
    #[arg(
        long = "limit",
        env = "GRADIENTD_LIMITS",
        value_name = "NAME=NUMBER",
        value_delimiter = ','
    )]
    pub settings: Vec<Setting>,
    /// The limits, which [`Config::settled`] sets.
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

impl Config {
    /// This configuration with the limits that its flags set.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.limits = self.limits.with(&self.settings);
        self
    }

    /// What the `http` floor goes by.
    pub fn http(&self) -> HttpLimits {
        let limits = &self.limits;
        HttpLimits {
            body_rows: limits.body_rows_bytes,
            body_predict: limits.body_predict_bytes,
            body_control: limits.body_control_bytes,
            body_objects: limits.body_objects,
            predict_rows: limits.predict_rows,
            body_dataset: limits.body_dataset_bytes,
            event_streams: limits.event_streams,
            event_silence: Duration::from_secs(limits.event_silence_seconds),
            pace: Slowest {
                bytes_per_second: limits.body_bytes_per_second,
                grace: Duration::from_secs(limits.body_grace_seconds),
                idle: Duration::from_secs(limits.body_idle_seconds),
                whole: Some(Duration::from_secs(limits.body_seconds)),
            },
            upload_pace: Slowest {
                bytes_per_second: limits.upload_bytes_per_second,
                grace: Duration::from_secs(limits.body_grace_seconds),
                idle: Duration::from_secs(limits.body_idle_seconds),
                whole: None,
            },
            headers: limits.headers,
            uri_bytes: limits.uri_bytes,
            connections: ConnectionLimits {
                connections: limits.connections,
                head: Duration::from_secs(limits.head_seconds),
                head_bytes: limits.head_bytes,
                idle: Duration::from_secs(limits.idle_seconds),
                stall: Duration::from_secs(limits.stall_seconds),
            },
            admission: AdmissionLimits {
                predictions: limits.predictions,
                inspections: limits.inspections,
                control: limits.control_requests,
                uploads: limits.uploads,
                patience: Duration::from_millis(limits.patience_milliseconds),
            },
            idempotency: Duration::from_hours(limits.idempotency_hours),
            request: Duration::from_secs(limits.request_seconds),
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
            memory_bytes: u64,
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
            memory_bytes: self.memory_bytes(),
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
            processor_quota: processor_quota(Path::new("/")),
            attempts: u64::from(self.max_attempts),
            queue: queued_jobs,
            queued_predictions,
            prediction_bytes,
            verify_seconds,
            limits,
        }
    }

    /// The memory that jobs, models and requests may hold together.
    pub fn memory(&self) -> Budget {
        Budget::new(self.memory_bytes())
    }

    fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_mib) << 20
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
