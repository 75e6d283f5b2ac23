//! A connection, encrypted or not.

use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// An encrypted connection.
pub(crate) type Tls = TlsStream<TcpStream>;

/// Mutual TLS between nodes: both sides show a certificate of the cluster's own authority, and
/// all nodes' certificates carry one common name.
#[derive(Clone)]
pub struct PeerTls {
    /// For connections that are accepted; must demand a client's certificate.
    pub server: Arc<rustls::ServerConfig>,
    /// For connections that are opened; must show a certificate.
    pub client: Arc<rustls::ClientConfig>,
    /// The name that every node's certificate is issued for.
    pub name: ServerName<'static>,
}

impl PeerTls {
    pub(crate) async fn connect(&self, tcp: TcpStream) -> io::Result<Tls> {
        let connector = TlsConnector::from(Arc::clone(&self.client));
        connector
            .connect(self.name.clone(), tcp)
            .await
            .map(TlsStream::Client)
    }

    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Tls> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        acceptor.accept(tcp).await.map(TlsStream::Server)
    }
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A connection of either kind.
pub(crate) enum BoxedStream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl AsyncRead for BoxedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BoxedStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            BoxedStream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for BoxedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BoxedStream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            BoxedStream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BoxedStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            BoxedStream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BoxedStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            BoxedStream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
