//! The server: from a listener, a configuration and a signal to end, to an orderly end.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::http::{self, App};
use crate::jobs::Jobs;
use crate::serve::{Registry, Serve};
use crate::store::Store;

/// How long closing the database may take: its last pages are copied and synced.
const CLOSE: Duration = Duration::from_secs(1);
/// How long requests that are being answered have once the disk has failed.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the server could not start or go on.
#[derive(Debug, Error)]
pub enum Error {
    /// Who may ask is not said, or not rightly.
    #[error(transparent)]
    Access(#[from] crate::access::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The jobs cannot be taken up.
    #[error(transparent)]
    Jobs(#[from] crate::jobs::Error),
    /// The models cannot be loaded.
    #[error(transparent)]
    Serve(#[from] crate::serve::Error),
    /// The disk failed: what was acknowledged is on it, and what was not may be.
    #[error(
        "the disk of {directory} failed: nothing more can be stored there; look at the disk, then start again: what was acknowledged is there"
    )]
    DiskFailed {
        /// The data directory.
        directory: PathBuf,
    },
    /// The listener failed.
    #[error("the listener failed: {source}")]
    Listener {
        /// Why.
        #[from]
        source: std::io::Error,
    },
}

/// How many descriptors this process may open, once it has asked for as many as it may ask for: at 1,024, a usual number to begin
/// with, half of them would be few connections.
fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let asked = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if setrlimit(Resource::Nofile, asked).is_ok() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    limit.current.map_or(usize::MAX, |most| most as usize)
}

/// Runs the whole server on a listener until `shutdown` is done.
///
/// Then it stops accepting, lets requests finish, lets jobs store a checkpoint and closes the database, within the
/// seconds that the configuration gives to each; a job that was running is taken up by the next process.
///
/// Errors: other machines would reach a server that asks for no token; the data directory cannot be used or another process
/// uses it; the listener failed.
pub async fn run(
    listener: TcpListener,
    mut config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let address = listener.local_addr()?;
    let access = config.access.access(address)?;
    let is_open = access.token.is_none() && !address.ip().to_canonical().is_loopback();
    let limits = &mut config.limits;
    limits.connections = limits.connections.min(descriptors() / 2);
    let free = config.limits.free_disk_bytes;
    let store = Store::open_with_room(&config.data_dir, free).await?;
    let forgotten = store.running_time().earlier(config.http().idempotency);
    store.forget_keys(forgotten).await?;
    let memory = config.memory();
    let registry = Registry::load(&store, memory.clone()).await?;
    let jobs = Jobs::start(store.clone(), memory, config.jobs()).await?;
    // Not before the registry follows what is deleted.
    store.keep(config.retention());
    let app = App::new(
        (store.clone(), &config.data_dir),
        jobs.clone(),
        Serve::new(registry, config.serve()),
        config.http(),
    );
    let data_dir = config.data_dir.display();
    tracing::info!(%address, %data_dir, job_slots = config.job_slots, memory_mib = config.memory_mib, "ready: listening on http://{address}, data in {data_dir}");
    if is_open {
        tracing::warn!(%address, "no token is asked for: whoever reaches this address may do everything");
    }
    let (ending, ended) = watch::channel(false);
    let mut serving = tokio::spawn(http::serve(listener, app.clone(), access, ended));
    tokio::select! {
        () = shutdown => {}
        () = store.failed() => {
            app.drain();
            let _ = ending.send(true);
            // Nothing else can be saved; whoever waits is told.
            let _ = tokio::time::timeout(LAST_ANSWERS, &mut serving).await;
            let directory = config.data_dir;
            return Err(Error::DiskFailed { directory });
        }
        ended = &mut serving => {
            let error = ended.err().map_or_else(|| std::io::Error::other("it ended"), std::io::Error::other);
            return Err(error.into());
        },
    }
    tracing::info!("ending: requests finish, jobs store a checkpoint");
    app.drain();
    let _ = ending.send(true);
    let drained = tokio::time::timeout(
        Duration::from_secs(config.limits.drain_seconds),
        &mut serving,
    );
    let stopped = async {
        let limit =
            Duration::from_secs(config.limits.drain_seconds + config.limits.checkpoint_seconds);
        tokio::time::timeout(limit, jobs.stop()).await
    };
    let (drained, stopped) = tokio::join!(drained, stopped);
    if drained.is_err() {
        tracing::warn!("some requests did not finish in time");
        serving.abort();
    }
    if stopped.is_err() {
        tracing::warn!("some jobs did not stop in time: they go on from their last checkpoint");
    }
    if tokio::time::timeout(CLOSE, store.close()).await.is_err() {
        tracing::warn!("the database was not closed in time: the next start reads its log");
    }
    tracing::info!("ended");
    Ok(())
}
