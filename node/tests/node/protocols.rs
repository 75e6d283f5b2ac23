//! What clients may speak: HTTP/1.1, and HTTP/2 without being asked first.

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

/// The status and the body of the answer to one request among others on the connection.
async fn ask(
    connection: &h2::client::SendRequest<Bytes>,
    request: Request<()>,
    body: Option<String>,
) -> (u16, String) {
    let mut connection = connection.clone().ready().await.unwrap();
    let (answer, mut sent) = connection.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        sent.send_data(body.into(), true).unwrap();
    }
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let (mut body, mut text) = (answer.into_body(), Vec::new());
    while let Some(part) = body.data().await {
        text.extend_from_slice(&part.unwrap());
    }
    (status, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn requests_share_a_connection_of_http2() {
    let cluster = Cluster::start(1, &["--body-bytes-max", "1000"]).await;
    let socket = TcpStream::connect(&cluster.node(1).http).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let uri = |key: usize| format!("http://n/kv/k{key}");
    let puts = (0..50).map(|key| {
        let request = Request::put(uri(key)).body(()).unwrap();
        ask(&client, request, Some(format!("v{key}")))
    });
    for (status, body) in join_all(puts).await {
        assert_eq!(status, 200, "{body}");
    }
    let gets = (0..50).map(|key| ask(&client, Request::get(uri(key)).body(()).unwrap(), None));
    for (key, (status, body)) in join_all(gets).await.into_iter().enumerate() {
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!("\"value\":\"v{key}\"")), "{body}");
    }
    let request = Request::put(uri(0)).body(()).unwrap();
    let (status, body) = ask(&client, request, Some("v".repeat(1001))).await;
    assert_eq!(status, 413, "{body}");
    drop(client);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_client_speaks_is_told_though_it_comes_letter_by_letter() {
    let cluster = Cluster::start(1, &[]).await;
    let mut socket = TcpStream::connect(&cluster.node(1).http).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for letter in
        "PUT /kv/k HTTP/1.1\r\nhost: n\r\nconnection: close\r\ncontent-length: 1\r\n\r\nv".bytes()
    {
        socket.write_all(&[letter]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
