//! The speed table of `TRANSACTIONS.md`: a million transactions, read and judged, with the allocator that
//! `ordeal` has.
//!
//! `cargo bench -p ordeal-checker --bench transactions` · a row alone: `… -- 'list-append'`

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ordeal_checker::history::{History, jsonl};
use ordeal_checker::txn::generate::{Plan, generate};
use ordeal_checker::txn::level::Level;
use ordeal_checker::txn::{Data, Expect};
use ordeal_checker::{Model, Options, Verdict, check};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TRANSACTIONS: usize = 1_000_000;

/// Thirty clients, a hundred keys at a time, 3 to 5 steps, half of them reads.
fn plan(data: Data) -> Plan {
    Plan {
        keys: 100,
        processes: 30,
        ..Plan::new(data, TRANSACTIONS, 1)
    }
}

fn text(plan: &Plan) -> Vec<u8> {
    let mut text = Vec::new();
    generate(plan, |op| {
        serde_json::to_writer(&mut text, &op).expect("memory takes it");
        text.push(b'\n');
    });
    text
}

fn read(text: &[u8]) -> History {
    jsonl::read(text).expect("it was written by us")
}

fn options(model: Model, level: Level) -> Options {
    let mut options = Options::new(model);
    options.transactions = Expect {
        level,
        ..Expect::default()
    };
    options
}

/// Each row of verdicts: its name, the anomaly planted, the level asked for, the verdict it must get.
type Row = (&'static str, Option<&'static str>, Level, Verdict);

fn million(criterion: &mut Criterion) {
    let lists: &[Row] = &[
        ("sound", None, Level::StrictSerializable, Verdict::Valid),
        (
            "one G2-item",
            Some("G2-item"),
            Level::StrictSerializable,
            Verdict::Invalid,
        ),
    ];
    let registers: &[Row] = &[
        ("sound", None, Level::ReadCommitted, Verdict::Valid),
        ("sound", None, Level::ReadAtomic, Verdict::Valid),
        ("sound", None, Level::Causal, Verdict::Valid),
        ("sound", None, Level::StrictSerializable, Verdict::Valid),
    ];
    let mut group = criterion.benchmark_group("transactions");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(10));
    for (model, data, rows) in [
        (Model::ListAppend, Data::Lists, lists),
        (Model::RwRegister, Data::Registers, registers),
    ] {
        // Made when the first row that needs it is run.
        let sound = LazyCell::new(|| text(&plan(data)));
        group.bench_function(format!("{model}: read"), |bencher| {
            bencher.iter(|| read(black_box(&sound)));
        });
        let sound = LazyCell::new(|| read(&sound));
        for &(name, plant, level, verdict) in rows {
            let planted = LazyCell::new(|| {
                read(&text(&Plan {
                    plant,
                    ..plan(data)
                }))
            });
            let options = options(model, level);
            group.bench_function(format!("{model}: {level}, {name}"), |bencher| {
                let history = if plant.is_some() { &*planted } else { &*sound };
                let report = check(history, &options);
                assert_eq!(report.verdict, verdict, "{:?}", report.reason);
                bencher.iter(|| check(black_box(history), &options));
                eprintln!(
                    "{model}: the history holds {} MB, the engine {} MB",
                    history.memory_bytes() >> 20,
                    report.figures.memory_bytes >> 20,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, million);
criterion_main!(benches);
