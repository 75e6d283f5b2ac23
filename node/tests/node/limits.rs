//! What is bounded: requests that wait, entries that are kept, peers that are let in.

use futures::future::join_all;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

#[tokio::test]
async fn more_than_may_wait_is_refused_definitely() {
    // All come before the first is given up, and all are given up before the leader is none.
    let flags = ["--queue-max=4", "--timeout-ms=2000", "--election-ticks=300"];
    let cluster = Cluster::start(3, &flags).await;
    let leader = cluster.leader().await;
    (1..=3)
        .filter(|id| *id != leader)
        .for_each(|id| cluster.freeze(id));
    let writes = (0..12).map(|_| cluster.send(leader, "PUT", "/kv/k", Some(json!(1))));
    let answers = join_all(writes).await;
    let count = |status, code: &str, definite| {
        let same = |(found, body): &&(u16, Json)| {
            let error = &body["error"];
            *found == status && error["code"] == code && error["definite"] == definite
        };
        answers.iter().filter(same).count()
    };
    let (refused, unknown) = (count(503, "overloaded", true), count(504, "timeout", false));
    assert!((1..=4).contains(&unknown), "{answers:?}");
    assert_eq!(refused + unknown, 12, "{answers:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let cluster = Cluster::start(1, &["--timeout-ms", "300"]).await;
    let mut client = TcpStream::connect(&cluster.node(1).http).await.unwrap();
    let half =
        b"PUT /kv/k HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: 6\r\n\r\n123";
    client.write_all(half).await.unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert!(
        said.contains("slow_body") && said.contains("\"definite\":true"),
        "{said}"
    );
    assert_eq!(cluster.get(1, "k").await, None);
}

#[tokio::test]
async fn a_log_of_large_values_is_cut_by_its_bytes() {
    let cluster = Cluster::start(1, &["--log-bytes-max", "100000"]).await;
    let value = "x".repeat(10_000);
    for _ in 0..60 {
        cluster.put(1, "k", json!(value)).await;
    }
    let held = |status: &Json| {
        let group = &status["groups"][0];
        group["last_index"].as_u64().unwrap() - group["first_index"].as_u64().unwrap()
    };
    cluster
        .until(1, "a snapshot of the last values", |status| {
            status["groups"][0]["snapshot_index"].as_u64() > Some(30) && held(status) < 25
        })
        .await;
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_cut_off_and_counted() {
    let cluster = Cluster::start(1, &[]).await;
    let mut stranger = TcpStream::connect(&cluster.node(1).peer).await.unwrap();
    stranger.write_all(&[0xff; 64]).await.unwrap();
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = stranger.read_to_end(&mut said).await;
    let (_, metrics) = cluster.send(1, "GET", "/metrics", None).await;
    let counted =
        |line: &str| line.starts_with("ordeal_peer_cut_off_total{") && line.ends_with(" 1");
    assert!(metrics.as_str().unwrap().lines().any(counted), "{metrics}");
}
