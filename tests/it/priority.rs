//! Priority: which of the jobs that wait is next.

use serde_json::{Value, json};

use crate::server::{TestServer, long_job, xor_job, xor_model};

#[tokio::test]
async fn the_highest_priority_is_next_then_the_first_and_none_takes_the_slot_of_one_that_trains() {
    let server = TestServer::start().await;
    server.create(xor_model("xor")).await;
    let first = server.submit(long_job("xor")).await;
    server.running(&first).await;
    let priorities = [-1, 0, 7, 7, 100];
    let mut waiting = Vec::new();
    for priority in priorities {
        let more = json!({"priority": priority});
        waiting.push(server.submit(xor_job("xor", more)).await);
    }
    for (id, priority) in waiting.iter().zip(priorities) {
        let job = server.get(&format!("/v1/jobs/{id}")).await.expect(200);
        assert_eq!(
            (&job["priority"], &job["status"]),
            (&json!(priority), &json!("queued"))
        );
        // It is of the job: what the job comes to does not depend on it.
        assert_eq!(job["spec"].get("priority"), None);
    }
    let job = server.get(&format!("/v1/jobs/{first}")).await.expect(200);
    let stands = |job: &Value| (job["status"].clone(), job["attempt"].clone());
    assert_eq!(stands(&job), (json!("running"), json!(1)));
    server.cancel(&first).await;
    // One after the other they publish versions, from the second on.
    let mut versions = Vec::new();
    for id in &waiting {
        versions.push(server.succeeded(id).await["version"].clone());
    }
    assert_eq!(versions, [6, 5, 3, 4, 2].map(|version| json!(version)));
    server.stop().await;
}
