//! Transactions over HTTP: a list of micro-operations, all or nothing, within one group.

use std::fmt::Write as _;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;

use super::error::Error;
use super::json::{quoted, value_text};
use super::kv::key_in_body;
use super::request::Request;
use super::{Api, Response, json_response};
use crate::state_machine::{Action, MicroOp, Operation, Outcome, Value};

/// Micro-operations in one transaction.
const STEPS_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TxnBody {
    ops: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    f: Function,
    key: String,
    #[serde(default)]
    value: Json,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    R,
    W,
    Append,
    Add,
    Compare,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::R => "r",
            Function::W => "w",
            Function::Append => "append",
            Function::Add => "add",
            Function::Compare => "compare",
        }
    }
}

impl Api {
    pub(super) async fn txn(&self, request: Request) -> Result<Response, Error> {
        let (ticket, forward) = (request.ticket()?, request.forward());
        let TxnBody { ops } = request.parse().await?;
        if ops.is_empty() || ops.len() > STEPS_MAX {
            return Err(Error::bad_request(format!(
                "a transaction has 1 to {STEPS_MAX} ops"
            )));
        }
        let mut steps = Vec::with_capacity(ops.len());
        let mut group = None;
        for Step { f, key, value } in &ops {
            let key = key_in_body(key, self)?;
            let its_group = self.router.group_of(&key);
            if *group.get_or_insert(its_group) != its_group {
                return Err(Error::new(
                    StatusCode::BAD_REQUEST,
                    "cross_group",
                    "the keys live in different groups: a transaction is atomic within one only",
                ));
            }
            steps.push(MicroOp {
                key,
                action: action(*f, value)?,
            });
        }
        let group = group.expect("there is at least one step");
        let answer = self
            .write(group, ticket, forward, Operation::Txn(steps))
            .await?;
        let Outcome::Committed(seen) = answer.outcome else {
            unreachable!("a transaction commits or is refused")
        };
        let mut text = String::from("{\"results\":[");
        for (at, (step, seen)) in ops.iter().zip(&seen).enumerate() {
            let value = match (step.f, seen) {
                // What was appended, as it was asked: the whole list would grow with every step.
                (Function::Append, _) => step.value.to_string().into(),
                (_, Some(value)) => value_text(value),
                (_, None) => "null".into(),
            };
            let comma = if at == 0 { "" } else { "," };
            let (f, key) = (step.f.name(), quoted(&step.key));
            let _ = write!(
                text,
                "{comma}{{\"f\":\"{f}\",\"key\":{key},\"value\":{value}}}"
            );
        }
        let _ = write!(
            text,
            "],\"index\":{},\"term\":{}}}",
            answer.index, answer.term
        );
        Ok(json_response(StatusCode::OK, text))
    }
}

fn action(f: Function, value: &Json) -> Result<Action, Error> {
    let present = || {
        Some(value)
            .filter(|value| !value.is_null())
            .map(Value::json)
    };
    Ok(match f {
        Function::R => Action::Read,
        Function::W => Action::Write(present()),
        Function::Append => Action::Append(Value::json(value)),
        Function::Compare => Action::Compare(present()),
        Function::Add => Action::Add(
            value
                .as_i64()
                .ok_or_else(|| Error::bad_request("add needs a whole number"))?,
        ),
    })
}
