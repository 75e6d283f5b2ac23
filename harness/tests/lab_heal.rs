//! A fault does not outlive its harness: not even one that was killed while the fault was on.

mod lab;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, ordeal, scene, succeed};
use tempfile::TempDir;

/// A lab whose nodes run a daemon each, and a store.
struct Scene {
    lab: Lab,
    store: TempDir,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        let lab = Lab::up(test, 3)?;
        lab.with_control(async |_, control| {
            for session in control.sessions() {
                scene::idle().start(session).await.expect("it starts");
            }
        });
        let store = tempfile::tempdir().expect("a folder");
        Some(Self { lab, store })
    }

    /// Starts a fault by hand that would last for ever, and waits until it is there.
    fn torment(&self, kind: &str, what: &str, is_there: impl Fn(&Self) -> bool) -> Child {
        let child = Command::new(env!("CARGO_BIN_EXE_ordeal"))
            .args(["fault", kind, what, "--for", "1h"])
            .args(["--on", &self.lab.selector(), "--store"])
            .arg(self.store.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("ordeal runs");
        self.wait_until(is_there);
        child
    }

    fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "it does not come to that");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn print(&self, node: &str, command: &[&str]) -> String {
        String::from_utf8(self.lab.exec(node, command).stdout).expect("text")
    }

    fn is_cut(&self) -> bool {
        ["n1", "n2", "n3"]
            .iter()
            .all(|node| self.print(node, &["iptables", "-S"]).contains("DROP"))
    }

    /// Nothing of ordeal's is left in the rules or on the agents' list.
    fn is_whole(&self) -> bool {
        ["n1", "n2", "n3"].iter().all(|node| {
            !self.print(node, &["iptables", "-S"]).contains("ORDEAL")
                && self.print(node, &["ls", "/run/ordeal/undo"]).is_empty()
        })
    }

    fn is_asleep(&self) -> bool {
        self.print("n1", &["ps", "-o", "state=", "-C", "sleep"])
            .contains('T')
    }

    fn has_daemon(&self) -> bool {
        self.lab
            .exec("n1", &["pgrep", "-x", "-f", "sleep 1000"])
            .status
            .success()
    }

    fn heal(&self) -> String {
        let store = self.store.path().to_str().expect("text");
        succeed(&["heal", "--store", store])
    }
}

const SPLIT: &str = "{shape: groups, groups: [[n1], [n2], [n3]]}";

#[test]
fn the_watchdogs_heal_what_a_killed_harness_left() {
    let Some(scene) = Scene::new("watchdog") else {
        return;
    };
    let mut rules = scene.torment("partition", SPLIT, Scene::is_cut);
    let mut pause = scene.torment("pause", "n1", Scene::is_asleep);
    rules
        .kill()
        .and_then(|()| rules.wait())
        .expect("it is killed");
    pause
        .kill()
        .and_then(|()| pause.wait())
        .expect("it is killed");
    assert!(scene.is_cut() && scene.is_asleep());
    scene.wait_until(|scene| scene.is_whole() && !scene.is_asleep());
    // The journal does not know of it yet: `heal` looks, finds nothing, and strikes it out.
    let said = scene.heal();
    assert!(
        said.contains("gone: n1 | n2 | n3") && said.contains("gone: n1 paused"),
        "{said}"
    );
    assert!(!said.contains("undone: "), "{said}");
    assert!(scene.heal().contains("nothing to heal"));
}

#[test]
fn heal_undoes_at_once_what_a_killed_harness_left() {
    let Some(scene) = Scene::new("heal") else {
        return;
    };
    let mut rules = scene.torment("partition", SPLIT, Scene::is_cut);
    let mut kill = scene.torment("kill", "n1", |scene| !scene.has_daemon());

    // While the harness lives, nobody heals behind its back.
    let store = scene.store.path().to_str().expect("text");
    let output = ordeal(&["heal", "--store", store]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("still going"), "{said}");
    assert!(scene.is_cut());

    rules
        .kill()
        .and_then(|()| rules.wait())
        .expect("it is killed");
    kill.kill()
        .and_then(|()| kill.wait())
        .expect("it is killed");
    let said = scene.heal();
    assert!(scene.is_whole(), "{said}");
    assert!(
        scene.has_daemon(),
        "the daemon was not started again: {said}"
    );
    assert_eq!(said.matches("gone: ").count(), 2, "{said}");
    assert!(scene.heal().contains("nothing to heal"));
}

#[test]
fn a_lab_that_went_down_took_its_faults_along() {
    let Some(scene) = Scene::new("taken") else {
        return;
    };
    let mut rules = scene.torment("partition", SPLIT, Scene::is_cut);
    rules
        .kill()
        .and_then(|()| rules.wait())
        .expect("it is killed");
    scene.lab.succeed(&["lab", "down"]);
    assert!(scene.heal().contains("gone: "));
    assert!(scene.heal().contains("nothing to heal"));
}

#[test]
fn a_fault_by_hand_ends_by_itself_and_leaves_nothing() {
    let Some(scene) = Scene::new("hand") else {
        return;
    };
    let store = scene.store.path().to_str().expect("text");
    let selector = scene.lab.selector();
    let by_hand = |kind, what| {
        ordeal(&[
            "fault", kind, what, "--for", "300ms", "--on", &selector, "--store", store,
        ])
    };
    for (kind, what) in [
        ("partition", "ring"),
        ("partition", "minority"),
        ("pause", "[n1, n2]"),
        ("kill", "one"),
    ] {
        let output = by_hand(kind, what);
        let said = String::from_utf8(output.stderr).expect("text");
        // Three nodes are too few for a ring.
        let code = if what == "ring" { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{kind} {what}: {said}");
    }
    assert!(scene.is_whole() && scene.has_daemon());
    let left = |folder: &Path| folder.read_dir().expect("a folder").count();
    assert_eq!(
        left(&scene.store.path().join("by-hand")),
        1,
        "the failed fault keeps its journal"
    );
    for (kind, what) in [
        ("partition", "circle"),
        ("kill", "n9"),
        ("partition", "{shape: one, twice: 1}"),
    ] {
        let output = by_hand(kind, what);
        assert_eq!(output.status.code(), Some(64), "{kind} {what}");
    }
}
