//! `ordeal-node recover`: going on after a majority is lost for good.
//!
//! The survivor's log gets one more entry, in a term of its own: a configuration in which it votes
//! alone. When the node starts it elects itself and commits what its log holds. What the lost
//! majority had acknowledged and this node never received is gone, and nobody can tell what that
//! was: so the verb says so, shows what is there, and does nothing without `--yes`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;

use anyhow::{Context, bail};
use raft::{Configuration, Entry, HardState, Payload, Restored};

use crate::config::Member;
use crate::storage::{self, Append, GroupId, Identity, Storage, WalOptions};

/// Makes the node of this directory the sole voter of its groups.
pub(crate) fn run(dir: &Path, member: Option<&Member>, sure: bool) -> anyhow::Result<ExitCode> {
    let identity = Identity::read(dir)?
        .with_context(|| format!("{} is no node's data directory", dir.display()))?;
    if let Some(member) = member.filter(|member| member.id != identity.node) {
        bail!(
            "the directory is node {}'s, not node {}'s",
            identity.node,
            member.id
        );
    }
    let found = storage::inspect(dir, |_, _, _| {})?;
    let (groups, _) = found.log.context("the log cannot be read to its end")?;
    if groups.is_empty() {
        bail!(
            "{} holds no group: there is nothing to recover",
            dir.display()
        );
    }
    explain(
        identity.node,
        &groups
            .iter()
            .map(|(id, log)| (*id, log))
            .collect::<Vec<_>>(),
    );
    if !sure {
        println!("nothing was changed: say --yes to do it");
        return Ok(ExitCode::FAILURE);
    }
    let options = WalOptions {
        segment_len: WalOptions::SEGMENT_LEN,
        on_failure: Box::new(|_| {}),
    };
    let storage = Storage::open(dir, &identity.cluster, identity.node, options)?;
    let (stable, done) = mpsc::channel();
    let groups = storage.restored.len();
    for (group, restored) in &storage.restored {
        let stable = stable.clone();
        storage.wal.append(
            *group,
            sole_voter(identity.node, member, restored)?,
            move || {
                let _ = stable.send(());
            },
        );
    }
    drop(stable);
    let written = done.iter().take(groups).count();
    storage.wal.close();
    if written < groups {
        bail!("the disk failed: only {written} of {groups} groups were changed");
    }
    println!(
        "node {} is now the sole voter of {groups} groups. Start it with its usual flags, then add \
         new nodes. Never start one of the old others with its old data directory again.",
        identity.node
    );
    Ok(ExitCode::SUCCESS)
}

fn explain(node: u64, groups: &[(GroupId, &Restored)]) {
    println!(
        "This makes node {node} the sole voter, for when a majority of the voters is lost for good.\n\
         \n\
         What may be lost: every operation that the lost voters acknowledged and that this node \
         had not received yet. Clients were told that those took effect.\n\
         What may appear: operations in this node's log that were never acknowledged; their \
         clients were told that the outcome is unknown.\n\
         What must not happen: an old voter that comes back with its old data. It could elect \
         another leader. Wipe it before it joins again.\n"
    );
    for (group, restored) in groups {
        let configuration = configuration(restored);
        println!(
            "group {group}: this node's log ends at index {} (term {}); voters were {:?}",
            last(restored).0,
            last(restored).1,
            configuration
                .map(|configuration| configuration.voters.clone())
                .unwrap_or_default(),
        );
    }
}

/// Index and term of the last entry.
fn last(restored: &Restored) -> (u64, u64) {
    let entry = restored
        .entries
        .last()
        .map(|entry| (entry.index, entry.term));
    let snapshot = restored
        .snapshot
        .as_ref()
        .map(|meta| (meta.index, meta.term));
    entry.or(snapshot).unwrap_or_default()
}

/// The newest configuration that the log or the snapshot names.
fn configuration(restored: &Restored) -> Option<&Configuration> {
    let in_log = restored
        .entries
        .iter()
        .rev()
        .find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some(configuration.as_ref()),
            _ => None,
        });
    in_log.or(restored.snapshot.as_ref().map(|meta| &meta.configuration))
}

fn sole_voter(node: u64, member: Option<&Member>, restored: &Restored) -> anyhow::Result<Append> {
    let mut sole = Configuration::of_voters([node]);
    let known = configuration(restored).and_then(|configuration| configuration.context.get(&node));
    let context = match (member, known) {
        (Some(member), _) => member.addresses.to_context(),
        (None, Some(known)) => known.clone(),
        (None, None) => bail!("the log does not say where the node is reached: say --member"),
    };
    sole.context.insert(node, context);
    let term = restored.hard_state.term.max(last(restored).1) + 1;
    Ok(Append {
        hard_state: Some(HardState {
            term,
            vote: Some(node),
        }),
        entries: vec![Entry {
            index: last(restored).0 + 1,
            term,
            payload: Payload::Configuration(Box::new(sole)),
        }],
        wiped: Some(false),
        ..Append::default()
    })
}
