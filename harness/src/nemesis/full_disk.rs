//! Full disk: writes fail, because nothing is left of the disk that the data is on.
//!
//! A ballast file takes what is free; healed by removing it. Where more is free than `size-mb-max`
//! the fault is refused: nobody wants a host's only disk filled by accident.
//!
//! Runs where the data has a small disk of its own: `ordeal lab up --disk 256`, or a volume that
//! was mounted for it.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};

/// Nothing is left of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FullDisk {
    /// The hosts whose disk is full.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// A folder on that disk.
    #[serde(default = "var_lib")]
    pub folder: String,
    /// How much may be filled at most, in megabytes.
    #[serde(default = "two_gigabytes")]
    pub size_mb_max: u32,
}

pub(super) fn var_lib() -> String {
    "/var/lib".into()
}

fn two_gigabytes() -> u32 {
    2048
}

impl FullDisk {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let arguments = vec![self.folder.clone(), self.size_mb_max.to_string()];
        let fill = |_: &str| Action::Agent {
            verb: "fill",
            arguments: arguments.clone(),
        };
        Ok(Plan::on_each(
            targets,
            fill,
            &format!("without space left in {}", self.folder),
        ))
    }
}
