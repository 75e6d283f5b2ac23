//! Known historic bugs, switched on by name: the node broken on purpose.
//!
//! Only the binary `ordeal-node-bugs` (feature `bugs`) takes `--bug NAME`. A harness that cannot
//! find these does not find others either. Those of the protocol live in the crate `raft`; those
//! listed here live in the runtime.

/// A bug of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A retry in a session is applied again.
    NoDedup,
    /// A restart drops the end of the log.
    LostOnRestart,
    /// What was written is never synced, and counts as stable.
    SyncSkipped,
    /// An operation whose fate is unknown is reported as certainly not done.
    FalseFailure,
    /// A sync that failed counts as done.
    SyncErrorIgnored,
}

/// Every bug of the runtime with its name and its number in the list of bug classes.
#[cfg(feature = "bugs")]
pub const ALL: &[(Bug, &str, u8)] = &[
    (Bug::NoDedup, "no-dedup", 26),
    (Bug::LostOnRestart, "lost-on-restart", 10),
    (Bug::SyncSkipped, "sync-skipped", 4),
    (Bug::FalseFailure, "false-failure", 27),
    (Bug::SyncErrorIgnored, "sync-error-ignored", 5),
];

/// The bugs that are on.
#[derive(Clone, Debug, Default)]
pub struct Bugs {
    runtime: Vec<Bug>,
    /// Those of the protocol.
    #[cfg(feature = "bugs")]
    pub core: raft::Bugs,
}

impl Bugs {
    /// Whether a bug of the runtime is on. Never, in a build without the feature.
    pub fn has(&self, bug: Bug) -> bool {
        cfg!(feature = "bugs") && self.runtime.contains(&bug)
    }

    /// The bugs of these names.
    ///
    /// # Errors
    /// If there is no bug of a name: a sentence that lists those there are.
    #[cfg(feature = "bugs")]
    pub fn named(names: &[String]) -> Result<Bugs, String> {
        let mut bugs = Bugs::default();
        for name in names {
            match ALL.iter().find(|(_, known, _)| known == name) {
                Some((bug, ..)) => bugs.runtime.push(*bug),
                None => match raft::Bugs::named(name) {
                    Some(bug) => bugs.core.insert(bug),
                    None => return Err(unknown(name)),
                },
            }
        }
        Ok(bugs)
    }
}

#[cfg(feature = "bugs")]
fn unknown(name: &str) -> String {
    let mut names: Vec<&str> = ALL.iter().map(|(_, name, _)| *name).collect();
    names.extend(raft::Bugs::ALL.iter().map(|(_, name, _)| *name));
    format!(
        "there is no bug {name:?}; must be one of {}",
        names.join(", ")
    )
}
