//! Faults of packets that are not lost: delay, reorder, duplicate, rate. What a node sends to the
//! other nodes goes through a queue of the kernel's network emulator; what it sends to anyone else,
//! the control host among them, does not.
//!
//! One such fault at a time can be on a node. Runs where the kernel has netem (`sch_netem`): most
//! virtual machines and rented hosts, and a lab if its machine's kernel does.

use rand::Rng;

use super::{Action, NemesisError, Plan, Target, View};

/// Sends what the targets send to other nodes through a queue with these arguments.
pub(super) fn plan(
    on: &Target,
    netem: &[String],
    done: &str,
    view: &View,
    rng: &mut impl Rng,
) -> Result<Plan, NemesisError> {
    let targets = on.choose(view, rng)?;
    let shape = |name: &str| {
        let arguments = netem
            .iter()
            .cloned()
            .chain(["--".into()])
            .chain(view.others(name));
        Action::Agent {
            verb: "shape",
            arguments: arguments.collect(),
        }
    };
    Ok(Plan::on_each(targets, shape, done))
}

/// A span of time as `tc` takes it.
pub(super) fn span(span: crate::playbook::units::Span) -> String {
    format!("{}us", span.0.as_micros())
}

/// A share as `tc` takes it.
pub(super) fn percent(share: crate::playbook::units::Share) -> String {
    format!("{}%", share.0 * 100.0)
}
