//! A client of the node over HTTP/2, where several share a connection, as etcd's do.

use crate::load::{Client, Outcome};
use anyhow::Result;
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// One client; clones share its connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
    /// How reads are asked for.
    read: &'static str,
}

impl Http2 {
    /// Opens a connection to a node.
    pub(crate) async fn connect(address: SocketAddr, read: &'static str) -> Result<Http2> {
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
        Ok(Http2 { send, read })
    }

    /// Sends a request; gives the status.
    async fn call(&mut self, request: Request<()>, body: &[u8]) -> Result<u16> {
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        let response = response.await?;
        let status = response.status().as_u16();
        let mut answer = response.into_body();
        while let Some(data) = answer.data().await {
            let data = data?;
            answer.flow_control().release_capacity(data.len())?;
        }
        Ok(status)
    }
}

impl Client for Http2 {
    async fn put(&mut self, key: u64, value: &[u8]) -> Result<Outcome> {
        let request = Request::put(format!("http://node/kv/key{key:08}")).body(())?;
        Ok(match self.call(request, value).await? {
            200 => Outcome::Done,
            status => Outcome::Refused(status.to_string()),
        })
    }

    async fn get(&mut self, key: u64) -> Result<Outcome> {
        let read = self.read;
        let request = Request::get(format!("http://node/kv/key{key:08}?read={read}"))
            .header("accept", "application/octet-stream")
            .body(())?;
        Ok(match self.call(request, &[]).await? {
            200 | 404 => Outcome::Done,
            status => Outcome::Refused(status.to_string()),
        })
    }
}
