//! The budget table of the crate's README: what a check takes of a time budget, and what its memory grows by
//! beside the history where that is the bound.
//!
//! `cargo bench -p ordeal-checker --bench budgets` · Memory is what Linux tells of the process.

use std::process::Command;
use std::time::{Duration, Instant};

use ordeal_checker::history::History;
use ordeal_checker::history::generate::{Object, Recipe, generate};
use ordeal_checker::{Budget, Model, Options, check};

const TIME: Duration = Duration::from_secs(1);
const MEMORY_BYTES: u64 = 30_000_000;

/// What takes longer, or more, than it may have.
fn rows() -> Vec<(&'static str, Model, Recipe)> {
    let recipe = |object, operations, clients, unknown, values| Recipe {
        object,
        operations,
        clients,
        unknown,
        values,
        seed: 1,
        ..Recipe::default()
    };
    vec![
        (
            "counter, several amounts, 5% unknown",
            Model::Counter,
            recipe(Object::Counter, 20_000, 30, 0.05, None),
        ),
        (
            "queue, elements that repeat",
            Model::Queue,
            recipe(Object::Queue, 20_000, 30, 0.05, Some(5)),
        ),
        (
            "key-value, texts that repeat",
            Model::Kv,
            recipe(Object::Kv, 20_000, 30, 0.05, Some(3)),
        ),
        (
            "set, long reads",
            Model::Set,
            recipe(Object::Set, 20_000, 10, 0.01, None),
        ),
        (
            "append log, long reads",
            Model::AppendLog,
            recipe(Object::AppendLog, 12_000, 10, 0.01, None),
        ),
    ]
}

fn main() {
    let told = std::env::args().nth(1).and_then(|it| it.parse().ok());
    let row: Option<usize> = told.filter(|&row| row < rows().len());
    if let Some(row) = row {
        // By itself: what else was freed before would be used again.
        let (name, model, recipe) = rows().swap_remove(row);
        let history = generate(&recipe);
        let grew = match grown_by(&history, model) {
            Some(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
            None => "not told here".to_owned(),
        };
        let taken = taken(&history, model);
        let (time, memory) = (TIME.as_millis(), MEMORY_BYTES / 1_000_000);
        println!("| {name} | {time} ms | {taken} | {memory} MB | {grew} |");
        return;
    }
    println!("| history | time allowed | taken | memory allowed | grew by |");
    println!("| --- | --- | --- | --- | --- |");
    let own = std::env::current_exe().expect("it runs");
    for row in 0..rows().len() {
        let status = Command::new(&own).arg(row.to_string()).status();
        assert!(status.is_ok_and(|it| it.success()), "row {row}");
    }
}

fn options(model: Model, time: Duration, memory_bytes: u64) -> Options {
    let mut options = Options::new(model);
    options.budget = Budget { time, memory_bytes };
    options.explain = false;
    options
}

/// With more memory than it can need in that time.
fn taken(history: &History, model: Model) -> String {
    let options = options(model, TIME, 8 << 30);
    let started = Instant::now();
    let report = check(history, &options);
    let taken = started.elapsed().as_millis();
    format!("{taken} ms, {:?}", report.verdict)
}

/// With more time than it can need for that memory. None where the system does not tell.
fn grown_by(history: &History, model: Model) -> Option<u64> {
    let options = options(model, Duration::from_secs(60), MEMORY_BYTES);
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = resident("VmRSS:")?;
    let report = check(history, &options);
    eprintln!("{model}: {:?} {:?}", report.verdict, report.reason);
    Some(resident("VmHWM:")?.saturating_sub(before))
}

fn resident(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
