//! The judge of orders against their definition: every start and commit looked at by itself.

use rand::RngExt;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::super::analysis::Analysis;
use super::super::certificate::{Event, replays};
use super::super::level::Level;
use super::super::order::Listed;
use super::super::standing::Standing;
use super::super::table::{Data, Table};
use super::super::walk::{self, Walked};
use super::super::work::Watch;
use super::super::writes::Writes;
use super::history::{KEYS, Txn, history, show, table};
use super::levels::{Binds, FREE, REAL_TIME, SESSIONS, Twin};
use super::seed_and_rounds;

const UNBOUNDED: Watch = Watch {
    deadline: None,
    memory_max: None,
    growth: None,
    held: 0,
};

/// Levels that are proven by an order: what binds it, and whether commits follow their starts at once.
const PROVEN: [(Level, Binds, bool); 6] = [
    (Level::SnapshotIsolation, FREE, false),
    (Level::StrongSessionSnapshotIsolation, SESSIONS, false),
    (Level::StrongSnapshotIsolation, REAL_TIME, false),
    (Level::Serializable, FREE, true),
    (Level::StrongSessionSerializable, SESSIONS, true),
    (Level::StrictSerializable, REAL_TIME, true),
];

/// A run of some transactions, up to some event.
#[derive(Clone)]
struct Run<'a> {
    twin: &'a Twin<'a>,
    binds: Binds,
    serial: bool,
    state: Vec<Vec<u64>>,
    /// Each that started, and how many had committed by then.
    started: Vec<(usize, usize)>,
    committed: Vec<usize>,
}

impl<'a> Run<'a> {
    fn new(twin: &'a Twin<'a>, (_, binds, serial): (Level, Binds, bool)) -> Self {
        Run {
            twin,
            binds,
            serial,
            state: vec![Vec::new(); KEYS],
            started: Vec::new(),
            committed: Vec::new(),
        }
    }

    /// Lets the event come next, and says whether it may.
    fn goes_on(&mut self, event: Event) -> bool {
        let (Event::Start(txn) | Event::Commit(txn)) = event;
        let txn = txn as usize;
        let started = self.started.iter().find(|(it, _)| *it == txn).copied();
        let too_late = |&(other, _): &(usize, usize)| self.twin.before(txn, other, self.binds);
        let in_time = !self.started.iter().any(too_late);
        if matches!(event, Event::Start(_)) {
            let alone = !self.serial || self.started.len() == self.committed.len();
            let explained = self.twin.runs(txn, &mut self.state.clone());
            self.started.push((txn, self.committed.len()));
            return started.is_none() && alone && in_time && explained;
        }
        let Some((_, since)) = started else {
            return false;
        };
        let writes = |txn: usize, key| !self.twin.txns[txn].writes(key).is_empty();
        let clash = |&other: &usize| (0..KEYS).any(|key| writes(txn, key) && writes(other, key));
        let clashes = self.committed[since..].iter().any(clash);
        let again = self.committed.contains(&txn);
        for (key, list) in self.state.iter_mut().enumerate() {
            list.extend(self.twin.txns[txn].writes(key));
        }
        self.committed.push(txn);
        in_time && !clashes && !again
    }

    /// Starts and commits of all, most often each where it may stand.
    fn draw(mut self, rng: &mut ChaCha8Rng, live: &[u32]) -> Vec<Event> {
        let both = |&txn: &u32| [Event::Start(txn), Event::Commit(txn)];
        let mut left: Vec<Event> = live.iter().flat_map(both).collect();
        let mut events = Vec::new();
        while !left.is_empty() {
            let fits = |at: &usize| self.clone().goes_on(left[*at]);
            let fitting: Vec<usize> = (0..left.len()).filter(fits).collect();
            let any = rng.random_range(0..left.len());
            let at = *fitting.choose(rng).unwrap_or(&any);
            let next = left.remove(if rng.random_bool(0.03) { any } else { at });
            self.goes_on(next);
            events.push(next);
        }
        events
    }
}

/// Whether the events are an order of all that took effect, by definition.
fn is_legal(twin: &Twin<'_>, live: &[u32], events: &[Event], level: (Level, Binds, bool)) -> bool {
    let mut run = Run::new(twin, level);
    let known = |(Event::Start(txn) | Event::Commit(txn)): &Event| live.contains(txn);
    events.iter().all(known)
        && events.iter().all(|&event| run.goes_on(event))
        && run.committed.len() == live.len()
}

fn live(table: &Table) -> Vec<u32> {
    let writes = Writes::of(table, UNBOUNDED).expect("nothing bounds it");
    (0..table.len() as u32)
        .filter(|&txn| writes.is_live(txn))
        .collect()
}

/// An order that is given proves its level, and the strongest level is never told without one.
pub(super) fn compare_certificate(txns: &[Txn], table: &Table, analysis: &Analysis, round: u64) {
    let holds = |level| analysis.standing(level) == Standing::Holds;
    let Some((level, events)) = &analysis.certificate else {
        let strict = holds(Level::StrictSerializable);
        assert!(!strict, "round {round}: no proof\n{}", show(txns));
        return;
    };
    let twin = Twin {
        txns,
        data: table.data(),
    };
    let proven = PROVEN.into_iter().find(|(it, ..)| it == level);
    let proven = proven.expect("an order proves this level");
    assert!(
        holds(*level) && is_legal(&twin, &live(table), events, proven),
        "round {round}: {events:?} is no proof of {level}\n{}",
        show(txns)
    );
}

/// Takes an event out, doubles it, puts another in its place, or has two change places.
fn spoil(rng: &mut ChaCha8Rng, events: &mut Vec<Event>, txns: usize) {
    if events.is_empty() {
        return;
    }
    let at = rng.random_range(0..events.len());
    let other = rng.random_range(0..events.len());
    let txn = rng.random_range(0..txns as u32);
    match rng.random_range(0..5) {
        0 => drop(events.remove(at)),
        1 => events.insert(other, events[at]),
        2 => events[at] = Event::Commit(txn),
        3 => events[at] = Event::Start(txn),
        _ => events.swap(at, other),
    }
}

#[test]
fn an_order_replays_exactly_when_it_is_one_by_definition() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let (mut legal, mut illegal) = (0, 0);
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let data = [Data::Lists, Data::Registers][rng.random_range(0..2)];
        let table = table(&txns, data);
        let (live, writes) = (live(&table), Writes::of(&table, UNBOUNDED));
        let writes = writes.expect("nothing bounds it");
        let twin = Twin { txns: &txns, data };
        for level in PROVEN {
            let mut events = Run::new(&twin, level).draw(&mut rng, &live);
            for _ in 0..[0, 0, 1, 2][rng.random_range(0..4)] {
                spoil(&mut rng, &mut events, txns.len());
            }
            let expected = is_legal(&twin, &live, &events, level);
            let told = replays(&table, &writes, &events, level.0, UNBOUNDED);
            assert_eq!(
                told,
                Ok(expected),
                "round {round}: {events:?} for {level:?}\n{}",
                show(&txns)
            );
            *(if expected { &mut legal } else { &mut illegal }) += 1;
        }
    }
    println!("{legal} orders legal, {illegal} not");
    assert!(
        legal > rounds && illegal > rounds,
        "the orders are lopsided"
    );
}

#[test]
fn a_serial_order_of_lists_is_found_exactly_when_there_is_one() {
    let (seed, rounds) = seed_and_rounds(10_000);
    let mut found = 0;
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let table = table(&txns, Data::Lists);
        let writes = Writes::of(&table, UNBOUNDED).expect("nothing bounds it");
        let data = Data::Lists;
        let twin = Twin { txns: &txns, data };
        let expected = twin.level(Level::StrictSerializable);
        let order = Listed::of(&table, &writes, UNBOUNDED).expect("nothing bounds it");
        let readers = walk::readers(&table, UNBOUNDED).expect("nothing bounds it");
        let walked = walk::through(&table, &writes, &order, &readers, UNBOUNDED);
        let proof = match walked.expect("nothing bounds it") {
            Walked::Proven(events) => Some(events),
            Walked::Parts(_) => None,
        };
        let context = || format!("round {round}: {proof:?}\n{}", show(&txns));
        assert_eq!(proof.is_some(), expected, "{}", context());
        if let Some(events) = &proof {
            let strict = PROVEN[PROVEN.len() - 1];
            assert!(
                is_legal(&twin, &live(&table), events, strict),
                "{}",
                context()
            );
            found += 1;
        }
    }
    assert!(
        found > rounds / 10 && found < rounds * 9 / 10,
        "{found} found: lopsided"
    );
}
