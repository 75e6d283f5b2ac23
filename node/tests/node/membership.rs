//! Joining, leaving and handing over.

use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, eventually};

async fn change(cluster: &Cluster, changes: Json) -> Json {
    let body = json!({"changes": changes});
    eventually("the change is taken", async || {
        let (status, answer) = cluster
            .try_send(1, "POST", "/members", Some(body.clone()), &[])
            .await?;
        (status == 200).then_some(answer)
    })
    .await
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
    let old = cluster.leader().await;
    let to = old % 3 + 1;
    let (status, body) = cluster
        .send(1, "POST", "/transfer", Some(json!({"to": to})))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(cluster.leader().await, to);
    let (status, body) = cluster
        .send(1, "POST", "/transfer", Some(json!({"to": 9})))
        .await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (409, &json!(true)),
        "{body}"
    );
}
