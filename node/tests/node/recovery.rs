//! What survives crashes, stops and the loss of leaders.

use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_all() {
    let mut cluster = Cluster::start(3, &[]).await;
    for number in 0..30 {
        cluster
            .put(1 + number % 3, &format!("k{number}"), json!(number))
            .await;
    }
    (1..=3).for_each(|id| cluster.kill(id));
    (1..=3).for_each(|id| cluster.run(id));
    cluster.leader().await;
    for number in 0..30 {
        assert_eq!(
            cluster.get(2, &format!("k{number}")).await,
            Some(json!(number))
        );
    }
}

#[tokio::test]
async fn the_others_go_on_when_the_leader_dies_and_it_catches_up_later() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let old = cluster.leader().await;
    cluster.kill(old);
    let new = cluster.leader().await;
    assert_ne!(old, new);
    cluster.put(new, "a", json!(2)).await;
    cluster.run(old);
    assert_eq!(cluster.get(old, "a").await, Some(json!(2)));
}

#[tokio::test]
async fn a_stopping_leader_hands_over_before_it_goes() {
    // Nobody is elected unless the leader is silent for long.
    let mut cluster = Cluster::start(3, &["--election-ticks", "300"]).await;
    cluster.put(1, "a", json!(1)).await;
    let old = cluster.leader().await;
    let term = cluster.send(old, "GET", "/status", None).await.1["term"]
        .as_u64()
        .unwrap();
    assert!(cluster.stop(old).await.success());
    assert!(cluster.log(old).contains("handing leadership over"));
    let new = cluster.leader().await;
    let status = cluster.send(new, "GET", "/status", None).await.1;
    assert_eq!(
        status["term"].as_u64(),
        Some(term + 1),
        "one election, and no candidate failed"
    );
}

#[tokio::test]
async fn a_restart_from_a_snapshot_has_everything_and_the_log_is_short() {
    let extra = ["--snapshot-entries", "20", "--keep-entries", "5"];
    let mut cluster = Cluster::start(3, &extra).await;
    for number in 0..100 {
        cluster
            .put(1, &format!("k{}", number % 10), json!(number))
            .await;
    }
    let status = cluster
        .until(1, "a snapshot", |status| {
            status["groups"][0]["snapshot_index"].as_u64() >= Some(60)
        })
        .await;
    assert!(status["groups"][0]["first_index"].as_u64() > Some(30));
    (1..=3).for_each(|id| cluster.kill(id));
    (1..=3).for_each(|id| cluster.run(id));
    cluster.leader().await;
    for number in 90..100 {
        assert_eq!(
            cluster.get(3, &format!("k{}", number % 10)).await,
            Some(json!(number))
        );
    }
}

#[tokio::test]
async fn a_follower_that_missed_too_much_gets_a_snapshot() {
    let extra = ["--snapshot-entries", "20", "--keep-entries", "2"];
    let mut cluster = Cluster::start(3, &extra).await;
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    cluster.kill(away);
    for number in 0..100 {
        cluster
            .put(leader, &format!("k{number}"), json!(number))
            .await;
    }
    cluster.run(away);
    cluster
        .until(away, "it has a snapshot", |status| {
            status["groups"][0]["snapshot_index"].as_u64() > Some(20)
                && status["applied"].as_u64() >= Some(100)
        })
        .await;
    for number in [0, 50, 99] {
        let path = format!("/kv/k{number}?read=follower");
        let read = async |_| cluster.send(away, "GET", &path, None).await;
        let (_, (status, body)) = cluster.under_one_leader(read).await;
        assert_eq!((status, &body["value"]), (200, &json!(number)));
    }
    // And it is whole after a crash.
    cluster.kill(away);
    cluster.run(away);
    assert_eq!(cluster.get(away, "k50").await, Some(json!(50)));
}

#[tokio::test]
async fn a_directory_of_another_node_is_refused_by_name() {
    let mut cluster = Cluster::start(1, &[]).await;
    cluster.kill(1);
    let data = cluster.node(1).data.clone();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ordeal-node"))
        .args([
            "serve",
            "--id",
            "2",
            "--join",
            "--http",
            "127.0.0.1:0",
            "--peer",
            "127.0.0.1:0",
        ])
        .arg("--data")
        .arg(data)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("belongs to node 1"), "{text}");
}

#[tokio::test]
async fn inspect_shows_what_a_directory_holds() {
    let mut cluster = Cluster::start(1, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let (status, _) = cluster.send(1, "POST", "/snapshot", None).await;
    assert_eq!(status, 200);
    assert!(cluster.stop(1).await.success());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ordeal-node"))
        .arg("inspect")
        .arg(&cluster.node(1).data)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for part in [
        "node 1 of cluster",
        "sums right",
        "closed in good order",
        "voters {1}",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[tokio::test]
async fn a_survivor_of_a_lost_majority_goes_on_alone_once_told_what_that_means() {
    let mut cluster = Cluster::start(3, &["--snapshot-entries", "5"]).await;
    for number in 0..12 {
        cluster.put(1, &format!("k{number}"), json!(number)).await;
    }
    assert_eq!(cluster.get(1, "k11").await, Some(json!(11)));
    (1..=3).for_each(|id| cluster.kill(id));
    let recover = |data: &std::path::Path, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ordeal-node"));
        let output = command
            .arg("recover")
            .arg(data)
            .args(more)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let data = cluster.node(1).data.clone();
    let (done, text) = recover(&data, &[]);
    assert!(
        !done && text.contains("What may be lost") && text.contains("--yes"),
        "{text}"
    );
    let (done, text) = recover(&data, &["--yes"]);
    assert!(done, "{text}");
    cluster.run(1);
    cluster.put(1, "new", json!(1)).await;
    assert_eq!(cluster.get(1, "k11").await, Some(json!(11)));
}
