//! Damage: a file of a dead daemon changes behind its back, as on a disk that rots or lies.
//!
//! The daemon is killed, the newest file that matches is cut short or has one bit flipped, and
//! healing starts the daemon again. The damage itself stays: what the system makes of it is the
//! question.
//!
//! Runs everywhere.

use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};

/// A file is damaged while its daemon is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as {files: /var/lib/x/*.wal, how: flip}"
)]
pub struct Damage {
    /// The nodes whose files are damaged.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// The files, as a pattern of the shell: of those that match, the newest is damaged.
    pub files: String,
    /// What is done to it.
    #[serde(default)]
    pub how: Harm,
    /// For `truncate`: how many bytes its end loses.
    #[serde(default = "some_bytes")]
    pub bytes: u32,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// It loses its end.
    #[default]
    Truncate,
    /// One bit of it is flipped, somewhere.
    Flip,
}

fn some_bytes() -> u32 {
    64
}

impl Damage {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let how = match self.how {
            Harm::Truncate => "truncate",
            Harm::Flip => "flip",
        };
        let mut actions = Vec::new();
        for name in &targets {
            let per_mille = rng.random_range(0..1000_u32);
            let [per_mille, bytes] = [per_mille, self.bytes].map(|number| number.to_string());
            let arguments =
                [view.pidfile(name)?, &self.files, how, &per_mille, &bytes].map(str::to_owned);
            actions.push((
                name.clone(),
                Action::EndByAgent {
                    verb: "damage",
                    arguments: arguments.to_vec(),
                },
            ));
        }
        let description = format!("{} killed, and {} damaged", targets.join(" "), self.files);
        Ok(Plan {
            targets,
            description,
            actions,
            ..Plan::default()
        })
    }
}
