//! Limits: how large, how many and how long anything may be, each with its unit, default and meaning.

use serde::Serialize;

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
