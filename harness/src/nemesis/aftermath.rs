//! What is done when the harness that installed faults is gone: its journal is carried out.

use futures::future::join_all;

use super::{Agent, NemesisError};
use crate::control::{Control, ControlError};
use crate::journal::{Entry, Journal, Outstanding};

/// How healing after the fact went.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Faults that are gone for certain, and struck from the journal.
    pub healed: Vec<Entry>,
    /// What was found on hosts and undone, as `HOST FAULT`. Less than was in the journal when a
    /// watchdog came first.
    pub undone: Vec<String>,
    /// Hosts that could not be healed, and why.
    pub errors: Vec<ControlError>,
}

/// Heals what a journal has outstanding on the hosts that are reached, and notes what is gone.
pub async fn heal_outstanding(
    control: &Control,
    journal: &mut Journal,
    outstanding: Outstanding,
) -> Result<Aftermath, NemesisError> {
    let mut aftermath = heal_tag(control, &outstanding.tag).await;
    let unhealed = |host: &String| {
        control.get(host).is_none()
            || aftermath
                .errors
                .iter()
                .any(|error| error.host() == Some(host))
    };
    let (_, gone): (Vec<_>, Vec<_>) = outstanding
        .faults
        .into_iter()
        .partition(|fault| fault.hosts.iter().any(unhealed));
    for fault in &gone {
        journal.healed(fault.id)?;
    }
    aftermath.healed = gone;
    Ok(aftermath)
}

/// Heals all faults of one harness on all hosts that are reached; those of every harness, for the
/// tag `all`.
pub async fn heal_tag(control: &Control, tag: &str) -> Aftermath {
    let mut aftermath = Aftermath::default();
    let healing = control.sessions().map(async |session| {
        let agent = Agent::put(session, tag).await?;
        let undone = agent.heal_all().await?;
        agent.unwatch().await?;
        let name = |fault| format!("{} {fault}", session.name());
        Ok(undone.into_iter().map(name).collect::<Vec<_>>())
    });
    for result in join_all(healing).await {
        match result {
            Ok(undone) => aftermath.undone.extend(undone),
            Err(error) => aftermath.errors.push(error),
        }
    }
    aftermath
}
