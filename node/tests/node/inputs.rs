//! Requests that are wrong in every way: a clear answer, and the node stands.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;

#[tokio::test]
async fn each_mistake_is_named() {
    let cluster = Cluster::start(1, &["--body-bytes-max", "1000"]).await;
    let long = "k".repeat(5000);
    let large = json!("v".repeat(2000));
    let cases = [
        ("GET", "/nowhere".to_owned(), None, 404, "no_such_path"),
        ("PATCH", "/kv/k".into(), None, 405, "method_not_allowed"),
        ("GET", "/kv/".into(), None, 400, "bad_request"),
        ("GET", format!("/kv/{long}"), None, 400, "bad_request"),
        ("GET", "/kv/%ff".into(), None, 400, "bad_request"),
        ("GET", "/kv/k?read=soon".into(), None, 400, "bad_request"),
        ("GET", "/kv?limit=many".into(), None, 400, "bad_request"),
        ("PUT", "/kv/k".into(), Some(large), 413, "too_large"),
        (
            "POST",
            "/kv/k/cas".into(),
            Some(json!({"value": 1})),
            400,
            "bad_request",
        ),
        ("POST", "/kv/k".into(), Some(json!({})), 400, "bad_request"),
        (
            "POST",
            "/txn".into(),
            Some(json!({"ops": []})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/txn".into(),
            Some(json!({"ops": [{"f": "x", "key": "k"}]})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/lease/l/acquire".into(),
            Some(json!({"owner": "a"})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/lease/l/steal".into(),
            Some(json!({"owner": "a"})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/members".into(),
            Some(json!({"changes": [{"add": 1}]})),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/transfer".into(),
            Some(json!({"to": 1, "group": 7})),
            400,
            "bad_request",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let answer = cluster.send(1, method, &path, body).await;
        assert_eq!(
            (answer.0, &answer.1["error"]["code"]),
            (status, &json!(code)),
            "{method} {path}"
        );
        assert_eq!(
            answer.1["error"]["definite"],
            json!(true),
            "{method} {path}"
        );
    }
    let headers = [("ordeal-session", "1".to_owned())];
    let answer = cluster
        .try_send(1, "PUT", "/kv/k", Some(json!(1)), &headers)
        .await;
    assert_eq!(answer.unwrap().0, 400, "a session without a sequence");
}

#[test]
fn no_input_brings_the_node_down_or_is_answered_without_json() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start(1, &[]));
    let seed = std::env::var("ORDEAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: 300,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
    );
    let paths = [
        "/kv/k",
        "/kv/k/cas",
        "/kv",
        "/txn",
        "/lease/l/acquire",
        "/lease/l/renew",
        "/sessions/1/keepalive",
        "/members",
        "/transfer",
        "/snapshot",
    ];
    let input = (
        proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE"]),
        proptest::sample::select(paths.to_vec()),
        "(\\?[a-z]{1,6}=[%&=a-z0-9]{0,8}){0,2}",
        json_like(),
    );
    runner
        .run(&input, |(method, path, query, body)| {
            let url = format!("http://{}{path}{query}", cluster.node(1).http);
            let request = cluster.client().request(method.parse().unwrap(), url);
            let answer = runtime.block_on(async {
                let answer = request.body(body).send().await.unwrap();
                (answer.status().as_u16(), answer.text().await.unwrap())
            });
            let json: Json = serde_json::from_str(&answer.1).expect("every answer is JSON");
            if answer.0 >= 400 {
                prop_assert!(json["error"]["definite"].is_boolean(), "{}", answer.1);
            }
            prop_assert!(answer.0 < 500, "{}", answer.1);
            Ok(())
        })
        .unwrap();
}

/// Text that is JSON of about the right shape, or nearly.
fn json_like() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(vec![
        "null",
        "1",
        "-1",
        "\"k\"",
        "true",
        "[]",
        "{}",
        "1e99",
        "{\"f\":\"r\",\"key\":\"k\"}",
        "{\"f\":\"add\",\"key\":\"k\",\"value\":9223372036854775807}",
        "{\"demote\":1}",
    ]);
    let name = proptest::sample::select(vec![
        "expect", "value", "revision", "ops", "owner", "ttl_ms", "token", "changes", "to", "group",
    ]);
    proptest::collection::vec((name, leaf), 0..4).prop_flat_map(|fields| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(name, value)| match name {
                "ops" | "changes" => format!("\"{name}\":[{value}]"),
                _ => format!("\"{name}\":{value}"),
            })
            .collect();
        let whole = format!("{{{}}}", fields.join(","));
        prop_oneof![4 => Just(whole.clone()), 1 => Just(whole[..whole.len() - 1].to_owned())]
    })
}
