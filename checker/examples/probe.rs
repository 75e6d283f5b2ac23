use ordeal_checker::history::jsonl;
use ordeal_checker::txn::generate::{Plan, generate};
use ordeal_checker::txn::level::Level;
use ordeal_checker::txn::{Data, Expect};
use ordeal_checker::{Model, Options, check};
use std::io::Write;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let data = if args[2] == "l" {
        Data::Lists
    } else {
        Data::Registers
    };
    let model = if args[2] == "l" {
        Model::ListAppend
    } else {
        Model::RwRegister
    };
    let file = &args[3];
    match args[1].as_str() {
        "gen" => {
            let mut plan = Plan {
                keys: 100,
                processes: 30,
                ..Plan::new(data, 1_000_000, 1)
            };
            if let Some(p) = args.get(4) {
                plan.plant = ordeal_checker::txn::generate::plants(data).find(|n| n == p);
                assert!(plan.plant.is_some());
            }
            let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
            generate(&plan, |op| {
                serde_json::to_writer(&mut out, &op).unwrap();
                out.write_all(b"\n").unwrap();
            });
        }
        _ => {
            let text = std::fs::read(file).unwrap();
            let reads: usize = args[4].parse().unwrap();
            let checks: usize = args[5].parse().unwrap();
            let level: Level = args.get(6).map_or(Level::StrictSerializable, |l| {
                Level::ALL
                    .into_iter()
                    .find(|x| x.name() == l)
                    .expect("level")
            });
            let mut history = None;
            for _ in 0..reads {
                drop(history.take());
                let t = Instant::now();
                history = Some(jsonl::read(text.as_slice()).unwrap());
                eprintln!(
                    "read {:?} holds {} MB",
                    t.elapsed(),
                    history.as_ref().unwrap().memory_bytes() >> 20
                );
            }
            let history = history.unwrap();
            let mut options = Options::new(model);
            options.transactions = Expect {
                level,
                ..Expect::default()
            };
            for _ in 0..checks {
                let t = Instant::now();
                let r = check(&history, &options);
                eprintln!(
                    "check {:?} {:?} {:?} {} MB",
                    t.elapsed(),
                    r.verdict,
                    r.reason,
                    r.figures.memory_bytes >> 20
                );
            }
        }
    }
}
