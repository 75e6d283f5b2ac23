//! The bare minimum, as a bound: three processes that copy puts to two of three disks and answer.
//!
//! Nothing is parsed, elected, kept or applied. The first node appends what its clients send to its
//! log and sends it on; a put is answered, with one byte, when two of the three logs have it stable.
//! What waits at a disk shares one sync. A log is a file of zeros that is overwritten round and
//! round, as recycled segments are.

use crate::load::{Client, Outcome};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};

const LOG_LEN: u64 = 64 << 20;
const READ_LEN: usize = 1 << 20;

/// Runs a node; it leads when there are followers to call.
pub(crate) async fn serve(listen: SocketAddr, log: &Path, followers: &[SocketAddr]) -> Result<()> {
    let log = Log::create(log).context("cannot prepare the log")?;
    if followers.is_empty() {
        return follow(listen, log);
    }
    LocalSet::new()
        .run_until(lead(listen, log, followers))
        .await
}

/// A ring of bytes on the disk.
struct Log {
    file: File,
    end: u64,
}

impl Log {
    fn create(path: &Path) -> std::io::Result<Log> {
        let file = File::create(path)?;
        let zeros = vec![0; READ_LEN];
        for at in (0..LOG_LEN).step_by(READ_LEN) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Log { file, end: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let at = self.end % LOG_LEN;
        let before_the_end = bytes.len().min((LOG_LEN - at) as usize);
        self.file.write_all_at(&bytes[..before_the_end], at)?;
        self.file.write_all_at(&bytes[before_the_end..], 0)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes all stable; gives how many bytes that is.
    fn sync(&self) -> std::io::Result<u64> {
        self.file.sync_data()?;
        Ok(self.end)
    }
}

/// Writes whatever has come, and says how much is stable.
fn follow(listen: SocketAddr, mut log: Log) -> Result<()> {
    let (mut leader, _) = std::net::TcpListener::bind(listen)?.accept()?;
    leader.set_nodelay(true)?;
    let mut buffer = vec![0; READ_LEN];
    loop {
        let len = leader.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        log.append(&buffer[..len])?;
        leader.write_all(&log.sync()?.to_le_bytes())?;
    }
}

/// What the leader's tasks share.
struct Leader {
    /// Came in, and is on its way to no disk yet.
    batch: RefCell<Vec<u8>>,
    came_in: Notify,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that have come in.
    end: u64,
    /// Of those, how many are stable where.
    stable: [u64; 3],
    /// Where each unanswered put ends, and whose it is.
    waiting: VecDeque<(u64, usize)>,
    clients: Vec<OwnedWriteHalf>,
}

async fn lead(listen: SocketAddr, log: Log, followers: &[SocketAddr]) -> Result<()> {
    let leader = Rc::new(Leader {
        batch: RefCell::default(),
        came_in: Notify::new(),
        state: RefCell::default(),
    });
    let mut followers_inboxes = Vec::new();
    for (number, &follower) in followers.iter().enumerate() {
        let (mut answers, mut requests) = connect(follower).await?.into_split();
        let (inbox, mut outbox) = mpsc::unbounded_channel::<Bytes>();
        followers_inboxes.push(inbox);
        spawn_local(async move {
            while let Some(bytes) = outbox.recv().await {
                requests.write_all(&bytes).await.expect("followers stay");
            }
        });
        let leader = Rc::clone(&leader);
        spawn_local(async move {
            while let Ok(stable) = answers.read_u64_le().await {
                leader.became_stable(number + 1, stable);
            }
        });
    }
    let own_inbox = leader.write_beside(log);
    let flushing = Rc::clone(&leader);
    spawn_local(async move {
        loop {
            flushing.came_in.notified().await;
            let batch = Bytes::from(flushing.batch.take());
            for inbox in &followers_inboxes {
                let _ = inbox.send(batch.clone());
            }
            let _ = own_inbox.send(batch);
        }
    });
    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        spawn_local(Rc::clone(&leader).take_in(client));
    }
}

impl Leader {
    /// The leader's own disk has a thread to itself.
    fn write_beside(self: &Rc<Leader>, mut log: Log) -> std::sync::mpsc::Sender<Bytes> {
        let (inbox, outbox) = std::sync::mpsc::channel::<Bytes>();
        let (done, mut stable) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while let Ok(first) = outbox.recv() {
                for bytes in std::iter::once(first).chain(outbox.try_iter()) {
                    log.append(&bytes).expect("the disk writes");
                }
                let _ = done.send(log.sync().expect("the disk syncs"));
            }
        });
        let leader = Rc::clone(self);
        spawn_local(async move {
            while let Some(stable) = stable.recv().await {
                leader.became_stable(0, stable);
            }
        });
        inbox
    }

    /// Takes in a client's puts: each is its length and so many bytes.
    async fn take_in(self: Rc<Leader>, client: TcpStream) {
        let (mut requests, answers) = client.into_split();
        let client = {
            let clients = &mut self.state.borrow_mut().clients;
            clients.push(answers);
            clients.len() - 1
        };
        let mut buffer = Vec::with_capacity(READ_LEN);
        while let Ok(1..) = requests.read_buf(&mut buffer).await {
            let mut taken = 0;
            let state = &mut *self.state.borrow_mut();
            while let Some(len) = buffer[taken..].first_chunk() {
                let whole = 4 + u32::from_le_bytes(*len) as usize;
                if buffer.len() - taken < whole {
                    break;
                }
                taken += whole;
                state.end += whole as u64;
                state.waiting.push_back((state.end, client));
            }
            self.batch.borrow_mut().extend_from_slice(&buffer[..taken]);
            buffer.drain(..taken);
            self.came_in.notify_one();
        }
    }

    /// Answers what two of three disks now have.
    fn became_stable(&self, node: usize, stable: u64) {
        let State {
            stable: all,
            waiting,
            clients,
            ..
        } = &mut *self.state.borrow_mut();
        all[node] = stable;
        let mut sorted = *all;
        sorted.sort_unstable();
        let answered = waiting.partition_point(|(end, _)| *end <= sorted[1]);
        let mut due = vec![0; clients.len()];
        waiting
            .drain(..answered)
            .for_each(|(_, client)| due[client] += 1);
        for (client, puts) in clients.iter().zip(due).filter(|(_, puts)| *puts > 0) {
            // A socket takes a few bytes at once; of a client that is gone nobody minds.
            let _ = client.try_write(&vec![0; puts]);
        }
    }
}

/// Waits until somebody listens there.
async fn connect(address: SocketAddr) -> Result<TcpStream> {
    for _ in 0..1000 {
        if let Ok(stream) = TcpStream::connect(address).await {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    bail!("nobody listens at {address}")
}

/// A client, with a connection to itself.
pub(crate) struct Bare {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Bare {
    /// Opens a connection to the node that leads.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Bare> {
        Ok(Bare {
            stream: connect(address).await?,
            request: Vec::new(),
        })
    }
}

impl Client for Bare {
    async fn put(&mut self, key: u64, value: &[u8]) -> Result<Outcome> {
        self.request.clear();
        let len = (size_of_val(&key) + value.len()) as u32;
        self.request.extend_from_slice(&len.to_le_bytes());
        self.request.extend_from_slice(&key.to_le_bytes());
        self.request.extend_from_slice(value);
        self.stream.write_all(&self.request).await?;
        self.stream.read_u8().await?;
        Ok(Outcome::Done)
    }

    async fn get(&mut self, _key: u64) -> Result<Outcome> {
        bail!("it keeps nothing that could be read")
    }
}
