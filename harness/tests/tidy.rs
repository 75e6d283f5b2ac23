//! The rules of the house, as tests: what a reviewer would otherwise have to say again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A source file with its place in the repository.
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files that are kept under version control or are about to be.
fn sources() -> Vec<Source> {
    fn walk(folder: &Path, top: &Path, found: &mut Vec<Source>) {
        let entries = std::fs::read_dir(folder).expect("a folder of the repository can be listed");
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if ["target", "store", ".git", ".vagrant"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                walk(&path, top, found);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path.strip_prefix(top).expect("it is below the top");
                found.push(Source {
                    path: path.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
    let (top, mut found) = (root(), Vec::new());
    walk(&top, &top, &mut found);
    assert!(found.len() > 30, "the repository is found");
    found
}

fn rust() -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|source| {
            Path::new(&source.path)
                .extension()
                .is_some_and(|e| e == "rs")
        })
        .collect()
}

/// Shows all offenders at once: nobody wants to fix them one run at a time.
fn none(rule: &str, offenders: impl IntoIterator<Item = String>) {
    let offenders: Vec<String> = offenders.into_iter().collect();
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn a_file_has_one_role_and_fits_in_a_head() {
    // A dumb twin and a simulated cluster are one story each, and long ones.
    let lines_max = |path: &str| {
        let story = path.contains("/tests/") || path.ends_with("twin.rs");
        if story { 800 } else { 660 }
    };
    none(
        "a source file has about 600 lines at most; split it by role",
        rust().into_iter().filter_map(|source| {
            let lines = source.text.lines().count();
            (lines > lines_max(&source.path)).then(|| format!("{}: {lines}", source.path))
        }),
    );
}

#[test]
fn a_module_is_named_for_what_it_does() {
    none(
        "these names say nothing: util, utils, common, helpers, types, misc",
        sources()
            .into_iter()
            .map(|source| source.path)
            .filter(|path| {
                let mut parts = path
                    .split('/')
                    .map(|part| part.split('.').next().unwrap_or_default());
                parts.any(|part| {
                    [
                        "util", "utils", "common", "helper", "helpers", "types", "misc",
                    ]
                    .contains(&part)
                })
            }),
    );
}

#[test]
fn a_module_opens_with_why_it_exists() {
    none(
        "a Rust file begins with `//!`",
        rust()
            .into_iter()
            .filter(|source| !source.path.ends_with("/tests.rs") && !source.text.starts_with("//!"))
            .map(|source| source.path),
    );
}

#[test]
fn nothing_belongs_to_one_machine() {
    // Put together here, so that this file does not offend against itself.
    let foreign = [
        ["/home", "/"].concat(),
        ["/root", "/."].concat(),
        ["/work", "/"].concat(),
        ["/Users", "/"].concat(),
        ["crates", ".io"].concat(),
        ["pypi", ".org"].concat(),
        ["npmjs", ".org"].concat(),
        ["deb.debian", ".org"].concat(),
    ];
    let offenders = sources()
        .into_iter()
        .filter(|source| source.path != "Cargo.lock");
    let offenders = offenders.flat_map(|source| {
        let found: Vec<String> = source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| foreign.iter().any(|word| line.contains(word)))
            // A guest of Vagrant's has this user by convention.
            .filter(|(_, line)| !line.contains(&["/home", "/vagrant/"].concat()))
            .map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim()))
            .collect();
        found
    });
    none("no path of one machine and no registry's host", offenders);
}

#[test]
fn what_is_unfinished_is_not_in_the_code() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimplemented", "!("].concat(),
    ];
    none(
        "finish it or leave it out",
        rust().into_iter().flat_map(|source| {
            let unfinished = |line: &&str| marks.iter().any(|mark| line.contains(mark.as_str()));
            let lines: Vec<&str> = source.text.lines().filter(unfinished).collect();
            lines
                .into_iter()
                .map(|l| format!("{}: {}", source.path, l.trim()))
                .collect::<Vec<_>>()
        }),
    );
}

/// The workspace's own crates that a crate depends on, by kind of dependency.
fn arrows(manifest: &str, kind: &str) -> BTreeSet<String> {
    const OWN: [&str; 4] = ["raft", "ordeal-checker", "ordeal-node", "ordeal"];
    let text = std::fs::read_to_string(root().join(manifest)).expect("the manifest exists");
    let section = text
        .split("\n[")
        .find(|section| section.starts_with(&format!("{kind}]")));
    let names = section.unwrap_or_default().lines().skip(1);
    let names = names.filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| OWN.contains(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn there_are_three_arrows_between_crates_and_no_more() {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        arrows("harness/Cargo.toml", "dependencies"),
        set(&["ordeal-checker"])
    );
    assert_eq!(arrows("node/Cargo.toml", "dependencies"), set(&["raft"]));
    assert_eq!(
        arrows("node/Cargo.toml", "dev-dependencies"),
        set(&["ordeal-checker"])
    );
    for (manifest, kind) in [
        ("harness/Cargo.toml", "dev-dependencies"),
        ("checker/Cargo.toml", "dependencies"),
        ("checker/Cargo.toml", "dev-dependencies"),
        ("node/raft/Cargo.toml", "dependencies"),
        ("node/raft/Cargo.toml", "dev-dependencies"),
        ("harness/xtask/Cargo.toml", "dependencies"),
    ] {
        assert_eq!(arrows(manifest, kind), set(&[]), "{manifest} {kind}");
    }
}

#[test]
fn the_protocol_knows_no_clock_no_disk_no_socket_and_no_thread() {
    let foreign = [
        "std::time",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "tokio",
    ];
    none(
        "node/raft is a pure state machine",
        rust()
            .into_iter()
            .filter(|source| source.path.starts_with("node/raft/src/"))
            .flat_map(|source| offences(&source, &foreign)),
    );
}

#[test]
fn the_checker_knows_no_network() {
    none(
        "a history goes in, a verdict comes out",
        rust()
            .into_iter()
            .filter(|source| source.path.starts_with("checker/src/"))
            .flat_map(|source| offences(&source, &["std::net", "tokio", "hyper"])),
    );
}

/// Lines of code, not of comment, that contain one of the words.
fn offences(source: &Source, words: &[&str]) -> Vec<String> {
    let code = source
        .text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| words.iter().any(|word| line.contains(word)))
        .map(|line| format!("{}: {}", source.path, line.trim()))
        .collect()
}

/// Which rooms of a crate each room imports, from `crate::ROOM`.
fn imports(crate_folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in rust() {
        let Some(inner) = source.path.strip_prefix(crate_folder) else {
            continue;
        };
        let room = inner
            .split(['/', '.'])
            .next()
            .unwrap_or_default()
            .to_owned();
        // `bin/` and tests beside the code are no rooms.
        for line in source
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for after in line.split("crate::").skip(1) {
                let listed = after
                    .strip_prefix('{')
                    .map(|list| list.split(',').collect());
                for name in listed.unwrap_or_else(|| vec![after]) {
                    let letter = |c: char| !(c.is_ascii_lowercase() || c == '_');
                    let other = name.trim().split(letter).next().unwrap_or_default();
                    if !other.is_empty() && other != room {
                        imports
                            .entry(room.clone())
                            .or_default()
                            .insert(other.to_owned());
                    }
                }
            }
        }
    }
    imports
}

/// Checks that a room imports none of the others.
fn apart(imports: &BTreeMap<String, BTreeSet<String>>, room: &str, others: &[&str]) {
    let imported = imports.get(room).cloned().unwrap_or_default();
    let wrong = others.iter().filter(|other| imported.contains(**other));
    none(
        &format!("{room} may not import"),
        wrong.map(ToString::to_string),
    );
}

#[test]
fn the_nodes_leaves_do_not_know_each_other() {
    let imports = imports("node/src/");
    let leaves = ["storage", "transport", "state_machine"];
    for leaf in leaves {
        let others = leaves.iter().copied().filter(|other| *other != leaf);
        let above = ["server", "http", "router", "group"];
        apart(&imports, leaf, &others.chain(above).collect::<Vec<_>>());
    }
    apart(&imports, "group", &["server", "http", "router"]);
    apart(&imports, "router", &["server", "http"]);
    apart(&imports, "http", &["server", "storage", "transport"]);
}

#[test]
fn the_harness_is_a_tree_from_the_command_line_down() {
    let imports = imports("harness/src/");
    for room in imports
        .keys()
        .filter(|room| !["main", "lib"].contains(&room.as_str()))
    {
        apart(&imports, room, &["cli"]);
        if room != "cli" {
            apart(&imports, room, &["runner"]);
        }
    }
    apart(
        &imports,
        "generator",
        &["runner", "control", "cluster", "nemesis", "system"],
    );
    apart(
        &imports,
        "control",
        &["nemesis", "system", "interpreter", "playbook", "report"],
    );
    apart(
        &imports,
        "report",
        &["runner", "interpreter", "cluster", "control", "nemesis"],
    );
}

#[test]
fn the_top_of_the_house_is_fixed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "node",
        "harness",
        "checker",
        "playbooks",
        "vagrant",
        "target",
        "store",
    ];
    let entries = std::fs::read_dir(root()).expect("the top can be listed");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    none(
        "nothing else is visible at the top",
        names.filter(|name| !name.starts_with('.') && !allowed.contains(&name.as_str())),
    );
}
