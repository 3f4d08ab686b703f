//! gradientd: the command line.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gradientd::config::{Config, address};
use gradientd::maintenance::{Backup, Restore, Verify};
use gradientd::nn::return_freed_memory;
use gradientd::{cli, maintenance, server, telemetry};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Trains and serves neural networks over HTTP.
///
/// Without a command it serves. Start here: `gradientd demo`.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Serve models and train them (the default)
    Serve(Config),
    /// Serve, and show training on the digits table that comes with the program
    Demo(Config),
    /// Ask a running server whether it is healthy; exit 0 if so
    Healthcheck(Healthcheck),
    /// Back up the database into one file, while a server runs on it or not
    Backup(Backup),
    /// Restore the database from a backup; no server may run on the data directory
    Restore(Restore),
    /// Compare everything that is stored with its digests; exit 0 if it is whole, 1 if something is damaged
    Verify(Verify),
}

#[derive(Args)]
struct Healthcheck {
    /// Address and port of the server
    #[arg(
        long,
        env = "GRADIENTD_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS",
        value_parser = address
    )]
    listen: SocketAddr,
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let CommandLine { command, config } = CommandLine::parse();
    // 2 means something else to those who ask for the health of a container.
    let failure = match command {
        Some(Command::Healthcheck(_)) => 1,
        Some(
            Command::Serve(_)
            | Command::Demo(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Verify(_),
        )
        | None => 2,
    };
    return_freed_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime.map_err(Fault::from).and_then(|runtime| {
        let ended = runtime.block_on(run(command.unwrap_or(Command::Serve(config))));
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("gradientd: {fault}");
            ExitCode::from(failure)
        }
    }
}

/// Returns whether what it was asked is so.
async fn run(command: Command) -> Result<bool, Fault> {
    match command {
        Command::Serve(config) => {
            telemetry::start("info");
            serve(config, told_to_end()?).await?;
        }
        Command::Demo(config) => {
            telemetry::start("warn");
            demo(config).await?;
        }
        Command::Healthcheck(Healthcheck { listen }) => {
            cli::healthcheck(reachable(listen)).await?;
        }
        Command::Backup(command) => return unless_ended(command.run()).await,
        Command::Restore(command) => return unless_ended(command.run()).await,
        Command::Verify(command) => return unless_ended(command.run()).await,
    }
    Ok(true)
}

/// What a command came to; where it is told to end before, it leaves nothing half done.
async fn unless_ended(
    command: impl Future<Output = Result<bool, maintenance::Error>>,
) -> Result<bool, Fault> {
    telemetry::start("warn");
    tokio::select! {
        ended = command => Ok(ended?),
        () = told_to_end()? => Err("it was told to end before it was done".into()),
    }
}

async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Fault> {
    let listener = listen(&config).await?;
    Ok(server::run(listener, config.settled(), shutdown).await?)
}

/// Serves and shows; keeps serving when the show is over.
async fn demo(config: Config) -> Result<(), Fault> {
    let listener = listen(&config).await?;
    let token = config.access.token()?;
    let address = reachable(listener.local_addr()?);
    let (ending, mut ended) = watch::channel(false);
    let end = told_to_end()?;
    let mut other = ended.clone();
    let serving = tokio::spawn(server::run(listener, config.settled(), async move {
        let _ = other.wait_for(|ended| *ended).await;
    }));
    let watching = tokio::spawn(async move {
        end.await;
        let _ = ending.send(true);
    });
    let interrupted = async move {
        let _ = ended.wait_for(|ended| *ended).await;
    };
    let shown = cli::demo(address, token, interrupted).await;
    if shown.is_err() {
        watching.abort();
    }
    let served = serving.await?;
    served?;
    Ok(shown?)
}

async fn listen(config: &Config) -> Result<TcpListener, Fault> {
    let address = config.listen;
    config.access.may_listen(address)?;
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}").into())
}

/// The address by which this machine reaches a listener on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            [0, 0, 0, 0, 0, 0, 0, 1].into()
        });
    }
    address
}

/// Done at the first SIGTERM or SIGINT; a second one ends the process at once.
fn told_to_end() -> Result<impl Future<Output = ()> + Send, Fault> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(130);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
