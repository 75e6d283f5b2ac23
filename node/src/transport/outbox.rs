//! What waits to be sent on one connection.
//!
//! Messages are encoded straight into the bytes that the kernel will be given, many to a frame.
//! Whoever flushes writes those bytes to the socket at once if it takes them, without waking
//! anybody; what the socket does not take, the connection's task writes when it can. The queue is
//! bounded: Raft lives with a lost message, and not with a queue that grows for ever.

use super::frame;
use super::frame::{Request, Response};
use crate::encoding::GroupId;
use parking_lot::Mutex;
use raft::Message;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A frame of messages is closed at this length.
const MESSAGES_LEN: usize = 1 << 20;

/// One connection's queue; it outlives the connection and serves the next.
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Wakes the connection's task: there are bytes that only it can send.
    pub(crate) backlog: Notify,
    len_max: usize,
}

struct State {
    /// Frames from `sent` on, the last one still open when `open` says so.
    bytes: Vec<u8>,
    sent: usize,
    open: Option<usize>,
    connection: Connection,
    last_written: Instant,
}

enum Connection {
    /// There is none; nothing is kept for it.
    Down,
    /// Bytes go straight to this socket, unless its task is at it.
    Direct {
        stream: Arc<TcpStream>,
        backlogged: bool,
    },
    /// Bytes must pass through the task (TLS).
    Task,
}

/// Nothing was queued: there is no connection, or the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotQueued;

impl Outbox {
    pub(crate) fn new(len_max: usize) -> Outbox {
        Outbox {
            state: Mutex::new(State {
                bytes: Vec::new(),
                sent: 0,
                open: None,
                connection: Connection::Down,
                last_written: Instant::now(),
            }),
            backlog: Notify::new(),
            len_max,
        }
    }

    /// A connection stands; with a stream, flushing writes to it directly.
    pub(crate) fn connected(&self, stream: Option<Arc<TcpStream>>) {
        let mut state = self.state.lock();
        state.clear();
        state.connection = match stream {
            Some(stream) => Connection::Direct {
                stream,
                backlogged: false,
            },
            None => Connection::Task,
        };
    }

    /// The connection is gone, and with it whatever waited.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state.lock();
        state.clear();
        state.connection = Connection::Down;
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.state.lock().connection, Connection::Down)
    }

    /// Queues a message until the next flush.
    pub(crate) fn message(&self, group: GroupId, message: &Message) -> Result<(), NotQueued> {
        let mut state = self.state.lock();
        self.admit(&state)?;
        if state.open.is_none() {
            let start = frame::open_messages(&mut state.bytes);
            state.open = Some(start);
        }
        super::codec::put_message(&mut state.bytes, group, message);
        if state
            .open
            .is_some_and(|start| state.bytes.len() - start >= MESSAGES_LEN)
        {
            state.close();
        }
        Ok(())
    }

    /// Queues a request and flushes.
    pub(crate) fn request(&self, id: u64, request: &Request) -> Result<(), NotQueued> {
        self.frame(|bytes| frame::put_request(bytes, id, request))
    }

    /// Queues an answer and flushes.
    pub(crate) fn response(&self, id: u64, response: &Response) -> Result<(), NotQueued> {
        self.frame(|bytes| frame::put_response(bytes, id, response))
    }

    /// Queues a sign of life and flushes, if nothing was sent for so long.
    pub(crate) fn ping(&self, silence: Duration) {
        let idle = self.state.lock().last_written.elapsed() >= silence;
        if idle {
            // Not queued means that there is no connection to keep alive.
            let _ = self.frame(frame::put_ping);
        }
    }

    fn frame(&self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), NotQueued> {
        let mut state = self.state.lock();
        self.admit(&state)?;
        state.close();
        put(&mut state.bytes);
        self.write(&mut state);
        Ok(())
    }

    fn admit(&self, state: &State) -> Result<(), NotQueued> {
        let down = matches!(state.connection, Connection::Down);
        let full = state.bytes.len() - state.sent > self.len_max;
        if down || full { Err(NotQueued) } else { Ok(()) }
    }

    /// Gives what is queued to the kernel, or to the task if the kernel takes no more.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        if state.open.is_some() {
            state.close();
            self.write(&mut state);
        }
    }

    fn write(&self, state: &mut State) {
        match &state.connection {
            Connection::Down => state.clear(),
            Connection::Direct {
                backlogged: true, ..
            } => {}
            Connection::Task => self.backlog.notify_one(),
            Connection::Direct { stream, .. } => {
                let stream = Arc::clone(stream);
                // An error is the task's to find: a broken socket fails its every write.
                if !state.write_to(&stream).unwrap_or(false) {
                    if let Connection::Direct { backlogged, .. } = &mut state.connection {
                        *backlogged = true;
                    }
                    self.backlog.notify_one();
                }
            }
        }
    }

    /// The task's turn, when the socket takes bytes again; whether all are gone.
    pub(crate) fn drain_to(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut state = self.state.lock();
        let drained = state.write_to(stream)?;
        if let Connection::Direct { backlogged, .. } = &mut state.connection {
            *backlogged = !drained;
        }
        Ok(drained)
    }

    /// Takes all that is queued, for a task that encrypts it.
    pub(crate) fn take(&self, into: &mut Vec<u8>) {
        let mut state = self.state.lock();
        state.close();
        into.clear();
        std::mem::swap(&mut state.bytes, into);
        state.sent = 0;
        state.last_written = Instant::now();
    }
}

impl State {
    fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.open = None;
    }

    fn close(&mut self) {
        if let Some(start) = self.open.take() {
            frame::close_frame(&mut self.bytes, start);
        }
    }

    /// Writes closed frames; whether all that there is was written, or the socket is full.
    fn write_to(&mut self, stream: &TcpStream) -> io::Result<bool> {
        /// A buffer that a burst has made larger is given back.
        const KEEP_LEN_MAX: usize = 4 << 20;
        let end = self.open.unwrap_or(self.bytes.len());
        while self.sent < end {
            match stream.try_write(&self.bytes[self.sent..end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.last_written = Instant::now();
        if self.open.is_none() {
            self.sent = 0;
            if self.bytes.capacity() > KEEP_LEN_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
        Ok(true)
    }
}
