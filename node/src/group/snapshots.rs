//! Snapshots: made beside the group's work, streamed to followers that need one, installed.
//!
//! A snapshot is written from a frozen clone of the state on a thread of its own; the log is cut
//! only when it is stable, and older snapshots go only when the log says so. A transfer asks where
//! to go on before it begins, so a broken one is taken up where it ended.

use std::collections::HashMap;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use raft::{Body, Index, Message, NodeId, Raft, SnapshotMeta, SnapshotRequest, Term};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tracing::Instrument;

use super::apply::Work;
use super::engine::{Event, Settings};
use super::forward::Waiter;
use super::member::Member;
use super::{Failure, GroupId, Shared, group_span};
use crate::state_machine::State;
use crate::storage::snapshot::IncomingSnapshot;
use crate::storage::{Append, Snapshots, Wal};
use crate::transport::{self, Request, Response, SnapshotPiece, Transport};

/// Bytes of one piece of a transfer.
const PIECE_LEN: usize = 256 << 10;
/// How long a piece's answer is waited for; the last one waits for the follower's disk.
const PATIENCE: Duration = Duration::from_secs(30);
/// Snapshots written or loaded at once: many groups take turns.
const JOBS_MAX: usize = 2;
/// Snapshots sent at once.
const STREAMS_MAX: usize = 4;

/// Something about snapshots came to an end.
#[derive(Debug)]
pub(super) enum Done {
    /// A snapshot of our own is stable, or could not be written.
    Written {
        group: GroupId,
        meta: Option<SnapshotMeta>,
    },
    /// The log begins behind this snapshot for certain: older ones may go.
    Marked { group: GroupId, index: Index },
    /// A transfer ended; `None` if it failed.
    Sent {
        group: GroupId,
        to: NodeId,
        meta: Option<SnapshotMeta>,
    },
    /// A leader's snapshot lies here complete.
    Received {
        group: GroupId,
        from: NodeId,
        term: Term,
        meta: SnapshotMeta,
    },
    /// The state of a snapshot is in memory.
    Loaded { group: GroupId, state: Box<State> },
}

/// Where a group stands with its snapshots.
#[derive(Debug, Default)]
struct Standing {
    /// The latest snapshot of our own, or installed.
    index: Index,
    writing: bool,
    /// Who asked for a snapshot by hand.
    waiters: Vec<Waiter<u64>>,
    /// Followers that wait for the snapshot being written.
    requests: Vec<SnapshotRequest>,
}

/// Makes, sends, receives and installs snapshots for all groups.
#[derive(Debug)]
pub(super) struct Snapshotter {
    files: Snapshots,
    links: Arc<Transport>,
    events: mpsc::UnboundedSender<Event>,
    every: u64,
    keep: u64,
    log_bytes_max: usize,
    standings: Vec<Standing>,
    jobs: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    incoming: Arc<Mutex<HashMap<GroupId, IncomingSnapshot>>>,
}

impl Snapshotter {
    pub(super) fn new(
        files: Snapshots,
        links: Arc<Transport>,
        events: mpsc::UnboundedSender<Event>,
        settings: &Settings,
        members: &[Member],
    ) -> Snapshotter {
        let standing = |member: &Member| Standing {
            index: member.raft.status().snapshot,
            ..Standing::default()
        };
        Snapshotter {
            files,
            links,
            events,
            every: settings.snapshot_entries,
            keep: settings.keep_entries,
            log_bytes_max: settings.log_bytes_max,
            standings: members.iter().map(standing).collect(),
            jobs: Arc::new(Semaphore::new(JOBS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            incoming: Arc::default(),
        }
    }

    // --- making -----------------------------------------------------------------------------

    /// The group has applied up to `index`: is it time?
    pub(super) fn applied(&mut self, member: &Member, index: Index, shared: &Shared) {
        let standing = &self.standings[member.id as usize];
        if standing.writing || index <= standing.index {
            return;
        }
        if index >= standing.index + self.every || self.is_long(&member.raft, shared) {
            self.write(member, shared);
        }
    }

    /// Whether the log takes more room than it may, and than the state that would take its place.
    fn is_long(&self, raft: &Raft, shared: &Shared) -> bool {
        let bytes = raft.log_bytes();
        bytes > self.log_bytes_max && bytes as u64 > shared.state.read().size_bytes()
    }

    /// Somebody wants a snapshot now.
    pub(super) fn requested(&mut self, member: &Member, waiter: Waiter<u64>, shared: &Shared) {
        let standing = &mut self.standings[member.id as usize];
        if shared.state.read().applied() <= standing.index && !standing.writing {
            return waiter.answer(Ok(standing.index));
        }
        standing.waiters.push(waiter);
        if !standing.writing {
            self.write(member, shared);
        }
    }

    fn write(&mut self, member: &Member, shared: &Shared) {
        let group = member.id;
        let state = shared.state.read().clone();
        let Some(meta) = member.raft.snapshot_meta(state.applied()) else {
            return;
        };
        self.standings[group as usize].writing = true;
        let (files, events, jobs) = (self.files.clone(), self.events.clone(), self.jobs.clone());
        let writing = async move {
            let _turn = jobs.acquire_owned().await;
            let written = spawn_blocking(move || {
                let mut out = BufWriter::with_capacity(1 << 20, files.create(group, &meta)?);
                state.write_to(&mut out)?;
                let file = out
                    .into_inner()
                    .map_err(std::io::IntoInnerError::into_error)?;
                file.finish()?;
                anyhow::Ok(meta)
            })
            .await;
            let meta = match written {
                Ok(Ok(meta)) => Some(meta),
                Ok(Err(error)) => {
                    tracing::error!("no snapshot was written: {error:#}");
                    None
                }
                Err(_) => None,
            };
            let _ = events.send(Event::Snapshot(Done::Written { group, meta }));
        };
        tokio::spawn(writing.instrument(member.span()));
    }

    fn written(&mut self, member: &mut Member, meta: Option<SnapshotMeta>, wal: &Wal) {
        let group = member.id;
        let standing = &mut self.standings[group as usize];
        standing.writing = false;
        let waiters = std::mem::take(&mut standing.waiters);
        let requests = std::mem::take(&mut standing.requests);
        let answer = match &meta {
            Some(meta) => Ok(meta.index),
            None => Err(Failure::Refused("the snapshot could not be written".into())),
        };
        for waiter in waiters {
            waiter.answer(answer.clone());
        }
        let Some(meta) = meta else {
            // Tried again only after as many entries more: a full disk is not to be hammered.
            standing.index += self.every / 4;
            return requests
                .into_iter()
                .for_each(|request| self.sent(group, request.to, None));
        };
        // A leader's snapshot may have been installed meanwhile.
        if meta.index > standing.index {
            standing.index = meta.index;
            let keep_bytes = self.log_bytes_max / 2;
            let keep_from = member.raft.tail(meta.index, self.keep, keep_bytes);
            member.raft.compact(meta.clone(), keep_from);
            self.mark(group, Append::compacted(meta.clone()), meta.index, wal);
            tracing::info!(parent: &member.span(), index = meta.index, "snapshot written");
        }
        for request in requests {
            self.stream(group, request);
        }
    }

    fn mark(&self, group: GroupId, append: Append, index: Index, wal: &Wal) {
        let events = self.events.clone();
        wal.append(group, append, move || {
            let _ = events.send(Event::Snapshot(Done::Marked { group, index }));
        });
    }

    // --- sending ----------------------------------------------------------------------------

    /// A follower needs a snapshot.
    pub(super) fn send(&mut self, request: SnapshotRequest, member: &Member, shared: &Shared) {
        let standing = &mut self.standings[member.id as usize];
        if standing.index >= request.at_least {
            return self.stream(member.id, request);
        }
        standing.requests.push(request);
        if !standing.writing {
            self.write(member, shared);
        }
    }

    fn stream(&self, group: GroupId, request: SnapshotRequest) {
        let (files, links, events) = (self.files.clone(), self.links.clone(), self.events.clone());
        let span = group_span(group, request.term);
        let streams = self.streams.clone();
        let sending = async move {
            let _turn = streams.acquire_owned().await;
            let to = request.to;
            let meta = match transfer(&files, &links, group, request).await {
                Ok(meta) => {
                    tracing::info!(to, index = meta.index, "snapshot sent");
                    Some(meta)
                }
                Err(error) => {
                    tracing::warn!(to, "no snapshot was sent: {error:#}");
                    None
                }
            };
            let _ = events.send(Event::Snapshot(Done::Sent { group, to, meta }));
        };
        tokio::spawn(sending.instrument(span));
    }

    fn sent(&self, group: GroupId, to: NodeId, meta: Option<SnapshotMeta>) {
        let _ = self
            .events
            .send(Event::Snapshot(Done::Sent { group, to, meta }));
    }

    // --- receiving and installing -----------------------------------------------------------

    /// A piece of a leader's snapshot; the answer says which piece is wanted next.
    pub(super) fn receive(&self, from: NodeId, piece: SnapshotPiece, reply: transport::Reply) {
        let (files, incoming, events) = (
            self.files.clone(),
            Arc::clone(&self.incoming),
            self.events.clone(),
        );
        spawn_blocking(move || {
            let (group, term) = (piece.group, piece.leader_term);
            match take(&files, &mut incoming.lock(), &piece) {
                Ok(Taken::Wanted(offset)) => reply.send(&Response::SnapshotWanted(offset)),
                Ok(Taken::Complete(meta)) => {
                    reply.send(&Response::SnapshotComplete);
                    let _ = events.send(Event::Snapshot(Done::Received {
                        group,
                        from,
                        term,
                        meta,
                    }));
                }
                Err(error) => {
                    let span = group_span(group, term);
                    tracing::warn!(parent: &span, from, "snapshot refused: {error:#}");
                    reply.send(&Response::Refused(format!("{error:#}")));
                }
            }
        });
    }

    /// Makes a received snapshot the group's own: the log begins anew behind it, and the state is
    /// loaded.
    pub(super) fn install(&mut self, group: GroupId, meta: SnapshotMeta, wal: &Wal) {
        let standing = &mut self.standings[group as usize];
        standing.index = standing.index.max(meta.index);
        self.mark(group, Append::installed(meta.clone()), meta.index, wal);
        let (files, events) = (self.files.clone(), self.events.clone());
        spawn_blocking(move || {
            // What was complete and verified a moment ago cannot be read: this node is of no use
            // to the group any more, and going on would be a guess.
            let state = load(&files, group, &meta).expect("a snapshot that was just verified");
            let state = Box::new(state);
            let _ = events.send(Event::Snapshot(Done::Loaded { group, state }));
        });
    }

    /// Takes notice of what came to an end; says whether the group's core has something to do.
    pub(super) fn complete(
        &mut self,
        done: Done,
        members: &mut [Member],
        wal: &Wal,
        work: &mpsc::UnboundedSender<Work>,
    ) -> Option<GroupId> {
        match done {
            Done::Written { group, meta } => {
                self.written(&mut members[group as usize], meta, wal);
                Some(group)
            }
            Done::Marked { group, index } => {
                let files = self.files.clone();
                spawn_blocking(move || {
                    if let Err(error) = files.prune(group, index) {
                        tracing::warn!(group, %error, "old snapshots could not be deleted");
                    }
                });
                None
            }
            Done::Sent { group, to, meta } => {
                members[group as usize]
                    .raft
                    .snapshot_sent(to, meta.as_ref());
                Some(group)
            }
            Done::Received {
                group,
                from,
                term,
                meta,
            } => {
                let body = Body::Snapshot {
                    meta: Box::new(meta),
                };
                members
                    .get_mut(group as usize)?
                    .raft
                    .step(from, Message { term, body });
                Some(group)
            }
            Done::Loaded { group, state } => {
                let _ = work.send(Work::Install { group, state });
                None
            }
        }
    }
}

/// Reads the state that a snapshot holds.
pub fn load(files: &Snapshots, group: GroupId, meta: &SnapshotMeta) -> anyhow::Result<State> {
    let found = files.find(group, meta.index, meta.term)?;
    let snapshot = found
        .ok_or_else(|| anyhow::anyhow!("snapshot {} of group {group} is missing", meta.index))?;
    Ok(State::read_from(&mut BufReader::with_capacity(
        1 << 20,
        snapshot.read()?,
    ))?)
}

/// Sends the newest snapshot piece by piece, from where the follower has it. After each piece it rests
/// as long as that took: half of the link and of both disks is left to others.
async fn transfer(
    files: &Snapshots,
    links: &Transport,
    group: GroupId,
    request: SnapshotRequest,
) -> anyhow::Result<SnapshotMeta> {
    let opened = files.clone();
    let snapshot = spawn_blocking(move || opened.newest(group)).await??;
    let snapshot = snapshot
        .filter(|snapshot| snapshot.meta.index >= request.at_least)
        .ok_or_else(|| anyhow::anyhow!("there is no snapshot that is new enough"))?;
    let (mut offset, mut bytes) = (0, bytes::Bytes::new());
    loop {
        let piece = SnapshotPiece {
            group,
            leader_term: request.term,
            index: snapshot.meta.index,
            term: snapshot.meta.term,
            len: snapshot.len,
            digest: snapshot.digest,
            offset,
            bytes,
        };
        let begun = Instant::now();
        offset = match links
            .request(request.to, &Request::Snapshot(piece), PATIENCE)
            .await?
        {
            Response::SnapshotWanted(offset) => offset,
            Response::SnapshotComplete => return Ok(snapshot.meta),
            Response::Refused(reason) => anyhow::bail!("refused: {reason}"),
            Response::Forward(_) => anyhow::bail!("the answer is of another kind"),
        };
        tokio::time::sleep(begun.elapsed()).await;
        let file = snapshot.clone();
        bytes = spawn_blocking(move || file.piece(offset, PIECE_LEN)).await??;
    }
}

enum Taken {
    Wanted(u64),
    Complete(SnapshotMeta),
}

fn take(
    files: &Snapshots,
    incoming: &mut HashMap<GroupId, IncomingSnapshot>,
    piece: &SnapshotPiece,
) -> anyhow::Result<Taken> {
    let group = piece.group;
    if let Some(snapshot) = files.find(group, piece.index, piece.term)? {
        return Ok(Taken::Complete(snapshot.meta));
    }
    // An empty piece begins a transfer, or takes one up again.
    let mut transfer = match incoming.remove(&group) {
        Some(transfer) if !piece.bytes.is_empty() => transfer,
        _ => files.receive(group, piece.index, piece.term, piece.len, piece.digest)?,
    };
    transfer.write(piece.offset, &piece.bytes)?;
    if transfer.is_complete() {
        return Ok(Taken::Complete(transfer.finish()?.meta));
    }
    let wanted = transfer.at();
    incoming.insert(group, transfer);
    Ok(Taken::Wanted(wanted))
}

/// Bytes of all files below a directory.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| {
            if meta.is_dir() {
                disk_bytes(&path)
            } else {
                meta.len()
            }
        })
        .sum()
}
