//! How fast the harness itself is: the same generators, templates, client and recorder as in any
//! run, against a server on loopback that has next to nothing to do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Plan;
use super::judge;
use crate::interpreter::{Stage, drive};
use crate::playbook::source::Source;
use crate::recorder::Recorder;
use crate::system::Node;
use crate::tally::Tally;

/// The longest request that the server reads.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Operations, an invocation and its completion being one.
    pub operations: u64,
    /// Of which so many were ok.
    pub ok: u64,
    /// From the first invocation to the last completion.
    pub seconds: f64,
    /// Operations a second.
    pub rate: f64,
    /// The size of the history.
    pub history_bytes: u64,
    /// The most memory that the process held until the last completion.
    pub memory_run_bytes: u64,
    /// How long the check took, if there was one.
    pub check_seconds: Option<f64>,
    /// The most memory that the process held, the check included.
    pub memory_check_bytes: Option<u64>,
    /// What the checker said.
    pub verdict: Option<&'static str>,
}

/// Runs so many operations by so many clients, and checks the history when asked to.
pub async fn bench(folder: &Path, operations: u64, clients: usize, check: bool) -> Result<Figures> {
    let server = Server::start()?;
    let plan = plan(server.address, operations, clients)?;
    let start = Instant::now();
    let history = folder.join("history.jsonl");
    let recorder = Arc::new(Recorder::create(&history, start)?);
    let syncing = tokio::spawn(Arc::clone(&recorder).keep_synced());
    let tally = Arc::new(Tally::new(1));
    // Kept: a dropped sender would look like a word to stop.
    let (_stop, stopped) = watch::channel(false);
    let stage = Stage {
        recorder: Arc::clone(&recorder),
        tally: Arc::clone(&tally),
        stop: stopped,
    };
    drop(drive(super::workers(&plan)?, &stage).await);
    let seconds = start.elapsed().as_secs_f64();
    syncing.abort();
    recorder.sync();
    if let Some(error) = recorder.error() {
        anyhow::bail!(error);
    }
    let counted = tally.total();
    let mut figures = Figures {
        operations: counted.total(),
        ok: counted.ok,
        seconds,
        rate: counted.total() as f64 / seconds,
        history_bytes: std::fs::metadata(&history)?.len(),
        memory_run_bytes: peak_memory_bytes()?,
        check_seconds: None,
        memory_check_bytes: None,
        verdict: None,
    };
    if check {
        let began = Instant::now();
        let properties = judge::judge(&history, &plan.parts())?;
        figures.check_seconds = Some(began.elapsed().as_secs_f64());
        figures.memory_check_bytes = Some(peak_memory_bytes()?);
        figures.verdict = properties.first().map(|property| property.verdict.name());
    }
    Ok(figures)
}

/// A playbook as anybody could write it, for a cluster that is the server.
fn plan(address: SocketAddr, operations: u64, clients: usize) -> Result<Plan> {
    let source = Source {
        file: "(bench)".into(),
        text: format!(
            "name: bench\n\
             system: {{use: raft-node, with: {{http_port: {}}}}}\n\
             nodes: 1\n\
             workloads:\n\
             \x20 - kind: register\n\
             \x20   clients: {clients}\n\
             \x20   keys: 1000\n\
             \x20   mix: {{read: 1, write: 1}}\n\
             \x20   operations: {operations}\n",
            address.port()
        ),
    };
    let node = Node {
        name: "n1".into(),
        id: 1,
        address: address.ip().to_string(),
        joins: false,
    };
    let loaded = crate::playbook::parse(source)?;
    Ok(Plan::of(loaded, 1)?.with_nodes(vec![node])?)
}

/// The most that the process has ever held.
fn peak_memory_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read the memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("the kernel does not tell the memory")? << 10)
}

/// A key-value server that does the least that makes a history of registers linearizable.
struct Server {
    address: SocketAddr,
}

impl Server {
    /// On a thread of its own, until the process ends.
    fn start() -> Result<Server> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            let all = tokio::task::LocalSet::new();
            let listening = all.run_until(async move {
                let values = std::rc::Rc::default();
                let listener = TcpListener::from_std(listener).expect("inside a runtime");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(serve(stream, std::rc::Rc::clone(&values)));
                }
            });
            runtime.block_on(listening);
        });
        Ok(Server { address })
    }
}

type Values = std::rc::Rc<std::cell::RefCell<HashMap<Vec<u8>, Vec<u8>>>>;

/// Answers one connection's requests until it ends or says something that is none.
async fn serve(mut stream: TcpStream, values: Values) {
    let _ = stream.set_nodelay(true);
    let mut waiting = Vec::new();
    let mut answer = Vec::new();
    loop {
        while let Some(length) = answered(&waiting, &values, &mut answer) {
            waiting.drain(..length);
        }
        if !answer.is_empty() && stream.write_all(&answer).await.is_err() {
            return;
        }
        answer.clear();
        let read = stream.read_buf(&mut waiting).await;
        if !matches!(read, Ok(1..)) || waiting.len() > REQUEST_BYTES_MAX {
            return;
        }
    }
}

/// Answers the first request, if all of it is there; gives back its length.
fn answered(waiting: &[u8], values: &Values, answer: &mut Vec<u8>) -> Option<usize> {
    let head_end = waiting.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&waiting[..head_end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = name
            .eq_ignore_ascii_case("content-length")
            .then_some(value)?;
        value.trim().parse::<usize>().ok()
    });
    let end = head_end + length.unwrap_or(0);
    let body = waiting.get(head_end..end)?;
    let path = head.split(' ').nth(1)?.split('?').next()?.as_bytes();
    let mut values = values.borrow_mut();
    if head.starts_with("PUT ") {
        match values.get_mut(path) {
            Some(value) => body.clone_into(value),
            None => drop(values.insert(path.to_vec(), body.to_vec())),
        }
        answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    } else {
        let value = values.get(path).map_or(&b"null"[..], Vec::as_slice);
        let length = value.len() + b"{\"value\":}".len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{\"value\":");
        answer.extend_from_slice(head.as_bytes());
        answer.extend_from_slice(value);
        answer.push(b'}');
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_bench_records_is_a_valid_history_of_all_its_operations() {
        let folder = tempfile::tempdir().unwrap();
        let figures = bench(folder.path(), 2_000, 8, true).await.unwrap();
        assert_eq!((figures.operations, figures.ok), (2_000, 2_000));
        assert_eq!(figures.verdict, Some("valid"));
    }
}
