//! Commands, files and daemons on the hosts of a lab, over SSH.

mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use futures::future::join_all;
use lab::Lab;
use ordeal::cluster::Cluster;
use ordeal::control::daemon::{Daemon, State};
use ordeal::control::{Call, Control, ControlError, Problem, Session};

fn daemon(name: &str, script: &str) -> Daemon {
    Daemon {
        name: name.into(),
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("GREETING".into(), "good day".into())]),
        cwd: "/var/lib/test".into(),
        log: "/var/log/test.log".into(),
        pidfile: Daemon::pidfile_of(name),
    }
}

async fn stdout(session: &Session, argv: &[&str]) -> String {
    session.run(argv).await.expect("it runs").stdout
}

#[test]
fn commands_go_through_whole_many_at_once_and_not_for_ever() {
    let Some(lab) = Lab::up("commands", 1) else {
        return;
    };
    lab.with_control(async |_, control| {
        let n1 = control.host("n1");
        let nasty = "$(touch /tmp/mark) `touch /tmp/mark`; touch /tmp/mark\n'\"\\ !*~ ü -n";
        assert_eq!(stdout(n1, &["printf", "%s", nasty]).await, nasty);
        let call = Call::script("printf %s \"$1\"; [ ! -e /tmp/mark ]", [nasty]);
        assert_eq!(n1.run_with(call).await.expect("it runs").stdout, nasty);

        let many = (0..40).map(|_| n1.run(["sleep", "0.05"]));
        for done in join_all(many).await {
            done.expect("it got a channel");
        }

        let call = Call::new(["sleep", "77"]).limit(Duration::from_millis(200));
        let error = n1.run_with(call).await.expect_err("it takes too long");
        assert!(matches!(error, ControlError::Timeout { .. }), "{error}");
        let left = n1
            .attempt(Call::new(["pgrep", "-fx", "sleep 77"]))
            .await
            .expect("it runs");
        assert_eq!(left.code, Some(1), "the command goes on: {}", left.stdout);

        let error = n1.run(["sh", "-c", "echo no such luck >&2; exit 5"]).await;
        let said = error.expect_err("it fails").to_string();
        assert!(said.contains("n1") && said.contains("exit 5") && said.contains("no such luck"));
        let killed = n1
            .attempt(Call::new(["sh", "-c", "kill -9 $$"]))
            .await
            .expect("it runs");
        assert_ne!(killed.code, Some(0));
    });
}

#[test]
fn a_lost_connection_is_made_again() {
    let Some(lab) = Lab::up("again", 1) else {
        return;
    };
    lab.with_control(async |_, control| {
        let n1 = control.host("n1");
        for _ in 0..2 {
            lab.exec("n1", &["pkill", "-KILL", "sshd"]);
            assert_eq!(stdout(n1, &["hostname"]).await, "n1\n");
        }
    });
}

#[test]
fn a_file_is_copied_only_when_it_differs() {
    let Some(lab) = Lab::up("files", 1) else {
        return;
    };
    lab.with_control(async |_, control| {
        let n1 = control.host("n1");
        let folder = tempfile::tempdir().expect("a folder");
        let local = folder.path().join("tool");
        let remote = "/opt/a b/tool";
        let content: Vec<u8> = (0..3_000_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        fs::write(&local, &content).expect("it is written");
        assert!(
            n1.upload(&local, remote, 0o755)
                .await
                .expect("it is copied")
        );
        assert!(!n1.upload(&local, remote, 0o700).await.expect("it is there"));
        assert_eq!(
            stdout(n1, &["stat", "-c", "%a %s", remote]).await,
            "700 3000000\n"
        );
        fs::write(&local, "other").expect("it is written");
        assert!(
            n1.upload(&local, remote, 0o755)
                .await
                .expect("it is copied")
        );
        assert_eq!(stdout(n1, &["cat", remote]).await, "other");
        assert_eq!(stdout(n1, &["ls", "/opt/a b"]).await, "tool\n");
    });
}

#[test]
fn a_daemon_outlives_the_connection_and_dies_with_its_group() {
    let Some(lab) = Lab::up("daemon", 1) else {
        return;
    };
    let family = "echo $GREETING; sleep 1111 & sleep 1111; wait";
    let daemon = daemon("family", family);
    lab.with_control(async |cluster, control| {
        let n1 = control.host("n1");
        let started = daemon.start(n1).await.expect("it starts");
        assert_eq!(daemon.start(n1).await.expect("it is there"), started);
        drop(control);
        let control = Control::connect(cluster).await.expect("again");
        let n1 = control.host("n1");
        assert_eq!(daemon.status(n1).await.expect("it is asked"), started);
        let said = "until grep -x 'good day' /var/log/test.log; do sleep 0.01; done";
        assert_eq!(stdout(n1, &["sh", "-c", said]).await, "good day\n");

        daemon.pause(n1).await.expect("it stops");
        assert!(matches!(daemon.status(n1).await, Ok(State::Paused(_))));
        daemon.resume(n1).await.expect("it goes on");
        assert_eq!(daemon.status(n1).await.expect("it is asked"), started);

        daemon.kill(n1).await.expect("it dies");
        assert_eq!(
            daemon.status(n1).await.expect("it is asked"),
            State::Stopped
        );
        let left = n1
            .attempt(Call::new(["pgrep", "-fx", "sleep 1111"]))
            .await
            .expect("it runs");
        assert_eq!(left.code, Some(1), "the family lives: {}", left.stdout);
        daemon.kill(n1).await.expect("killing the dead is harmless");
    });
}

#[test]
fn a_stranger_with_the_same_number_is_left_alone() {
    let Some(lab) = Lab::up("stranger", 1) else {
        return;
    };
    lab.with_control(async |_, control| {
        let n1 = control.host("n1");
        let stranger = daemon("stranger", "exec sleep 1000");
        let Ok(State::Running(pid)) = stranger.start(n1).await else {
            panic!("it does not start");
        };
        // What a reboot or a long time leaves: our number, born at another moment.
        let ours = daemon("ours", "exec sleep 1000");
        let stale = format!("{pid} 12345\n");
        n1.write_file(&ours.pidfile, stale, 0o644)
            .await
            .expect("it is written");
        assert_eq!(ours.status(n1).await.expect("it is asked"), State::Stopped);
        ours.kill(n1).await.expect("nothing to kill");
        assert_eq!(
            stranger.status(n1).await.expect("it is asked"),
            State::Running(pid)
        );
    });
}

#[test]
fn a_daemon_that_will_not_end_or_cannot_start_says_so() {
    let Some(lab) = Lab::up("stubborn", 1) else {
        return;
    };
    lab.with_control(async |_, control| {
        let n1 = control.host("n1");
        let script = "trap '' TERM; touch deaf; while :; do sleep 0.1; done";
        let stubborn = daemon("stubborn", script);
        stubborn.start(n1).await.expect("it starts");
        let deaf = "until [ -e /var/lib/test/deaf ]; do sleep 0.01; done";
        n1.run(["sh", "-c", deaf]).await.expect("it begins");
        let error = stubborn.stop(n1, Duration::from_millis(300)).await;
        assert!(
            error
                .expect_err("it does not end")
                .to_string()
                .contains("not ended in time")
        );
        stubborn.kill(n1).await.expect("it dies");

        let polite = daemon("polite", "exec sleep 1000");
        polite.start(n1).await.expect("it starts");
        polite
            .stop(n1, Duration::from_secs(5))
            .await
            .expect("it ends");
        assert_eq!(
            polite.status(n1).await.expect("it is asked"),
            State::Stopped
        );

        let mut missing = daemon("missing", "");
        missing.argv = vec!["/opt/no/such/program".into()];
        let error = missing
            .start(n1)
            .await
            .expect_err("it is not there")
            .to_string();
        assert!(error.contains("/opt/no/such/program"), "{error}");
    });
}

/// Connects to the lab as changed, and returns the problem with its advice.
async fn problem(
    cluster: &Cluster,
    change: impl Fn(&mut ordeal::cluster::Host),
) -> (Problem, String) {
    let mut cluster = cluster.clone();
    cluster.hosts.iter_mut().for_each(change);
    match Control::connect(&cluster).await {
        Err(ControlError::Connect {
            problem, advice, ..
        }) => (problem, advice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_with_a_connection_is_named_with_the_next_thing_to_try() {
    let Some(lab) = Lab::up("problems", 2) else {
        return;
    };
    lab.with_control(async |cluster, _| {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| Some(folder.path().join(name));
        fs::write(folder.path().join("none"), "").expect("it is written");
        let known = cluster.hosts[0]
            .ssh
            .known_hosts
            .clone()
            .expect("the lab has one");
        let lines = fs::read_to_string(known).expect("it is read");
        // n1 with n2's key, and the other way round.
        let swapped = lines
            .replace("10.77.0.1", "x")
            .replace("10.77.0.2", "10.77.0.1");
        fs::write(
            folder.path().join("swapped"),
            swapped.replace(",x", ",10.77.0.2"),
        )
        .expect("it is written");
        let other_key = folder.path().join("other");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&other_key)
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        let open_key = folder.path().join("open");
        let key = cluster.hosts[0]
            .ssh
            .identity
            .clone()
            .expect("the lab has one");
        fs::copy(key, &open_key).expect("it is copied");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&open_key, open).expect("it is opened");

        let found = problem(cluster, |host| host.ssh.known_hosts = place("none")).await;
        assert!(
            found.0 == Problem::HostKeyUnknown && found.1.contains("ssh-keyscan"),
            "{found:?}"
        );
        let found = problem(cluster, |host| host.ssh.known_hosts = place("swapped")).await;
        assert!(
            found.0 == Problem::HostKeyChanged && found.1.contains("-R"),
            "{found:?}"
        );
        let found = problem(cluster, |host| host.ssh.identity = place("other")).await;
        assert!(
            found.0 == Problem::Denied && found.1.contains("ssh-copy-id"),
            "{found:?}"
        );
        let found = problem(cluster, |host| host.ssh.identity = place("open")).await;
        assert!(
            found.0 == Problem::KeyTooOpen && found.1.contains("chmod 600"),
            "{found:?}"
        );
        let found = problem(cluster, |host| host.ssh.identity = place("missing")).await;
        assert_eq!(found.0, Problem::KeyMissing, "{found:?}");
        let found = problem(cluster, |host| host.ssh.port = Some(2222)).await;
        assert!(
            found.0 == Problem::Refused && found.1.contains("2222"),
            "{found:?}"
        );
        let found = problem(cluster, |host| host.ssh.host = "10.99.0.1".into()).await;
        assert_eq!(found.0, Problem::Unreachable, "{found:?}");
        let found = problem(cluster, |host| {
            host.ssh.host = "no-such-host.invalid".into();
        })
        .await;
        assert_eq!(found.0, Problem::Unresolved, "{found:?}");
    });
}
