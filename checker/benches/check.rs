//! The speed table of the crate's README: one row a bench, on seeded histories. Reading is apart.
//!
//! `cargo bench -p ordeal-checker` · a row alone: `cargo bench -p ordeal-checker -- 'one register'`

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::history::{History, jsonl};
use ordeal_checker::{Model, Options, Verdict, check};

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
    ]
}

fn engines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    for (name, model, recipe, verdict) in rows() {
        let history = generate(&recipe);
        let mut options = Options::new(model);
        options.explain = false;
        let report = check(&history, &options);
        assert_eq!(report.verdict, verdict, "{name}: {:?}", report.reason);
        eprintln!(
            "{name}: engines hold {:.1} MB, the history {:.1} MB",
            report.figures.memory_bytes as f64 / 1e6,
            history.memory_bytes() as f64 / 1e6,
        );
        group.measurement_time(Duration::from_secs(if recipe.operations > 50_000 {
            3
        } else {
            1
        }));
        group.bench_function(name, |bencher| {
            bencher.iter(|| check(black_box(&history), &options));
        });
    }
    group.finish();
}

fn readers(criterion: &mut Criterion) {
    let history: History = generate(&Recipe {
        keys: 1000,
        ..recipe(500_000, 100, 0.01)
    });
    let mut text = Vec::new();
    jsonl::write(&history, &mut text).expect("memory takes it");
    let mut group = criterion.benchmark_group("read");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(500_000));
    group.bench_function("JSONL, 500k ops in two lines each", |bencher| {
        bencher.iter(|| jsonl::read(black_box(text.as_slice())).expect("it was written by us"));
    });
    group.finish();
}

criterion_group!(benches, engines, readers);
criterion_main!(benches);
