//! The README's examples, tried: what a newcomer copies must be sound.

use std::collections::BTreeMap;
use std::path::Path;

use ordeal::playbook::source::Source;
use ordeal::runner::Plan;
use ordeal::system::{Node, compile};

/// The YAML blocks of the README that contain a word.
fn yaml_with(word: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).expect("there is a README");
    let blocks = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(word));
    block
        .unwrap_or_else(|| panic!("the README shows no YAML with {word:?}"))
        .to_owned()
}

#[test]
fn the_system_of_sixty_lines_is_one() {
    let text = yaml_with("name: mykv");
    assert!(
        text.lines().count() <= 60,
        "it has {} lines",
        text.lines().count()
    );
    let source = Source {
        file: "mykv.yaml".into(),
        text,
    };
    let nodes = (1..=3).map(|id| Node {
        name: format!("n{id}"),
        id,
        address: format!("10.77.0.{id}"),
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
    std::fs::write(&playbook, yaml_with("name: leader-cut-off")).expect("the folder is ours");
    sound(&playbook);
}
