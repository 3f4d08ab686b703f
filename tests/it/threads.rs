//! Training threads: a job comes to the same bits with any number of them.

use serde_json::{Value, json};

use crate::server::{TestServer, text};

/// Row `row` of made-up numbers in [-1, 1].
fn numbers(row: usize, width: usize) -> Vec<f64> {
    let number = |column| ((row * 37 + column * 101) % 64) as f64 / 32.0 - 1.0;
    (0..width).map(number).collect()
}

/// What a job comes to whose products are worth dividing: 130 rows × 192 × 256 multiply-adds, the last batch smaller.
async fn outcome(training_threads: u16, dtype: &str) -> (Vec<u8>, Vec<Value>) {
    let server = TestServer::start_threaded(training_threads).await;
    server
        .create(
            json!({"name": "wide", "inputs": 192, "dtype": dtype, "seed": 1, "layers": [
                {"units": 256, "activation": "tanh"},
                {"units": 3, "activation": "identity"},
            ]}),
        )
        .await;
    let rows = |width| (0..150).map(|row| numbers(row, width)).collect::<Vec<_>>();
    let job = server
        .train(json!({
            "model": "wide", "data": {"inputs": rows(192), "targets": rows(3)}, "validation": {"fraction": 0.1},
            "epochs": 3, "batch_size": 130, "optimizer": {"type": "adam"}, "seed": 2,
        }))
        .await;
    let mut losses = server.losses(&text(&job["id"])).await;
    for row in &mut losses {
        row["seconds"].take();
    }
    let parameters = server.parameters("wide", "2").await;
    server.stop().await;
    (parameters, losses)
}

#[tokio::test]
async fn a_job_comes_to_the_same_bits_with_any_number_of_threads() {
    for dtype in ["float32", "float64"] {
        let alone = outcome(1, dtype).await;
        assert_eq!(alone.1.len(), 3);
        for training_threads in [2, 5] {
            assert!(
                outcome(training_threads, dtype).await == alone,
                "{dtype}, {training_threads} threads"
            );
        }
    }
}

/// Of every thread of this process that trains, the scheduling policy and the nice value (proc_pid_stat(5)).
#[cfg(target_os = "linux")]
fn training_threads() -> Vec<(u32, i32)> {
    let threads = std::fs::read_dir("/proc/self/task").expect("the threads of this process");
    // One that ends meanwhile is gone.
    let stats =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let training = stats.filter_map(|stat| {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        // The first of these is the third of all.
        let field = |number: usize| rest.split(' ').nth(number - 3);
        let (policy, nice) = (field(41)?.parse().ok()?, field(19)?.parse().ok()?);
        (name == "training").then_some((policy, nice))
    });
    training.collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_that_train_give_way_to_all_others() {
    const SCHED_BATCH: u32 = 3;
    let server = TestServer::start_threaded(3).await;
    // Servers of other tests may have started some just now, which lower themselves at once.
    crate::server::until("the threads that train", async || {
        let threads = training_threads();
        let lowered = |thread: &(u32, i32)| *thread == (SCHED_BATCH, 19);
        let all = threads.len() >= 3 && threads.iter().all(lowered);
        if all { Ok(()) } else { Err(threads) }
    })
    .await;
    server.stop().await;
}
