//! Small random histories, sound and spoiled.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::table::{Data, Header, Status, Table};

#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(usize, u64),
    /// What was read: of a register at most one value.
    Read(usize, Vec<u64>),
}

#[derive(Clone, Debug)]
pub(super) struct Txn {
    pub(super) process: u32,
    pub(super) status: Status,
    pub(super) invoked: u32,
    pub(super) completed: Option<u32>,
    pub(super) ops: Vec<Op>,
}

impl Txn {
    pub(super) fn ended(&self) -> u32 {
        if self.status == Status::Committed {
            self.completed.unwrap_or(u32::MAX)
        } else {
            u32::MAX
        }
    }

    pub(super) fn writes(&self, key: usize) -> Vec<u64> {
        let value = |op: &Op| match op {
            Op::Write(other, value) if *other == key => Some(*value),
            _ => None,
        };
        self.ops.iter().filter_map(value).collect()
    }

    pub(super) fn text(&self, data: Data) -> String {
        let op = |op: &Op| match (op, data) {
            (Op::Write(key, value), Data::Lists) => format!(r#"["append",{key},{value}]"#),
            (Op::Write(key, value), Data::Registers) => format!(r#"["w",{key},{value}]"#),
            (Op::Read(key, list), Data::Lists) => format!(r#"["r",{key},{list:?}]"#),
            (Op::Read(key, list), Data::Registers) => {
                let value = list.last().map_or("null".to_owned(), u64::to_string);
                format!(r#"["r",{key},{value}]"#)
            }
        };
        format!(
            "[{}]",
            self.ops.iter().map(op).collect::<Vec<_>>().join(",")
        )
    }
}

pub(super) fn show(txns: &[Txn]) -> String {
    let line = |txn: &Txn| {
        let Txn {
            process,
            status,
            invoked,
            completed,
            ..
        } = txn;
        format!(
            "p{process} {invoked}..{completed:?} {status:?} {}\n",
            txn.text(Data::Lists)
        )
    };
    txns.iter().map(line).collect()
}

pub(super) const KEYS: usize = 2;

/// Begins and ends of transactions by a few processes, with nothing read yet.
fn timeline(rng: &mut ChaCha8Rng) -> Vec<Txn> {
    let wanted = rng.random_range(2..=4);
    let mut processes: Vec<(u32, Option<usize>)> = (0..rng.random_range(1..=3))
        .map(|process| (process, None))
        .collect();
    let mut txns: Vec<Txn> = Vec::new();
    let (mut now, mut value, mut fresh) = (0, 0, 10);
    while txns.len() < wanted || processes.iter().any(|(_, open)| open.is_some()) {
        let slot = rng.random_range(0..processes.len());
        now += 1;
        let (process, open) = &mut processes[slot];
        if let Some(txn) = open.take() {
            let status = match rng.random_range(0..10) {
                0 => Status::Aborted,
                1 => Status::Unknown,
                _ => Status::Committed,
            };
            txns[txn].status = status;
            txns[txn].completed = Some(now);
            // A client may go on under its own name or take a new one.
            if status == Status::Unknown && rng.random_bool(0.5) {
                *process = fresh;
                fresh += 1;
            }
        } else if txns.len() < wanted {
            let mut op = || {
                let key = rng.random_range(0..KEYS);
                if rng.random_bool(0.5) {
                    value += 1;
                    Op::Write(key, value)
                } else {
                    Op::Read(key, Vec::new())
                }
            };
            let ops = (0..3).map(|_| op()).collect::<Vec<Op>>();
            let ops = ops[..rng.random_range(1..=3)].to_vec();
            *open = Some(txns.len());
            let (process, invoked) = (*process, now);
            txns.push(Txn {
                process,
                status: Status::Unknown,
                invoked,
                completed: None,
                ops,
            });
        }
    }
    txns
}

/// Runs the transactions one by one in an order of their own, then spoils some reads.
pub(super) fn history(rng: &mut ChaCha8Rng) -> Vec<Txn> {
    let mut txns = timeline(rng);
    let mut order: Vec<usize> = (0..txns.len()).collect();
    order.sort_by_key(|&txn| {
        let end = txns[txn].completed.unwrap_or(u32::MAX);
        rng.random_range(txns[txn].invoked..=end)
    });
    if rng.random_bool(0.3) {
        let (a, b) = (
            rng.random_range(0..order.len()),
            rng.random_range(0..order.len()),
        );
        order.swap(a, b);
    }
    let dirty = rng.random_bool(0.1);
    let mut lists = vec![Vec::new(); KEYS];
    for txn in order {
        let runs = match txns[txn].status {
            Status::Committed => true,
            Status::Aborted => dirty,
            Status::Unknown => rng.random_bool(0.5),
        };
        let mut view = lists.clone();
        for op in &mut txns[txn].ops {
            match op {
                Op::Write(key, value) => view[*key].push(*value),
                Op::Read(key, list) => list.clone_from(&view[*key]),
            }
        }
        if runs {
            lists = view;
        }
    }
    let spoils = rng.random_range(0..=3);
    for _ in 0..spoils {
        spoil(rng, &mut txns, &lists);
    }
    txns
}

/// Gives a read another prefix of the final list, or, rarely, something that fits nothing.
fn spoil(rng: &mut ChaCha8Rng, txns: &mut [Txn], lists: &[Vec<u64>]) {
    let txn = rng.random_range(0..txns.len());
    let op = rng.random_range(0..txns[txn].ops.len());
    if let Op::Read(key, list) = &mut txns[txn].ops[op] {
        let whole = &lists[*key];
        *list = whole[..rng.random_range(0..=whole.len())].to_vec();
        match rng.random_range(0..100) {
            0..3 => list.reverse(),
            3..5 => list.extend(list.first().copied()),
            5..7 => list.push(99),
            _ => {}
        }
    }
}

pub(super) fn table(txns: &[Txn], data: Data) -> Table {
    let mut table = Table::new(data);
    for txn in txns {
        let header = Header {
            process: txn.process,
            status: txn.status,
            invoked: txn.invoked,
            completed: txn.completed.filter(|_| txn.status != Status::Unknown),
        };
        table
            .push(header, txn.text(data).as_bytes())
            .expect("the text is well formed");
    }
    table
}
