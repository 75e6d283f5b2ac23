//! The one-pass checks against their definitions taken at their word: every pair, every subset, every
//! way to match. Small random histories, sound and spoiled; `ORDEAL_SEED` repeats a run,
//! `ORDEAL_ROUNDS` sets how many.

mod definitions;
mod online;
mod weaker;
mod world;

use std::collections::BTreeSet;

use definitions::Told;
use ordeal_checker::{Model, Options, check};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use world::{Call, World, history, show};

fn seed_and_rounds(rounds: u64) -> (u64, u64) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = read("ORDEAL_SEED").unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    (seed, read("ORDEAL_ROUNDS").unwrap_or(rounds))
}

/// Compares a check with its twin, verdict and names of what was found.
fn compare(model: Model, world: fn() -> World, twin: fn(&[Call]) -> Told) {
    let (seed, rounds) = seed_and_rounds(5_000);
    let mut verdicts = [0_u64; 3];
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let calls = world().run(&mut rng);
        let report = check(&history(&calls), &Options::new(model));
        let found = report.anomalies.iter().map(|found| found.name.as_str());
        let found: BTreeSet<&str> = found.collect();
        let told = twin(&calls);
        let context = || {
            format!(
                "seed {seed}, round {round}\n{}{report:#?}\n{told:?}",
                show(&calls)
            )
        };
        assert_eq!(found, told.found, "{}", context());
        assert_eq!(report.verdict, told.verdict(), "{}", context());
        verdicts[report.verdict as usize] += 1;
    }
    println!("{rounds} histories: {verdicts:?} valid, invalid, unknown");
    let lopsided = verdicts[..2].iter().any(|count| *count < rounds / 50);
    assert!(!lopsided, "the histories are lopsided: {verdicts:?}");
}

#[test]
fn sets_agree_with_the_definition() {
    compare(Model::SetFull, World::set, definitions::set);
}

#[test]
fn queues_agree_with_the_definition() {
    compare(Model::TotalQueue, World::queue, definitions::queue);
}

#[test]
fn counters_agree_with_every_subset_of_the_adds() {
    compare(Model::CounterBounds, World::counter, definitions::counter);
}

#[test]
fn ids_agree_with_every_pair() {
    compare(Model::UniqueIds, World::ids, definitions::ids);
}

#[test]
fn balances_agree_with_the_first_total() {
    compare(Model::Bank, World::bank, definitions::bank);
}

#[test]
fn forks_agree_with_every_pair_of_reads() {
    compare(Model::LongFork, World::fork, definitions::fork);
}

#[test]
fn sessions_agree_with_every_pair_of_their_ops() {
    compare(Model::Monotonic, World::monotonic, definitions::monotonic);
}
