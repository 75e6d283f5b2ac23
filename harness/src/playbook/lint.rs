//! What the types of a playbook cannot say by themselves.

use super::source::{Mistake, Source, Step, nearest};
use super::{FaultEntry, Load, Playbook};

/// The most nodes a playbook may ask for.
const NODES_MAX: usize = 64;

/// The most keys of one workload.
const KEYS_MAX: usize = 1_000_000;

/// The most workloads of one run.
const WORKLOADS_MAX: usize = 64;

/// The most logical processes of one run.
const CLIENTS_MAX: usize = 10_000;

/// The most keys of all processes together: each keeps a little about every key of its own.
const KEYS_OF_ALL_MAX: usize = 4_000_000;

/// The most faults of one run.
pub const FAULTS_MAX: usize = 10_000;

/// What a name must be: a part of a folder's name, and a word in a shell.
pub(super) const PLAIN: &str = "a name is made of at most 64 letters, digits, `-`, `_` and `.`";

/// Whether a name is such a one.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.')
}

/// Refuses a playbook that is well-formed and makes no sense.
pub(super) fn check(playbook: &Playbook, source: &Source) -> Result<(), Mistake> {
    if !is_plain(&playbook.name) {
        return Err(source.mistake(&["name".into()], PLAIN));
    }
    if !(1..=NODES_MAX).contains(&playbook.nodes) {
        return Err(source.mistake(
            &["nodes".into()],
            format!("expected 1 to {NODES_MAX} nodes"),
        ));
    }
    if playbook
        .founders
        .is_some_and(|founders| !(1..=playbook.nodes).contains(&founders))
    {
        let message = format!(
            "expected 1 to {} founders, as there are nodes",
            playbook.nodes
        );
        return Err(source.mistake(&["founders".into()], message));
    }
    if playbook.workloads.is_empty() {
        return Err(source.mistake(&["workloads".into()], "at least one workload is needed"));
    }
    for (at, load) in playbook.workloads.iter().enumerate() {
        check_load(load, source, &["workloads".into(), at.into()])?;
    }
    check_size(playbook, source)?;
    for (at, entry) in playbook.faults.iter().enumerate() {
        check_entry(entry, source, &["faults".into(), at.into()])?;
    }
    check_expect(playbook, source)
}

/// Refuses what would take the memory or the time of the machine that it is planned on.
fn check_size(playbook: &Playbook, source: &Source) -> Result<(), Mistake> {
    let loads = &playbook.workloads;
    if loads.len() > WORKLOADS_MAX {
        let message = format!("at most {WORKLOADS_MAX} workloads make a run");
        return Err(source.mistake(&["workloads".into()], message));
    }
    let (mut clients, mut keys) = (0, 0);
    for (at, load) in loads.iter().enumerate() {
        let here = load.clients.on(playbook.nodes);
        clients += here;
        keys += here * load.keys.unwrap_or(load.kind.keys());
        let path = ["workloads".into(), at.into(), "clients".into()];
        if clients > CLIENTS_MAX {
            let message = format!("{clients} clients; at most {CLIENTS_MAX} make a run");
            return Err(source.mistake(&path, message));
        }
        if keys > KEYS_OF_ALL_MAX {
            let message = format!(
                "clients times keys are {keys}; at most {KEYS_OF_ALL_MAX} fit into one run"
            );
            return Err(source.mistake(&path, message));
        }
    }
    if !(1..=FAULTS_MAX).contains(&playbook.faults_at_once) {
        let message = format!("expected 1 to {FAULTS_MAX}");
        return Err(source.mistake(&["faults_at_once".into()], message));
    }
    let during = playbook.time.during.0.as_secs_f64();
    let mut faults = 0.0;
    for (at, entry) in playbook.faults.iter().enumerate() {
        let every = entry.when.every.map_or(f64::INFINITY, |every| {
            every.middle.0.as_secs_f64().max(0.01)
        });
        let most = (during / every).min(f64::from(entry.when.times.unwrap_or(u32::MAX)));
        faults += most + entry.when.at.len() as f64;
        if faults > FAULTS_MAX as f64 {
            let message = format!(
                "up to {faults:.0} faults in {}; at most {FAULTS_MAX} make a run",
                playbook.time.during
            );
            return Err(source.mistake(&["faults".into(), at.into()], message));
        }
    }
    Ok(())
}

fn check_load(load: &Load, source: &Source, path: &[Step]) -> Result<(), Mistake> {
    let at = |key: &str| [path, &[key.into()]].concat();
    for f in load.mix.keys() {
        if !load.kind.functions().iter().any(|(known, _)| known == f) {
            let known: Vec<&str> = load.kind.functions().iter().map(|(f, _)| *f).collect();
            let mut mistake = source.mistake(
                &[&at("mix")[..], &[f.as_str().into()]].concat(),
                format!(
                    "the workload `{}` has no operation `{f}`, expected one of {}",
                    load.kind.name(),
                    list(&known)
                ),
            );
            mistake.hint = nearest(f, known.into_iter()).map(|n| format!("did you mean `{n}`?"));
            return Err(mistake);
        }
    }
    if !load.mix.is_empty() && load.mix.values().all(|weight| *weight == 0) {
        return Err(source.mistake(&at("mix"), "at least one weight must be above 0"));
    }
    if let Some(model) = &load.check {
        let parsed = model.parse::<ordeal_checker::Model>();
        parsed.map_err(|why| source.mistake(&at("check"), why))?;
    }
    if load.readers.is_some() && load.kind.reading().is_none() {
        let message = format!(
            "the workload `{}` has no operation that only reads",
            load.kind.name()
        );
        return Err(source.mistake(&at("readers"), message));
    }
    if load
        .keys
        .is_some_and(|keys| !(1..=KEYS_MAX).contains(&keys))
    {
        return Err(source.mistake(&at("keys"), format!("expected 1 to {KEYS_MAX} keys")));
    }
    if !(1..=64).contains(&load.transaction_length) {
        return Err(source.mistake(&at("transaction_length"), "expected 1 to 64"));
    }
    Ok(())
}

fn check_entry(entry: &FaultEntry, source: &Source, path: &[Step]) -> Result<(), Mistake> {
    let when = &entry.when;
    if when.every.is_none() && when.at.is_empty() {
        return Err(source.mistake(path, "a fault needs `every:` or `at:` to say when it comes"));
    }
    if when
        .every
        .is_some_and(|every| every.middle.0.as_millis() < 10)
    {
        return Err(source.mistake(
            &[path, &["every".into()]].concat(),
            "faults cannot come more often than every 10ms",
        ));
    }
    Ok(())
}

fn check_expect(playbook: &Playbook, source: &Source) -> Result<(), Mistake> {
    let known: Vec<&str> = playbook
        .workloads
        .iter()
        .flat_map(|load| load.kind.functions().iter().map(|(f, _)| *f))
        .collect();
    let ok = &playbook.expect.ok;
    for (part, least) in [
        ("before", &ok.before),
        ("during", &ok.during),
        ("after", &ok.after),
    ] {
        if let Some(f) = least.keys().find(|f| !known.contains(&f.as_str())) {
            return Err(source.mistake(
                &["expect".into(), "ok".into(), part.into(), f.as_str().into()],
                format!(
                    "no workload has an operation `{f}`, expected one of {}",
                    list(&known)
                ),
            ));
        }
    }
    let kinds: Vec<&str> = playbook
        .faults
        .iter()
        .map(|entry| entry.fault.kind())
        .collect();
    if let Some(kind) = playbook
        .expect
        .faults
        .keys()
        .find(|kind| !kinds.contains(&kind.as_str()))
    {
        return Err(source.mistake(
            &["expect".into(), "faults".into(), kind.as_str().into()],
            format!(
                "this playbook has no fault `{kind}`; those it has: {}",
                list(&kinds)
            ),
        ));
    }
    Ok(())
}

fn list(names: &[&str]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.sort();
    names.dedup();
    match names.len() {
        0 => "none".into(),
        _ => names.join(", "),
    }
}
