//! The one-pass checks while a run is on: what of them is certain before the run has ended.
//!
//! Whether an element is lost only the end can tell. But an id given out twice, an element or item
//! that nobody had begun to put in, a sum that cannot be, a wrong total, a fork, a process that goes
//! back: whatever comes later, these stay. Each is told with the op that makes it so, once for each
//! key. What is wrong only because a call failed after another had seen it is left to the end. Kept is what a later answer may contradict: of most checks a mark for each value.

use hashbrown::{HashMap, HashSet};
use serde_json::{Value, json};

use crate::bank::Bank;
use crate::history::{Op, Process, Type};
use crate::linear::{Follow, Violation};
use crate::model::aggregate::added;
use crate::options::{Model, Options};
use crate::verdict::{KeyReport, Verdict};
use crate::wording::{self, whole};

/// What is wrong: its name and its details.
pub(crate) type Wrong = (&'static str, Value);

/// One object, told of each call's beginning and end.
pub(crate) trait Rule {
    /// A call begins; the number is the same at its end.
    fn begin(&mut self, call: u64, op: &Op);
    /// It ends; `asked` is its argument.
    fn end(&mut self, call: u64, asked: &Value, op: &Op) -> Option<Wrong>;
    /// How many values are kept.
    fn held(&self) -> usize;
}

/// Follows the checks that can be followed; none for the others.
pub(crate) fn follow(options: &Options) -> Option<Box<dyn Follow + Send>> {
    let model = options.model;
    let (bank, initial) = (options.bank, options.initial.as_i64().unwrap_or(0));
    let rule: Box<dyn Fn() -> Box<dyn Rule + Send> + Send> = match model {
        Model::UniqueIds => Box::new(|| Box::new(Ids::default())),
        Model::SetFull => Box::new(|| Box::new(Elements::default())),
        Model::TotalQueue => Box::new(|| Box::new(Items::default())),
        Model::CounterBounds => Box::new(move || Box::new(Bounds::new(initial))),
        Model::Bank => Box::new(move || Box::new(Accounts(bank))),
        Model::Monotonic => Box::new(|| Box::new(Sessions::default())),
        Model::LongFork => Box::new(|| Box::new(Forks::default())),
        _ => return None,
    };
    Some(Box::new(Keys {
        model,
        by_key: options.by_key && model != Model::LongFork,
        rule,
        rules: HashMap::new(),
        open: HashMap::new(),
        calls: 0,
        malformed: None,
    }))
}

struct Keys {
    model: Model,
    by_key: bool,
    rule: Box<dyn Fn() -> Box<dyn Rule + Send> + Send>,
    /// None: a violation was told of.
    rules: HashMap<Value, Option<Box<dyn Rule + Send>>>,
    /// Of each process its open call: the number, and the op that began it.
    open: HashMap<u32, (u64, Op)>,
    calls: u64,
    malformed: Option<String>,
}

impl Follow for Keys {
    fn push(&mut self, op: &Op) -> Option<Violation> {
        let Process::Client(process) = op.process else {
            return None;
        };
        if self.malformed.is_some() {
            return None;
        }
        if op.type_ == Type::Invoke {
            self.calls += 1;
            let call = self.calls;
            if let Some(rule) = self.rule(&op.key) {
                rule.begin(call, op);
            }
            if self.open.insert(process, (call, op.clone())).is_some() {
                self.malformed = Some(format!(
                    "op {} was invoked while an operation of its process was open",
                    op.index
                ));
            }
            return None;
        }
        let Some((call, begun)) = self.open.remove(&process) else {
            self.malformed = Some(format!(
                "op {} completes what its process never invoked",
                op.index
            ));
            return None;
        };
        let (name, mut details) = self.rule(&begun.key)?.end(call, &begun.value, op)?;
        let key = self.key(&begun.key);
        if !key.is_null() {
            details["key"] = key.clone();
        }
        self.rules.insert(key.clone(), None);
        let reason = wording::tell(self.model.name(), name, &details);
        Some(Violation {
            reason: format!("{reason} (op {})", op.index),
            key,
            index: op.index,
        })
    }

    fn catch_up(&mut self) -> Option<Violation> {
        None
    }

    fn unfollowed(&self) -> Vec<KeyReport> {
        let report = |why: &String| KeyReport {
            key: Value::Null,
            verdict: Verdict::Unknown,
            reason: Some(why.clone()),
        };
        self.malformed.iter().map(report).collect()
    }

    fn held(&self) -> usize {
        self.rules.values().flatten().map(|rule| rule.held()).sum()
    }
}

impl Keys {
    fn key(&self, key: &Value) -> Value {
        if self.by_key {
            key.clone()
        } else {
            Value::Null
        }
    }

    fn rule(&mut self, key: &Value) -> Option<&mut Box<dyn Rule + Send>> {
        let key = self.key(key);
        let rule = &self.rule;
        self.rules
            .entry(key)
            .or_insert_with(|| Some(rule()))
            .as_mut()
    }
}

#[derive(Default)]
struct Ids(HashSet<Value>);

impl Rule for Ids {
    fn begin(&mut self, _: u64, _: &Op) {}

    fn end(&mut self, _: u64, _: &Value, op: &Op) -> Option<Wrong> {
        if op.f != "generate" || op.type_ != Type::Ok {
            return None;
        }
        if op.value.is_null() {
            return Some(("missing", json!({})));
        }
        let twice = !self.0.insert(op.value.clone());
        twice.then(|| ("duplicated", json!({"id": op.value})))
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// Elements that somebody began to add.
#[derive(Default)]
struct Elements(HashSet<Value>);

impl Rule for Elements {
    fn begin(&mut self, _: u64, op: &Op) {
        if op.f == "add" {
            self.0.insert(op.value.clone());
        }
    }

    fn end(&mut self, _: u64, _: &Value, op: &Op) -> Option<Wrong> {
        let list = op.value.as_array()?;
        if op.f != "read" || op.type_ != Type::Ok {
            return None;
        }
        let mut seen = HashSet::with_capacity(list.len());
        list.iter().find_map(|element| {
            let details = || json!({"element": element});
            if self.0.contains(element) {
                (!seen.insert(element)).then(|| ("duplicated", details()))
            } else {
                Some(("unexpected", details()))
            }
        })
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// How often somebody began to put an item in, and how often it came out.
#[derive(Default)]
struct Items(HashMap<Value, [u64; 2]>);

impl Rule for Items {
    fn begin(&mut self, _: u64, op: &Op) {
        if op.f == "enqueue" {
            self.0.entry(op.value.clone()).or_default()[0] += 1;
        }
    }

    fn end(&mut self, _: u64, _: &Value, op: &Op) -> Option<Wrong> {
        let taken = match (op.f.as_str(), op.type_) {
            ("dequeue", Type::Ok) if !op.value.is_null() => std::slice::from_ref(&op.value),
            ("drain", Type::Ok) => op.value.as_array()?,
            _ => return None,
        };
        taken.iter().find_map(|item| {
            let Some([begun, taken]) = self.0.get_mut(item) else {
                return Some(("unexpected", json!({"item": item})));
            };
            *taken += 1;
            (*taken > *begun).then(|| ("duplicated", json!({"item": item, "taken": *taken})))
        })
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// What was added, split by sign: by those that ended well and by those that may have happened.
struct Bounds {
    initial: i64,
    sure: [i128; 2],
    possible: [i128; 2],
    /// What was sure when each open read began.
    reads: HashMap<u64, [i128; 2]>,
}

impl Bounds {
    fn new(initial: i64) -> Self {
        let (sure, possible) = Default::default();
        let reads = HashMap::new();
        Bounds {
            initial,
            sure,
            possible,
            reads,
        }
    }
}

impl Rule for Bounds {
    fn begin(&mut self, call: u64, op: &Op) {
        if let Some(Ok(amount)) = added(&op.f, &op.value) {
            self.possible[usize::from(amount < 0)] += i128::from(amount);
        } else if op.f == "read" {
            self.reads.insert(call, self.sure);
        }
    }

    fn end(&mut self, call: u64, asked: &Value, op: &Op) -> Option<Wrong> {
        if let Some(Ok(amount)) = added(&op.f, asked) {
            let side = usize::from(amount < 0);
            match op.type_ {
                Type::Ok => self.sure[side] += i128::from(amount),
                Type::Fail => self.possible[side] -= i128::from(amount),
                _ => {}
            }
            return None;
        }
        let sure = self.reads.remove(&call)?;
        let value = op.value.as_i64().filter(|_| op.type_ == Type::Ok)?;
        let least = i128::from(self.initial) + sure[0] + self.possible[1];
        let most = i128::from(self.initial) + self.possible[0] + sure[1];
        let wrong = i128::from(value) < least || i128::from(value) > most;
        let details = || json!({"value": value, "least": whole(least), "most": whole(most)});
        wrong.then(|| ("out-of-bounds", details()))
    }

    fn held(&self) -> usize {
        self.reads.len()
    }
}

/// The rules; the total is that of the first read when none is given.
struct Accounts(Bank);

impl Rule for Accounts {
    fn begin(&mut self, _: u64, _: &Op) {}

    fn end(&mut self, _: u64, _: &Value, op: &Op) -> Option<Wrong> {
        if op.f != "read" || op.type_ != Type::Ok {
            return None;
        }
        let Some(balances) = op.value.as_object() else {
            return Some(("unreadable", json!({"value": op.value})));
        };
        let mut sum = 0;
        for (account, balance) in balances {
            let details = || json!({"account": account, "balance": balance});
            let Some(balance) = balance.as_i64() else {
                return Some(("no-balance", details()));
            };
            if balance < 0 && self.0.no_overdraft {
                return Some(("negative-balance", details()));
            }
            sum += i128::from(balance);
        }
        let total = i64::try_from(sum).ok()?;
        let expected = *self.0.total.get_or_insert(total);
        let details = || json!({"total": total, "expected": expected});
        (total != expected).then(|| ("wrong-total", details()))
    }

    fn held(&self) -> usize {
        1
    }
}

/// Of each process the greatest value that it read, and that it wrote.
#[derive(Default)]
struct Sessions(HashMap<Process, [Option<i64>; 2]>);

impl Rule for Sessions {
    fn begin(&mut self, _: u64, _: &Op) {}

    fn end(&mut self, _: u64, asked: &Value, op: &Op) -> Option<Wrong> {
        if op.type_ != Type::Ok {
            return None;
        }
        let told = if op.f == "write" { asked } else { &op.value };
        let value = told.as_i64();
        if value.is_none() && !(op.f == "read" && told.is_null()) {
            return None;
        }
        let [read, written] = self.0.entry(op.process).or_default();
        let (name, before) = match op.f.as_str() {
            "read" if value < *read => ("non-monotonic-read", *read),
            "read" if value < *written => ("own-write-unread", *written),
            "inc" if value <= *read => ("non-monotonic-write", *read),
            "inc" if value <= *written => ("non-monotonic-write", *written),
            "read" => {
                *read = value.max(*read);
                return None;
            }
            "inc" | "write" => {
                *written = value.max(*written);
                return None;
            }
            _ => return None,
        };
        let Process::Client(process) = op.process else {
            return None;
        };
        let details = json!({"process": process, "before": before, "after": value});
        Some((name, details))
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}

/// Pairs of keys of which a read saw only the first.
#[derive(Default)]
struct Forks(HashSet<(String, String)>);

impl Rule for Forks {
    fn begin(&mut self, _: u64, _: &Op) {}

    fn end(&mut self, _: u64, _: &Value, op: &Op) -> Option<Wrong> {
        let steps = op.value.as_array()?;
        let reads = op.f == "txn" && op.type_ == Type::Ok && steps.iter().all(|it| it[0] == "r");
        if !reads {
            return None;
        }
        let (unseen, seen): (Vec<&Value>, Vec<&Value>) =
            steps.iter().partition(|it| it[2].is_null());
        for one in &seen {
            for other in &unseen {
                let pair = (one[1].to_string(), other[1].to_string());
                let turned = (pair.1, pair.0);
                if self.0.contains(&turned) {
                    return Some(("long-fork", json!({"one": turned.1, "other": turned.0})));
                }
                self.0.insert((turned.1, turned.0));
            }
        }
        None
    }

    fn held(&self) -> usize {
        self.0.len()
    }
}
