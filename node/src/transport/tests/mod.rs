//! Links on this machine's loopback.

mod callers;
mod codecs;

use super::frame::{FRAME_LEN_MAX, Frame, HELLO_LEN_MAX, Hello, Lane, PROTOCOL_VERSION};
use super::*;
use bytes::{Bytes, BytesMut};
use raft::{Body, Entry, Payload, Position};
use std::sync::atomic::AtomicU16;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[derive(Debug, PartialEq)]
enum Seen {
    Messages(NodeId, usize),
    Connected(NodeId, bool),
    Unreachable(NodeId),
}

/// Reports what it sees; answers a forwarded request with its own bytes.
struct Witness(mpsc::UnboundedSender<Seen>);

impl Receiver for Witness {
    fn messages(&self, from: NodeId, messages: Vec<(GroupId, Message)>) {
        let _ = self.0.send(Seen::Messages(from, messages.len()));
    }

    fn request(&self, _: NodeId, request: Request, reply: Reply) {
        match request {
            Request::Forward(body) if &body[..] == b"silence" => {}
            Request::Forward(body) => reply.send(&Response::Forward(body)),
            Request::Snapshot(piece) => reply.send(&Response::SnapshotWanted(piece.offset)),
        }
    }

    fn connected(&self, peer: NodeId, other_disk: bool) {
        let _ = self.0.send(Seen::Connected(peer, other_disk));
    }

    fn unreachable(&self, peer: NodeId) {
        let _ = self.0.send(Seen::Unreachable(peer));
    }
}

struct Node {
    transport: Transport,
    address: String,
    seen: mpsc::UnboundedReceiver<Seen>,
}

async fn node(id: NodeId, tls: Option<PeerTls>) -> Node {
    node_at("127.0.0.1:0", id, tls).await
}

async fn node_at(address: &str, id: NodeId, tls: Option<PeerTls>) -> Node {
    let listener = TcpListener::bind(address).await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (sender, seen) = mpsc::unbounded_channel();
    let options = TransportOptions {
        id,
        cluster: "c".into(),
        incarnation: 1000 + id,
        priority: Priority::Low,
        tls,
        queue_len_max: 1 << 20,
    };
    let transport = Transport::start(options, listener, Arc::new(Witness(sender)));
    Node {
        transport,
        address,
        seen,
    }
}

impl Node {
    fn knows(&self, others: &[(NodeId, &str)]) {
        let peers = others
            .iter()
            .map(|(id, address)| (*id, (*address).to_owned()))
            .collect();
        self.transport.set_peers(&peers);
    }

    /// Waits until messages to a peer can leave.
    async fn reaches(&self, peer: NodeId) {
        while !self.transport.is_connected(peer) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for something, however much else comes before it.
    async fn sees(&mut self, wanted: &Seen) {
        while &self.seen.recv().await.expect("the node lives") != wanted {}
    }
}

fn hello(to: NodeId, body: Body) -> Envelope {
    Envelope {
        to,
        message: Message { term: 1, body },
    }
}

/// An address of this process alone, on a port that no connection is made from: that of a node
/// which is away stays free until it is back.
fn own_address() -> String {
    static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{middle}.{low}:{port}", 128 | high)
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn messages_of_one_turn_arrive_together_and_requests_are_answered() {
    let (mut one, mut two) = (node(1, None).await, node(2, None).await);
    one.knows(&[(1, &one.address), (2, &two.address)]);
    two.knows(&[(1, &one.address), (2, &two.address)]);
    one.sees(&Seen::Connected(2, false)).await;
    two.sees(&Seen::Connected(1, false)).await;
    one.reaches(2).await;
    for group in 0..100 {
        one.transport.queue(group, &[hello(2, Body::TimeoutNow)]);
    }
    one.transport.flush();
    two.sees(&Seen::Messages(1, 100)).await;
    // The answer comes back over two's own connection to one.
    two.reaches(1).await;
    assert_eq!(one.transport.priority(2), Priority::Low);
    let request = Request::Forward(Bytes::from_static(b"please"));
    let answer = one.transport.request(2, &request, PATIENCE).await;
    assert_eq!(answer, Ok(Response::Forward(Bytes::from_static(b"please"))));
}

#[tokio::test]
async fn a_request_that_cannot_leave_is_told_from_one_that_nobody_answered() {
    let (mut one, two) = (node(1, None).await, node(2, None).await);
    let request = Request::Forward(Bytes::from_static(b"silence"));
    let answer = one.transport.request(2, &request, PATIENCE).await;
    assert_eq!(answer, Err(RequestError::NotSent));
    one.knows(&[(2, &two.address)]);
    one.sees(&Seen::Connected(2, false)).await;
    one.reaches(2).await;
    let answer = one
        .transport
        .request(2, &request, Duration::from_millis(50))
        .await;
    assert_eq!(answer, Err(RequestError::NoAnswer));
    assert!(one.transport.inner.waiting.lock().is_empty());
}

#[tokio::test]
async fn a_request_is_given_up_when_the_connection_breaks() {
    let (one, two) = (node(1, None).await, node(2, None).await);
    is_given_up(&one, &two.address.clone(), || drop(two)).await;
}

#[tokio::test]
async fn a_request_is_given_up_when_its_peer_moves_or_is_forgotten() {
    let (one, two) = (node(1, None).await, node(2, None).await);
    is_given_up(&one, &two.address, || one.knows(&[(2, "127.0.0.1:1")])).await;
    is_given_up(&one, &two.address, || one.knows(&[])).await;
}

/// What node 2 never answers is given up when that happens, however long the patience.
async fn is_given_up(one: &Node, address: &str, happens: impl FnOnce()) {
    one.knows(&[(2, address)]);
    one.reaches(2).await;
    let request = Request::Forward(Bytes::from_static(b"silence"));
    let forever = Duration::from_secs(3600);
    let asked = one.transport.request(2, &request, forever);
    let happens = async {
        while one.transport.inner.waiting.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        happens();
    };
    let both = futures::future::join(asked, happens);
    let (answer, ()) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("given up");
    assert_eq!(answer, Err(RequestError::NoAnswer));
}

#[tokio::test]
async fn a_peer_that_comes_back_is_called_again() {
    let mut one = node(1, None).await;
    let mut two = node_at(&own_address(), 2, None).await;
    let address = two.address.clone();
    one.knows(&[(2, &address)]);
    two.sees(&Seen::Connected(1, false)).await;
    one.sees(&Seen::Connected(2, false)).await;
    drop(two);
    one.sees(&Seen::Unreachable(2)).await;
    let mut two = node_at(&address, 2, None).await;
    two.sees(&Seen::Connected(1, false)).await;
    one.sees(&Seen::Connected(2, false)).await;
    one.reaches(2).await;
    one.transport.send(0, &[hello(2, Body::TimeoutNow)]);
    two.sees(&Seen::Messages(1, 1)).await;
}

#[tokio::test]
async fn a_queue_to_a_peer_that_does_not_read_is_bounded_and_dies_with_it() {
    let mut one = node(1, None).await;
    // Lets itself be introduced to, and then never reads again.
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    one.knows(&[(2, &deaf.local_addr().expect("bound").to_string())]);
    let mut held = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = deaf.accept().await.expect("called");
        let mut bytes = BytesMut::new();
        stream.read_buf(&mut bytes).await.expect("a hello");
        let mut welcome = Vec::new();
        frame::put_welcome(&mut welcome, 7);
        stream.write_all(&welcome).await.expect("written");
        held.push(stream);
    }
    one.sees(&Seen::Connected(2, false)).await;
    one.reaches(2).await;
    let command = Payload::Command(vec![0; 100_000].into());
    let entries = vec![Entry {
        index: 1,
        term: 1,
        payload: command,
    }];
    let body = Body::Append {
        previous: Position::default(),
        entries,
        commit: 0,
    };
    let full = async {
        loop {
            one.transport.send(0, &[hello(2, body.clone())]);
            tokio::task::yield_now().await;
            if let Ok(Seen::Unreachable(2)) = one.seen.try_recv() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, full)
        .await
        .expect("the queue is bounded");

    // It dies with bytes waiting for it: the connection they wait for is given up and made again.
    for stream in held {
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a reset");
    }
    let called_on_both_lanes = async {
        let mut lanes = Vec::new();
        while !(lanes.contains(&Lane::Urgent) && lanes.contains(&Lane::Bulk)) {
            let (mut stream, _) = deaf.accept().await.expect("called");
            let mut bytes = BytesMut::new();
            stream.read_buf(&mut bytes).await.expect("a hello");
            if let Ok(Some(Frame::Hello(hello))) = frame::take(&mut bytes, HELLO_LEN_MAX) {
                lanes.push(hello.lane);
            }
        }
    };
    tokio::time::timeout(PATIENCE, called_on_both_lanes)
        .await
        .expect("called again");
}

async fn call(address: &str) -> TcpStream {
    TcpStream::connect(address).await.expect("listens")
}

/// Whether the other side has closed the connection, after saying whatever it says.
async fn is_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // A reset closes, too.
    let _ = closed.expect("the connection is closed");
    said
}

fn introduction() -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        cluster: "c".into(),
        from: 2,
        to: 1,
        incarnation: 0,
        lane: Lane::Urgent,
        listens_at: ([0, 0, 0, 0], 1).into(),
        priority: Priority::Never,
    }
}

#[tokio::test]
async fn strangers_are_told_why_and_cut_off() {
    let one = node(1, None).await;
    let cases = [
        (
            Hello {
                cluster: "d".into(),
                ..introduction()
            },
            "another cluster",
        ),
        (
            Hello {
                to: 3,
                ..introduction()
            },
            "this is another node",
        ),
        (
            Hello {
                from: 1,
                ..introduction()
            },
            "two nodes with one id",
        ),
        (
            Hello {
                version: PROTOCOL_VERSION + 1,
                ..introduction()
            },
            "malformed protocol version",
        ),
    ];
    for (hello, reason) in cases {
        let mut stream = call(&one.address).await;
        let mut bytes = Vec::new();
        frame::put_hello(&mut bytes, &hello);
        stream.write_all(&bytes).await.expect("written");
        let said = is_closed(stream).await;
        let said = frame::take(&mut BytesMut::from(&said[..]), HELLO_LEN_MAX);
        assert_eq!(said, Ok(Some(Frame::Refused(reason.into()))));
    }
}

#[tokio::test]
async fn garbage_is_cut_off_before_and_after_the_introduction() {
    let mut one = node(1, None).await;
    let mut stream = call(&one.address).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("written");
    is_closed(stream).await;
    let oversized = {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 5]);
        bytes
    };
    let mut second = Vec::new();
    frame::put_hello(&mut second, &introduction());
    for garbage in [b"nonsense, and more of it".to_vec(), oversized, second] {
        let mut stream = call(&one.address).await;
        let mut bytes = Vec::new();
        frame::put_hello(&mut bytes, &introduction());
        stream.write_all(&bytes).await.expect("written");
        one.sees(&Seen::Connected(2, false)).await;
        stream.write_all(&garbage).await.expect("written");
        is_closed(stream).await;
    }
}

#[tokio::test]
async fn a_claimed_length_takes_no_memory() {
    let mut arrived = BytesMut::with_capacity(100);
    arrived.extend_from_slice(&(FRAME_LEN_MAX as u32).to_le_bytes());
    arrived.extend_from_slice(&[0; 20]);
    assert_eq!(frame::take(&mut arrived, FRAME_LEN_MAX), Ok(None));
    assert!(arrived.capacity() < 200);
}

#[tokio::test]
async fn nodes_with_certificates_talk_and_others_are_kept_out() {
    let (ours, theirs) = (authority(), authority());
    let mut one = node(1, Some(ours.clone())).await;
    let mut two = node(2, Some(ours)).await;
    one.knows(&[(2, &two.address)]);
    two.sees(&Seen::Connected(1, false)).await;
    one.sees(&Seen::Connected(2, false)).await;
    one.reaches(2).await;
    one.transport.send(0, &[hello(2, Body::TimeoutNow)]);
    two.sees(&Seen::Messages(1, 1)).await;
    // Another authority's node, and one without any certificate.
    let stranger = node(3, Some(theirs)).await;
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    stranger.knows(&[(2, &door.local_addr().expect("bound").to_string())]);
    let mut stream = call(&two.address).await;
    let mut bytes = Vec::new();
    frame::put_hello(
        &mut bytes,
        &Hello {
            to: 2,
            from: 3,
            ..introduction()
        },
    );
    stream.write_all(&bytes).await.expect("written");
    is_closed(stream).await;
    // Its own calls, which go through here, end as they began.
    for _ in 0..2 {
        let (mut caller, _) = door.accept().await.expect("called");
        let _ = copy_bidirectional(&mut caller, &mut call(&two.address).await).await;
        assert!(!stranger.transport.is_connected(2));
    }
    while let Ok(seen) = two.seen.try_recv() {
        assert_eq!(seen, Seen::Connected(1, false));
    }
}

/// A cluster's certificates: one authority, one certificate that all its nodes show.
fn authority() -> PeerTls {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("signed");
    let issuer = Issuer::new(params, key);
    let node_key = KeyPair::generate().expect("a key");
    let node = CertificateParams::new(vec!["node".into()]).expect("parameters");
    let node = node.signed_by(&node_key, &issuer).expect("signed");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let roots = Arc::new(roots);
    let chain = vec![node.der().clone()];
    let private = || PrivateKeyDer::Pkcs8(node_key.serialize_der().into());
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::clone(&roots));
    let server = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain.clone(), private())
        .expect("a certificate");
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, private())
        .expect("a certificate");
    PeerTls {
        server: Arc::new(server),
        client: Arc::new(client),
        name: "node".try_into().expect("a name"),
    }
}
