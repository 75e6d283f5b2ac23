//! The called side: lets in who belongs to the cluster, hands on what they say, and cuts off who
//! says what makes no sense.

use super::Inner;
use super::frame::{self, FRAME_LEN_MAX, Frame, HELLO_LEN_MAX, Hello, Lane};
use super::link::{PING_INTERVAL, tune};
use super::peers::Caller;
use super::stream::BoxedStream;
use crate::encoding::{GroupId, Malformed};
use bytes::BytesMut;
use raft::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// A caller introduces itself within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// So many callers may be about to introduce themselves.
const STRANGERS_MAX: usize = 64;
/// One who is silent for so long is gone: each side says something every [`PING_INTERVAL`].
const SILENCE_MAX: Duration = PING_INTERVAL.saturating_mul(10);
/// Memory is taken in blocks of this length, which the commands of entries in them then share.
const BLOCK_LEN: usize = 64 << 10;
/// A block with less room than this is left for the next: less is not worth a system call.
const ROOM_LEN_MIN: usize = 4 << 10;

#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("closed")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Stranger(&'static str),
    #[error("silent for too long")]
    Silent,
}

impl Cut {
    /// How it is counted; none for what happens to honest peers.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Cut::Closed | Cut::Io(_) | Cut::Silent => None,
            Cut::Malformed(Malformed(what)) | Cut::Stranger(what) => Some(what),
        }
    }
}

/// Accepts connections until aborted.
pub(crate) async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let permit = Arc::clone(&strangers)
            .acquire_owned()
            .await
            .expect("never closed");
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, most likely: give others time to close some.
                tracing::warn!("cannot accept a peer's connection: {e}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let inner_of_task = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            let inner = inner_of_task;
            let greeted = timeout(HELLO_TIMEOUT, greet(&inner, tcp, address)).await;
            drop(permit);
            let cut = match greeted {
                Ok(Ok((stream, arrived, hello, _caller))) => {
                    serve(&inner, stream, arrived, &hello).await
                }
                Ok(Err(cut)) => cut,
                Err(_) => Cut::Stranger("no introduction"),
            };
            report(address, &cut);
        });
        inner.adopt(task.abort_handle());
    }
}

fn report(address: SocketAddr, cut: &Cut) {
    if let Some(reason) = cut.reason() {
        metrics::counter!("ordeal_peer_cut_off_total", "reason" => reason).increment(1);
        tracing::warn!(%address, "cut off: {cut}");
    } else {
        tracing::debug!(%address, "connection ended: {cut}");
    }
}

async fn greet(
    inner: &Arc<Inner>,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<(BoxedStream, BytesMut, Hello, Caller), Cut> {
    tune(&tcp)?;
    let mut stream = match &inner.options.tls {
        None => BoxedStream::Plain(tcp),
        Some(tls) => BoxedStream::Tls(Box::new(tls.accept(tcp).await?)),
    };
    let mut arrived = BytesMut::with_capacity(HELLO_LEN_MAX);
    let answer = loop {
        match frame::take(&mut arrived, HELLO_LEN_MAX) {
            Ok(Some(Frame::Hello(hello))) => break check(inner, hello, address),
            Ok(Some(_)) => break Err(Cut::Stranger("no introduction")),
            Err(malformed) => break Err(malformed.into()),
            Ok(None) => {}
        }
        if stream.read_buf(&mut arrived).await? == 0 {
            return Err(Cut::Closed);
        }
    };
    let mut bytes = Vec::new();
    match &answer {
        Ok(_) => frame::put_welcome(&mut bytes, inner.options.incarnation),
        Err(cut) => frame::put_refused(&mut bytes, &cut.to_string()),
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let (hello, caller) = answer?;
    Ok((stream, arrived, hello, caller))
}

fn check(inner: &Arc<Inner>, hello: Hello, address: SocketAddr) -> Result<(Hello, Caller), Cut> {
    if hello.cluster != inner.options.cluster {
        Err(Cut::Stranger("another cluster"))
    } else if hello.to != inner.options.id {
        Err(Cut::Stranger("this is another node"))
    } else if hello.from == inner.options.id {
        Err(Cut::Stranger("two nodes with one id"))
    } else if let Some(caller) = inner.called(&hello, address) {
        Ok((hello, caller))
    } else {
        Err(Cut::Stranger("too many nodes that no configuration names"))
    }
}

async fn serve(
    inner: &Arc<Inner>,
    mut stream: BoxedStream,
    mut arrived: BytesMut,
    hello: &Hello,
) -> Cut {
    let from = hello.from;
    if hello.lane == Lane::Urgent {
        inner.connected(from, hello.incarnation);
    }
    loop {
        if let Err(cut) = take_all(inner, hello, &mut arrived) {
            return cut;
        }
        // Grows with what has arrived and not with what a length claims.
        if arrived.capacity() - arrived.len() < ROOM_LEN_MIN {
            arrived.reserve(BLOCK_LEN);
        }
        match timeout(SILENCE_MAX, stream.read_buf(&mut arrived)).await {
            Ok(Ok(0)) => return Cut::Closed,
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return e.into(),
            Err(_) => return Cut::Silent,
        }
    }
}

/// Hands on all whole frames; the messages of all of them at once.
fn take_all(inner: &Arc<Inner>, hello: &Hello, arrived: &mut BytesMut) -> Result<(), Cut> {
    let from = hello.from;
    let mut messages: Vec<(GroupId, Message)> = Vec::new();
    while let Some(frame) = frame::take(arrived, FRAME_LEN_MAX)? {
        match frame {
            Frame::Messages(more) if messages.is_empty() => messages = more,
            Frame::Messages(more) => messages.extend(more),
            Frame::Request(id, request) => inner.request(from, id, request),
            Frame::Response(id, response) => inner.response(from, id, response),
            Frame::Ping => {}
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refused(_) => {
                return Err(Cut::Stranger("a second introduction"));
            }
        }
    }
    if inner.messages(from, hello.incarnation, messages) {
        Ok(())
    } else {
        Err(Cut::Stranger("an earlier disk"))
    }
}
