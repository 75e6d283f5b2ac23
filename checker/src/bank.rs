//! Bank transfers: money moves, and none is made or lost.
//!
//! Ops: `read` answered with an object of account and balance; `transfer` is not looked at, as a
//! transfer of any outcome leaves the total as it is. The total is the one given, or else that of the
//! first read.

use serde_json::{Value, json};

use crate::history::History;
use crate::model::sequence::whole_number;
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;
use crate::wording::whole;

/// What the accounts must obey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    /// The sum of all balances; none: that of the first read.
    pub total: Option<i64>,
    /// Whether no balance may be below zero.
    pub no_overdraft: bool,
}

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, accounts)
}

fn accounts(tally: &mut Tally, entries: &[Entry]) {
    let rules = tally.options.bank;
    let mut total = rules.total.map(i128::from);
    for read in entries
        .iter()
        .filter(|entry| entry.f == "read" && entry.is_ok())
    {
        tally.count("reads", 1);
        let value = tally.value(read.answer);
        let Value::Object(balances) = &value else {
            tally.wrong("unreadable", &[*read], || json!({"value": value}));
            continue;
        };
        let mut sum = Some(0_i128);
        for (account, balance) in balances {
            if balance.is_f64() {
                let odd = format!("account {account} has {balance}: expected whole balances");
                return tally.unknown(odd);
            }
            let Some(balance) = whole_number(balance) else {
                tally.wrong(
                    "no-balance",
                    &[*read],
                    || json!({"account": account, "balance": balance}),
                );
                sum = None;
                continue;
            };
            sum = sum.map(|sum| sum + balance);
            if balance < 0 && rules.no_overdraft {
                let details = || json!({"account": account, "balance": whole(balance)});
                tally.wrong("negative-balance", &[*read], details);
            }
        }
        let Some(sum) = sum else { continue };
        let expected = *total.get_or_insert(sum);
        if sum != expected {
            let details = || json!({"total": whole(sum), "expected": whole(expected)});
            tally.wrong("wrong-total", &[*read], details);
        }
    }
}
