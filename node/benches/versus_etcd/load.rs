//! Load: a closed loop of clients that each wait for their answer, or an open loop that sends at a
//! rate whatever comes back.

use anyhow::Result;
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was carried out.
    Done,
    /// It was answered with this error.
    Refused(String),
}

/// Something that serves keys.
pub(crate) trait Client {
    /// Writes a key.
    async fn put(&mut self, key: u64, value: &[u8]) -> Result<Outcome>;
    /// Reads a key.
    async fn get(&mut self, key: u64) -> Result<Outcome>;
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Writes.
    Put,
    /// Reads.
    Get,
}

/// How to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// What the clients do.
    pub(crate) operation: Operation,
    /// Left out of the figures, at the beginning.
    pub(crate) warm_up: Duration,
    /// Measured after that.
    pub(crate) measured: Duration,
    /// Requests per second, for an open loop; the latency then counts from when a request was due.
    pub(crate) rate: Option<f64>,
    /// Different keys.
    pub(crate) keys: u64,
    /// Bytes of a value.
    pub(crate) value_len: usize,
    /// Of keys and values.
    pub(crate) seed: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Microseconds of the requests that were carried out.
    pub(crate) latency_us: Histogram<u64>,
    /// How many requests were answered with each error.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The time they took together.
    pub(crate) elapsed: Duration,
}

impl Measured {
    /// Requests carried out per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latency_us.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// What was refused and why, to stand behind the other figures; nothing when all was done.
    pub(crate) fn refusals(&self) -> String {
        let each = self.refused.iter();
        let each = each.map(|(reason, times)| format!(", {times} refused ({reason})"));
        each.collect::<Vec<_>>().concat()
    }

    /// A quantile of the latency in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

struct Shared {
    next: Cell<u64>,
    measured: Cell<Option<Measured>>,
}

/// Runs the clients to the plan's end, all on this thread.
pub(crate) async fn run<C: Client + 'static>(clients: Vec<C>, plan: Plan) -> Result<Measured> {
    let origin = Instant::now();
    let shared = Rc::new(Shared {
        next: Cell::new(0),
        measured: Cell::new(Some(Measured {
            latency_us: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            refused: BTreeMap::new(),
            elapsed: plan.measured,
        })),
    });
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        let random = SmallRng::seed_from_u64(plan.seed ^ number as u64);
        let task = one(client, plan, random, origin, Rc::clone(&shared));
        tasks.push(local.spawn_local(task));
    }
    local.await;
    for task in tasks {
        task.await??;
    }
    Ok(shared.measured.take().expect("put back by every client"))
}

async fn one<C: Client>(
    mut client: C,
    plan: Plan,
    mut random: SmallRng,
    origin: Instant,
    shared: Rc<Shared>,
) -> Result<()> {
    let mut value = vec![0; plan.value_len];
    random.fill(&mut value[..]);
    let begin = origin + plan.warm_up;
    let end = begin + plan.measured;
    loop {
        let due = match plan.rate {
            None => Instant::now(),
            Some(rate) => {
                let number = shared.next.replace(shared.next.get() + 1);
                let due = origin + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        if due >= end {
            return Ok(());
        }
        let key = random.random_range(0..plan.keys);
        let outcome = match plan.operation {
            Operation::Put => client.put(key, &value).await?,
            Operation::Get => client.get(key).await?,
        };
        let now = Instant::now();
        if due >= begin && now <= end + plan.measured {
            let mut measured = shared.measured.take().expect("put back by every client");
            match &outcome {
                Outcome::Done => {
                    let latency = now.duration_since(due).as_micros() as u64;
                    measured.latency_us.saturating_record(latency.max(1));
                }
                Outcome::Refused(reason) => {
                    *measured.refused.entry(reason.clone()).or_default() += 1;
                }
            }
            shared.measured.set(Some(measured));
        }
        if outcome != Outcome::Done {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
