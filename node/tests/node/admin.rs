//! What operators and their machines look at.

use serde_json::json;

use crate::cluster::{Cluster, eventually};

#[tokio::test]
async fn the_status_names_what_the_operator_asks_for() {
    let cluster = Cluster::start(3, &["--groups", "2"]).await;
    // Who leads may change: leaders of several groups spread.
    let status = eventually("both peers are heard", async || {
        let status = cluster.send(cluster.leader().await, "GET", "/status", None);
        let status = status.await.1;
        (status["groups"][0]["progress"].as_array()?.len() >= 2).then_some(status)
    })
    .await;
    for field in [
        "id", "cluster", "version", "role", "term", "leader", "commit", "applied",
    ] {
        assert!(!status[field].is_null(), "{field} is missing");
    }
    assert_eq!(status["groups"].as_array().unwrap().len(), 2);
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    for field in [
        "first_index",
        "last_index",
        "configuration",
        "progress",
        "snapshot_index",
    ] {
        assert!(!status["groups"][0][field].is_null(), "{field} is missing");
    }
}

#[tokio::test]
async fn metrics_health_readiness_and_the_description_are_there() {
    let cluster = Cluster::start(1, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    assert_eq!(cluster.send(1, "GET", "/health", None).await.0, 200);
    assert_eq!(cluster.send(1, "GET", "/ready", None).await.0, 200);
    let (status, metrics) = cluster.send(1, "GET", "/metrics", None).await;
    assert_eq!(status, 200);
    for name in [
        "ordeal_http_responses_total",
        "ordeal_wal_sync_seconds",
        "ordeal_raft_term",
    ] {
        assert!(
            metrics.as_str().unwrap().contains(name),
            "{name} is missing"
        );
    }
    let (status, description) = cluster.send(1, "GET", "/openapi.json", None).await;
    assert_eq!((status, &description["openapi"]), (200, &json!("3.1.0")));
    for path in description["paths"].as_object().unwrap().keys() {
        let path = path
            .replace("{key}", "k")
            .replace("{name}", "n")
            .replace("{id}", "1");
        let (_, body) = cluster.send(1, "TRACE", &path, None).await;
        assert_ne!(body["error"]["code"], "no_such_path", "{path}");
    }
}

#[tokio::test]
async fn a_node_that_knows_no_leader_is_alive_and_not_ready() {
    let mut cluster = Cluster::start(3, &[]).await;
    (2..=3).for_each(|id| cluster.kill(id));
    cluster
        .until(1, "it knows no leader", |status| status["leader"].is_null())
        .await;
    assert_eq!(cluster.send(1, "GET", "/health", None).await.0, 200);
    let (status, body) = cluster.send(1, "GET", "/ready", None).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("not_ready")));
}

#[tokio::test]
async fn admin_verbs_want_the_token_when_there_is_one() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    let cluster = Cluster::start(1, &["--admin-token-file", file.to_str().unwrap()]).await;
    let bearer = |token: &str| [("authorization", format!("Bearer {token}"))];
    for headers in [&[][..], &bearer("hunter"), &bearer("hunter22")] {
        let (status, body) = cluster
            .try_send(1, "POST", "/snapshot", None, headers)
            .await
            .unwrap();
        assert_eq!(
            (status, &body["error"]["code"]),
            (401, &json!("unauthorized"))
        );
    }
    let answer = cluster
        .try_send(1, "POST", "/snapshot", None, &bearer("hunter2"))
        .await;
    assert_eq!(answer.unwrap().0, 200);
    cluster.put(1, "a", json!("needs no token")).await;
}
