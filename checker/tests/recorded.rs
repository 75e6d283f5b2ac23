//! Histories that others recorded, with the verdicts that are known of them.
//!
//! They stand beside the repository, in `../shared/histories`, or where `ORDEAL_HISTORIES` says. When
//! a file or the whole folder is absent the test says so and checks what there is.

use std::path::{Path, PathBuf};

use ordeal_checker::history::{ReadOptions, read_file};
use ordeal_checker::{Model, Options, Verdict, check};
use serde_json::json;

fn folder() -> PathBuf {
    if let Some(given) = std::env::var_os("ORDEAL_HISTORIES") {
        return given.into();
    }
    // The repository may itself stand in a folder of worktrees: look upwards.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here
        .ancestors()
        .map(|it| it.join("shared/histories"))
        .find(|it| it.is_dir());
    found.unwrap_or_else(|| here.join("../../shared/histories"))
}

fn options(file: &str) -> Option<Options> {
    let model = match file.split('/').collect::<Vec<_>>()[..] {
        ["etcd", ..] | [_, "cas-register", ..] => Model::Register,
        ["kv", ..] => Model::Kv,
        [_, "multi-register", ..] => Model::MultiRegister,
        [_, "mutex", ..] => Model::Mutex,
        _ => return None,
    };
    let mut options = Options::new(model);
    options.failed_cas_differs = file.starts_with("etcd/");
    if model == Model::MultiRegister {
        options.initial = json!(0);
    }
    Some(options)
}

#[test]
fn recorded_histories_get_their_known_verdicts() {
    let folder = folder();
    let Ok(expected) = std::fs::read_to_string(folder.join("expected.tsv")) else {
        eprintln!("SKIPPED: there is no expected.tsv in {}", folder.display());
        return;
    };
    let (mut checked, mut absent, mut wrong) = (0, Vec::new(), Vec::new());
    for line in expected.lines().filter(|line| !line.trim().is_empty()) {
        let (file, verdict) = line.split_once('\t').expect("two columns");
        let wanted = match verdict.trim() {
            "ok" => Verdict::Valid,
            "illegal" => Verdict::Invalid,
            _ => continue,
        };
        let Some(options) = options(file) else {
            eprintln!("SKIPPED {file}: of no model that is known here");
            continue;
        };
        let path = folder.join(file);
        if !path.is_file() {
            absent.push(file.to_owned());
            continue;
        }
        if path.extension().is_some_and(|ending| ending == "html") {
            eprintln!("SKIPPED {file}: a page, not a history");
            continue;
        }
        let history = read_file(&path, ReadOptions::default())
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let report = check(
            &history,
            &Options {
                certify: true,
                ..options
            },
        );
        checked += 1;
        if report.verdict != wanted {
            wrong.push(format!(
                "{file}: {:?}, {:?}, wanted {wanted:?}",
                report.verdict, report.reason
            ));
        }
    }
    if !absent.is_empty() {
        eprintln!(
            "SKIPPED {} files that are not there, as {}",
            absent.len(),
            absent[0]
        );
    }
    eprintln!("{checked} recorded histories checked");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
