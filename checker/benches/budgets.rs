//! The budget table of the crate's README: what a check takes of a time budget, and what its memory grows by
//! beside the history where that is the bound.
//!
//! `cargo bench -p ordeal-checker --bench budgets` · a row alone: `… -- 3` · Memory is what Linux tells of the
//! process, with the allocator that `ordeal` has, without the pages of the program's own file.

use std::process::Command;
use std::time::{Duration, Instant};

use ordeal_checker::history::History;
use ordeal_checker::history::generate::{Object, Recipe, generate};
use ordeal_checker::txn::Data;
use ordeal_checker::txn::generate::{Plan, generate as transactions};
use ordeal_checker::{Budget, Model, Options, Report, Verdict, check};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A history, and what each of two checks of it may spend: one is short of time, the other of memory.
struct Row {
    name: &'static str,
    model: Model,
    made: Made,
    time_ms: u64,
    memory_mb: u64,
}

enum Made {
    Objects(Recipe),
    Transactions(Plan),
}

impl Made {
    fn history(self) -> History {
        match self {
            Made::Objects(recipe) => generate(&recipe),
            Made::Transactions(plan) => {
                let mut history = History::new();
                transactions(&plan, |op| history.push(&op));
                history
            }
        }
    }
}

/// What takes longer, or more, than it may have.
fn rows() -> Vec<Row> {
    let mut rows = objects();
    rows.extend(million_transactions());
    rows
}

fn objects() -> Vec<Row> {
    let row = |name, model, time_ms, recipe| Row {
        name,
        model,
        made: Made::Objects(Recipe { seed: 1, ..recipe }),
        time_ms,
        memory_mb: 30,
    };
    let crowded = |object, values| Recipe {
        object,
        operations: 20_000,
        clients: 30,
        unknown: 0.05,
        values,
        ..Recipe::default()
    };
    let read_whole = |object, operations| Recipe {
        object,
        operations,
        clients: 10,
        unknown: 0.01,
        ..Recipe::default()
    };
    vec![
        row(
            "counter, several amounts, 5% unknown",
            Model::Counter,
            1_000,
            crowded(Object::Counter, None),
        ),
        row(
            "queue, elements that repeat",
            Model::Queue,
            1_000,
            crowded(Object::Queue, Some(5)),
        ),
        row(
            "key-value, texts that repeat",
            Model::Kv,
            1_000,
            crowded(Object::Kv, Some(3)),
        ),
        row(
            "set, long reads",
            Model::Set,
            500,
            read_whole(Object::Set, 20_000),
        ),
        row(
            "append log, long reads",
            Model::AppendLog,
            150,
            read_whole(Object::AppendLog, 12_000),
        ),
    ]
}

fn million_transactions() -> Vec<Row> {
    let row = |name, model, data, plant, time_ms, memory_mb| Row {
        name,
        model,
        made: Made::Transactions(Plan {
            keys: 100,
            processes: 30,
            plant,
            ..Plan::new(data, 1_000_000, 1)
        }),
        time_ms,
        memory_mb,
    };
    let lists = |name, time_ms, memory_mb| {
        let plant = Some("G2-item");
        row(
            name,
            Model::ListAppend,
            Data::Lists,
            plant,
            time_ms,
            memory_mb,
        )
    };
    let registers = |name, time_ms, memory_mb| {
        row(
            name,
            Model::RwRegister,
            Data::Registers,
            None,
            time_ms,
            memory_mb,
        )
    };
    vec![
        lists("1,000,000 list-append transactions, one G2-item", 700, 150),
        lists("the same", 1_500, 300),
        registers("1,000,000 register transactions", 700, 150),
        registers("the same", 1_500, 300),
    ]
}

fn main() {
    let told: Vec<String> = std::env::args().skip(1).collect();
    let row = told.first().and_then(|it| it.parse::<usize>().ok());
    if let (Some(row), Some(bound)) = (row, told.get(1)) {
        let row = rows().swap_remove(row);
        match bound.as_str() {
            "time" => print!("{}", taken(row)),
            _ => print!("{}", grown_by(row)),
        }
        return;
    }
    println!("| history | time allowed | taken | memory allowed | grew by |");
    println!("| --- | --- | --- | --- | --- |");
    for (number, it) in rows().iter().enumerate() {
        if row.is_none_or(|row| row == number) {
            let [taken, grew] = ["time", "memory"].map(|bound| alone(number, bound));
            let (name, time, memory) = (it.name, it.time_ms, it.memory_mb);
            println!("| {name} | {time} ms | {taken} | {memory} MB | {grew} |");
        }
    }
}

/// Each check in a process of its own: what another one freed would be used again.
fn alone(row: usize, bound: &str) -> String {
    let own = std::env::current_exe().expect("it runs");
    let told = Command::new(own).args([&row.to_string(), bound]).output();
    let told = told.expect("it runs once more");
    eprint!("{}", String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "row {row}");
    String::from_utf8_lossy(&told.stdout).into_owned()
}

fn checked(history: &History, model: Model, budget: Budget) -> Report {
    let mut options = Options::new(model);
    options.budget = budget;
    options.explain = false;
    let report = check(history, &options);
    eprintln!("{model}: {:?} {:?}", report.verdict, report.reason);
    report
}

/// With more memory than it can need in that time.
fn taken(row: Row) -> String {
    let history = row.made.history();
    let budget = Budget {
        time: Duration::from_millis(row.time_ms),
        memory_bytes: 8 << 30,
    };
    let started = Instant::now();
    let report = checked(&history, row.model, budget);
    let taken = started.elapsed().as_millis();
    format!("{}{taken} ms", decided(&report))
}

/// With more time than it can need for that memory.
fn grown_by(row: Row) -> String {
    let history = row.made.history();
    let budget = Budget {
        time: Duration::from_secs(60),
        memory_bytes: row.memory_mb * 1_000_000,
    };
    // The most that was resident is counted from here on.
    let cleared = std::fs::write("/proc/self/clear_refs", "5");
    let before = cleared.ok().and_then(|()| resident("RssAnon:"));
    let report = checked(&history, row.model, budget);
    let most = resident("VmHWM:").zip(resident("RssFile:"));
    match before.zip(most) {
        Some((before, (most, file))) => {
            let grew = most.saturating_sub(file).saturating_sub(before) as f64 / 1e6;
            format!("{}{grew:.1} MB", decided(&report))
        }
        None => "not told here".to_owned(),
    }
}

fn decided(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Unknown => "",
        _ => "decided in ",
    }
}

/// None where the system does not tell.
fn resident(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
