//! What is told while a run is on is wrong at its end too; and what needs no end is told.

use ordeal_checker::history::{History, Op};
use ordeal_checker::{Model, Online, Options, Verdict, check};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::seed_and_rounds;
use super::world::{World, history, show};

/// How many ops it takes until a violation is told.
fn told_after(ops: impl Iterator<Item = Op>, options: &Options) -> Option<usize> {
    let mut online = Online::new(options).expect("it is followed");
    let mut ops = ops.enumerate();
    ops.find_map(|(at, op)| online.push(&op).map(|_| at + 1))
}

/// Of these anomalies only the end can tell.
fn needs_the_end(name: &str) -> bool {
    matches!(name, "lost" | "stale")
}

type Make = fn() -> World;

#[test]
fn a_violation_is_told_with_the_op_that_makes_it() {
    let (seed, rounds) = seed_and_rounds(2_000);
    let worlds: [(Model, Make); 7] = [
        (Model::SetFull, World::set),
        (Model::TotalQueue, World::queue),
        (Model::CounterBounds, World::counter),
        (Model::UniqueIds, World::ids),
        (Model::Bank, World::bank),
        (Model::LongFork, World::fork),
        (Model::Monotonic, World::monotonic),
    ];
    for (model, world) in worlds {
        let options = Options::new(model);
        let mut told = 0;
        for round in 0..rounds {
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
            let calls = world().run(&mut rng);
            let whole = history(&calls);
            let report = check(&whole, &options);
            let names = report.anomalies.iter().map(|found| found.name.as_str());
            let expected = names.clone().any(|name| !needs_the_end(name));
            let after = told_after(whole.ops(), &options);
            let context = || format!("{model}, round {round}\n{}{report:#?}", show(&calls));
            // What was seen before its call failed is left to the end.
            let failed = calls.iter().any(|call| !call.may());
            if !failed {
                assert_eq!(after.is_some(), expected, "{}", context());
            }
            let Some(after) = after else { continue };
            assert_eq!(report.verdict, Verdict::Invalid, "{}", context());
            // Not told before: the history until the op before it shows nothing of the kind yet.
            let before: History = whole.ops().take(after - 1).collect();
            let before = check(&before, &options).anomalies;
            let early = before.iter().any(|found| !needs_the_end(&found.name));
            assert!(
                failed || !early,
                "it could have been told before op {after}: {}",
                context()
            );
            told += 1;
        }
        assert!(told > rounds / 50, "{model}: {told} violations only");
    }
}
