//! Power cut: the daemon dies, and what it had not synced to the disk is gone.
//!
//! The file system with the data is shut down without writing its log, the daemon is killed, and
//! the file system is mounted again, which replays what had reached the disk: for the data on it
//! that is what a power cut does. Healed by starting the daemon.
//!
//! Runs where the data has a disk of its own with a journaling file system (ext4, xfs), and
//! `xfs_io` is installed: `ordeal lab up --disk 256`, or a volume that was mounted for it.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::full_disk::var_lib;
use super::{Action, NemesisError, Plan, Target, View};

/// What was not synced is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {on: minority}")]
pub struct PowerCut {
    /// The nodes that lose power.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// A folder on the disk with the data.
    #[serde(default = "var_lib")]
    pub folder: String,
}

impl PowerCut {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let mut actions = Vec::new();
        for name in &targets {
            let arguments = vec![view.pidfile(name)?.to_owned(), self.folder.clone()];
            actions.push((
                name.clone(),
                Action::EndByAgent {
                    verb: "cut-power",
                    arguments,
                },
            ));
        }
        let description = format!("{} lost power", targets.join(" "));
        Ok(Plan {
            targets,
            description,
            actions,
            ..Plan::default()
        })
    }
}
