//! Clients' operations on a cluster of three.

use serde_json::json;

use crate::cluster::{Cluster, eventually};

#[tokio::test]
async fn any_node_takes_a_write_and_any_node_reads_it() {
    let cluster = Cluster::start(3, &[]).await;
    for writer in 1..=3 {
        cluster.put(writer, "k", json!({"by": writer})).await;
        for reader in 1..=3 {
            assert_eq!(cluster.get(reader, "k").await, Some(json!({"by": writer})));
        }
    }
    for mode in ["index", "lease", "follower"] {
        let path = format!("/kv/k?read={mode}");
        let read = async |_| cluster.send(2, "GET", &path, None).await;
        let (_, (status, body)) = cluster.under_one_leader(read).await;
        assert_eq!((status, &body["value"]), (200, &json!({"by": 3})), "{mode}");
    }
    eventually("it is deleted", async || {
        let (status, _) = cluster.send(1, "DELETE", "/kv/k", None).await;
        matches!(status, 200 | 404).then_some(())
    })
    .await;
    assert_eq!(cluster.get(3, "k").await, None);
}

#[tokio::test]
async fn without_any_optimisation_all_is_the_same_but_the_speed() {
    let off = [
        "--no-batching",
        "--no-pipelining",
        "--no-parallel-append",
        "--no-async-apply",
        "--no-pre-vote",
    ];
    let mut cluster = Cluster::start(3, &off).await;
    cluster.put(1, "k", json!("before")).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let other = leader % 3 + 1;
    assert_eq!(cluster.get(other, "k").await, Some(json!("before")));
    cluster.put(other, "k", json!("after")).await;
    cluster.run(leader);
    assert_eq!(cluster.get(leader, "k").await, Some(json!("after")));
}

#[tokio::test]
async fn each_change_has_a_later_index_and_a_greater_revision() {
    let cluster = Cluster::start(1, &[]).await;
    let first = cluster.put(1, "a", json!(1)).await;
    let second = cluster.put(1, "b", json!(1)).await;
    assert!(second["index"].as_u64() > first["index"].as_u64());
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    let (_, read) = cluster.send(1, "GET", "/kv/b", None).await;
    assert_eq!(read["revision"], second["revision"]);
}

#[tokio::test]
async fn a_cas_that_finds_something_else_says_what() {
    let cluster = Cluster::start(1, &[]).await;
    let cas = |body| cluster.send(1, "POST", "/kv/a%2Fb/cas", Some(body));
    assert_eq!(cas(json!({"expect": null, "value": 1})).await.0, 200);
    let (status, body) = cas(json!({"expect": 2, "value": 3})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("mismatch")));
    assert_eq!(body["error"]["actual"], json!(1));
    assert_eq!(body["error"]["definite"], json!(true));
    assert_eq!(cas(json!({"expect": 1, "value": null})).await.0, 200);
    assert_eq!(cluster.get(1, "a%2Fb").await, None);
}

#[tokio::test]
async fn raw_bytes_come_back_as_they_were() {
    let cluster = Cluster::start(1, &[]).await;
    let url = format!("http://{}/kv/raw", cluster.node(1).http);
    let bytes = vec![0u8, 255, 34, 10];
    let put = cluster
        .client()
        .put(&url)
        .body(bytes.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 200);
    let get = cluster
        .client()
        .get(&url)
        .header("accept", "application/octet-stream");
    let answer = get.send().await.unwrap();
    assert!(answer.headers().contains_key("ordeal-index"));
    assert!(answer.headers().contains_key("ordeal-revision"));
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    assert_eq!(
        cluster.get(1, "raw").await,
        Some(json!({"hex": "00ff220a"}))
    );
}

#[tokio::test]
async fn a_range_goes_through_all_keys_page_by_page() {
    let cluster = Cluster::start(1, &["--groups", "4"]).await;
    for number in 0..25 {
        cluster
            .put(1, &format!("p%2F{number:02}"), json!(number))
            .await;
    }
    cluster.put(1, "q", json!("outside")).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!(
            "/kv?prefix=p%2F&limit=7&after={}",
            after.replace('/', "%2F")
        );
        let (status, page) = cluster.send(1, "GET", &path, None).await;
        assert_eq!(status, 200);
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["value"].as_u64().unwrap()));
        if page["more"] == false {
            break;
        }
        after = items.last().unwrap()["key"].as_str().unwrap().to_owned();
    }
    assert_eq!(seen, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_is_atomic_in_a_group_and_refused_across() {
    let cluster = Cluster::start(1, &["--groups", "8"]).await;
    let txn = |keys: [&str; 2]| {
        let ops = json!([
            {"f": "append", "key": keys[0], "value": 1},
            {"f": "r", "key": keys[1]},
        ]);
        cluster.send(1, "POST", "/txn", Some(json!({"ops": ops})))
    };
    let (status, body) = txn(["x", "x"]).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["results"][1],
        json!({"f": "r", "key": "x", "value": [1]})
    );
    let mut crossed = 0;
    for other in ["a", "b", "c", "d", "e"] {
        let (status, body) = txn(["x", other]).await;
        if status == 400 {
            assert_eq!(body["error"]["code"], "cross_group");
            assert_eq!(body["error"]["definite"], true);
            crossed += 1;
        }
    }
    assert!(crossed > 0, "six keys are not all in one of eight groups");
}

#[tokio::test]
async fn a_lease_has_one_holder_and_its_token_grows() {
    let cluster = Cluster::start(1, &[]).await;
    let call = |verb, body| cluster.send(1, "POST", verb, Some(body));
    let (status, first) = call("/lease/l/acquire", json!({"owner": "a", "ttl_ms": 60000})).await;
    assert_eq!(status, 200);
    let (status, held) = call("/lease/l/acquire", json!({"owner": "b", "ttl_ms": 60000})).await;
    assert_eq!((status, &held["error"]["code"]), (409, &json!("held")));
    let body = json!({"owner": "a", "token": first["token"]});
    assert_eq!(call("/lease/l/renew", body.clone()).await.0, 200);
    assert_eq!(call("/lease/l/release", body.clone()).await.0, 200);
    let (_, second) = call("/lease/l/acquire", json!({"owner": "b", "ttl_ms": 60000})).await;
    assert!(second["token"].as_u64() > first["token"].as_u64());
    let (status, lost) = call("/lease/l/renew", body).await;
    assert_eq!(
        (status, &lost["error"]["code"]),
        (409, &json!("lease_lost"))
    );
}

#[tokio::test]
async fn who_must_not_be_forwarded_learns_who_leads() {
    let cluster = Cluster::start(3, &[]).await;
    let no = [("ordeal-forward", "no".to_owned())];
    let ask = async |leader: u64, method, path| {
        let follower = leader % 3 + 1;
        let body = Some(json!(1));
        cluster
            .until(follower, "it knows a leader", |it| !it["leader"].is_null())
            .await;
        let answer = cluster.try_send(follower, method, path, body, &no).await;
        answer.unwrap()
    };
    for method in ["PUT", "GET", "DELETE"] {
        let story = async |leader| ask(leader, method, "/kv/k").await;
        let (leader, (status, body)) = cluster.under_one_leader(story).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (421, &json!("not_leader")),
            "{method}"
        );
        assert_eq!(body["error"]["definite"], true);
        assert_eq!(body["error"]["leader"]["id"], leader);
        assert_eq!(body["error"]["leader"]["http"], cluster.node(leader).http);
    }
    let read = async |leader| ask(leader, "GET", "/kv/k?read=follower").await;
    assert_eq!(
        cluster.under_one_leader(read).await.1.0,
        404,
        "a follower read is the follower's own business"
    );
}

#[tokio::test]
async fn without_a_quorum_reads_are_refused_and_a_write_is_never_called_failed() {
    // A leader that hears nobody believes in itself for longer than an operation may take.
    let flags = ["--timeout-ms", "700", "--election-ticks", "200"];
    let mut cluster = Cluster::start(3, &flags).await;
    cluster.put(1, "k", json!("old")).await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.kill(id);
    }
    // The leader does not know yet that it is alone.
    let (status, body) = cluster
        .send(leader, "PUT", "/kv/k", Some(json!("new")))
        .await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (504, &json!(false)),
        "{body}"
    );
    let (status, body) = cluster.send(leader, "GET", "/kv/k", None).await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (503, &json!(true)),
        "{body}"
    );
    let (status, body) = cluster.send(leader, "GET", "/kv/k?read=stale", None).await;
    assert_eq!((status, &body["value"]), (200, &json!("old")));
    // Once it has stepped down it knows that it cannot propose.
    cluster
        .until(leader, "it steps down", |status| status["role"] != "leader")
        .await;
    let (status, body) = cluster
        .send(leader, "PUT", "/kv/k", Some(json!("newer")))
        .await;
    assert_eq!(
        (status, &body["error"]["definite"]),
        (503, &json!(true)),
        "{body}"
    );
}
