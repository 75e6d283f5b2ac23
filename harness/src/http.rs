//! HTTP/1.1 as the harness speaks it: [`ask`] for a question now and then, and [`Connection`] for a
//! run's clients, which send one request after the other.
//!
//! A connection is driven by whoever waits for the answer: without a pool or a task of its own a
//! request is handed over to nobody, and of one that came to nothing it is known whether it ever
//! left.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long it may take to reach a node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A request; [`Address::request`] makes one.
pub type Request = http::Request<Full<Bytes>>;

/// Where a server is: `http://HOST:PORT`, and what its paths begin with.
#[derive(Debug, Clone)]
pub struct Address {
    host: String,
    port: u16,
    authority: HeaderValue,
    prefix: String,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin(), self.prefix)
    }
}

impl Address {
    /// The server's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads `http://HOST[:PORT][/PREFIX]`.
    pub fn parse(text: &str) -> Result<Address, String> {
        let refuse = |why: &str| format!("`{text}` is no address: {why}");
        let uri: Uri = text
            .parse()
            .map_err(|error: http::uri::InvalidUri| refuse(&error.to_string()))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("expected http://HOST:PORT"));
        };
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => Some(80),
            _ => authority.port_u16(),
        };
        let port = port.ok_or_else(|| refuse("expected http://HOST:PORT"))?;
        let host = host
            .strip_prefix('[')
            .map_or(host, |host| &host[..host.len() - 1]);
        Ok(Address {
            host: host.to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|error| refuse(&error.to_string()))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    fn origin(&self) -> String {
        let authority = self.authority.to_str().unwrap_or(&self.host);
        format!("http://{authority}")
    }

    /// A request for a path, to which the method and the rest may be added.
    pub fn request(&self, path: &str) -> Result<Request, String> {
        let whole = [&self.prefix, path].concat();
        let uri = Uri::from_maybe_shared(whole)
            .ok()
            .filter(|uri| uri.path().starts_with('/') && uri.authority().is_none())
            .ok_or_else(|| {
                format!("`{path}` is no path; what is put into it wants `| urlencode`")
            })?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, self.authority.clone());
        Ok(request)
    }
}

/// What a server answered, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent: the server could not be reached.
    #[error("{0}")]
    Unsent(String),
    /// The time is up; the server may have the request.
    #[error("timeout")]
    Timeout,
    /// The connection broke; the server may have the request.
    #[error("{0}")]
    Broken(String),
}

/// A connection to one server, opened when it is needed and kept while the server keeps it.
#[derive(Debug, Default)]
pub struct Connection {
    open: Option<Open>,
}

type Socket = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

#[derive(Debug)]
struct Open {
    requests: http1::SendRequest<Full<Bytes>>,
    /// None when it has ended.
    socket: Option<Pin<Box<Socket>>>,
}

impl Connection {
    /// Sends a request and waits so long for the answer.
    pub async fn send(
        &mut self,
        address: &Address,
        mut request: Request,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let (mut open, is_new) = match self.open.take() {
                Some(open) => (open, false),
                None => (Open::to(address, deadline).await?, true),
            };
            let exchange = timeout_at(deadline, open.exchange(request)).await;
            match exchange.map_err(|_| Failure::Timeout)? {
                Ok(answer) => {
                    self.open = Some(open).filter(|open| open.socket.is_some());
                    return Ok(answer);
                }
                // What was kept open had been closed meanwhile.
                Err((_, Some(unsent))) if !is_new => request = *unsent,
                Err((error, Some(_))) => return Err(Failure::Unsent(innermost(&error))),
                Err((error, None)) => return Err(Failure::Broken(innermost(&error))),
            }
        }
    }
}

/// Asks once, over a connection of its own.
pub async fn ask(address: &Address, request: Request, limit: Duration) -> Result<Answer, Failure> {
    // A proxy from the environment is for the world outside, not for the nodes.
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0);
        client
            .build()
            .expect("nothing is asked of it that can fail")
    });
    let (parts, body) = request.into_parts();
    let mut response = CLIENT
        .request(parts.method, format!("{}{}", address.origin(), parts.uri))
        .headers(parts.headers)
        .body(reqwest::Body::wrap(body))
        .timeout(limit)
        .send()
        .await
        .map_err(|error| failure(&error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(data) = response.chunk().await.map_err(|error| failure(&error))? {
        take(&mut body, &data);
    }
    Ok(Answer { status, body })
}

/// Reads what there is room for.
fn take(body: &mut Vec<u8>, data: &[u8]) {
    if body.len() + data.len() <= BODY_BYTES_MAX {
        body.extend_from_slice(data);
    }
}

fn failure(error: &reqwest::Error) -> Failure {
    match innermost(error) {
        _ if error.is_connect() && error.is_timeout() => Failure::Unsent("unreachable".into()),
        cause if error.is_connect() || error.is_builder() => Failure::Unsent(cause),
        _ if error.is_timeout() => Failure::Timeout,
        cause => Failure::Broken(cause),
    }
}

impl Open {
    async fn to(address: &Address, deadline: Instant) -> Result<Open, Failure> {
        let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout_at(deadline, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::Unsent(innermost(&error))),
            Err(_) => return Err(Failure::Unsent("unreachable".into())),
        };
        let _ = stream.set_nodelay(true);
        let (requests, socket) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Unsent(innermost(&error)))?;
        Ok(Open {
            requests,
            socket: Some(Box::pin(socket)),
        })
    }

    /// One request and its answer. When it certainly was not sent, it is handed back.
    async fn exchange(
        &mut self,
        request: Request,
    ) -> Result<Answer, (hyper::Error, Option<Box<Request>>)> {
        let Open { requests, socket } = self;
        if let Err(error) = drive(socket, requests.ready()).await {
            return Err((error, Some(Box::new(request))));
        }
        let answering = requests.try_send_request(request);
        let response = drive(socket, answering).await.map_err(|mut error| {
            let unsent = error.take_message().map(Box::new);
            (error.into_error(), unsent)
        })?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut frames = response.into_body();
        while let Some(frame) = drive(socket, frames.frame()).await {
            let frame = frame.map_err(|error| (error, None))?;
            if let Some(data) = frame.data_ref() {
                take(&mut body, data);
            }
        }
        Ok(Answer { status, body })
    }
}

/// Waits for something that the connection brings about, and drives the connection meanwhile.
async fn drive<T>(socket: &mut Option<Pin<Box<Socket>>>, wanted: impl Future<Output = T>) -> T {
    let mut wanted = pin!(wanted);
    poll_fn(|context| {
        if let ready @ Poll::Ready(_) = wanted.as_mut().poll(context) {
            return ready;
        }
        if let Some(driven) = socket
            && driven.as_mut().poll(context).is_ready()
        {
            *socket = None;
        }
        wanted.as_mut().poll(context)
    })
    .await
}

/// The innermost cause, which says the most.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused".into(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// A server that answers so many requests on each connection and then closes it, or never
    /// answers; it tells how many connections it has taken, and how many of them it has closed.
    async fn server(answers: &'static [u8], each: usize) -> (Address, watch::Receiver<[usize; 2]>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&format!("http://{}/api/", listener.local_addr().unwrap()));
        let (counted, connections) = watch::channel([0; 2]);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.send_modify(|[taken, _]| *taken += 1);
                for _ in 0..each {
                    let mut head = [0; 4096];
                    let read = stream.read(&mut head).await.unwrap();
                    assert!(head[..read].starts_with(b"GET /api/x HTTP/1.1\r\nhost: 127.0.0.1:"));
                    stream.write_all(answers).await.unwrap();
                }
                drop(stream);
                counted.send_modify(|[_, closed]| *closed += 1);
            }
        });
        (address.unwrap(), connections)
    }

    async fn get(connection: &mut Connection, address: &Address) -> Result<Answer, Failure> {
        connection
            .send(address, address.request("/x").unwrap(), LIMIT)
            .await
    }

    #[tokio::test]
    async fn a_connection_is_kept_while_the_server_keeps_it() {
        let (address, mut connections) = server(OK, 3).await;
        let mut connection = Connection::default();
        for number in 1..=6 {
            let answer = get(&mut connection, &address).await.unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
            let closed = connections.wait_for(|[_, closed]| *closed == number / 3);
            closed.await.unwrap();
        }
        assert_eq!(*connections.borrow(), [2, 2]);
    }

    #[tokio::test]
    async fn what_broke_on_the_way_may_have_arrived_and_what_was_refused_did_not() {
        let (address, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", 1).await;
        let broken = get(&mut Connection::default(), &address).await;
        assert!(matches!(broken, Err(Failure::Broken(_))), "{broken:?}");

        let (silent, _) = server(b"", 9).await;
        let request = silent.request("/x").unwrap();
        let late = ask(&silent, request, Duration::from_millis(500)).await;
        assert_eq!(late.unwrap_err(), Failure::Timeout);

        let nobody = Address::parse("http://127.0.0.1:1").unwrap();
        let refused = Failure::Unsent("refused".into());
        let kept = get(&mut Connection::default(), &nobody).await;
        assert_eq!(kept.unwrap_err(), refused);
        let asked = ask(&nobody, nobody.request("/x").unwrap(), LIMIT).await;
        assert_eq!(asked.unwrap_err(), refused);
    }

    #[test]
    fn an_address_or_a_path_that_is_none_is_refused() {
        for wrong in [
            "n1:80",
            "https://n1",
            "http://",
            "http://n1:99999",
            "http://me@n1",
            "/x",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        let address = Address::parse("http://[::1]:80").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 80));
        for wrong in ["x", "/a b", "http://elsewhere/x", ""] {
            assert!(address.request(wrong).is_err(), "{wrong}");
        }
    }
}
