//! A lab comes up, goes down, and leaves nothing behind, whatever was killed in between.

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Lab, ordeal, processes_in, succeed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the machine has of its own, which a lab must not touch.
fn machine() -> Vec<String> {
    let print = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    };
    vec![
        print("ip", &["-br", "address"]),
        print("ip", &["route"]),
        print("ip", &["netns", "list"]),
        print("iptables", &["-S"]),
        print("hostname", &[]),
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        fs::read_to_string("/etc/hosts").unwrap_or_default(),
        fs::read_to_string("/proc/self/mounts").unwrap_or_default(),
    ]
}

/// Takes the lab down and asserts that no process, namespace, mount or file of it is left.
fn assert_nothing_is_left(lab: &Lab, namespaces: &BTreeSet<u64>) {
    lab.succeed(&["lab", "down"]);
    assert!(lab.inits().is_empty(), "processes are left");
    // A process that is being torn down is gone from its namespaces a moment later.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_in(namespaces).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = processes_in(namespaces);
    assert!(left.is_empty(), "namespaces are left: {left:?}");
    for folder in ["/run/ordeal/lab", "/var/lib/ordeal/lab"] {
        assert!(!Path::new(folder).join(&lab.name).exists(), "{folder}");
    }
}

#[test]
fn up_and_down_are_harmless_twice_and_the_machine_stays_as_it_was() {
    let before = machine();
    let Some(lab) = Lab::up("twice", 3) else {
        return;
    };
    let inits = lab.inits();
    assert_eq!(inits.len(), 4);
    assert!(
        lab.succeed(&["lab", "up", "--nodes", "3"])
            .contains("already")
    );
    assert_eq!(lab.inits(), inits, "the second `up` changed something");
    assert_eq!(machine(), before);

    let namespaces = lab.namespaces();
    assert_nothing_is_left(&lab, &namespaces);
    assert!(lab.succeed(&["lab", "down"]).contains("was not up"));
    assert_eq!(machine(), before);
}

#[test]
fn two_labs_live_side_by_side() {
    let (Some(one), Some(two)) = (Lab::up("one", 2), Lab::up("two", 2)) else {
        return;
    };
    assert!(one.namespaces().is_disjoint(&two.namespaces()));
    one.exec("n1", &["touch", "/var/lib/mark"]);
    assert!(
        one.exec("n1", &["test", "-e", "/var/lib/mark"])
            .status
            .success()
    );
    for (lab, node) in [(&one, "n2"), (&two, "n1")] {
        assert!(
            !lab.exec(node, &["test", "-e", "/var/lib/mark"])
                .status
                .success()
        );
    }
    let namespaces = one.namespaces();
    assert_nothing_is_left(&one, &namespaces);
    assert!(
        two.exec("n2", &["true"]).status.success(),
        "the other lab died too"
    );
}

#[test]
fn a_node_is_a_host_of_its_own_and_cannot_harm_the_machine() {
    let Some(lab) = Lab::up("host", 2) else {
        return;
    };
    let print =
        |node, command: &[&str]| String::from_utf8(lab.exec(node, command).stdout).expect("text");
    assert_eq!(print("n2", &["hostname"]).trim(), "n2");
    assert_eq!(print("n2", &["cat", "/proc/1/comm"]).trim(), "ordeal");
    assert!(print("n1", &["cat", "/etc/hosts"]).contains("10.77.0.2 n2"));
    let refused: [&[&str]; 4] = [
        &["touch", "/usr/bin/mark"],
        &["touch", "/etc/mark"],
        &["date", "-s", "+0 seconds"],
        &["sh", "-c", "echo 1 > /proc/sys/kernel/panic"],
    ];
    for command in refused {
        assert!(!lab.exec("n1", command).status.success(), "{command:?}");
    }
    lab.exec("n1", &["iptables", "-N", "OWN"]);
    assert!(print("n1", &["iptables", "-S"]).contains("-N OWN"));
    assert!(!print("n2", &["iptables", "-S"]).contains("-N OWN"));
}

/// Kills one thing without warning, takes the lab down, and looks for leftovers.
fn killed_then_down(test: &str, victim: impl Fn(&str) -> bool) {
    let Some(lab) = Lab::up(test, 3) else {
        return;
    };
    let daemon = "trap '' TERM HUP; setsid sleep 1000 & sleep 1000";
    for node in ["n1", "n2"] {
        let script = format!("({daemon}) </dev/null >/dev/null 2>&1 & iptables -N ORDEAL");
        assert!(lab.exec(node, &["sh", "-c", &script]).status.success());
    }
    let namespaces = lab.namespaces();
    let victims: Vec<_> = lab
        .inits()
        .into_iter()
        .filter(|init| victim(&init.0))
        .collect();
    assert!(!victims.is_empty());
    for (_, pid) in victims {
        // One may have died with the one before.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    assert_nothing_is_left(&lab, &namespaces);
}

#[test]
fn nothing_is_left_after_the_keeper_was_killed() {
    killed_then_down("keeper", |step| step.starts_with("control"));
}

#[test]
fn nothing_is_left_after_a_node_was_killed() {
    killed_then_down("node", |step| step == "node 2");
}

#[test]
fn nothing_is_left_after_everything_was_killed() {
    killed_then_down("all", |_| true);
}

#[test]
fn nothing_is_left_after_up_was_killed_halfway() {
    let Some(lab) = Lab::up("halfway", 1) else {
        return;
    };
    lab.succeed(&["lab", "down"]);
    for delay_ms in [5, 20, 40, 60] {
        let mut up = Command::new(env!("CARGO_BIN_EXE_ordeal"))
            .args(["lab", "up", "--name", &lab.name])
            .spawn()
            .expect("ordeal runs");
        std::thread::sleep(Duration::from_millis(delay_ms));
        up.kill().expect("it can be killed");
        up.wait().expect("it ends");
        let namespaces = lab.namespaces();
        assert_nothing_is_left(&lab, &namespaces);
    }
}

#[test]
fn a_broken_lab_is_built_anew() {
    let Some(lab) = Lab::up("broken", 2) else {
        return;
    };
    let victim = lab.inits().into_iter().find(|init| init.0 == "node 2");
    kill(Pid::from_raw(victim.expect("n2 is up").1), Signal::SIGKILL).expect("it lives");
    lab.succeed(&["lab", "up", "--nodes", "2"]);
    assert!(lab.exec("n2", &["true"]).status.success());
}

#[test]
fn mistakes_are_named_with_the_next_thing_to_type() {
    let said = |code: i32, arguments: &[&str]| {
        let output = ordeal(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(said(64, &["lab", "up", "--name", "No Name"]).contains("a-z, 0-9"));
    assert!(said(64, &["lab", "up", "--nodes", "100"]).contains("1 to 64"));
    assert!(
        said(
            3,
            &["lab", "exec", "--name", "never-up", "n1", "--", "true"]
        )
        .contains("lab up")
    );
    assert!(succeed(&["lab", "status", "--name", "never-up"]).contains("lab up"));
}

#[test]
fn without_root_one_sentence_says_what_to_type() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let binary = folder.path().join("ordeal");
    fs::copy(env!("CARGO_BIN_EXE_ordeal"), &binary).expect("it is copied");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("it is opened");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&binary)
        .args(["lab", "up"])
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains("sudo ordeal lab up"), "{said}");
}
