//! Raft messages as bytes, by hand: they are the bulk of what peers send.
//!
//! A batch is message after message until the frame ends: the group, a kind byte, the term, then
//! the fields as varints. So the heartbeats of a thousand groups are one frame of some ten bytes
//! each, and an append costs little more than its commands.

use crate::encoding::{self, GroupId, Malformed, Reader, put_varint};
use raft::{Body, Message, Position, Stage};

/// Kinds; a flag that belongs to one is folded into it.
mod kind {
    pub(super) const VOTE_REQUEST: u8 = 1;
    pub(super) const VOTE_REPLY: u8 = 2;
    pub(super) const APPEND: u8 = 3;
    pub(super) const ACCEPTED: u8 = 4;
    pub(super) const REJECTED: u8 = 5;
    pub(super) const HEARTBEAT: u8 = 6;
    pub(super) const HEARTBEAT_SLEEP: u8 = 7;
    pub(super) const HEARTBEAT_REPLY: u8 = 8;
    pub(super) const SNAPSHOT: u8 = 9;
    pub(super) const TIMEOUT_NOW: u8 = 10;
    pub(super) const READ_REQUEST: u8 = 11;
    pub(super) const READ_REPLY: u8 = 12;
    pub(super) const HELD: u8 = 13;
}

fn kind_of(body: &Body) -> u8 {
    match body {
        Body::VoteRequest { .. } => kind::VOTE_REQUEST,
        Body::VoteReply { .. } => kind::VOTE_REPLY,
        Body::Append { .. } => kind::APPEND,
        Body::Accepted { .. } => kind::ACCEPTED,
        Body::Held { .. } => kind::HELD,
        Body::Rejected { .. } => kind::REJECTED,
        Body::Heartbeat { sleep: false, .. } => kind::HEARTBEAT,
        Body::Heartbeat { sleep: true, .. } => kind::HEARTBEAT_SLEEP,
        Body::HeartbeatReply { .. } => kind::HEARTBEAT_REPLY,
        Body::Snapshot { .. } => kind::SNAPSHOT,
        Body::TimeoutNow => kind::TIMEOUT_NOW,
        Body::ReadRequest { .. } => kind::READ_REQUEST,
        Body::ReadReply { .. } => kind::READ_REPLY,
    }
}

/// Appends a message for a group.
pub(crate) fn put_message(out: &mut Vec<u8>, group: GroupId, message: &Message) {
    put_varint(out, u64::from(group));
    out.push(kind_of(&message.body));
    put_varint(out, message.term);
    match &message.body {
        Body::VoteRequest {
            stage,
            last,
            forced,
        } => {
            put_stage(out, *stage);
            put_position(out, *last);
            out.push(u8::from(*forced));
        }
        Body::VoteReply { stage, granted } => {
            put_stage(out, *stage);
            out.push(u8::from(*granted));
        }
        Body::Append {
            previous,
            entries,
            commit,
        } => {
            put_position(out, *previous);
            put_varint(out, *commit);
            encoding::put_entries(out, entries);
        }
        Body::Accepted { matched } | Body::Held { matched } => put_varint(out, *matched),
        Body::Rejected { at, hint } => {
            put_varint(out, *at);
            put_position(out, *hint);
        }
        Body::Heartbeat {
            commit,
            round,
            sleep: _,
        } => {
            put_varint(out, *commit);
            put_varint(out, *round);
        }
        Body::HeartbeatReply { round } | Body::ReadRequest { round } => put_varint(out, *round),
        Body::Snapshot { meta } => encoding::put_snapshot_meta(out, meta),
        Body::TimeoutNow => {}
        Body::ReadReply {
            round,
            index,
            commit,
        } => {
            put_varint(out, *round);
            put_varint(out, *index);
            put_varint(out, *commit);
        }
    }
}

/// Reads a message; its entries' commands share the reader's allocation.
pub(crate) fn message(reader: &mut Reader) -> Result<(GroupId, Message), Malformed> {
    let group = GroupId::try_from(reader.varint()?).map_err(|_| Malformed("group"))?;
    let kind = reader.byte()?;
    let term = reader.varint()?;
    let body = match kind {
        kind::VOTE_REQUEST => Body::VoteRequest {
            stage: stage(reader)?,
            last: position(reader)?,
            forced: reader.flag()?,
        },
        kind::VOTE_REPLY => Body::VoteReply {
            stage: stage(reader)?,
            granted: reader.flag()?,
        },
        kind::APPEND => Body::Append {
            previous: position(reader)?,
            commit: reader.varint()?,
            entries: encoding::entries(reader)?,
        },
        kind::ACCEPTED => Body::Accepted {
            matched: reader.varint()?,
        },
        kind::HELD => Body::Held {
            matched: reader.varint()?,
        },
        kind::REJECTED => Body::Rejected {
            at: reader.varint()?,
            hint: position(reader)?,
        },
        kind::HEARTBEAT | kind::HEARTBEAT_SLEEP => Body::Heartbeat {
            commit: reader.varint()?,
            round: reader.varint()?,
            sleep: kind == kind::HEARTBEAT_SLEEP,
        },
        kind::HEARTBEAT_REPLY => Body::HeartbeatReply {
            round: reader.varint()?,
        },
        kind::SNAPSHOT => Body::Snapshot {
            meta: Box::new(encoding::snapshot_meta(reader)?),
        },
        kind::TIMEOUT_NOW => Body::TimeoutNow,
        kind::READ_REQUEST => Body::ReadRequest {
            round: reader.varint()?,
        },
        kind::READ_REPLY => Body::ReadReply {
            round: reader.varint()?,
            index: reader.varint()?,
            commit: reader.varint()?,
        },
        _ => return Err(Malformed("message kind")),
    };
    Ok((group, Message { term, body }))
}

fn put_stage(out: &mut Vec<u8>, stage: Stage) {
    out.push(match stage {
        Stage::Pre => 0,
        Stage::Real => 1,
    });
}

fn stage(reader: &mut Reader) -> Result<Stage, Malformed> {
    Ok(if reader.flag()? {
        Stage::Real
    } else {
        Stage::Pre
    })
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put_varint(out, position.index);
    put_varint(out, position.term);
}

fn position(reader: &mut Reader) -> Result<Position, Malformed> {
    Ok(Position {
        index: reader.varint()?,
        term: reader.varint()?,
    })
}
