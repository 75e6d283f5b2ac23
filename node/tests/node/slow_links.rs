//! Nodes whose links are slower than the protocol's times allow for.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;

/// What one way takes. A round trip is longer than the longest election timeout below, and shorter
/// than the shortest that it can be stretched to.
const DELAY: Duration = Duration::from_millis(400);
const TIMES: [&str; 4] = ["--heartbeat-ticks", "5", "--election-ticks", "36"];

#[tokio::test]
async fn timeouts_that_follow_slow_links_elect_once_where_fixed_ones_elect_for_ever() {
    let mut cluster = Cluster::behind(3, &TIMES, carry);
    (1..=3).for_each(|id| cluster.run(id));
    // The answers to a candidate come when it campaigns again already.
    cluster
        .until(1, "elections without end", |status| {
            status["term"].as_u64() >= Some(4)
        })
        .await;
    (1..=3).for_each(|id| cluster.kill(id));

    cluster.also_say(&["--timeouts", "auto"]);
    (1..=3).for_each(|id| cluster.run(id));
    cluster.put(1, "k", json!(0)).await;
    let leader = cluster.leader().await;
    let elected = cluster.send(leader, "GET", "/status", None).await.1;
    for number in 1..=3 {
        cluster.put(1 + number % 3, "k", json!(number)).await;
    }
    assert_eq!(cluster.get(2, "k").await, Some(json!(3)));
    let status = cluster.send(leader, "GET", "/status", None).await.1;
    // A disk that hangs on a busy machine may make a leader hand over, once.
    let terms = status["term"].as_u64().unwrap() - elected["term"].as_u64().unwrap();
    assert!(terms <= 1, "{terms} elections more");
}

/// Carries what comes to the listener on to an address, and back, each way with the delay.
async fn carry(listener: std::net::TcpListener, to: String) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (caller, _) = listener.accept().await.unwrap();
        let to = to.clone();
        tokio::spawn(async move {
            // Whoever is not there yet is waited for: a caller that is turned away might take
            // another way than this one.
            let target = loop {
                match TcpStream::connect(&to).await {
                    Ok(target) => break target,
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            };
            let (calls, back) = caller.into_split();
            let (answers, onward) = target.into_split();
            tokio::spawn(delay(answers, back));
            delay(calls, onward).await;
        });
    }
}

/// One way of a connection: any number of pieces may be on it at once.
async fn delay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (way, mut arrives) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut bytes).await {
            let _ = way.send((Instant::now() + DELAY, bytes[..len].to_vec()));
        }
    });
    while let Some((at, bytes)) = arrives.recv().await {
        sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
