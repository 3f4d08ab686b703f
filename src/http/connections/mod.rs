//! Connections: the accept loop, the times that a client has for each part of its request, and how many there may be.
//!
//! HTTP/1.1 alone. Instead of `axum::serve`, which sets no timer, so that a half-sent request stays for ever.

mod bodies;
mod clock;
mod feeds;
mod progress;
pub(crate) mod room;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::connections::bodies::Arriving;
use crate::http::connections::progress::{Answered, Phase, Progress};
use crate::http::connections::room::{Place, Room};
use crate::http::connections::watched::Watched;
use crate::http::kept::Kept;

/// Bytes of an answer that the kernel keeps until the client has taken them. By itself it would keep some 4 MB for each client that does not
/// read, which are no memory of this process, but of its control group.
const SENT: usize = 128 << 10;
/// Of these, what need not be on its way yet: that of a client that reads is sent as it is written, and one that does not read has
/// nothing more copied for it. Beside 5,000 of these the p99 of others was 3.9 ms without it, and is 1.2.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// After how long it is told again that no connection can be accepted.
const TELL_AGAIN: Duration = Duration::from_mins(1);
/// How long the accept loop waits where the system has no descriptor or memory left for a connection.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);
/// How long a request that has begun to come may take to be whole once the server ends.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// The times that a client has, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// From the connection, or from the first byte of a later request, to the end of its head.
    pub head: Duration,
    /// Bytes of the head, at most.
    pub head_bytes: usize,
    /// Between two requests.
    pub idle: Duration,
    /// How long an answer may wait for a client that takes less than a KiB of it in a second.
    pub stall: Duration,
}

/// Bytes of an answer that a client takes in a second, at least, while the answer waits for it.
const SLOWEST_ANSWER: u64 = 1 << 10;

/// Answers connections until `ending` says true; then those that are being answered are, and it is done.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    room: Arc<Room>,
    mut ending: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut told: Option<Instant> = None;
    // Kept while connections end: it may hold one that waits for a place.
    let mut accepting = Box::pin(accept(&listener, &room));
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended(&mut ending) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepting.as_mut() => accepted,
        };
        accepting.set(accept(&listener, &room));
        match accepted {
            Ok((stream, place)) => {
                connections.spawn(connection(stream, place, router.clone(), ending.clone()));
            }
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                    tracing::warn!(%error, "no connection can be accepted");
                    told = Some(Instant::now());
                }
                room.dismiss();
                tokio::time::sleep(NO_DESCRIPTOR).await;
            }
        }
    }
    // Who was accepted and has no place yet goes with it.
    drop(accepting);
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Done once the server ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Room>) -> io::Result<(TcpStream, Place)> {
    let (stream, _) = listener.accept().await?;
    Ok((stream, room.enter().await))
}

/// Whether a connection broke off before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// Answers what comes on one connection.
async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    if let Err(error) = set_up(&stream) {
        tracing::debug!(%error, "a connection may be answered late, or take much memory");
    }
    let progress = Arc::clone(place.progress());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&progress), place.limits()));
    let answering = answering(router, Arc::clone(&progress));
    // The times are kept by what it reads from and writes to, which knows more of them than its own.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(place.limits().head_bytes)
        .serve_connection(io, answering);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        served = served.as_mut() => served.unwrap_or_else(|error| tracing::debug!(%error, "a connection broke off")),
        () = dismissed(&progress) => {}
        () = ended(&mut ending) => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                _ = served => {}
                () = unanswered(&progress) => {}
            }
        }
    }
    drop(place);
}

/// Has the kernel send at once what is written, and keep little of it.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // Else it keeps a small piece, such as an event, until the one before it is acknowledged: up to 40 ms.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SENT)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// Done when the connection's place is wanted, unless a request has come meanwhile.
async fn dismissed(progress: &Progress) {
    loop {
        progress.dismissed().await;
        if progress.lasting().0 != Phase::Answering {
            return;
        }
    }
}

/// Done when a while has passed and no request is being answered.
async fn unanswered(progress: &Progress) {
    loop {
        tokio::time::sleep(LAST_HEAD).await;
        let (phase, _) = progress.lasting();
        if !matches!(phase, Phase::Answering | Phase::Body | Phase::Leaving) {
            return;
        }
    }
}

/// What answers the requests of one connection, and tells its progress.
fn answering(
    router: Router,
    progress: Arc<Progress>,
) -> impl Service<
    Request<Incoming>,
    Response = axum::http::Response<Kept<Answered>>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    let router = TowerToHyperService::new(router);
    service_fn(move |request: Request<Incoming>| {
        progress.enter(Phase::Answering);
        let leaving = progress.leaving();
        let request = request.map(|body| Arriving::new(body, Arc::clone(&progress)));
        let answered = router.call(request);
        async move {
            let answer = answered.await?;
            Ok(answer.map(|body| Kept::new(body, leaving)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_keeps_little_of_an_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connected = TcpStream::connect(address);
        let (connected, accepted) = tokio::join!(connected, listener.accept());
        let (stream, _) = accepted.expect("a connection");
        drop(connected);
        set_up(&stream).expect("is set up");
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().expect("is told"));
        // Linux counts its own records with the bytes.
        let sent = socket.send_buffer_size().expect("is told");
        assert!((SENT..=2 * SENT).contains(&sent), "{sent}");
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_notsent_lowat().expect("is told"), UNSENT);
    }
}
