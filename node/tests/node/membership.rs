//! Joining, leaving and handing over.

use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, eventually};

async fn change(cluster: &Cluster, changes: Json) {
    change_as(cluster, json!({"changes": changes})).await;
}

/// Asks until the change is made. An answer that was lost is made up for by the refusal to make it
/// twice.
async fn change_as(cluster: &Cluster, body: Json) {
    let mut lost = false;
    eventually("the change is taken", async || {
        let body = Some(body.clone());
        let answer = cluster.try_send(1, "POST", "/members", body, &[]).await;
        let (status, answer) = answer?;
        let error = &answer["error"];
        lost |= error["definite"] == false;
        let is_made = |said| error["message"].as_str().unwrap_or("").contains(said);
        let made = lost && (is_made("already that kind") || is_made("no such member"));
        (status == 200 || made).then_some(())
    })
    .await;
}

fn voters(status: &Json) -> Json {
    status["groups"][0]["configuration"]["voters"].clone()
}

#[tokio::test]
async fn a_learner_is_promoted_by_hand_demoted_and_removed() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    cluster.join(4);
    let member = cluster.member(4);
    change(&cluster, json!([{"add_learner": member}])).await;
    cluster
        .until(4, "it learns", |status| status["role"] == "learner")
        .await;
    assert_eq!(cluster.get(4, "a").await, Some(json!(1)));
    change(&cluster, json!([{"promote": 4}])).await;
    cluster
        .until(1, "it votes", |status| {
            voters(status) == json!([1, 2, 3, 4])
        })
        .await;
    change(&cluster, json!([{"demote": 4}])).await;
    cluster
        .until(1, "it votes no more", |status| {
            voters(status) == json!([1, 2, 3])
        })
        .await;
    change(&cluster, json!([{"remove": 4}])).await;
    cluster
        .until(1, "it is gone", |status| {
            status["groups"][0]["configuration"]["learners"] == json!([])
                && status["members"].as_array().unwrap().len() == 3
        })
        .await;
}

#[tokio::test]
async fn several_voters_are_replaced_in_one_step() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let leader = cluster.leader().await;
    let leaving: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.join(4);
    cluster.join(5);
    let changes = json!([
        {"add_voter": cluster.member(4)}, {"add_voter": cluster.member(5)},
        {"remove": leaving[0]}, {"remove": leaving[1]},
    ]);
    change(&cluster, changes).await;
    let mut wanted = vec![leader, 4, 5];
    wanted.sort_unstable();
    cluster
        .until(4, "the new voters", |status| {
            voters(status) == json!(wanted)
        })
        .await;
    for id in leaving {
        cluster.kill(id);
    }
    cluster.put(4, "a", json!(2)).await;
    assert_eq!(cluster.get(5, "a").await, Some(json!(2)));
}

#[tokio::test]
async fn leadership_goes_where_it_is_sent() {
    let cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let to = cluster.leader().await % 3 + 1;
    let transfer = |to| cluster.send(1, "POST", "/transfer", Some(json!({"to": to})));
    // It may fail when the machine is busy, and be asked for again.
    eventually("it is handed over", async || {
        (transfer(to).await.0 == 200).then_some(())
    })
    .await;
    cluster
        .until(1, "the new leader is known", |status| {
            status["leader"] == to
        })
        .await;
    let (_, (status, body)) = cluster.under_one_leader(async |_| transfer(9).await).await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (409, &json!(true)),
        "{body}"
    );
}

#[tokio::test]
async fn a_node_with_a_wiped_disk_has_no_vote_until_it_is_readmitted() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let leader = cluster.leader().await;
    let lost = leader % 3 + 1;
    eventually("its disk is known", async || {
        let log = cluster.log(lost);
        log.contains("the cluster knows this node's disk")
            .then_some(())
    })
    .await;
    cluster.kill(lost);
    std::fs::remove_dir_all(&cluster.node(lost).data).unwrap();
    cluster.run(lost);
    let wiped = |wanted: bool| move |status: &Json| status["groups"][0]["wiped"] == wanted;
    cluster
        .until(lost, "it knows that it is wiped", wiped(true))
        .await;
    assert_eq!(cluster.get(lost, "a").await, Some(json!(1)), "it follows");
    let leader = cluster.leader().await;
    assert_ne!(leader, lost, "elected without having been readmitted");
    let other = 6 - leader - lost;
    // With the leader gone, the one voter that is left must not find a majority in it.
    cluster.kill(leader);
    for _ in 0..20 {
        let (status, _) = cluster.send(other, "PUT", "/kv/a", Some(json!(2))).await;
        assert_ne!(status, 200, "elected by a node that forgot its votes");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    cluster.run(leader);
    change(&cluster, json!([{"readmit": lost}])).await;
    cluster.until(lost, "it votes again", wiped(false)).await;
    cluster.kill(leader);
    cluster.put(other, "a", json!(3)).await;
    assert_eq!(cluster.get(lost, "a").await, Some(json!(3)));
}

#[tokio::test]
async fn a_node_of_no_priority_leads_only_when_it_is_told_to() {
    let mut cluster = Cluster::planned(3, &[]);
    cluster.run_with(1, &["--priority", "never"]);
    cluster.run(2);
    cluster.run(3);
    let first = cluster.leader().await;
    assert_ne!(first, 1);
    cluster.kill(first);
    let second = cluster.leader().await;
    assert_ne!(second, 1);
    cluster.put(1, "k", json!(1)).await;
    // A slow disk may keep it from being elected in time: then it is told again.
    eventually("it leads", async || {
        let body = Some(json!({"to": 1}));
        let answer = cluster.send(second, "POST", "/transfer", body).await;
        (answer.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_of_low_priority_leads_until_another_can() {
    let mut cluster = Cluster::planned(3, &[]);
    cluster.run_with(1, &["--priority", "low"]);
    cluster.run_with(2, &["--priority", "never"]);
    cluster.put(2, "k", json!(1)).await;
    assert_eq!(cluster.leader().await, 1);
    cluster.run(3);
    cluster
        .until(3, "it leads", |status| status["role"] == "leader")
        .await;
    assert_eq!(cluster.get(2, "k").await, Some(json!(1)));
}

#[tokio::test]
async fn a_change_is_made_in_every_group_or_in_one() {
    let mut cluster = Cluster::start(3, &["--groups", "3", "--no-rebalance"]).await;
    cluster.join(4);
    let learners = |status: &Json| -> Vec<Json> {
        let groups = status["groups"].as_array().unwrap().iter();
        let learners = groups.map(|group| group["configuration"]["learners"].clone());
        learners.collect()
    };
    change(&cluster, json!([{"add_learner": cluster.member(4)}])).await;
    cluster
        .until(1, "a learner of every group", |status| {
            learners(status) == [json!([4]), json!([4]), json!([4])]
        })
        .await;
    change_as(&cluster, json!({"changes": [{"remove": 4}], "group": 1})).await;
    cluster
        .until(1, "one of two groups", |status| {
            learners(status) == [json!([4]), json!([]), json!([4])]
        })
        .await;
}

#[tokio::test]
async fn leaders_of_many_groups_spread_over_the_nodes_that_are_the_most_eager() {
    let mut cluster = Cluster::planned(4, &["--groups", "8"]);
    cluster.run(1);
    cluster.run(2);
    cluster.run_with(3, &["--priority", "low"]);
    cluster.run_with(4, &["--priority", "never"]);
    let leads = |count: usize| {
        move |status: &Json| {
            let groups = status["groups"].as_array().unwrap().iter();
            groups.filter(|group| group["role"] == "leader").count() == count
        }
    };
    for id in [1, 2] {
        cluster.until(id, "its share", leads(4)).await;
    }
    // Who stands back gives away what it was handed.
    eventually("it leads a group", async || {
        let body = Some(json!({"to": 3, "group": 5}));
        let answer = cluster.send(1, "POST", "/transfer", body).await;
        (answer.0 == 200).then_some(())
    })
    .await;
    for (id, count) in [(3, 0), (1, 4), (2, 4)] {
        cluster.until(id, "its share again", leads(count)).await;
    }
}

#[tokio::test]
async fn a_node_that_joins_needs_to_know_nobody() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    cluster.join(4);
    change(&cluster, json!([{"add_learner": cluster.member(4)}])).await;
    assert_eq!(cluster.get(4, "a").await, Some(json!(1)));
    // Whom it is told to look for is not there, and another node is where the next should be.
    let nobody = "1=127.0.0.1:1,127.0.0.1:2";
    let third = cluster.node(3);
    let wrong = format!("2={},{}", third.peer, third.http);
    cluster.join_by(5, &["--member", nobody, "--member", &wrong]);
    change(&cluster, json!([{"add_learner": cluster.member(5)}])).await;
    assert_eq!(cluster.get(5, "a").await, Some(json!(1)));
    // Whoever leads next is answered, too.
    let old = cluster.leader().await;
    cluster.kill(old);
    let new = cluster.leader().await;
    cluster.put(new, "a", json!(2)).await;
    assert_eq!(cluster.get(4, "a").await, Some(json!(2)));
    assert_eq!(cluster.get(5, "a").await, Some(json!(2)));
}

#[tokio::test]
async fn a_node_that_moved_is_found_because_it_calls() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.put(1, "a", json!(1)).await;
    let leader = cluster.leader().await;
    let (moved, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.kill(moved);
    cluster.move_peer_address(moved);
    cluster.run(moved);
    // It is needed from now on, for the write as for the read.
    cluster.kill(other);
    cluster.put(leader, "a", json!(2)).await;
    assert_eq!(cluster.get(moved, "a").await, Some(json!(2)));
}

#[tokio::test]
async fn a_node_that_joins_is_promoted_by_itself_once_it_has_caught_up() {
    let mut cluster = Cluster::start(3, &["--snapshot-entries", "20", "--keep-entries", "2"]).await;
    for number in 0..60 {
        cluster.put(1, &format!("k{number}"), json!(number)).await;
    }
    cluster.join(4);
    let member = cluster.member(4);
    change(&cluster, json!([{"join": member}])).await;
    cluster
        .until(4, "it votes", |status| {
            voters(status) == json!([1, 2, 3, 4])
        })
        .await;
    assert_eq!(cluster.get(4, "k7").await, Some(json!(7)));
    let (_, members) = cluster.send(1, "GET", "/members", None).await;
    let fourth = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["id"] == 4);
    assert_eq!(fourth.unwrap()["kind"], "voter");
    assert_eq!(fourth.unwrap()["http"], cluster.node(4).http);
}
