//! The README's examples, tried: what a newcomer copies must be sound.

mod lab;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ordeal::playbook::source::Source;
use ordeal::runner::Plan;
use ordeal::system::{Node, compile};

use lab::Lab;

/// The YAML block of a README that contains a word.
fn yaml_with(readme: &str, word: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(readme);
    let text = std::fs::read_to_string(file).expect("it is there");
    let mut blocks = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(word));
    block
        .unwrap_or_else(|| panic!("{readme} shows no YAML with {word:?}"))
        .to_owned()
}

#[test]
fn the_system_of_sixty_lines_is_one() {
    let text = yaml_with("playbooks/README.md", "name: my-system");
    assert!(
        text.lines().count() <= 60,
        "it has {} lines",
        text.lines().count()
    );
    let source = Source {
        file: "my-system.yaml".into(),
        text,
    };
    let nodes = (1..=3).map(|id| Node {
        name: format!("n{id}"),
        id,
        address: format!("10.77.0.{id}"),
        joins: false,
    });
    let system = compile(&source, &BTreeMap::new(), nodes.collect()).map_err(|m| m.to_string());
    system
        .expect("it compiles")
        .try_out()
        .expect("and makes a command line");
}

/// Reads a playbook with its system, as `ordeal run` does before it touches anything.
fn sound(playbook: &Path) {
    if let Err(mistake) = Plan::read(playbook, &BTreeMap::new(), Some(1)) {
        panic!("{}: {mistake}", playbook.display());
    }
}

#[test]
fn the_playbook_of_the_readme_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let playbook = folder.path().join("leader-cut-off.yaml");
    std::fs::write(&playbook, yaml_with("README.md", "name: leader-cut-off"))
        .expect("the folder is ours");
    sound(&playbook);
}

#[test]
fn the_system_and_the_playbook_of_the_readme_go_through_an_ordeal() {
    let Some(lab) = Lab::up("readme", 3) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (file, word) in [
        ("my-system.yaml", "name: my-system"),
        ("mine.yaml", "name: mine"),
    ] {
        let text = yaml_with("playbooks/README.md", word);
        std::fs::write(folder.path().join(file), text).expect("the folder is ours");
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let server = folder.path().join("my-server");
    std::fs::copy(tests.join("readme/my-server"), server).expect("the folder is ours");
    let run = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args([
            "run",
            "mine.yaml",
            "--seed",
            "1",
            "--store",
            "store",
            "--on",
        ])
        .arg(lab.selector())
        .current_dir(folder.path())
        .output()
        .expect("ordeal runs");
    let said = [run.stdout, run.stderr].concat();
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
