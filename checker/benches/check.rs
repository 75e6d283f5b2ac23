//! The speed table of the crate's README: one row a bench, on seeded histories, with the allocator that
//! `ordeal` has. Reading is apart.
//!
//! `cargo bench -p ordeal-checker` · a row alone: `cargo bench -p ordeal-checker -- 'one register'` ·
//! a first impression of all in two minutes: `… --bench check -- --quick`
//!
//! The rows of recorded histories need them: `ORDEAL_HISTORIES` is the folder that has `etcd/` and
//! `kv/`, as Porcupine publishes them. Without it they are skipped, and it is said.

use std::cell::LazyCell;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::history::{History, ReadOptions, jsonl, read_file};
use ordeal_checker::{Model, Options, Verdict, check};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn recipe(operations: usize, clients: usize, unknown: f64) -> Recipe {
    Recipe {
        operations,
        clients,
        unknown,
        seed: 1,
        ..Recipe::default()
    }
}

/// Each row: its name, its history, and the verdict it must get.
fn rows() -> Vec<(&'static str, Model, Recipe, Verdict)> {
    let few = Some(5);
    let stale = Some(Anomaly::StaleRead);
    vec![
        (
            "1M ops, 1000 keys, 100 clients, 1% unknown",
            Model::Register,
            Recipe {
                keys: 1000,
                ..recipe(1_000_000, 100, 0.01)
            },
            Verdict::Valid,
        ),
        (
            "1M ops, 1000 keys, 5 values, 100 clients, 1% unknown",
            Model::Register,
            Recipe {
                keys: 1000,
                values: few,
                cas: 0.2,
                ..recipe(1_000_000, 100, 0.01)
            },
            Verdict::Valid,
        ),
        (
            "1M ops, one register, unique, 30 clients, 5% unknown",
            Model::Register,
            recipe(1_000_000, 30, 0.05),
            Verdict::Valid,
        ),
        (
            "1M ops, one register, unique, 100 clients, 5% unknown",
            Model::Register,
            recipe(1_000_000, 100, 0.05),
            Verdict::Valid,
        ),
        (
            "100k ops, one register, unique, 5 clients",
            Model::Register,
            recipe(100_000, 5, 0.0),
            Verdict::Valid,
        ),
        (
            "1k ops, one register, 30 clients",
            Model::Register,
            recipe(1000, 30, 0.0),
            Verdict::Valid,
        ),
        (
            "10k ops, one register, 5% unknown, one stale read",
            Model::Register,
            Recipe {
                anomaly: stale,
                ..recipe(10_000, 10, 0.05)
            },
            Verdict::Invalid,
        ),
        (
            "100k cas/read/write, 5 values, 30 clients, 5% unknown",
            Model::Register,
            Recipe {
                values: few,
                cas: 0.34,
                ..recipe(100_000, 30, 0.05)
            },
            Verdict::Valid,
        ),
        (
            "kv: 10k get/put/append, 10 keys, 50 clients",
            Model::Kv,
            Recipe {
                object: Object::Kv,
                keys: 10,
                ..recipe(10_000, 50, 0.0)
            },
            Verdict::Valid,
        ),
        structure("set", Model::Set, Object::Set, 10_000),
        structure("queue", Model::Queue, Object::Queue, 100_000),
        structure("stack", Model::Stack, Object::Stack, 100_000),
        structure(
            "priority queue",
            Model::PriorityQueue,
            Object::PriorityQueue,
            100_000,
        ),
        structure("append log", Model::AppendLog, Object::AppendLog, 10_000),
        structure("counter", Model::Counter, Object::Counter, 10_000),
        structure("mutex", Model::Mutex, Object::Mutex, 100_000),
        (
            "queue: 100k ops, one phantom",
            Model::Queue,
            Recipe {
                object: Object::Queue,
                anomaly: Some(Anomaly::Phantom),
                ..recipe(100_000, 10, 0.01)
            },
            Verdict::Invalid,
        ),
    ]
}

/// A structure whose elements are put once each, ten clients, one operation in a hundred unknown.
fn structure(
    name: &'static str,
    model: Model,
    object: Object,
    operations: usize,
) -> (&'static str, Model, Recipe, Verdict) {
    let recipe = Recipe {
        object,
        ..recipe(operations, 10, 0.01)
    };
    (name, model, recipe, Verdict::Valid)
}

fn engines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    for (name, model, recipe, verdict) in rows() {
        let mut options = Options::new(model);
        options.explain = false;
        // Made when the row is run.
        let history = LazyCell::new(|| {
            let history = generate(&recipe);
            let report = check(&history, &options);
            assert_eq!(report.verdict, verdict, "{name}: {:?}", report.reason);
            eprintln!(
                "{name}: engines hold {:.1} MB, the history {:.1} MB",
                report.figures.memory_bytes as f64 / 1e6,
                history.memory_bytes() as f64 / 1e6,
            );
            history
        });
        group.measurement_time(Duration::from_secs(if recipe.operations > 50_000 {
            3
        } else {
            1
        }));
        group.bench_function(name, |bencher| {
            let history = &*history;
            bencher.iter(|| check(black_box(history), &options));
        });
    }
    group.finish();
}

/// What a second core is worth: the first row again, with one thread and with two.
fn threads(criterion: &mut Criterion) {
    let history = LazyCell::new(|| {
        generate(&Recipe {
            keys: 1000,
            ..recipe(1_000_000, 100, 0.01)
        })
    });
    let mut group = criterion.benchmark_group("threads");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(3));
    for threads in [1, 2] {
        let options = Options::new(Model::Register);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("there are threads");
        group.bench_function(format!("1M ops, 1000 keys: {threads}"), |bencher| {
            let history = &*history;
            pool.install(|| bencher.iter(|| check(black_box(history), &options)));
        });
    }
    group.finish();
}

/// Many short histories, of the shape of those that Jepsen recorded of etcd: five clients that read,
/// write and compare-and-set one register, and one answer in six that never comes.
fn short(criterion: &mut Criterion) {
    let mut options = Options::new(Model::Register);
    options.failed_cas_differs = true;
    options.explain = false;
    let histories = LazyCell::new(|| {
        let all: Vec<History> = (0..102)
            .map(|seed| {
                generate(&Recipe {
                    values: Some(5),
                    cas: 0.34,
                    seed,
                    // Most of those are not linearizable.
                    anomaly: (seed % 5 > 0).then_some(Anomaly::StaleRead),
                    ..recipe(80, 5, 0.17)
                })
            })
            .collect();
        longest("short", all.iter().map(|history| (history, &options)));
        all
    });
    let mut group = criterion.benchmark_group("check");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    group.bench_function("102 histories of 80 ops, 5 clients", |bencher| {
        let histories = &*histories;
        bencher.iter(|| {
            for history in histories {
                black_box(check(black_box(history), &options));
            }
        });
    });
    group.finish();
}

/// Says what the slowest of some histories takes, at best.
fn longest<'a>(name: &str, all: impl ExactSizeIterator<Item = (&'a History, &'a Options)>) {
    let count = all.len();
    let best = |(history, options)| {
        let times = (0..9).map(|_| check(history, options).figures.elapsed_ms);
        times.fold(f64::INFINITY, f64::min)
    };
    let longest = all.map(best).fold(0.0, f64::max);
    eprintln!("{name}: {count} of them, the longest {longest:.3} ms");
}

/// Recorded histories, and how each must be read and judged.
fn recorded(folder: &Path, name: &str) -> Vec<(History, Options)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().contains(name))
        .collect();
    files.sort();
    let of = |path: PathBuf| {
        let history = read_file(&path, ReadOptions::default())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kv = path.parent().is_some_and(|folder| folder.ends_with("kv"));
        let mut options = Options::new(if kv { Model::Kv } else { Model::Register });
        options.failed_cas_differs = !kv;
        options.explain = false;
        (history, options)
    };
    files.into_iter().map(of).collect()
}

fn recordings(criterion: &mut Criterion) {
    let Some(folder) = std::env::var_os("ORDEAL_HISTORIES").map(PathBuf::from) else {
        eprintln!("SKIPPED the recorded histories: ORDEAL_HISTORIES names no folder of them");
        return;
    };
    let mut group = criterion.benchmark_group("recorded");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    for (room, name) in [
        ("etcd", ".log"),
        ("kv", "c10-ok"),
        ("kv", "c10-bad"),
        ("kv", "c50-ok"),
        ("kv", "c50-bad"),
    ] {
        let all = recorded(&folder.join(room), name);
        if all.is_empty() {
            eprintln!("SKIPPED {room}: no file called {name} is there");
            continue;
        }
        let each = all.iter().map(|(history, options)| (history, options));
        longest(&format!("{room} {name}"), each);
        group.bench_function(format!("{room} {name}"), |bencher| {
            bencher.iter(|| {
                for (history, options) in &all {
                    black_box(check(black_box(history), options));
                }
            });
        });
    }
    group.finish();
}

fn readers(criterion: &mut Criterion) {
    let text = LazyCell::new(|| {
        let history = generate(&Recipe {
            keys: 1000,
            ..recipe(500_000, 100, 0.01)
        });
        let mut text = Vec::new();
        jsonl::write(&history, &mut text).expect("memory takes it");
        text
    });
    let mut group = criterion.benchmark_group("read");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(500_000));
    group.bench_function("JSONL, 500k ops in two lines each", |bencher| {
        let text = text.as_slice();
        bencher.iter(|| jsonl::read(black_box(text)).expect("it was written by us"));
    });
    group.finish();
}

criterion_group!(benches, engines, short, threads, recordings, readers);
criterion_main!(benches);
