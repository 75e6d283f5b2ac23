//! Workloads: for each kind of promise the operations that test it, what they are checked
//! against, and the last reads that bring to light what was lost.
//!
//! Written values are unique in the whole run wherever the promise allows it: with few values a
//! stale read cannot be told from a fresh one, and the bug stays invisible.

mod bank;
mod finale;
mod lock;
mod log;
mod queue;
mod register;
mod single;
mod transaction;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::generator::{Generator, Keys, Mix, Slot};
use crate::playbook::{Load, Spread};

/// The kinds of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Keys that are read, written and compared-and-set: linearizable, each on its own.
    Register,
    /// The same over many keys of which some are used much more than others.
    Kv,
    /// Elements are added and all of them read: what was added stays.
    Set,
    /// Numbers are added and the sum read.
    Counter,
    /// Counters that only grow: no process ever sees one go back.
    Monotonic,
    /// Items go in and come out: none is lost, none comes twice.
    Queue,
    /// Ids are asked for: none is given out twice.
    UniqueIds,
    /// A lock, or a lease, is acquired and released: one holder at a time, tokens that grow.
    Lock,
    /// Transactions that append to lists and read them: strictly serializable.
    Append,
    /// Transactions that write and read registers: strictly serializable.
    RwTransactions,
    /// Money is moved between accounts: the sum stays.
    Bank,
    /// Values are appended to logs and read with their offsets.
    Log,
}

/// What there is to know about a kind.
#[derive(Debug, Clone, Copy)]
struct Facts {
    name: &'static str,
    /// The operations and their usual weights.
    functions: &'static [(&'static str, u32)],
    /// The operation of the last reads.
    last: Option<&'static str>,
    /// The checker's model.
    model: &'static str,
    /// How many keys there usually are.
    keys: usize,
}

/// What a generator is made from.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// What the playbook asks for.
    pub load: &'a Load,
    /// Which workload of the run this is.
    pub number: usize,
    /// For which process.
    pub slot: Slot,
    /// The run's seed.
    pub seed: u64,
    /// It does nothing but read.
    pub only_reads: bool,
}

impl Kind {
    const fn facts(self) -> Facts {
        let (name, functions, last, model, keys): (_, &'static [_], _, _, _) = match self {
            Kind::Register => (
                "register",
                &[("read", 5), ("write", 4), ("cas", 1)],
                Some("read"),
                "register",
                20,
            ),
            Kind::Kv => (
                "kv",
                &[("read", 5), ("write", 5)],
                Some("read"),
                "register",
                1000,
            ),
            Kind::Set => (
                "set",
                &[("add", 9), ("read", 1)],
                Some("read"),
                "set-full",
                1,
            ),
            Kind::Counter => (
                "counter",
                &[("add", 5), ("read", 5)],
                Some("read"),
                "counter-bounds",
                1,
            ),
            Kind::Monotonic => (
                "monotonic",
                &[("inc", 5), ("read", 5)],
                None,
                "monotonic",
                5,
            ),
            Kind::Queue => (
                "queue",
                &[("enqueue", 5), ("dequeue", 5)],
                Some("dequeue"),
                "total-queue",
                1,
            ),
            Kind::UniqueIds => ("unique-ids", &[("generate", 1)], None, "unique-ids", 1),
            Kind::Lock => (
                "lock",
                &[("acquire", 4), ("release", 4), ("renew", 1)],
                None,
                "fenced-lock",
                3,
            ),
            Kind::Append => ("append", &[("txn", 1)], None, "list-append", 10),
            Kind::RwTransactions => ("rw-transactions", &[("txn", 1)], None, "rw-register", 10),
            Kind::Bank => (
                "bank",
                &[("transfer", 5), ("read", 5)],
                Some("read"),
                "bank",
                8,
            ),
            Kind::Log => ("log", &[("send", 8), ("poll", 2)], Some("poll"), "log", 4),
        };
        Facts {
            name,
            functions,
            last,
            model,
            keys,
        }
    }

    /// Its name in a playbook.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its operations, each with its usual weight.
    pub fn functions(self) -> &'static [(&'static str, u32)] {
        self.facts().functions
    }

    /// The operation that changes nothing, if it has one.
    pub fn reading(self) -> Option<&'static str> {
        let functions = self.facts().functions.iter().map(|(f, _)| *f);
        functions.into_iter().find(|f| ["read", "poll"].contains(f))
    }

    /// The operations that a system must know for it: those that come, and those of the last reads.
    pub fn needs(self, load: &Load) -> impl Iterator<Item = &'static str> {
        let facts = self.facts();
        let needed = facts
            .functions
            .iter()
            .filter(move |(f, usual)| facts.last == Some(*f) || weight(load, f, *usual) > 0);
        needed.map(|(f, _)| *f)
    }

    /// How many keys there are when the playbook does not say.
    pub fn keys(self) -> usize {
        self.facts().keys
    }

    /// The checker's model for its promise.
    pub fn model(self) -> &'static str {
        self.facts().model
    }

    /// What a process does while the run lasts.
    pub fn generator(self, making: Making<'_>) -> Box<dyn Generator> {
        match self {
            Kind::Register | Kind::Kv => Box::new(register::Registers::new(making)),
            Kind::Set | Kind::Counter | Kind::Monotonic | Kind::UniqueIds => {
                Box::new(single::Single::new(making))
            }
            Kind::Queue => Box::new(queue::Queue::new(making)),
            Kind::Lock => Box::new(lock::Locks::new(making)),
            Kind::Append => Box::new(transaction::Transactions::new(making, "append")),
            Kind::RwTransactions => Box::new(transaction::Transactions::new(making, "w")),
            Kind::Bank => Box::new(bank::Bank::new(making)),
            Kind::Log => Box::new(log::Log::new(making)),
        }
    }

    /// What a process does at the end, when all is healed: it reads back.
    pub fn finale(self, making: Making<'_>) -> Box<dyn Generator> {
        match self {
            Kind::Queue => Box::new(queue::Drain::new(making)),
            Kind::Bank => Box::new(finale::Finale::of([bank::read(&making.keys())])),
            _ => match self.facts().last {
                Some(f) => Box::new(finale::Finale::every_key(f, making)),
                None => Box::new(finale::Finale::of([])),
            },
        }
    }
}

fn weight(load: &Load, f: &str, usual: u32) -> u32 {
    if load.mix.is_empty() {
        usual
    } else {
        load.mix.get(f).copied().unwrap_or(0)
    }
}

impl Making<'_> {
    fn random(&self) -> rand_chacha::ChaCha8Rng {
        let number = (self.number as u64) << 32 | self.slot.number as u64;
        crate::generator::random(self.seed, self.load.kind.name(), number)
    }

    fn mix(&self) -> Mix {
        let all = self.load.kind.functions();
        if self.only_reads {
            return Mix::new(self.load.kind.reading().map(|f| (f, 1)));
        }
        Mix::new(
            all.iter()
                .map(|(f, usual)| (*f, weight(self.load, f, *usual))),
        )
    }

    /// The beginning of the names of this workload's keys: two of one run never share a key.
    fn prefix(&self) -> String {
        match self.number {
            0 => "k".to_owned(),
            number => format!("w{number}-k"),
        }
    }

    fn key_count(&self) -> usize {
        self.load.keys.unwrap_or(self.load.kind.facts().keys)
    }

    fn keys(&self) -> Keys {
        match (self.load.spread, self.load.kind) {
            (Spread::Uniform, Kind::Kv) | (Spread::Zipf, _) => {
                Keys::zipf(&self.prefix(), self.key_count())
            }
            (Spread::Uniform, _) => Keys::uniform(&self.prefix(), self.key_count()),
            (Spread::Hot, _) => Keys::hot(&self.prefix(), self.key_count()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Draft, Ended};

    const KINDS: [Kind; 12] = [
        Kind::Register,
        Kind::Kv,
        Kind::Set,
        Kind::Counter,
        Kind::Monotonic,
        Kind::Queue,
        Kind::UniqueIds,
        Kind::Lock,
        Kind::Append,
        Kind::RwTransactions,
        Kind::Bank,
        Kind::Log,
    ];

    fn load(kind: Kind) -> Load {
        serde_json::from_value(serde_json::json!({"kind": kind})).unwrap()
    }

    fn drafts(load: &Load, number: usize, seed: u64) -> Vec<Draft> {
        let slot = Slot { number, of: 5 };
        let mut generator = load.kind.generator(Making {
            load,
            number: 0,
            slot,
            seed,
            only_reads: false,
        });
        let draft = |_| {
            let draft = generator.next().unwrap();
            generator.ended(&draft, Ended::Fail);
            draft
        };
        (0..200).map(draft).collect()
    }

    #[test]
    fn one_seed_fixes_what_a_process_does_and_another_changes_it() {
        for kind in KINDS {
            let load = load(kind);
            assert_eq!(drafts(&load, 1, 7), drafts(&load, 1, 7), "{kind:?}");
            if !matches!(kind, Kind::UniqueIds) {
                assert_ne!(drafts(&load, 1, 7), drafts(&load, 1, 8), "{kind:?}");
            }
        }
    }

    #[test]
    fn every_draft_is_an_operation_of_its_kind_and_every_model_exists() {
        for kind in KINDS {
            let load = load(kind);
            assert!(
                kind.model().parse::<ordeal_checker::Model>().is_ok(),
                "{kind:?}"
            );
            let known: Vec<_> = kind.functions().iter().map(|(f, _)| *f).collect();
            assert!(
                drafts(&load, 0, 1)
                    .iter()
                    .all(|draft| known.contains(&draft.f.as_ref()))
            );
        }
    }

    #[test]
    fn the_name_of_a_kind_is_the_one_a_playbook_uses() {
        for kind in KINDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn written_values_are_unique_over_all_processes() {
        for kind in [Kind::Register, Kind::Set, Kind::Queue, Kind::Log] {
            let load = load(kind);
            let mut seen = std::collections::BTreeSet::new();
            for number in 0..5 {
                for draft in drafts(&load, number, 3) {
                    if let Some(value) = draft.value.as_u64() {
                        assert!(seen.insert(value), "{kind:?} {value}");
                    }
                }
            }
        }
    }
}
