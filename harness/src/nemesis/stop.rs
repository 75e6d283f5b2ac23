//! Stop: the daemon is asked to end, and does; healed by starting it again.
//!
//! SIGTERM to its process group. A daemon that has not ended in time is killed, and the fault's
//! description says that it had to be.
//!
//! Runs everywhere.

use rand::Rng;

use super::{Action, NemesisError, Plan, Target, View};

pub(super) fn plan(target: &Target, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
    let targets = target.choose(view, rng)?;
    Ok(Plan::on_each(targets, |_| Action::Stop, "asked to end"))
}
