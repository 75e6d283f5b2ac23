//! The state machine against a dumb twin, and the promises that depend on replicated time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::session::TTL_MS;
use super::*;

/// A state driven by hand: the next index, and a time stamp for each command.
#[derive(Default)]
struct Driver {
    state: State,
}

impl Driver {
    fn at(&mut self, now_ms: u64, session: Option<Ticket>, operation: Operation) -> Answer {
        let mut bytes = Command { session, operation }.encode();
        assert!(stamp(&mut bytes, now_ms));
        self.state
            .apply(self.state.applied() + 1, 1, &bytes)
            .unwrap()
    }

    fn run(&mut self, operation: Operation) -> Outcome {
        self.at(0, None, operation).outcome
    }
}

fn json(text: &str) -> Value {
    Value::parse_json(text.as_bytes()).unwrap()
}

fn put(key: &'static str, value: &str) -> Operation {
    Operation::Put {
        key: key.into(),
        value: json(value),
    }
}

fn step(key: &'static str, action: Action) -> MicroOp {
    MicroOp {
        key: key.into(),
        action,
    }
}

fn acquire(owner: &str, ttl_ms: u64) -> Operation {
    Operation::Acquire {
        name: "l".into(),
        owner: owner.into(),
        ttl_ms,
    }
}

fn round_trip(state: &State) -> State {
    let mut bytes = Vec::new();
    state.write_to(&mut bytes).unwrap();
    State::read_from(&mut bytes.as_slice()).unwrap()
}

#[test]
fn a_cas_changes_only_what_is_as_expected() {
    let mut driver = Driver::default();
    let cas = |expect, value: Option<&str>| Operation::Cas {
        key: "k".into(),
        expect,
        value: value.map(json),
    };
    assert_eq!(
        driver.run(cas(Expect::Absent, Some("1"))),
        Outcome::Written { revision: 1 }
    );
    assert!(matches!(
        driver.run(cas(Expect::Absent, Some("2"))),
        Outcome::Refused(Refusal::Mismatch {
            actual: Some(_),
            revision: 1,
            ..
        })
    ));
    assert_eq!(
        driver.run(cas(Expect::Value(json("1")), None)),
        Outcome::Written { revision: 2 }
    );
    assert_eq!(driver.state.get(b"k"), None);
    assert!(matches!(
        driver.run(cas(Expect::Revision(1), None)),
        Outcome::Refused(_)
    ));
    assert_eq!(
        driver.run(cas(Expect::Revision(0), Some("3"))),
        Outcome::Written { revision: 3 }
    );
}

#[test]
fn a_transaction_is_all_or_nothing_and_sees_its_own_writes() {
    let mut driver = Driver::default();
    driver.run(put("a", "1"));
    let outcome = driver.run(Operation::Txn(vec![
        step("a", Action::Add(4)),
        step("l", Action::Append(json("7"))),
        step("l", Action::Append(json("8"))),
        step("a", Action::Read),
        step("l", Action::Read),
    ]));
    let seen = ["5", "[7]", "[7,8]", "5", "[7,8]"].map(|text| Some(json(text)));
    assert_eq!(outcome, Outcome::Committed(seen.to_vec()));

    let before = driver.state.clone();
    let outcome = driver.run(Operation::Txn(vec![
        step("a", Action::Write(None)),
        step("l", Action::Compare(Some(json("[]")))),
    ]));
    assert!(matches!(
        outcome,
        Outcome::Refused(Refusal::Mismatch { .. })
    ));
    assert_eq!(driver.state.records, before.records);
    let outcome = driver.run(Operation::Txn(vec![step("l", Action::Add(1))]));
    assert!(matches!(
        outcome,
        Outcome::Refused(Refusal::WrongKind {
            wanted: Kind::Integer,
            ..
        })
    ));
}

#[test]
fn a_retry_in_a_session_takes_effect_once_even_across_a_snapshot() {
    let mut driver = Driver::default();
    let Outcome::Session { id } = driver.run(Operation::OpenSession { id: None }) else {
        panic!()
    };
    let ticket = Some(Ticket {
        session: id,
        sequence: 1,
    });
    let add = || Operation::Txn(vec![step("n", Action::Add(1))]);
    let first = driver.at(5, ticket, add());
    driver.state = round_trip(&driver.state);
    assert_eq!(
        driver.at(6, ticket, add()),
        first,
        "the retry is answered with the first index"
    );
    assert_eq!(driver.state.get(b"n").unwrap().value, json("1"));
    let later = driver.at(
        7,
        Some(Ticket {
            session: id,
            sequence: 2,
        }),
        add(),
    );
    assert_eq!(later.outcome, Outcome::Committed(vec![Some(json("2"))]));
}

#[test]
fn a_session_that_ended_refuses_instead_of_applying_again() {
    let mut driver = Driver::default();
    driver.run(Operation::OpenSession { id: Some(9) });
    let ticket = Some(Ticket {
        session: 9,
        sequence: 1,
    });
    driver.at(10, ticket, put("k", "1"));
    let late = driver.at(10 + TTL_MS, ticket, put("k", "2"));
    assert_eq!(late.outcome, Outcome::Refused(Refusal::SessionExpired));
    assert_eq!(driver.state.get(b"k").unwrap().value, json("1"));
}

#[test]
fn a_sequence_older_than_the_answers_kept_is_refused() {
    let mut driver = Driver::default();
    driver.run(Operation::OpenSession { id: Some(9) });
    for sequence in 1..=40 {
        driver.at(
            1,
            Some(Ticket {
                session: 9,
                sequence,
            }),
            put("k", "1"),
        );
    }
    let old = driver.at(
        1,
        Some(Ticket {
            session: 9,
            sequence: 3,
        }),
        put("k", "2"),
    );
    assert_eq!(old.outcome, Outcome::Refused(Refusal::SequenceForgotten));
}

#[test]
fn a_lease_has_one_holder_until_its_time_is_over_and_tokens_only_grow() {
    let mut driver = Driver::default();
    let Outcome::Held { token: first, .. } = driver.at(0, None, acquire("a", 100)).outcome else {
        panic!("nobody held it")
    };
    assert!(matches!(
        driver.at(99, None, acquire("b", 100)).outcome,
        Outcome::Refused(Refusal::LeaseHeld {
            remaining_ms: 1,
            ..
        })
    ));
    let Outcome::Held { token: second, .. } = driver.at(100, None, acquire("b", 100)).outcome
    else {
        panic!("it was over")
    };
    assert!(second > first);
    let renew = Operation::Renew {
        name: "l".into(),
        owner: "a".into(),
        token: first,
    };
    assert_eq!(
        driver.at(101, None, renew).outcome,
        Outcome::Refused(Refusal::LeaseLost)
    );
    let release = Operation::Release {
        name: "l".into(),
        owner: "b".into(),
        token: second,
    };
    assert_eq!(
        driver.at(102, None, release.clone()).outcome,
        Outcome::Released
    );
    assert_eq!(
        driver.at(103, None, release).outcome,
        Outcome::Refused(Refusal::LeaseLost)
    );
}

#[test]
fn a_member_that_shows_another_incarnation_is_refused_until_readmitted_or_removed() {
    let register = |incarnation, readmit| Operation::Register {
        node: 3,
        incarnation,
        readmit,
    };
    let mut driver = Driver::default();
    assert_eq!(driver.run(register(7, false)), Outcome::Registered);
    driver.state = round_trip(&driver.state);
    assert_eq!(
        driver.run(register(8, false)),
        Outcome::Refused(Refusal::Wiped)
    );
    assert_eq!(driver.run(register(8, true)), Outcome::Registered);
    assert_eq!(
        driver.run(register(7, false)),
        Outcome::Refused(Refusal::Wiped)
    );
    driver
        .state
        .configure(driver.state.applied() + 1, |node| node != 3);
    assert_eq!(driver.run(register(9, false)), Outcome::Registered);
}

#[test]
fn replicated_time_never_goes_back() {
    let mut driver = Driver::default();
    driver.at(100, None, acquire("a", 50));
    assert!(matches!(
        driver.at(10, None, acquire("b", 50)).outcome,
        Outcome::Refused(_)
    ));
    assert_eq!(driver.state.clock_ms(), 100);
}

#[test]
fn a_clone_stays_as_it_was() {
    let mut driver = Driver::default();
    driver.run(put("a", "1"));
    let frozen = driver.state.clone();
    driver.run(put("a", "2"));
    assert_eq!(frozen.get(b"a").unwrap().value, json("1"));
}

#[test]
fn a_newer_snapshot_format_is_refused_by_name() {
    let mut bytes = Vec::new();
    State::default().write_to(&mut bytes).unwrap();
    bytes[0] = 9;
    assert!(matches!(
        State::read_from(&mut bytes.as_slice()),
        Err(SnapshotError::Newer(9))
    ));
}

#[derive(Clone, Debug)]
enum Plain {
    Put(u8, u8),
    Delete(u8),
    Cas(u8, Option<u8>, Option<u8>),
    Add(u8, u8),
    Range(u8, usize),
}

fn plain() -> impl Strategy<Value = Plain> {
    let key = 0..12u8;
    let small = 0..4u8;
    prop_oneof![
        (key.clone(), small.clone()).prop_map(|(key, value)| Plain::Put(key, value)),
        key.clone().prop_map(Plain::Delete),
        (
            key.clone(),
            proptest::option::of(small.clone()),
            proptest::option::of(small.clone())
        )
            .prop_map(|(key, old, new)| Plain::Cas(key, old, new)),
        (key.clone(), small).prop_map(|(key, amount)| Plain::Add(key, amount)),
        (key, 0..5usize).prop_map(|(after, limit)| Plain::Range(after, limit)),
    ]
}

fn name(key: u8) -> Bytes {
    format!(
        "{}/{key}",
        if key.is_multiple_of(2) { "even" } else { "odd" }
    )
    .into()
}

fn number(value: u8) -> Value {
    json(&value.to_string())
}

proptest! {
    #[test]
    fn behaves_as_a_plain_map_and_survives_a_snapshot(
        operations in proptest::collection::vec(plain(), 1..80),
        cut in 0..80usize,
    ) {
        let mut driver = Driver::default();
        let mut twin: BTreeMap<Bytes, i64> = BTreeMap::new();
        for (at, operation) in operations.into_iter().enumerate() {
            if at == cut {
                let restored = round_trip(&driver.state);
                prop_assert_eq!(restored.size_bytes(), driver.state.size_bytes());
                driver.state = restored;
            }
            match operation {
                Plain::Put(key, value) => {
                    driver.run(Operation::Put { key: name(key), value: number(value) });
                    twin.insert(name(key), i64::from(value));
                }
                Plain::Delete(key) => {
                    let outcome = driver.run(Operation::Delete { key: name(key) });
                    let existed = twin.remove(&name(key)).is_some();
                    prop_assert_eq!(outcome, Outcome::Deleted { existed });
                }
                Plain::Cas(key, old, new) => {
                    let expect = old.map_or(Expect::Absent, |old| Expect::Value(number(old)));
                    let outcome = driver.run(Operation::Cas {
                        key: name(key), expect, value: new.map(number),
                    });
                    let holds = twin.get(&name(key)).copied() == old.map(i64::from);
                    prop_assert_eq!(matches!(outcome, Outcome::Written { .. }), holds);
                    if holds {
                        match new {
                            Some(new) => twin.insert(name(key), i64::from(new)),
                            None => twin.remove(&name(key)),
                        };
                    }
                }
                Plain::Add(key, amount) => {
                    let action = Action::Add(i64::from(amount));
                    driver.run(Operation::Txn(vec![MicroOp { key: name(key), action }]));
                    *twin.entry(name(key)).or_default() += i64::from(amount);
                }
                Plain::Range(after, limit) => {
                    let after = name(after);
                    let page = driver.state.range(b"even/", Some(&after), limit);
                    let mut all = twin.keys()
                        .filter(|key| key.starts_with(b"even/") && **key > after);
                    let wanted: Vec<_> = all.by_ref().take(limit).cloned().collect();
                    let found: Vec<_> = page.items.into_iter().map(|(key, _)| key).collect();
                    prop_assert_eq!(found, wanted);
                    prop_assert_eq!(page.more, all.next().is_some());
                }
            }
            for (key, value) in &twin {
                prop_assert_eq!(driver.state.get(key).unwrap().value.as_integer(), Some(*value));
            }
            prop_assert_eq!(driver.state.keys(), twin.len());
        }
    }

    #[test]
    fn bytes_that_are_no_command_are_refused_not_fatal(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut state = State::default();
        let _ = state.apply(1, 1, &bytes);
        prop_assert_eq!(state.applied(), 1);
        let _ = State::read_from(&mut bytes.as_slice());
    }
}
