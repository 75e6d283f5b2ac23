//! What to check a history against, and how much may be spent on it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::bank::Bank;
use crate::txn::Expect;

/// What a history is checked against, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Model {
    /// Linearizable register per key: `read`, `write v`, `cas [old, new]`.
    Register,
    /// Transactions on lists: `append` and `r`.
    ListAppend,
    /// Transactions on registers: `w` and `r`.
    RwRegister,
    /// Linearizable string per key: `get`, `put`, `append`.
    Kv,
    /// Linearizable registers changed together: `txn [[read|write, key, value] …]`.
    MultiRegister,
    /// Linearizable set per key: `add v`, `remove v`, `contains v`, `read`.
    Set,
    /// Linearizable counter per key: `add n`, `inc`, `dec`, `add-and-get n`, `read`.
    Counter,
    /// Linearizable first-in first-out queue per key: `enqueue v`, `dequeue`.
    Queue,
    /// Linearizable stack per key: `push v`, `pop`.
    Stack,
    /// Linearizable priority queue per key, the least first: `insert v`, `extract`.
    PriorityQueue,
    /// Linearizable lock per key that anybody may release: `acquire`, `release`.
    Mutex,
    /// Linearizable lock per key that its owner (the value, or the process) must release.
    Lock,
    /// Lease per key with fencing tokens: `acquire` answers a token, `renew t`, `release t`.
    Lease,
    /// Linearizable append-only log per key: `append v`, `read`.
    AppendLog,
    /// Elements once added stay: lost, stale, never read, duplicated.
    SetFull,
    /// What was enqueued comes out, once, in any order.
    TotalQueue,
    /// Every read of a counter within what was added.
    CounterBounds,
    /// No id twice.
    UniqueIds,
    /// The balances of all accounts keep their sum.
    Bank,
    /// Two readers never see two writes in opposite orders.
    LongFork,
    /// No process goes back.
    Monotonic,
    /// One holder of a lock at a time, fencing tokens in order.
    FencedLock,
    /// Per-key logs with offsets.
    Log,
    /// Each kind of operation succeeded at least once.
    Stats,
}

impl Model {
    /// All that there are.
    pub const ALL: &[Model] = &[
        Model::Register,
        Model::Kv,
        Model::MultiRegister,
        Model::Set,
        Model::Counter,
        Model::Queue,
        Model::Stack,
        Model::PriorityQueue,
        Model::Mutex,
        Model::Lock,
        Model::Lease,
        Model::AppendLog,
        Model::ListAppend,
        Model::RwRegister,
        Model::SetFull,
        Model::TotalQueue,
        Model::CounterBounds,
        Model::UniqueIds,
        Model::Bank,
        Model::LongFork,
        Model::Monotonic,
        Model::FencedLock,
        Model::Log,
        Model::Stats,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::ListAppend => "list-append",
            Model::RwRegister => "rw-register",
            Model::Kv => "kv",
            Model::MultiRegister => "multi-register",
            Model::Set => "set",
            Model::Counter => "counter",
            Model::Queue => "queue",
            Model::Stack => "stack",
            Model::PriorityQueue => "priority-queue",
            Model::Mutex => "mutex",
            Model::Lock => "lock",
            Model::Lease => "lease",
            Model::AppendLog => "append-log",
            Model::SetFull => "set-full",
            Model::TotalQueue => "total-queue",
            Model::CounterBounds => "counter-bounds",
            Model::UniqueIds => "unique-ids",
            Model::Bank => "bank",
            Model::LongFork => "long-fork",
            Model::Monotonic => "monotonic",
            Model::FencedLock => "fenced-lock",
            Model::Log => "log",
            Model::Stats => "stats",
        }
    }

    /// Why an object of this model cannot hold this at first, if it cannot.
    pub fn refuses(self, initial: &Value) -> Option<String> {
        match self {
            _ if initial.is_null() => None,
            Model::Register | Model::MultiRegister => None,
            Model::Counter | Model::CounterBounds if initial.is_i64() => None,
            Model::Counter | Model::CounterBounds => {
                let expected = "expected a whole number of at most 64 bits";
                Some(format!("a counter cannot begin with {initial}: {expected}"))
            }
            _ => Some(format!(
                "the model {self} takes no initial value: what it is about begins empty"
            )),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Model::ALL
            .iter()
            .copied()
            .find(|model| model.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Model::ALL.iter().map(|model| model.name()).collect();
            format!(
                "no model is called {name:?}: must be one of {}",
                names.join(", ")
            )
        })
    }
}

/// What a check may spend. Past it the verdict is unknown, and says so.
///
/// The memory is what the engines count that they hold. On Linux it has also ended when the whole process grew
/// by that less a twentieth since the check began, and by 16 MiB at least: what an allocator keeps of that
/// which was freed is counted by nobody, and it is the process that a system kills. So what else grows in the
/// process meanwhile counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Wall-clock time.
    pub time: Duration,
    /// Memory of the engines, in bytes, the history apart.
    pub memory_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            time: Duration::from_secs(60),
            memory_bytes: 2 << 30,
        }
    }
}

/// How to check.
// Each is a switch of its own, on the command line too.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What against.
    pub model: Model,
    /// Whether each key is an object of its own. Models whose ops span keys take no notice.
    pub by_key: bool,
    /// What the object holds before the first op; null: nothing. See [`Model::refuses`].
    pub initial: Value,
    /// Whether every failed `cas` says that the value differed. Otherwise only those do whose
    /// error is `mismatch`.
    pub failed_cas_differs: bool,
    /// What may be spent.
    pub budget: Budget,
    /// Threads, which are started for the check unless it is called where there are just as many; none: those
    /// that are there, as many as there are cores.
    pub threads: Option<usize>,
    /// Whether to shrink and explain a violation.
    pub explain: bool,
    /// Whether the report carries its proof.
    pub certify: bool,
    /// What is expected of transactions.
    pub transactions: Expect,
    /// What is expected of bank accounts.
    pub bank: Bank,
}

impl Options {
    /// The defaults for a model: keys apart, initially null, a minute, 2 GiB, explained.
    pub fn new(model: Model) -> Self {
        Options {
            model,
            by_key: true,
            initial: Value::Null,
            failed_cas_differs: false,
            budget: Budget::default(),
            threads: None,
            explain: true,
            certify: false,
            transactions: Expect::default(),
            bank: Bank::default(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new(Model::Register)
    }
}
