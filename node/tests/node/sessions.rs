//! Exactly-once over crashes, snapshots and changes of leader.

use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, eventually};

async fn add(cluster: &Cluster, node: u64, session: u64, sequence: u64) -> Json {
    let headers = [
        ("ordeal-session", session.to_string()),
        ("ordeal-sequence", sequence.to_string()),
    ];
    let body = json!({"ops": [{"f": "add", "key": "n", "value": 1}]});
    eventually("the write is taken", async || {
        let (status, answer) = cluster
            .try_send(node, "POST", "/txn", Some(body.clone()), &headers)
            .await?;
        (status == 200).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_retry_is_answered_as_the_first_time_whatever_happened_between() {
    let mut cluster = Cluster::start(3, &["--snapshot-entries", "5"]).await;
    let session = eventually("a session is opened", async || {
        let (status, opened) = cluster.send(1, "POST", "/sessions", None).await;
        (status == 200).then(|| opened["session"].as_u64().unwrap())
    })
    .await;
    let first = add(&cluster, 1, session, 1).await;
    assert_eq!(add(&cluster, 2, session, 1).await, first);
    for number in 0..20 {
        cluster.put(1, "filler", json!(number)).await;
    }
    (1..=3).for_each(|id| cluster.kill(id));
    (1..=3).for_each(|id| cluster.run(id));
    cluster.leader().await;
    assert_eq!(add(&cluster, 3, session, 1).await["index"], first["index"]);
    add(&cluster, 3, session, 2).await;
    assert_eq!(cluster.get(1, "n").await, Some(json!(2)));
}

#[tokio::test]
async fn an_unknown_session_is_gone() {
    let cluster = Cluster::start(1, &[]).await;
    let headers = [
        ("ordeal-session", "4711".to_owned()),
        ("ordeal-sequence", "1".to_owned()),
    ];
    let (status, body) = cluster
        .try_send(1, "PUT", "/kv/k", Some(json!(1)), &headers)
        .await
        .unwrap();
    assert_eq!(
        (status, &body["error"]["code"]),
        (410, &json!("session_expired"))
    );
    assert_eq!(cluster.get(1, "k").await, None);
}

#[tokio::test]
async fn a_session_holds_in_every_group() {
    let cluster = Cluster::start(1, &["--groups", "3"]).await;
    let (_, session) = cluster.send(1, "POST", "/sessions", None).await;
    let session = session["session"].to_string();
    for sequence in 1..=9 {
        let headers = [
            ("ordeal-session", session.clone()),
            ("ordeal-sequence", sequence.to_string()),
        ];
        let path = format!("/kv/key{sequence}");
        let answer = cluster
            .try_send(1, "PUT", &path, Some(json!(1)), &headers)
            .await;
        assert_eq!(answer.unwrap().0, 200);
    }
    let (status, _) = cluster
        .send(1, "POST", &format!("/sessions/{session}/keepalive"), None)
        .await;
    assert_eq!(status, 200);
}
