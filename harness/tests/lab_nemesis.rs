//! Faults on the hosts of a lab: they do what they say, and nothing of them is left.

mod lab;

use lab::Lab;
use lab::scene::Scene;
use ordeal::control::daemon::State;
use ordeal::nemesis::{Fault, NemesisError};

/// Whether a node gets an answer from another, on its SSH port, within so many seconds.
fn connects(lab: &Lab, node: &str, other: &str, within: &str) -> bool {
    let connect = format!("exec 3<>/dev/tcp/{other}/22");
    lab.exec(node, &["timeout", within, "bash", "-c", &connect])
        .status
        .success()
}

/// An answer comes, however busy the machine is.
fn hears(lab: &Lab, node: &str, other: &str) -> bool {
    connects(lab, node, other, "20")
}

/// No answer comes; nobody waits for it for long.
fn is_cut(lab: &Lab, node: &str, other: &str) -> bool {
    !connects(lab, node, other, "0.5")
}

fn rules(lab: &Lab, node: &str) -> String {
    String::from_utf8(lab.exec(node, &["iptables", "-S"]).stdout).expect("text")
}

#[test]
fn a_partition_cuts_what_it_says_and_nothing_else() {
    let Some(lab) = Lab::up("cuts", 3) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let before = rules(&lab, "n1");
        let leader = scene.install(r#"{"partition": "leader"}"#).await;
        assert_eq!(leader.description, "n1 n3 | n2");
        assert_eq!(scene.outstanding(), 1);
        assert!(is_cut(&lab, "n1", "n2") && is_cut(&lab, "n2", "n3"));
        assert!(hears(&lab, "n1", "n3") && hears(&lab, "control", "n2"));

        let link = scene
            .install(r#"{"partition": {"shape": "link", "groups": [["n1"], ["n3"]]}}"#)
            .await;
        assert!(is_cut(&lab, "n1", "n3"));
        let healed = scene.nemesis.heal(leader.id).await.expect("it is healed");
        assert!(healed.dropped_packets > 0, "{healed:?}");
        assert!(
            hears(&lab, "n1", "n2") && is_cut(&lab, "n1", "n3"),
            "only the first is healed"
        );
        scene.nemesis.heal(link.id).await.expect("it is healed");
        assert!(hears(&lab, "n1", "n3"));
        assert_eq!(rules(&lab, "n1"), before);
        assert_eq!(scene.outstanding(), 0);
        scene.nemesis.close().await;
    });
}

#[test]
fn a_partition_can_be_repeated_as_it_was() {
    let Some(lab) = Lab::up("shapes", 5) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let shapes = [
            "one", "minority", "majority", "halves", "ring", "bridge", "random", "one-way", "link",
        ];
        for shape in shapes {
            let first = scene
                .install(&format!("{{\"partition\": \"{shape}\"}}"))
                .await;
            scene.nemesis.heal(first.id).await.expect("it is healed");
            let again = scene.nemesis.install(&first.settled, &mut scene.rng).await;
            assert_eq!(again.expect("it is installed").grudge, first.grudge);
            for healed in scene.nemesis.heal_all().await {
                healed.expect("it is healed");
            }
        }
        for node in cluster.hosts.iter().map(|host| &host.name) {
            assert!(
                !rules(&lab, node).contains("ORDEAL"),
                "rules are left on {node}"
            );
        }
        scene.nemesis.close().await;
    });
}

#[test]
fn daemons_are_killed_stopped_and_paused_and_come_back() {
    let Some(lab) = Lab::up("daemons", 3) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        for (fault, during) in [
            (r#"{"kill": "leader"}"#, State::Stopped),
            (r#"{"stop": "leader"}"#, State::Stopped),
            (r#"{"pause": "leader"}"#, State::Paused(0)),
        ] {
            let before = scene.state("n2").await;
            let installed = scene.install(fault).await;
            assert_eq!(installed.targets, ["n2"]);
            let state = match scene.state("n2").await {
                State::Paused(_) => State::Paused(0),
                other => other,
            };
            assert_eq!(state, during, "{fault}");
            scene
                .nemesis
                .heal(installed.id)
                .await
                .expect("it is healed");
            let after = scene.state("n2").await;
            assert!(matches!(after, State::Running(_)), "{fault}: {after:?}");
            assert_eq!(
                after == before,
                during == State::Paused(0),
                "the same process, or not"
            );
        }
        // Two faults at once never hold a majority down by accident.
        scene.install(r#"{"kill": "minority"}"#).await;
        let minority: Fault = serde_json::from_str(r#"{"pause": "minority"}"#).expect("a fault");
        let error = scene.nemesis.install(&minority, &mut scene.rng).await;
        assert!(error.expect_err("nobody is left").is_only_bad_timing());
        let strange: Fault = serde_json::from_str(r#"{"kill": "n7"}"#).expect("a fault");
        let error = scene.nemesis.install(&strange, &mut scene.rng).await;
        assert!(matches!(error, Err(NemesisError::UnknownNode { .. })));
        for healed in scene.nemesis.heal_all().await {
            healed.expect("it is healed");
        }
        assert_eq!(scene.outstanding(), 0);
        scene.nemesis.close().await;
        let left = String::from_utf8(lab.exec("n1", &["ls", "/run/ordeal/undo"]).stdout);
        assert_eq!(left.expect("text"), "");
    });
}

#[test]
fn what_cannot_be_installed_whole_is_undone_whole() {
    let Some(lab) = Lab::up("whole", 3) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        scene.nemesis.prepare().await.expect("the agents are there");
        // On n3 there is no iptables any more.
        lab.exec(
            "n3",
            &["mount", "--bind", "/bin/false", "/usr/sbin/iptables"],
        );
        let fault: Fault = serde_json::from_str(r#"{"partition": "leader"}"#).expect("a fault");
        let error = scene.nemesis.install(&fault, &mut scene.rng).await;
        let error = error.expect_err("it cannot be installed").to_string();
        assert!(error.contains("n3"), "{error}");
        assert!(!rules(&lab, "n1").contains("ORDEAL") && hears(&lab, "n1", "n2"));
    });
}
