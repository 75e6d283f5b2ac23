//! Every fault but those of links and daemons: it does on a lab's node what it says, or is refused
//! there for a reason that is given, and nothing of it is left.

mod lab;

use std::time::{Duration, Instant};

use lab::Lab;
use lab::scene::Scene;
use ordeal::control::Session;
use ordeal::control::daemon::State;
use ordeal::nemesis::NemesisError;

async fn sh(session: &Session, script: &str) -> String {
    session
        .run(["sh", "-c", script])
        .await
        .expect("it runs")
        .stdout
}

/// Whether a script says yes on a host within a while.
async fn comes_true(session: &Session, script: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if session.run(["sh", "-c", script]).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Nothing is left of any fault on a host.
async fn assert_clean(session: &Session) {
    let left = sh(
        session,
        "ls /run/ordeal/undo; iptables -S | grep ORDEAL || :",
    )
    .await;
    assert_eq!(left, "", "left on {}", session.name());
}

#[test]
fn work_for_processor_and_memory_comes_and_goes() {
    let Some(lab) = Lab::up("work", 2) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        let before = scene.state("n1").await;

        let slow = scene
            .install(r#"{"slow": {"on": "n1", "share": "50%", "every": "400ms"}}"#)
            .await;
        for letter in ["T", "S"] {
            let state = format!("ps -o state= -C sleep | grep -q {letter}");
            assert!(
                comes_true(&n1, &state).await,
                "it is never seen in state {letter}"
            );
        }
        scene.nemesis.heal(slow.id).await.expect("it is healed");
        assert_eq!(scene.state("n1").await, before);

        let busy = scene
            .install(r#"{"busy": {"on": "n1", "threads": 1}}"#)
            .await;
        let burns = "ps -eo args= | grep -q '[b]urn 1'";
        assert!(comes_true(&n1, burns).await);
        scene.nemesis.heal(busy.id).await.expect("it is healed");
        assert!(n1.run(["sh", "-c", burns]).await.is_err(), "it goes on");

        let memory = scene
            .install(r#"{"memory": {"on": "n1", "size_mb": 16}}"#)
            .await;
        assert_eq!(sh(&n1, "du -m /dev/shm | cut -f1").await.trim(), "16");
        scene.nemesis.heal(memory.id).await.expect("it is healed");
        assert_eq!(sh(&n1, "ls /dev/shm").await, "");
        let all = scene
            .attempt(r#"{"memory": {"on": "n1", "size_mb": 100000000}}"#)
            .await;
        assert!(
            matches!(all, Err(NemesisError::Unsupported { .. })),
            "{all:?}"
        );
        assert_clean(&n1).await;

        let restart = scene.install(r#"{"restart": {"between": "100ms"}}"#).await;
        for node in ["n1", "n2"] {
            assert!(matches!(scene.state(node).await, State::Running(_)));
        }
        assert_ne!(scene.state("n1").await, before, "it is the same process");
        scene.nemesis.heal(restart.id).await.expect("it is healed");
        assert_eq!(scene.outstanding(), 0);
        scene.nemesis.close().await;
    });
}

#[test]
fn packets_are_lost_by_chance_but_never_ours() {
    let Some(lab) = Lab::up("loss", 2) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        let loss = scene.install(r#"{"loss": {"on": "n1", "share": "60%"}}"#).await;
        assert!(sh(&n1, "iptables -S").await.contains("statistic --mode random --probability 0.6"));
        // Twenty connections of several packets each cannot all be lucky, nor all unlucky.
        let tries = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
             (timeout 1 bash -c '</dev/tcp/n2/22' 2>/dev/null && echo lucky || echo unlucky) & done; wait";
        let said = sh(&n1, tries).await;
        assert!(said.contains("unlucky"), "{said}");
        let healed = scene.nemesis.heal(loss.id).await.expect("it is healed");
        assert!(healed.dropped_packets > 0);
        let patient = tries.replace("timeout 1 ", "timeout 20 ");
        assert!(!sh(&n1, &patient).await.contains("unlucky"));
        assert_clean(&n1).await;
        scene.nemesis.close().await;
    });
}

#[test]
fn packets_are_held_back_where_the_kernel_can() {
    let Some(lab) = Lab::up("netem", 2) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        let connect = "start=$(date +%s%N); timeout 5 bash -c '</dev/tcp/n2/22'; \
                       echo $((($(date +%s%N) - start) / 1000000))";
        match scene
            .attempt(r#"{"delay": {"on": "n1", "by": "300ms"}}"#)
            .await
        {
            Ok(delay) => {
                let elapsed_ms: u64 = sh(&n1, connect).await.trim().parse().expect("a number");
                assert!(elapsed_ms >= 300, "{elapsed_ms} ms");
                let second = scene.attempt(r#"{"rate": {"on": "n1", "kbit": 64}}"#).await;
                assert!(second.expect_err("one at a time").is_only_bad_timing());
                scene.nemesis.heal(delay.id).await.expect("it is healed");
                assert!(!sh(&n1, "tc qdisc show").await.contains("netem"));
            }
            Err(NemesisError::Unsupported { said, .. }) => {
                eprintln!("SKIPPED delay, reorder, duplicate, rate: {said}");
                assert!(
                    said.contains("netem") && said.contains("modprobe"),
                    "{said}"
                );
            }
            Err(error) => panic!("{error}"),
        }
        assert_clean(&n1).await;
        assert_eq!(scene.outstanding(), 0);
        scene.nemesis.close().await;
    });
}

#[test]
fn a_disk_fills_up_and_loses_what_was_not_synced() {
    let Some(lab) = Lab::up_with("disk", 2, &["--disk", "64"]) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        let full = scene.install(r#"{"full-disk": {"on": "n1"}}"#).await;
        let write = "head -c 100000 /dev/zero >/var/lib/idle/data && sync /var/lib/idle/data";
        let said = n1.run(["sh", "-c", write]).await.expect_err("no space is left").to_string();
        assert!(said.contains("No space left"), "{said}");
        scene.nemesis.heal(full.id).await.expect("it is healed");
        sh(&n1, write).await;

        sh(&n1, "echo kept >/var/lib/idle/synced; sync -f /var/lib/idle/synced; echo lost >/var/lib/idle/unsynced").await;
        match scene.attempt(r#"{"power-cut": {"on": "n1"}}"#).await {
            Ok(cut) => {
                assert!(cut.description.contains("is lost"), "{}", cut.description);
                assert_eq!(scene.state("n1").await, State::Stopped);
                assert_eq!(sh(&n1, "cat /var/lib/idle/synced").await, "kept\n");
                assert_eq!(sh(&n1, "cat /var/lib/idle/unsynced 2>/dev/null || :").await, "");
                scene.nemesis.heal(cut.id).await.expect("it is healed");
                assert!(matches!(scene.state("n1").await, State::Running(_)));
            }
            Err(NemesisError::Unsupported { said, .. }) => {
                eprintln!("SKIPPED power-cut: {said}");
                assert!(said.contains("xfs_io"), "{said}");
            }
            Err(error) => panic!("{error}"),
        }
        assert_clean(&n1).await;
        scene.nemesis.close().await;
    });
}

#[test]
fn a_file_of_a_dead_daemon_is_damaged() {
    let Some(lab) = Lab::up("damage", 1) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        sh(&n1, "cd /var/lib/idle; head -c 1000 /dev/zero >old; sleep 0.02; head -c 1000 /dev/zero >'the log'").await;
        let cut = scene.install(r#"{"damage": {"files": "/var/lib/idle/*", "bytes": 300}}"#).await;
        assert!(cut.description.contains("from 1000 to 700"), "{}", cut.description);
        assert_eq!(sh(&n1, "cd /var/lib/idle; stat -c %s old 'the log'").await, "1000\n700\n");
        assert_eq!(scene.state("n1").await, State::Stopped);
        scene.nemesis.heal(cut.id).await.expect("it is healed");
        let flip = scene.install(r#"{"damage": {"files": "/var/lib/idle/*", "how": "flip"}}"#).await;
        assert!(flip.description.contains("one bit"), "{}", flip.description);
        assert_eq!(sh(&n1, "tr -d '\\0' <'/var/lib/idle/the log' | wc -c").await, "1\n");
        scene.nemesis.heal(flip.id).await.expect("it is healed");
        let none = scene.attempt(r#"{"damage": {"files": "/no/such/*"}}"#).await;
        assert!(none.expect_err("no file").to_string().contains("/no/such/*"));
        assert!(matches!(scene.state("n1").await, State::Running(_)), "undone whole");
        assert_clean(&n1).await;
        scene.nemesis.close().await;
    });
}

#[test]
fn what_would_harm_the_machine_is_refused() {
    let Some(lab) = Lab::up("refused", 1) else {
        return;
    };
    lab.with_control(async |cluster, control| {
        let mut scene = Scene::new(cluster, control).await;
        let n1 = scene.control.host("n1").clone();
        for fault in [
            r#"{"clock": {"by": "10s"}}"#,
            r#"{"full-disk": {"size-mb-max": 1}}"#,
            r#"{"power-cut": {"folder": "/usr"}}"#,
        ] {
            let refused = scene.attempt(fault).await;
            assert!(
                matches!(refused, Err(NemesisError::Unsupported { .. })),
                "{fault}: {refused:?}"
            );
        }
        assert!(matches!(scene.state("n1").await, State::Running(_)));
        assert_clean(&n1).await;
        assert_eq!(scene.outstanding(), 0);
        scene.nemesis.close().await;
    });
}
