//! Linearizability while a run is on: fed op by op, it tells of a violation with the answer that
//! completes it.
//!
//! Each key is followed by itself. Kept are the configurations that its object may be in at a cut (a
//! state, and which of the then open operations took effect), the operations that returned since, and
//! those that may still take effect: open ones, and ones of unknown outcome. The cut follows the
//! oldest open invocation, so what is kept is bounded by what goes on while one operation is open,
//! and by 4,096 operations and 1,024 configurations for a key. A key that would need more, or whose
//! answers take too long to judge, is not followed any further, and [`Online::unfollowed`] says so.
//!
//! What is reported is a violation, always: the history up to that op is not linearizable, whatever
//! comes later. What is not reported proves nothing: the verdict on a run is that of
//! [`check`](crate::check) over the whole of it. While fewer than 256 operations have returned since
//! a key's cut each answer is judged at once; beyond, now and then, and by [`Online::catch_up`].

mod frontier;
mod track;

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Serialize;
use serde_json::Value;

use crate::history::{Op, Outcome, Process, Type};
use crate::model::register::Register;
use crate::model::{Observed, Specification, aggregate, kv, lock, multi_register, sequence};
use crate::options::{Model, Options};
use crate::verdict::{KeyReport, Verdict};
use track::{Judged, Track};

/// A history that is not linearizable up to here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// The key; null when the history has but one object.
    pub key: Value,
    /// Index of the op with which it became so.
    pub index: u64,
    /// In a sentence.
    pub reason: String,
}

/// Follows a run.
///
/// ```
/// use ordeal_checker::history::{Op, Type};
/// use ordeal_checker::{Model, Online, Options};
///
/// let mut online = Online::new(&Options::new(Model::Register)).expect("registers are followed");
/// assert_eq!(online.push(&Op::new(0, Type::Invoke, "write", 1)), None);
/// assert_eq!(online.push(&Op::new(0, Type::Ok, "write", 1)), None);
/// assert_eq!(online.push(&Op::new(1, Type::Invoke, "read", ())), None);
/// assert!(online.push(&Op::new(1, Type::Ok, "read", 2)).is_some());
/// ```
pub struct Online {
    keys: Box<dyn Follow + Send>,
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Online({} operations held)", self.held())
    }
}

impl Online {
    /// Follows what the options name: linearizability, or of a check of one pass what is certain
    /// before the end. None for the other models.
    pub fn new(options: &Options) -> Option<Self> {
        let initial = options.initial.clone();
        let queue = |discipline| Some(Self::with(sequence::Queue(discipline), options));
        match options.model {
            Model::Register => {
                let failed_cas_differs = options.failed_cas_differs;
                let model = Register {
                    initial,
                    failed_cas_differs,
                };
                Some(Self::with(model, options))
            }
            Model::Kv => Some(Self::with(kv::Kv, options)),
            Model::MultiRegister => {
                let whole = Options {
                    by_key: false,
                    ..options.clone()
                };
                Some(Self::with(
                    multi_register::MultiRegister { initial },
                    &whole,
                ))
            }
            Model::Set => Some(Self::with(aggregate::Set::default(), options)),
            Model::Counter => {
                let initial = initial.as_i64().unwrap_or(0);
                Some(Self::with(aggregate::Counter { initial }, options))
            }
            Model::Queue => queue(sequence::Discipline::Queue),
            Model::Stack => queue(sequence::Discipline::Stack),
            Model::PriorityQueue => queue(sequence::Discipline::Priority),
            Model::Mutex => Some(Self::with(lock::Lock { owned: false }, options)),
            Model::Lock => Some(Self::with(lock::Lock { owned: true }, options)),
            Model::Lease => Some(Self::with(lock::Lease, options)),
            Model::AppendLog => Some(Self::with(sequence::Log::default(), options)),
            _ => crate::follow::follow(options).map(|keys| Online { keys }),
        }
    }

    /// Follows objects of your own. The model that the options name is not used.
    pub fn with<M>(model: M, options: &Options) -> Self
    where
        M: Specification + 'static,
        M::State: Send,
    {
        let keys = Keys {
            model: Arc::new(model),
            by_key: options.by_key,
            tracks: HashMap::default(),
            open: HashMap::default(),
            position: 0,
            malformed: None,
        };
        Online {
            keys: Box::new(keys),
        }
    }

    /// Takes the next op. Some: with it, its key's history breaks its model. A key is told of once;
    /// after that it is not followed any further.
    pub fn push(&mut self, op: &Op) -> Option<Violation> {
        self.keys.push(op)
    }

    /// Judges what was put off.
    pub fn catch_up(&mut self) -> Option<Violation> {
        self.keys.catch_up()
    }

    /// Keys that could not be followed until now, or whose last answers could not be judged yet, and
    /// why: verdict unknown.
    pub fn unfollowed(&self) -> Vec<KeyReport> {
        self.keys.unfollowed()
    }

    /// How many operations are kept.
    pub fn held(&self) -> usize {
        self.keys.held()
    }
}

/// What is asked of keys whatever their model.
pub(crate) trait Follow {
    fn push(&mut self, op: &Op) -> Option<Violation>;
    fn catch_up(&mut self) -> Option<Violation>;
    fn unfollowed(&self) -> Vec<KeyReport>;
    fn held(&self) -> usize;
}

/// How a key stands.
enum Key<M: Specification> {
    Followed(Box<Track<M>>),
    Violated,
    Lost(String),
}

/// A call that has not ended.
struct Called {
    key: Value,
    f: String,
    argument: Value,
    position: u64,
}

struct Keys<M: Specification> {
    model: Arc<M>,
    by_key: bool,
    tracks: HashMap<Value, Key<M>, FixedState>,
    open: HashMap<u32, Called, FixedState>,
    /// Ops so far.
    position: u64,
    malformed: Option<String>,
}

impl<M: Specification> Follow for Keys<M> {
    fn push(&mut self, op: &Op) -> Option<Violation> {
        let Process::Client(process) = op.process else {
            return None;
        };
        if self.malformed.is_some() {
            return None;
        }
        self.position += 1;
        if op.type_ == Type::Invoke {
            let key = if self.by_key {
                op.key.clone()
            } else {
                Value::Null
            };
            let called = Called {
                key,
                f: op.f.clone(),
                argument: op.value.clone(),
                position: self.position,
            };
            self.invoke(process, &called);
            if self.open.insert(process, called).is_some() {
                self.give_up(op, "invoked while an operation of its process was open");
            }
            return None;
        }
        let Some(called) = self.open.remove(&process) else {
            self.give_up(op, "completes what its process never invoked");
            return None;
        };
        let judged = self.complete(process, &called, op)?;
        self.note(&called.key, judged, op.index)
    }

    fn catch_up(&mut self) -> Option<Violation> {
        let index = self.position;
        let keys: Vec<Value> = self.tracks.keys().cloned().collect();
        keys.into_iter().find_map(|key| {
            let Some(Key::Followed(track)) = self.tracks.get_mut(&key) else {
                return None;
            };
            let judged = track.catch_up();
            self.note(&key, judged, index)
        })
    }

    fn unfollowed(&self) -> Vec<KeyReport> {
        let report = |key: &Value, why: &str| KeyReport {
            key: key.clone(),
            verdict: Verdict::Unknown,
            reason: Some(why.to_owned()),
        };
        let lost = self.tracks.iter().filter_map(|(key, it)| match it {
            Key::Lost(why) => Some(report(key, why)),
            Key::Followed(track) => track.doubt().map(|why| report(key, why)),
            Key::Violated => None,
        });
        let malformed = self.malformed.iter().map(|why| report(&Value::Null, why));
        malformed.chain(lost).collect()
    }

    fn held(&self) -> usize {
        let held = |it: &Key<M>| match it {
            Key::Followed(track) => track.held(),
            _ => 0,
        };
        self.tracks.values().map(held).sum()
    }
}

impl<M: Specification> Keys<M> {
    fn invoke(&mut self, process: u32, called: &Called) {
        let may = self.decode(process, called, None);
        let key = self
            .tracks
            .entry(called.key.clone())
            .or_insert_with(|| Key::Followed(Box::new(Track::new(&self.model))));
        let Key::Followed(track) = key else { return };
        let judged = match may {
            Ok(may) => track.invoke(called.position, may),
            Err(expected) => Judged::Lost(misfit(called, &expected)),
        };
        if let Judged::Lost(why) = judged {
            *key = Key::Lost(why);
        }
    }

    fn complete(&mut self, process: u32, called: &Called, op: &Op) -> Option<Judged> {
        let did = if op.type_ == Type::Info {
            Ok(None)
        } else {
            self.decode(process, called, Some(op))
        };
        let Some(Key::Followed(track)) = self.tracks.get_mut(&called.key) else {
            return None;
        };
        Some(match did {
            _ if op.type_ == Type::Info => track.crash(called.position),
            Ok(did) => track.complete(called.position, self.position, did),
            Err(expected) => Judged::Lost(misfit(called, &expected)),
        })
    }

    fn decode(
        &self,
        process: u32,
        called: &Called,
        end: Option<&Op>,
    ) -> Result<Option<M::Op>, String> {
        let outcome = match end.map(|op| op.type_) {
            Some(Type::Ok) => Outcome::Ok,
            Some(Type::Fail) => Outcome::Fail,
            _ => Outcome::Info,
        };
        self.model.decode(&Observed {
            f: &called.f,
            process,
            outcome,
            argument: called.argument.clone(),
            answer: end.map_or(Value::Null, |op| op.value.clone()),
            error: end.and_then(|op| op.error.clone()),
        })
    }

    fn note(&mut self, key: &Value, judged: Judged, index: u64) -> Option<Violation> {
        match judged {
            Judged::Fits => None,
            Judged::Lost(why) => {
                self.tracks.insert(key.clone(), Key::Lost(why));
                None
            }
            Judged::Violates => {
                self.tracks.insert(key.clone(), Key::Violated);
                let of_key = if key.is_null() {
                    String::new()
                } else {
                    format!("key {key}: ")
                };
                Some(Violation {
                    key: key.clone(),
                    index,
                    reason: format!(
                        "{of_key}with op {index}, no order of the operations until then is legal"
                    ),
                })
            }
        }
    }

    fn give_up(&mut self, op: &Op, what: &str) {
        self.malformed = Some(format!(
            "the history is malformed: op {} of process {} {what}",
            op.index, op.process
        ));
        self.tracks.clear();
    }
}

fn misfit(called: &Called, expected: &str) -> String {
    format!("it was asked for {:?}: expected {expected}", called.f)
}
