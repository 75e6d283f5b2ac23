//! Connections of clients: HTTP/1.1, or HTTP/2 for those who begin with it.
//!
//! HTTP/2 costs more per request than HTTP/1.1 and fewer system calls: it is for clients that have
//! many requests under way at once, whose answers then leave together.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Api;

/// A connection that sends no request for so long is closed; one of HTTP/2 is asked whether it
/// still stands.
const IDLE: Duration = Duration::from_secs(120);

/// Which of the two a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves connections until `stop` turns true, then lets those in flight finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    api: Arc<Api>,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(api.limits.connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // Out of descriptors, most likely: give others time to close some.
                tracing::warn!(%error, "could not accept an HTTP connection");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let (api, tls, stop) = (Arc::clone(&api), tls.clone(), stop.clone());
        tokio::spawn(async move {
            match tls {
                None => {
                    if let Ok(Ok(protocol)) = timeout(IDLE, spoken(&socket)).await {
                        converse(socket, protocol, api, stop).await;
                    }
                }
                Some(tls) => match timeout(IDLE, tls.accept(socket)).await {
                    Ok(Ok(socket)) => {
                        let protocol = match socket.get_ref().1.alpn_protocol() {
                            Some(b"h2") => Protocol::Http2,
                            _ => Protocol::Http1,
                        };
                        converse(socket, protocol, api, stop).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a client failed the TLS handshake"),
                    Err(_) => {}
                },
            }
            drop(slot);
        });
    }
}

/// Tells from its first bytes, which stay where they are, what a client speaks.
async fn spoken(socket: &TcpStream) -> io::Result<Protocol> {
    /// No request of HTTP/1.1 begins like this.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut start = [0; PREFACE.len()];
    let mut pause = Duration::from_millis(1);
    loop {
        let len = socket.peek(&mut start).await?;
        if len == 0 || start[..len] != PREFACE[..len] {
            return Ok(Protocol::Http1);
        }
        if len == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        // What is there makes the socket readable, and the rest will not make it more so: it is
        // looked for, and the less often the longer it keeps us waiting.
        sleep(pause).await;
        pause *= 2;
    }
}

async fn converse<S>(socket: S, protocol: Protocol, api: Arc<Api>, stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.handle(request).await) }
    });
    let socket = TokioIo::new(socket);
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_buf_size(64 << 10)
                .serve_connection(socket, service);
            finish(connection, stop).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(IDLE)
                .serve_connection(socket, service);
            finish(connection, stop).await;
        }
    }
}

/// Serves a connection to its end, which is near once the node stops.
async fn finish(connection: impl GracefulConnection, mut stop: watch::Receiver<bool>) {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
