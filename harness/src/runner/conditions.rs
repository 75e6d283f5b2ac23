//! What faults and people's steps wait for: `until:` of a playbook.

use std::fmt;
use std::sync::Arc;

use crate::playbook::Until;
use crate::system::{Members, Probes};

/// Looks whether conditions hold.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) probes: Arc<Probes>,
    pub(super) members: Option<Arc<Members>>,
}

/// A condition that is waited for, and what must be remembered from when the waiting began.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    until: Until,
    /// Who led then.
    leader: Option<String>,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.until.fmt(f)
    }
}

impl Conditions {
    /// Begins to wait for a condition.
    pub(super) async fn begin(&self, until: Option<&Until>) -> Option<Awaited> {
        let until = until?.clone();
        let leader = match until {
            Until::NewLeader => self.probes.leader().await,
            _ => None,
        };
        Some(Awaited { until, leader })
    }

    /// Whether it holds now.
    pub(super) async fn hold(&self, awaited: &Awaited) -> bool {
        match &awaited.until {
            Until::Leader => self.probes.leader().await.is_some(),
            Until::NewLeader => {
                let now = self.probes.leader().await;
                now.is_some() && now != awaited.leader
            }
            Until::Ready => self.probes.all_ready().await,
            Until::Voters(count) => {
                let Some(members) = &self.members else {
                    return false;
                };
                let roster = members.roster().await;
                roster.is_some_and(|roster| !roster.changing && roster.voters.len() == *count)
            }
            Until::CaughtUp(node) => match &self.members {
                Some(members) => members.has_caught_up(node).await,
                None => false,
            },
        }
    }
}
