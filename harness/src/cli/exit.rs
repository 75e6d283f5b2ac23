//! Exit codes: what a script or a CI job learns without reading a word.

use std::process::ExitCode;

use crate::cluster::ClusterError;

/// How `ordeal` ends. Unknown never passes, and the harness's own failure is never a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The properties held and the coverage was reached; or the verb did what it was told.
    Valid = 0,
    /// A property was violated.
    Invalid = 1,
    /// No verdict, or less coverage than the playbook asks for.
    Unknown = 2,
    /// The harness itself failed: an unreachable host, a fault that could not be installed.
    Harness = 3,
    /// The command line, a playbook or another input is wrong; nothing was started.
    Usage = 64,
}

impl Exit {
    /// The code for an error: usage when the input is among its causes, else the harness.
    pub fn of_error(error: &anyhow::Error) -> Self {
        let is_input = |cause: &(dyn std::error::Error + 'static)| {
            let cluster = cause.downcast_ref::<ClusterError>();
            cause.is::<UsageError>() || cluster.is_some_and(ClusterError::is_input)
        };
        if error.chain().any(is_input) {
            Self::Usage
        } else {
            Self::Harness
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A mistake in what the user gave us. Its text is shown as it stands and the exit code is 64.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl UsageError {
    /// Wraps any error that is the input's fault, with all its causes.
    pub fn wrap(error: impl Into<anyhow::Error>) -> anyhow::Error {
        Self(format!("{:#}", error.into())).into()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_usage_error_keeps_its_code_under_context() {
        let error = Err::<(), _>(anyhow::Error::from(UsageError("no such key".into())))
            .context("reading the playbook")
            .unwrap_err();
        assert_eq!(Exit::of_error(&error), Exit::Usage);
        assert_eq!(
            Exit::of_error(&anyhow::anyhow!("host n1 is gone")),
            Exit::Harness
        );
    }
}
