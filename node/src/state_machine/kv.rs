//! Keys and values: the operations of clients.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::command::{Action, Expect, Kind, MicroOp, Outcome, Refusal};
use super::value::Value;
use super::{Record, State};

/// A part of the keys in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The keys and what they hold.
    pub items: Vec<(Bytes, Record)>,
    /// Whether keys with the prefix follow the last item.
    pub more: bool,
}

impl State {
    /// What `key` holds.
    pub fn get(&self, key: &[u8]) -> Option<&Record> {
        self.records.get(key)
    }

    /// Up to `limit` keys that begin with `prefix`, in order, from the first one behind `after` on.
    pub fn range(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Page {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = self
            .records
            .range::<_, [u8]>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let items = rest
            .by_ref()
            .take(limit)
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect();
        Page {
            items,
            more: rest.next().is_some(),
        }
    }

    pub(super) fn put(&mut self, key: Bytes, value: Value) -> Outcome {
        self.revision += 1;
        self.store(key, Some(value));
        Outcome::Written {
            revision: self.revision,
        }
    }

    pub(super) fn delete(&mut self, key: &Bytes) -> Outcome {
        let existed = self.records.contains_key(key);
        if existed {
            self.revision += 1;
            self.store(key.clone(), None);
        }
        Outcome::Deleted { existed }
    }

    pub(super) fn cas(&mut self, key: Bytes, expect: &Expect, value: Option<Value>) -> Outcome {
        let found = self.records.get(&key);
        let holds = match (expect, found) {
            (Expect::Absent, None) => true,
            (Expect::Value(wanted), Some(record)) => record.value.same(wanted),
            (Expect::Revision(revision), Some(record)) => record.revision == *revision,
            (Expect::Revision(revision), None) => *revision == 0,
            _ => false,
        };
        if !holds {
            return self.mismatch(key);
        }
        self.revision += 1;
        self.store(key, value);
        Outcome::Written {
            revision: self.revision,
        }
    }

    /// Runs the steps against an overlay, and lets the overlay through if none refused.
    pub(super) fn transact(&mut self, steps: Vec<MicroOp>) -> Outcome {
        let mut overlay: BTreeMap<Bytes, Option<Value>> = BTreeMap::new();
        let mut results = Vec::with_capacity(steps.len());
        for MicroOp { key, action } in steps {
            let now = match overlay.get(&key) {
                Some(value) => value.clone(),
                None => self.records.get(&key).map(|record| record.value.clone()),
            };
            let next = match action {
                Action::Read => {
                    results.push(now);
                    continue;
                }
                Action::Compare(wanted) => {
                    let holds = match (&now, &wanted) {
                        (Some(now), Some(wanted)) => now.same(wanted),
                        (None, None) => true,
                        _ => false,
                    };
                    if !holds {
                        return self.mismatch(key);
                    }
                    results.push(now);
                    continue;
                }
                Action::Write(value) => Ok(value),
                Action::Append(element) => {
                    let list = now.unwrap_or_else(|| Value::Json(Bytes::from_static(b"[]")));
                    list.appended(&element).map(Some).ok_or(Kind::List)
                }
                Action::Add(amount) => now
                    .map_or(Some(0), |value| value.as_integer())
                    .and_then(|number| number.checked_add(amount))
                    .map(|sum| Some(Value::Json(sum.to_string().into())))
                    .ok_or(Kind::Integer),
            };
            match next {
                Ok(value) => {
                    results.push(value.clone());
                    overlay.insert(key, value);
                }
                Err(wanted) => return Outcome::Refused(Refusal::WrongKind { key, wanted }),
            }
        }
        if !overlay.is_empty() {
            self.revision += 1;
        }
        for (key, value) in overlay {
            self.store(key, value);
        }
        Outcome::Committed(results)
    }

    fn mismatch(&self, key: Bytes) -> Outcome {
        let found = self.records.get(&key);
        Outcome::Refused(Refusal::Mismatch {
            actual: found.map(|record| record.value.clone()),
            revision: found.map_or(0, |record| record.revision),
            key,
        })
    }

    /// Sets or removes a key at the present revision, and keeps count of the bytes.
    pub(super) fn store(&mut self, key: Bytes, value: Option<Value>) {
        let key_len = key.len() as u64;
        let (before, added) = match value {
            Some(value) => {
                let added = key_len + value.bytes().len() as u64;
                (
                    self.records.insert(
                        key,
                        Record {
                            value,
                            revision: self.revision,
                        },
                    ),
                    added,
                )
            }
            None => (self.records.remove(&key), 0),
        };
        let removed = before.map_or(0, |record| key_len + record.value.bytes().len() as u64);
        self.size_bytes = self.size_bytes + added - removed;
    }
}
