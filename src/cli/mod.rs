//! The commands that talk to a running server: clients of the HTTP API like any other.

mod client;
mod demo;

use std::{net::SocketAddr, time::Duration};

use client::Client;
pub use client::Problem;
pub use demo::demo;

/// How long a server may take to say that it is well.
const HEALTH_LIMIT: Duration = Duration::from_secs(3);

/// What a command of the client can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there, or the connection broke.
    #[error("no answer from http://{server}: {reason}")]
    Unreachable {
        /// The address that was asked.
        server: SocketAddr,
        /// What the connection said.
        reason: String,
    },
    /// The server took too long.
    #[error("no answer from http://{server} to {request} within {limit_seconds} s")]
    TooSlow {
        /// The address that was asked.
        server: SocketAddr,
        /// Method and path.
        request: String,
        /// The time that it had.
        limit_seconds: f64,
    },
    /// The server refused a request.
    #[error("{request} was refused: {problem}")]
    Refused {
        /// Method and path.
        request: String,
        /// The server's reasons.
        problem: Box<Problem>,
    },
    /// The server answered with something that the API does not promise.
    #[error("{request} was answered with something unexpected: {fault}")]
    Unexpected {
        /// Method and path, or what was read from the answer.
        request: String,
        /// What was wrong with it.
        fault: String,
    },
    /// A dataset of the demo's name holds something else.
    #[error(
        "dataset {name} is there already, but with {found} rows where the demo's has {expected}; delete it or choose another data directory"
    )]
    OtherDataset {
        /// The dataset's name.
        name: String,
        /// Rows in it.
        found: u64,
        /// Rows that the demo would have uploaded.
        expected: usize,
    },
    /// The demo's job ended without a model.
    #[error("job {job} ended as {status}: {detail}")]
    JobEnded {
        /// The job's id.
        job: String,
        /// Its last status.
        status: String,
        /// The server's reason.
        detail: String,
    },
    /// The terminal, pipe or file behind standard output took no more.
    #[error("standard output cannot be written: {source}")]
    Output {
        /// What the operating system said.
        #[from]
        source: std::io::Error,
    },
}

/// Asks a server whether it is well: `GET /healthz` must answer 200 with `"status":"ok"` within 3 s.
///
/// Errors: nothing listens there, the answer is late, is not 200, or says something else.
pub async fn healthcheck(server: SocketAddr) -> Result<(), Error> {
    healthcheck_within(server, HEALTH_LIMIT).await
}

async fn healthcheck_within(server: SocketAddr, limit: Duration) -> Result<(), Error> {
    let answer = Client::new(server)
        .with_limit(limit)
        .get("/healthz")
        .await?;
    if answer["status"] == "ok" {
        return Ok(());
    }
    Err(Error::Unexpected {
        request: "GET /healthz".into(),
        fault: format!(r#"status must be "ok", got {}"#, answer["status"]),
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::{client::canned::Canned, healthcheck, healthcheck_within};

    const OK: &str = r#"{"status":"ok"}"#;

    #[tokio::test]
    async fn a_server_that_says_ok_is_well() {
        let server = Canned::start(&[(200, "application/json", OK)]);
        healthcheck(server.address).await.expect("it said ok");
        assert!(server.requests()[0].starts_with("GET /healthz HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_server_that_says_something_else_is_not_well() {
        let server = Canned::start(&[(200, "application/json", r#"{"status":"starting"}"#)]);
        let error = healthcheck(server.address)
            .await
            .expect_err("it did not say ok");
        assert_eq!(
            error.to_string(),
            r#"GET /healthz was answered with something unexpected: status must be "ok", got "starting""#
        );
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_status() {
        let server = Canned::start(&[(503, "text/plain", "busy")]);
        let error = healthcheck(server.address)
            .await
            .expect_err("503 is not well");
        assert_eq!(
            error.to_string(),
            "GET /healthz was refused: 503 Service Unavailable"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = silent.local_addr().expect("it is bound");
        let error = healthcheck_within(address, Duration::from_millis(50))
            .await
            .expect_err("nobody answers");
        assert_eq!(
            error.to_string(),
            format!("no answer from http://{address} to GET /healthz within 0.05 s")
        );
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_named() {
        let address = {
            let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
            gone.local_addr().expect("it is bound")
        };
        let error = healthcheck(address).await.expect_err("nothing listens");
        assert!(
            error
                .to_string()
                .starts_with(&format!("no answer from http://{address}: ")),
            "{error}"
        );
    }
}
