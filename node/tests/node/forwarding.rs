//! What becomes of requests that were passed on to a leader which is none any more.

use serde_json::json;

use crate::cluster::{Cluster, eventually};

#[tokio::test]
async fn what_a_frozen_leader_was_asked_is_given_up_when_another_leads() {
    // Without the first the answer would be that the time is over; the second is how long the
    // frozen leader is believed in: the request must come within that.
    let cluster = Cluster::start(3, &["--timeout-ms", "25000", "--election-ticks", "200"]).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.put(follower, "k", json!("old")).await;
    cluster.freeze(leader);
    let (status, body) = cluster
        .send(follower, "PUT", "/kv/k", Some(json!("new")))
        .await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (504, &json!(false)),
        "{body}"
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("the answer was lost"), "{body}");
    cluster.put(follower, "k", json!("newer")).await;
}

#[tokio::test]
async fn what_could_not_be_sent_to_a_dead_leader_goes_to_the_next() {
    // The dead leader is believed in for long enough to find its connection broken. Who is asked
    // does not stand for election itself, so there is one candidate, and no vote is split.
    let mut cluster = Cluster::planned(3, &["--timeout-ms", "25000", "--election-ticks", "200"]);
    let follower = 3;
    cluster.run(1);
    cluster.run(2);
    cluster.run_with(follower, &["--priority", "never"]);
    let leader = cluster.leader().await;
    cluster.put(follower, "k", json!("old")).await;
    let broken = |cluster: &Cluster| {
        let said = ["no connection", "lane=Urgent", &format!("peer={leader}")];
        let log = cluster.log(follower);
        let says = |line: &&str| said.iter().all(|word| line.contains(word));
        log.lines().filter(says).count()
    };
    let before = broken(&cluster);
    cluster.kill(leader);
    eventually("the connection is known to be broken", async || {
        (broken(&cluster) > before).then_some(())
    })
    .await;
    let (status, body) = cluster
        .send(follower, "PUT", "/kv/k", Some(json!("new")))
        .await;
    assert_eq!(status, 200, "{body}");
}
