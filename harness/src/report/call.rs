//! An operation in a few words: what was asked, what was answered, how it ended.

use std::collections::HashMap;

use serde_json::Value;

use super::axis::{duration_ns, moment_ns};
use super::findings::Op;
use super::folder::text;

const LABEL_MAX: usize = 64;

/// An invocation with its completion, by their places in the list of ops.
pub(super) struct Call<'a> {
    pub(super) invocation: &'a Op,
    pub(super) completion: Option<&'a Op>,
}

impl Call<'_> {
    pub(super) fn outcome(&self) -> &'static str {
        match self.completion.map(|op| op.type_.as_str()) {
            Some("ok") => "ok",
            Some("fail") => "fail",
            _ => "info",
        }
    }

    /// When its answer arrived; an operation of unknown outcome never ends.
    pub(super) fn end_ns(&self) -> Option<u64> {
        self.completion
            .filter(|op| op.type_ != "info")
            .map(|op| op.time)
    }

    pub(super) fn label(&self) -> String {
        let invocation = self.invocation;
        let key = text(&invocation.key);
        let answer = self
            .completion
            .map(|op| &op.value)
            .filter(|value| !value.is_null());
        let mut label = match (invocation.f.as_str(), &invocation.value) {
            ("txn", asked) => transaction(answer.unwrap_or(asked)),
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                format!("cas {} → {}", pair[0], pair[1])
            }
            (f, Value::Null) => match (self.outcome(), answer) {
                ("ok", Some(answer)) => format!("{f} → {answer}"),
                ("ok", None) => format!("{f} → nothing"),
                _ => f.to_owned(),
            },
            (f, asked) => match answer.filter(|answer| *answer != asked) {
                Some(answer) => format!("{f} {asked} → {answer}"),
                None => format!("{f} {asked}"),
            },
        };
        match self.outcome() {
            "info" => label.push_str(" ?"),
            "fail" => label.push_str(" ✗"),
            _ => {}
        }
        if !key.is_empty() {
            label = format!("{key}: {label}");
        }
        shorten(&label)
    }

    pub(super) fn title(&self) -> String {
        let invocation = self.invocation;
        let end = self.completion.map_or_else(
            || "never answered".to_owned(),
            |op| format!("{} at {}", op.type_, moment_ns(op.time)),
        );
        let took = self
            .completion
            .map(|op| op.time.saturating_sub(invocation.time));
        let took = took.map(|ns| format!(", after {}", duration_ns(ns)));
        let extra = |op: &Op| op.error.clone().unwrap_or_default();
        format!(
            "process {}: {}\ninvoked at {}, {end}{}\n{} {}",
            text(&invocation.process),
            self.label(),
            moment_ns(invocation.time),
            took.unwrap_or_default(),
            invocation
                .node
                .as_deref()
                .map(|node| format!("asked {node}"))
                .unwrap_or_default(),
            self.completion.map(extra).unwrap_or_default()
        )
    }
}

fn shorten(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

/// The steps of a transaction: `x ← 3` for what it wrote, `x: [1,2]` for what it read.
fn transaction(steps: &Value) -> String {
    let step = |step: &Value| match step.as_array().map(Vec::as_slice) {
        Some([f, key, value]) => match f.as_str() {
            Some("r") => format!("{}: {value}", text(key)),
            Some("append") => format!("{} += {value}", text(key)),
            Some("w") => format!("{} ← {value}", text(key)),
            _ => step.to_string(),
        },
        _ => step.to_string(),
    };
    let steps = steps.as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().map(step).collect::<Vec<_>>().join("  ")
}

/// Finds the completion of each invocation; a completion without one stands alone.
pub(super) fn pair(ops: &[Op]) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for op in ops {
        let process = text(&op.process);
        if op.type_ == "invoke" {
            open.insert(process, calls.len());
            calls.push(Call {
                invocation: op,
                completion: None,
            });
        } else if let Some(position) = open.remove(&process) {
            calls[position].completion = Some(op);
        }
    }
    calls
}
