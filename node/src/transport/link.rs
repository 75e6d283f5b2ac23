//! One node's way to another: a task for each connection that calls, introduces itself, writes
//! what the socket would not take at once, notices that the other is gone, and calls again.
//!
//! Connections carry bytes one way only: a node writes on those it has opened and reads from those
//! it has accepted. So there is never a question of which of two crossing calls survives.

use super::Inner;
use super::frame::{self, Frame, HELLO_LEN_MAX, Hello, Lane, PROTOCOL_VERSION};
use super::outbox::Outbox;
use super::peers::Addresses;
use super::stream::{BoxedStream, Tls};
use bytes::BytesMut;
use raft::NodeId;
use rand::RngExt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A call, and the answer to a hello, take no longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// One that was refused will most likely be refused again.
const BACKOFF_REFUSED: Duration = Duration::from_secs(5);
/// A connection on which nothing is sent says so this often.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Sent bytes that the other side has not acknowledged for this long mean that it is cut off.
/// Waiting for the kernel's own retries would leave a healed link silent for many seconds.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
    #[error("refused: {0}")]
    Refused(String),
    #[error("the other side does not speak this protocol")]
    Garbage,
    #[error("closed by the other side")]
    Closed,
}

/// Keeps one connection to a peer, until aborted.
pub(crate) async fn keep(
    inner: Arc<Inner>,
    peer: NodeId,
    mut addresses: Addresses,
    lane: Lane,
    outbox: Arc<Outbox>,
) {
    let mut backoff = BACKOFF_MIN;
    let mut silent = false;
    let mut found = None;
    loop {
        let mut refused = false;
        for address in addresses.likeliest(found.as_ref()) {
            let error = match connect(&inner, peer, &address, lane).await {
                Ok((stream, incarnation)) => {
                    tracing::info!(peer, %address, ?lane, "connected");
                    (backoff, silent) = (BACKOFF_MIN, false);
                    found = Some(address.clone());
                    if lane == Lane::Urgent {
                        inner.connected(peer, incarnation);
                    }
                    let error = run(stream, &outbox).await;
                    outbox.disconnected();
                    inner.lost(peer);
                    error
                }
                Err(error) => error,
            };
            refused |= matches!(error, LinkError::Refused(_));
            if !silent {
                tracing::warn!(peer, %address, ?lane, "no connection: {error}");
            }
        }
        silent = true;
        if refused {
            backoff = BACKOFF_REFUSED;
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::select! {
            () = sleep(backoff.mul_f64(jitter)) => backoff = (backoff * 2).min(BACKOFF_MAX),
            () = addresses.changed() => backoff = BACKOFF_MIN,
        }
    }
}

async fn connect(
    inner: &Inner,
    peer: NodeId,
    address: &str,
    lane: Lane,
) -> Result<(BoxedStream, u64), LinkError> {
    let options = &inner.options;
    let call = async {
        let tcp = TcpStream::connect(address).await?;
        tune(&tcp)?;
        let mut stream = match &options.tls {
            None => BoxedStream::Plain(tcp),
            Some(tls) => BoxedStream::Tls(Box::new(tls.connect(tcp).await?)),
        };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: options.cluster.clone(),
            from: options.id,
            to: peer,
            incarnation: options.incarnation,
            lane,
            listens_at: inner.listens_at,
            priority: options.priority,
        };
        let mut bytes = Vec::new();
        frame::put_hello(&mut bytes, &hello);
        stream.write_all(&bytes).await?;
        let mut arrived = BytesMut::new();
        loop {
            match frame::take(&mut arrived, HELLO_LEN_MAX) {
                Ok(Some(Frame::Welcome(incarnation))) => return Ok((stream, incarnation)),
                Ok(Some(Frame::Refused(reason))) => return Err(LinkError::Refused(reason)),
                Ok(Some(_)) | Err(_) => return Err(LinkError::Garbage),
                Ok(None) => {}
            }
            if stream.read_buf(&mut arrived).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    };
    timeout(CALL_TIMEOUT, call)
        .await
        .map_err(|_| LinkError::Timeout)?
}

/// Small frames leave at once, and a dead peer is noticed soon.
pub(crate) fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Writes until the connection breaks.
async fn run(stream: BoxedStream, outbox: &Outbox) -> LinkError {
    let error = match stream {
        BoxedStream::Plain(stream) => run_plain(Arc::new(stream), outbox).await,
        BoxedStream::Tls(stream) => run_tls(*stream, outbox).await,
    };
    match error {
        Ok(()) => LinkError::Closed,
        Err(error) => LinkError::Io(error),
    }
}

async fn run_plain(stream: Arc<TcpStream>, outbox: &Outbox) -> io::Result<()> {
    outbox.connected(Some(Arc::clone(&stream)));
    let mut pings = tokio::time::interval(PING_INTERVAL);
    let mut nothing = [0; 64];
    loop {
        tokio::select! {
            () = outbox.backlog.notified() => loop {
                stream.writable().await?;
                // A broken socket counts as writable: only the write itself tells.
                if outbox.drain_to(&stream)? {
                    break;
                }
            },
            // The other side never writes: what can be read is its end.
            ready = stream.readable() => {
                ready?;
                match stream.try_read(&mut nothing) {
                    Ok(0) => return Ok(()),
                    Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            _ = pings.tick() => outbox.ping(PING_INTERVAL),
        }
    }
}

async fn run_tls(stream: Tls, outbox: &Outbox) -> io::Result<()> {
    outbox.connected(None);
    let (mut read, mut write) = tokio::io::split(stream);
    let mut pings = tokio::time::interval(PING_INTERVAL);
    let mut nothing = [0; 64];
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            () = outbox.backlog.notified() => {
                outbox.take(&mut bytes);
                write.write_all(&bytes).await?;
                write.flush().await?;
            }
            len = read.read(&mut nothing) => return match len? {
                0 => Ok(()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            },
            _ = pings.tick() => outbox.ping(PING_INTERVAL),
        }
    }
}
