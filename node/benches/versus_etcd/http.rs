//! A client of the node that costs little: HTTP/1.1 with keep-alive, one request at a time.

use crate::load::{Client, Outcome};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Http {
    stream: TcpStream,
    out: Vec<u8>,
    arrived: Vec<u8>,
    /// How reads are asked for.
    read: &'static str,
}

impl Http {
    /// Connects to a node.
    pub(crate) async fn connect(address: SocketAddr, read: &'static str) -> Result<Http> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http {
            stream,
            out: Vec::new(),
            arrived: Vec::new(),
            read,
        })
    }

    /// Sends a request; gives the status. The body is left in `arrived`, from the offset given.
    async fn call(&mut self, body: &[u8]) -> Result<(u16, usize)> {
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.arrived.clear();
        loop {
            if let Some(end) = find(&self.arrived, b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.arrived[..end])?;
                let status = head.get(9..12).context("no status line")?.parse()?;
                let len = head
                    .split("\r\n")
                    .filter_map(|line| line.split_once(": "))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .context("no content-length")?
                    .1
                    .parse::<usize>()?;
                if self.arrived.len() >= end + 4 + len {
                    return Ok((status, end + 4));
                }
            }
            if self.stream.read_buf(&mut self.arrived).await? == 0 {
                bail!("the node closed the connection");
            }
        }
    }

    fn refused(&self, status: u16, body: usize) -> Outcome {
        let body: serde_json::Value =
            serde_json::from_slice(&self.arrived[body..]).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        Outcome::Refused(format!("{status} {message}"))
    }

    /// Fetches a JSON document.
    pub(crate) async fn json(&mut self, path: &str) -> Result<serde_json::Value> {
        self.out.clear();
        write!(self.out, "GET {path} HTTP/1.1\r\nhost: node\r\n\r\n")?;
        let (status, body) = self.call(b"").await?;
        if status != 200 {
            bail!("{path} answers {status}");
        }
        Ok(serde_json::from_slice(&self.arrived[body..])?)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Client for Http {
    async fn put(&mut self, key: u64, value: &[u8]) -> Result<Outcome> {
        self.out.clear();
        let len = value.len();
        write!(
            self.out,
            "PUT /kv/key{key:08} HTTP/1.1\r\nhost: node\r\ncontent-length: {len}\r\n\r\n"
        )?;
        match self.call(value).await? {
            (200, _) => Ok(Outcome::Done),
            (status, body) => Ok(self.refused(status, body)),
        }
    }

    async fn get(&mut self, key: u64) -> Result<Outcome> {
        self.out.clear();
        let read = self.read;
        write!(
            self.out,
            "GET /kv/key{key:08}?read={read} HTTP/1.1\r\nhost: node\r\n\
             accept: application/octet-stream\r\n\r\n"
        )?;
        match self.call(b"").await? {
            (200 | 404, _) => Ok(Outcome::Done),
            (status, body) => Ok(self.refused(status, body)),
        }
    }
}
