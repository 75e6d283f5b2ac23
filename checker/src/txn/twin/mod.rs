//! The dumb twin: every level by trying every order, every cycle by walking every path.
//!
//! Small random histories, sound and spoiled, are judged by the engine and by the definitions taken
//! at their word; the two must agree on every level and every class of cycle. `ORDEAL_SEED` repeats
//! one run, `ORDEAL_ROUNDS` sets how many histories.

mod history;
mod levels;
mod orders;
mod shapes;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Standing;
use super::analysis::{Analysis, Limits, analyze};
use super::anomaly::Kind;
use super::level::Level;
use super::table::Data;
use history::{Txn, history, show, table};
use levels::Twin;
use orders::compare_certificate;
use shapes::compare_cycles;

/// Anomalies of single reads, which the levels' definitions do not all speak of.
fn is_direct(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::G1a
            | Kind::Garbage
            | Kind::Internal
            | Kind::Duplicates
            | Kind::IncompatibleOrder
            | Kind::DirtyUpdate
    )
}

fn seed_and_rounds(rounds: u64) -> (u64, u64) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = read("ORDEAL_SEED").unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    (seed, read("ORDEAL_ROUNDS").unwrap_or(rounds))
}

/// Compares the levels; gives how many were left open.
fn compare_levels(txns: &[Txn], data: Data, analysis: &Analysis, round: u64) -> usize {
    let twin = Twin { txns, data };
    let direct = analysis
        .findings
        .counts()
        .iter()
        .any(|(kind, _)| is_direct(*kind));
    let mut open = 0;
    for level in Level::ALL {
        let strong =
            Level::covers(level, Level::RepeatableRead) || level.covers(Level::SnapshotIsolation);
        if direct && !strong {
            continue;
        }
        let expected = twin.level(level);
        let told = analysis.standing(level);
        // These two are decided only with the order of the writes.
        let needs_order = match data {
            Data::Lists => level == Level::ConsistentView,
            Data::Registers => matches!(level, Level::CursorStability | Level::ConsistentView),
        };
        open += usize::from(told == Standing::Open && !needs_order);
        let agrees = match told {
            Standing::Holds => expected,
            Standing::Violated => !expected,
            Standing::Open => true,
        };
        assert!(
            agrees,
            "round {round}: {level} is {told:?}, by definition {expected}\n{}\n{:?}",
            show(txns),
            analysis.findings.counts()
        );
    }
    open
}

#[test]
fn lists_agree_with_the_definitions() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let (mut open, mut broken) = (0, 0);
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let table = table(&txns, Data::Lists);
        let analysis = analyze(&table, &Limits::default());
        assert_eq!(analysis.unknown, None, "round {round}");
        open += compare_levels(&txns, Data::Lists, &analysis, round);
        compare_certificate(&txns, &table, &analysis, round);
        broken += u64::from(analysis.standing(Level::StrictSerializable) == Standing::Violated);
        if !analysis
            .findings
            .counts()
            .iter()
            .any(|(kind, _)| is_direct(*kind))
        {
            compare_cycles(&txns, &analysis, round);
        }
    }
    println!("{rounds} histories, {broken} not strict serializable, {open} levels left open");
    assert!(
        broken > rounds / 10 && broken < rounds * 9 / 10,
        "the histories are lopsided"
    );
}

#[test]
fn registers_agree_with_the_definitions() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let (mut open, mut broken) = (0, 0);
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let table = table(&txns, Data::Registers);
        let analysis = analyze(&table, &Limits::default());
        assert_eq!(analysis.unknown, None, "round {round}");
        open += compare_levels(&txns, Data::Registers, &analysis, round);
        compare_certificate(&txns, &table, &analysis, round);
        broken += u64::from(analysis.standing(Level::StrictSerializable) == Standing::Violated);
    }
    println!("{rounds} histories, {broken} not strict serializable, {open} levels left open");
    assert_eq!(open, 0, "levels were left open");
    assert!(broken > rounds / 20, "hardly any history is broken");
}
