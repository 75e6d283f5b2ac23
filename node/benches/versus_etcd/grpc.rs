//! A client of etcd in its native protocol, gRPC over HTTP/2, as small as it can be.
//!
//! Several clients share a connection, as etcd's own tools do: with a connection each etcd is
//! slower.

use crate::load::{Client, Outcome};
use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// One client; clones share its connection.
#[derive(Clone)]
pub(crate) struct Grpc {
    send: SendRequest<Bytes>,
    /// Reads may be answered without asking the leader.
    serializable: bool,
}

impl Grpc {
    /// Opens a connection to an etcd member.
    pub(crate) async fn connect(address: SocketAddr, serializable: bool) -> Result<Grpc> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            // Its end is seen by whoever calls next.
            let _ = connection.await;
        });
        Ok(Grpc { send, serializable })
    }

    async fn call(&mut self, method: &str, message: &[u8]) -> Result<Outcome> {
        let mut body = BytesMut::with_capacity(message.len() + 5);
        body.put_u8(0);
        body.put_u32(message.len() as u32);
        body.put_slice(message);
        let request = Request::post(format!("http://etcd/etcdserverpb.KV/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, false)?;
        stream.send_data(body.freeze(), true)?;
        let mut answer = response.await?.into_body();
        while let Some(data) = answer.data().await {
            let data = data?;
            answer.flow_control().release_capacity(data.len())?;
        }
        let trailers = answer.trailers().await?.context("no trailers")?;
        match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            Some(b"0") => Ok(Outcome::Done),
            Some(status) => Ok(Outcome::Refused(format!(
                "status {}",
                String::from_utf8_lossy(status)
            ))),
            None => bail!("no grpc-status"),
        }
    }
}

fn put_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

impl Client for Grpc {
    async fn put(&mut self, key: u64, value: &[u8]) -> Result<Outcome> {
        let mut message = Vec::with_capacity(value.len() + 32);
        put_field(&mut message, 0x0a, format!("key{key:08}").as_bytes());
        put_field(&mut message, 0x12, value);
        self.call("Put", &message).await
    }

    async fn get(&mut self, key: u64) -> Result<Outcome> {
        let mut message = Vec::with_capacity(32);
        put_field(&mut message, 0x0a, format!("key{key:08}").as_bytes());
        if self.serializable {
            message.extend_from_slice(&[0x38, 1]);
        }
        self.call("Range", &message).await
    }
}
