//! What goes wrong with a cluster before the first command reaches a host.

use std::io;
use std::path::{Path, PathBuf};

use crate::playbook::source::Mistake;

/// Why a cluster cannot be brought up, opened or taken down.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The words after `--on` name nothing.
    #[error(
        "there is no cluster {0:?}: expected lab, lab:NAME, vagrant, ssh:NAME,NAME, or the path of an \
         inventory"
    )]
    UnknownSelector(String),
    /// An inventory that cannot be used.
    #[error("{}: {what}", path.display())]
    Inventory {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An inventory that cannot be understood, with the place.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// A lab makes namespaces, and only root may.
    #[error("a lab makes namespaces and a network, which takes root; type: sudo ordeal {verb}")]
    NotRoot {
        /// What was typed after `ordeal`.
        verb: String,
    },
    /// A program that the lab needs is not installed.
    #[error("{0} is not installed on this machine; type: ordeal doctor --fix")]
    MissingTool(&'static str),
    /// A name that cannot be part of a path or a host name.
    #[error("{0:?} is no name for a lab: use 1 to 24 of a-z, 0-9 and '-'")]
    BadName(String),
    /// More or fewer nodes than a lab can have.
    #[error("a lab has from 1 to {max} nodes, not {asked}", max = super::lab::NODES_MAX)]
    BadSize {
        /// The number that was asked for.
        asked: u16,
    },
    /// A size that is no size for a disk.
    #[error("a node's disk has from 16 to 65536 megabytes")]
    BadDisk,
    /// The lab is up, but not as asked.
    #[error("lab {name} is up with {nodes} nodes; to change that: ordeal lab down --name {name}")]
    OtherSize {
        /// The lab.
        name: String,
        /// How many nodes it has.
        nodes: u16,
    },
    /// The lab is not up.
    #[error("lab {0} is not up; type: ordeal lab up --name {0}")]
    NotUp(String),
    /// There is no such node, or it is dead.
    #[error("lab {lab} has no running node {node}; ordeal lab status shows which it has")]
    NoNode {
        /// The lab.
        lab: String,
        /// The node that was asked for.
        node: String,
    },
    /// Something that was started did not do its work.
    #[error("{what}: {detail}")]
    Failed {
        /// What was being done.
        what: String,
        /// What was seen instead.
        detail: String,
    },
    /// An input or output error.
    #[error("{what}")]
    Io {
        /// What was being done, and with which path.
        what: String,
        /// The error.
        source: io::Error,
    },
}

impl ClusterError {
    /// Whether it is what the user gave us that is wrong, and nothing else.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::UnknownSelector(_)
                | Self::Inventory { .. }
                | Self::Mistake(_)
                | Self::BadName(_)
                | Self::BadSize { .. }
                | Self::BadDisk
        )
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn path<E: Into<io::Error>>(verb: &str, path: &Path) -> impl FnOnce(E) -> Self {
        let what = format!("cannot {verb} {}", path.display());
        move |source| Self::Io {
            what,
            source: source.into(),
        }
    }

    pub(crate) fn failed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            detail: detail.into(),
        }
    }
}
