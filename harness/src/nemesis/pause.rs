//! Pause: the daemon stands still and does not know it, as in a long garbage collection or when a
//! virtual machine is moved. Its connections stay open, its clock runs on.
//!
//! SIGSTOP to its process group; healed by SIGCONT.
//!
//! Runs everywhere.

use rand::Rng;

use super::{Action, NemesisError, Plan, Target, View};

pub(super) fn plan(target: &Target, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
    let targets = target.choose(view, rng)?;
    Ok(Plan::on_each(targets, |_| Action::Pause, "paused"))
}
