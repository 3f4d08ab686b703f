//! Telemetry: the log, one line for each event, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log: for people on a terminal, JSON elsewhere; `GRADIENTD_LOG` filters it (default `info`).
pub fn start(default_filter: &str) {
    let filter =
        EnvFilter::try_from_env("GRADIENTD_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
}
