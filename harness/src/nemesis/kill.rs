//! Kill: the daemon dies at once, with all that it had not synced to the operating system's care.
//!
//! SIGKILL to its process group; healed by starting it again. What it had written but not synced
//! survives, because the operating system does: see the disk faults for that loss.
//!
//! Runs everywhere.

use rand::Rng;

use super::{Action, NemesisError, Plan, Target, View};

pub(super) fn plan(target: &Target, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
    let targets = target.choose(view, rng)?;
    Ok(Plan::on_each(targets, |_| Action::Kill, "killed"))
}
