//! Disks that are full, and disks that fail.

use serde_json::json;

use crate::cluster::{Cluster, eventually};

#[tokio::test]
async fn a_full_disk_refuses_writes_definitely_until_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a node a disk of its own");
        return;
    }
    let mut cluster = Cluster::planned(1, &[]);
    // One segment of the log fits, and not the next.
    cluster.on_disks_of("24m");
    cluster.run(1);
    cluster.leader().await;
    let (status, body) = eventually("a write is refused", async || {
        let answer = cluster
            .try_send(1, "PUT", "/kv/k", Some(json!(1)), &[])
            .await?;
        (answer.0 != 200).then_some(answer)
    })
    .await;
    let error = &body["error"];
    assert_eq!(
        (status, &error["code"]),
        (503, &json!("disk_full")),
        "{body}"
    );
    assert_eq!(error["definite"], true);
    assert!(cluster.log(1).contains("the disk is full"));
    cluster.resize_disk(1, "100m");
    cluster.put(1, "k", json!(2)).await;
    assert_eq!(cluster.get(1, "k").await, Some(json!(2)));
}

#[tokio::test]
async fn a_disk_that_fails_stops_its_node_and_the_others_go_on() {
    let mut cluster = Cluster::planned(3, &[]);
    if let Err(why) = cluster.on_disks_that_fail() {
        eprintln!("SKIPPED: an fsync that fails: no disk can be made that does: {why}");
        return;
    }
    (1..=3).for_each(|id| cluster.run(id));
    cluster.put(1, "k", json!("before")).await;
    let leader = cluster.leader().await;
    cluster.break_disk(leader);
    // What it is asked for now it cannot have stored; the others can, without it.
    let (value, own) = (Some(json!("during")), [("ordeal-forward", "no".to_owned())]);
    let answer = cluster.try_send(leader, "PUT", "/kv/k", value, &own).await;
    assert_ne!(answer.map(|(status, _)| status), Some(200));
    let other = leader % 3 + 1;
    cluster.put(other, "k", json!("after")).await;
    assert_eq!(cluster.ends(leader).await.code(), Some(74));
    let log = cluster.log(leader);
    assert!(log.contains("the log's disk failed"), "{log}");
    // The file system gives up by itself after a while, and then takes no write any more.
    let said = ["cannot sync", "cannot write"];
    assert!(said.iter().any(|words| log.contains(words)), "{log}");
    assert_eq!(cluster.get(other, "k").await, Some(json!("after")));
}
