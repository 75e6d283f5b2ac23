//! Is everything there that a run needs? Every finding comes with the command that mends it.
//!
//! Most time with a harness like this is lost before the first operation: a tool that is missing, a
//! key that is refused, a fault that the kernel does not have. So all of it is tried beforehand,
//! on this machine ([`machine`]) and on the hosts of a cluster ([`hosts`]), and a fault is tried by
//! doing it where it harms nobody and undoing it again.

mod hosts;
mod machine;

use serde::Serialize;

pub use hosts::examine_hosts;
pub use machine::{examine_machine, fix_machine};

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: `this machine`, or a host's name.
    pub place: String,
    /// What was looked at.
    pub subject: String,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// The command that mends it, or what it means where nothing can be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Something cannot be done here, and all else can.
    Limited,
    /// Runs will fail.
    Bad,
}

impl Finding {
    fn good(place: &str, subject: &str, found: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            subject: subject.into(),
            grade: Grade::Good,
            found: found.into(),
            mend: None,
        }
    }

    fn limited(
        place: &str,
        subject: &str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            grade: Grade::Limited,
            mend: Some(mend.into()),
            ..Self::good(place, subject, found)
        }
    }

    fn bad(place: &str, subject: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            grade: Grade::Bad,
            ..Self::limited(place, subject, found, mend)
        }
    }
}
