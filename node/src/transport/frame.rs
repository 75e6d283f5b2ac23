//! Frames: what a connection between two nodes carries.
//!
//! ```text
//! frame = payload length u32 | crc32c of kind and payload u32 | kind u8 | payload   (little endian)
//! ```
//!
//! A frame is taken apart only when it is there whole and its sum is right, and memory is taken
//! only for bytes that have arrived, whatever a length claims.

use super::codec;
use crate::encoding::{GroupId, Malformed, Reader, put_bytes, put_varint};
use bytes::{Buf, Bytes, BytesMut};
use raft::{Index, Message, NodeId, Priority, Term};
use std::net::SocketAddr;

/// The bytes before a payload.
pub(crate) const HEADER_LEN: usize = 9;
/// No frame of an introduced peer is longer.
pub(crate) const FRAME_LEN_MAX: usize = 20 << 20;
/// No frame is longer before the peer has introduced itself.
pub(crate) const HELLO_LEN_MAX: usize = 1 << 10;
/// What both sides must speak; the first field of a hello, whatever else changes.
pub(crate) const PROTOCOL_VERSION: u64 = 3;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const MESSAGES: u8 = 4;
const REQUEST: u8 = 5;
const RESPONSE: u8 = 6;
const PING: u8 = 7;

/// Which of a peer's connections this is: bulk must not stand in the way of heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Raft messages and forwarded requests.
    Urgent,
    /// Snapshots.
    Bulk,
}

/// How a node introduces itself to the one it has called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u64,
    pub(crate) cluster: String,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) lane: Lane,
    /// Where it accepts calls; an unspecified address is that which the call came from.
    pub(crate) listens_at: SocketAddr,
    /// How eager it is to lead.
    pub(crate) priority: Priority,
}

/// A piece of a snapshot file on its way to a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// The group that it is a snapshot of.
    pub group: GroupId,
    /// The sending leader's term.
    pub leader_term: Term,
    /// The last index that the snapshot covers.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// Length of the whole file in bytes.
    pub len: u64,
    /// Names the file's content.
    pub digest: u32,
    /// Where in the file the piece belongs.
    pub offset: u64,
    /// The piece; an empty one asks where to begin.
    pub bytes: Bytes,
}

/// What one node asks of another, expecting an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A client's request, handed on to the leader; its form is the caller's.
    Forward(Bytes),
    /// A piece of a snapshot.
    Snapshot(SnapshotPiece),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// What the leader answered; its form is the caller's.
    Forward(Bytes),
    /// The piece that is wanted next begins here.
    SnapshotWanted(u64),
    /// The snapshot is there whole, verified and stable.
    SnapshotComplete,
    /// The request was not carried out, and why.
    Refused(String),
}

/// What arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Hello(Hello),
    /// The called node's incarnation.
    Welcome(u64),
    Refused(String),
    Messages(Vec<(GroupId, Message)>),
    Request(u64, Request),
    Response(u64, Response),
    Ping,
}

/// Appends a frame whose payload `put` writes.
fn put_frame(out: &mut Vec<u8>, kind: u8, put: impl FnOnce(&mut Vec<u8>)) {
    let start = open_frame(out, kind);
    put(out);
    close_frame(out, start);
}

fn open_frame(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN - 1]);
    out.push(kind);
    start
}

/// Writes the header of a frame that began at `start` and ends with the buffer.
pub(crate) fn close_frame(out: &mut [u8], start: usize) {
    let len = (out.len() - start - HEADER_LEN) as u32;
    let sum = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Begins a frame of messages; returns where, for [`close_frame`].
pub(crate) fn open_messages(out: &mut Vec<u8>) -> usize {
    open_frame(out, MESSAGES)
}

pub(crate) fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    put_frame(out, HELLO, |out| {
        put_varint(out, hello.version);
        put_bytes(out, hello.cluster.as_bytes());
        put_varint(out, hello.from);
        put_varint(out, hello.to);
        put_varint(out, hello.incarnation);
        out.push(u8::from(hello.lane == Lane::Bulk));
        put_bytes(out, hello.listens_at.to_string().as_bytes());
        out.push(hello.priority as u8);
    });
}

pub(crate) fn put_welcome(out: &mut Vec<u8>, incarnation: u64) {
    put_frame(out, WELCOME, |out| put_varint(out, incarnation));
}

pub(crate) fn put_refused(out: &mut Vec<u8>, reason: &str) {
    put_frame(out, REFUSED, |out| put_bytes(out, reason.as_bytes()));
}

pub(crate) fn put_ping(out: &mut Vec<u8>) {
    put_frame(out, PING, |_| {});
}

pub(crate) fn put_request(out: &mut Vec<u8>, id: u64, request: &Request) {
    put_frame(out, REQUEST, |out| {
        put_varint(out, id);
        match request {
            Request::Forward(body) => {
                out.push(0);
                out.extend_from_slice(body);
            }
            Request::Snapshot(piece) => {
                out.push(1);
                put_varint(out, u64::from(piece.group));
                for field in [piece.leader_term, piece.index, piece.term, piece.len] {
                    put_varint(out, field);
                }
                put_varint(out, u64::from(piece.digest));
                put_varint(out, piece.offset);
                out.extend_from_slice(&piece.bytes);
            }
        }
    });
}

pub(crate) fn put_response(out: &mut Vec<u8>, id: u64, response: &Response) {
    put_frame(out, RESPONSE, |out| {
        put_varint(out, id);
        match response {
            Response::Forward(body) => {
                out.push(0);
                out.extend_from_slice(body);
            }
            Response::SnapshotWanted(offset) => {
                out.push(1);
                put_varint(out, *offset);
            }
            Response::SnapshotComplete => out.push(2),
            Response::Refused(reason) => {
                out.push(3);
                put_bytes(out, reason.as_bytes());
            }
        }
    });
}

/// Takes the next whole frame off the front of what has arrived; none while it is incomplete.
pub(crate) fn take(arrived: &mut BytesMut, len_max: usize) -> Result<Option<Frame>, Malformed> {
    let Some(header) = arrived.get(..HEADER_LEN) else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
    let sum = u32::from_le_bytes(header[4..8].try_into().expect("four bytes"));
    if len > len_max {
        return Err(Malformed("frame length"));
    }
    if arrived.len() < HEADER_LEN + len {
        return Ok(None);
    }
    if crc32c::crc32c(&arrived[8..HEADER_LEN + len]) != sum {
        return Err(Malformed("frame checksum"));
    }
    let kind = arrived[8];
    arrived.advance(HEADER_LEN);
    let mut reader = Reader::new(arrived.split_to(len).freeze());
    let frame = decode(kind, &mut reader)?;
    reader.finish()?;
    Ok(Some(frame))
}

fn decode(kind: u8, reader: &mut Reader) -> Result<Frame, Malformed> {
    Ok(match kind {
        HELLO => Frame::Hello(Hello {
            version: version(reader)?,
            cluster: text(reader)?,
            from: reader.varint()?,
            to: reader.varint()?,
            incarnation: reader.varint()?,
            lane: if reader.flag()? {
                Lane::Bulk
            } else {
                Lane::Urgent
            },
            listens_at: text(reader)?.parse().map_err(|_| Malformed("address"))?,
            priority: match reader.byte()? {
                0 => Priority::Normal,
                1 => Priority::Low,
                2 => Priority::Never,
                _ => return Err(Malformed("priority")),
            },
        }),
        WELCOME => Frame::Welcome(reader.varint()?),
        REFUSED => Frame::Refused(text(reader)?),
        MESSAGES => {
            let mut messages = Vec::new();
            while reader.remaining() > 0 {
                messages.push(codec::message(reader)?);
            }
            Frame::Messages(messages)
        }
        REQUEST => {
            let id = reader.varint()?;
            Frame::Request(id, request(reader)?)
        }
        RESPONSE => {
            let id = reader.varint()?;
            Frame::Response(id, response(reader)?)
        }
        PING => Frame::Ping,
        _ => return Err(Malformed("frame kind")),
    })
}

fn request(reader: &mut Reader) -> Result<Request, Malformed> {
    Ok(match reader.byte()? {
        0 => Request::Forward(reader.rest()),
        1 => Request::Snapshot(SnapshotPiece {
            group: word(reader)?,
            leader_term: reader.varint()?,
            index: reader.varint()?,
            term: reader.varint()?,
            len: reader.varint()?,
            digest: word(reader)?,
            offset: reader.varint()?,
            bytes: reader.rest(),
        }),
        _ => return Err(Malformed("request kind")),
    })
}

fn response(reader: &mut Reader) -> Result<Response, Malformed> {
    Ok(match reader.byte()? {
        0 => Response::Forward(reader.rest()),
        1 => Response::SnapshotWanted(reader.varint()?),
        2 => Response::SnapshotComplete,
        3 => Response::Refused(text(reader)?),
        _ => return Err(Malformed("response kind")),
    })
}

/// Another protocol may go on in another way: only its number is looked at.
fn version(reader: &mut Reader) -> Result<u64, Malformed> {
    match reader.varint()? {
        PROTOCOL_VERSION => Ok(PROTOCOL_VERSION),
        _ => Err(Malformed("protocol version")),
    }
}

fn word(reader: &mut Reader) -> Result<u32, Malformed> {
    u32::try_from(reader.varint()?).map_err(|_| Malformed("number"))
}

fn text(reader: &mut Reader) -> Result<String, Malformed> {
    String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| Malformed("text"))
}
