//! The checker while the run is on: it reads the history behind the recorder's back and tells of
//! the first violation that it can prove.
//!
//! It has a thread of its own and no queue: what it has not read yet lies in the file. Models of
//! linearizability are followed op by op; those whose violations no later op can undo are checked
//! again whenever the history has grown enough, so that all those checks together cost about as
//! much as a few of the whole. The rest has to wait for the end. What the vigil says ends a run,
//! and nothing more: the verdict is the checker's, over the whole history.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ordeal_checker::history::{History, Op};
use ordeal_checker::{Model, Online, Options, Verdict, check};
use tokio::sync::watch;

use super::judge::Part;

/// How often new lines are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often what was put off is judged.
const CATCH_UP_EVERY: Duration = Duration::from_secs(1);

/// A history is checked again when it has grown by one part in so many.
const GROWTH: usize = 4;

/// What ends a run before its time: the user, or the first proof of a violation.
#[derive(Debug)]
pub(super) struct Ending {
    /// Turns true when the run is to end.
    pub(super) over: watch::Receiver<bool>,
    proof: watch::Receiver<Option<String>>,
    _vigil: Option<Vigil>,
}

impl Ending {
    /// The user alone.
    pub(super) fn by(interrupted: watch::Receiver<bool>) -> Ending {
        Ending {
            over: interrupted,
            proof: watch::channel(None).1,
            _vigil: None,
        }
    }

    /// The user, or what the checker finds in the history.
    pub(super) fn by_proof(
        mut interrupted: watch::Receiver<bool>,
        history: PathBuf,
        parts: Vec<Part>,
    ) -> std::io::Result<Ending> {
        let (vigil, proof) = Vigil::keep(history, parts)?;
        let (end, over) = watch::channel(false);
        let mut proven = proof.clone();
        tokio::spawn(async move {
            // Of the two, one may never come: its sender goes when the run is over.
            tokio::select! {
                Ok(_) = interrupted.wait_for(|interrupted| *interrupted) => {}
                Ok(_) = proven.wait_for(Option::is_some) => {}
                () = end.closed() => {}
            }
            end.send_replace(true);
        });
        Ok(Ending {
            over,
            proof,
            _vigil: Some(vigil),
        })
    }

    /// What was proven, if that is why the run ends.
    pub(super) fn proof(&self) -> Option<String> {
        self.proof.borrow().clone()
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
struct Vigil {
    end: Arc<AtomicBool>,
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

impl Vigil {
    /// Begins to read; what it finds out, in a sentence, comes through the channel.
    fn keep(
        history: PathBuf,
        parts: Vec<Part>,
    ) -> std::io::Result<(Vigil, watch::Receiver<Option<String>>)> {
        let end = Arc::new(AtomicBool::new(false));
        let (tell, told) = watch::channel(None);
        let ended = Arc::clone(&end);
        let name = std::thread::Builder::new().name("vigil".into());
        name.spawn(move || match read_on(&history, &parts, &ended) {
            Ok(None) => {}
            Ok(Some(proof)) => drop(tell.send_replace(Some(proof))),
            Err(error) => tracing::warn!(%error, "the history cannot be followed"),
        })?;
        Ok((Vigil { end }, told))
    }
}

/// One workload's part of the history, as it comes.
struct Follower {
    part: Part,
    kind: Following,
}

enum Following {
    Online(Box<Online>),
    Again(Box<Again>),
}

struct Again {
    options: Options,
    history: History,
    checked_at: usize,
}

impl Follower {
    /// None for a model that nothing can be said about before the end.
    fn of(part: &Part) -> Option<Follower> {
        let model: Model = part.model.parse().ok()?;
        let mut options = Options::new(model);
        // The clients need the other processors.
        options.threads = Some(1);
        let kind = match Online::new(&options) {
            Some(online) => Following::Online(Box::new(online)),
            None if is_never_undone(model) => Following::Again(Box::new(Again {
                options,
                history: History::new(),
                checked_at: 0,
            })),
            None => return None,
        };
        let part = part.clone();
        Some(Follower { part, kind })
    }

    fn take(&mut self, op: &Op) -> Option<String> {
        match &mut self.kind {
            Following::Online(online) => online.push(op).map(|violation| violation.reason),
            Following::Again(again) => {
                again.history.push(op);
                None
            }
        }
    }

    fn catch_up(&mut self) -> Option<String> {
        match &mut self.kind {
            Following::Online(online) => online.catch_up().map(|violation| violation.reason),
            Following::Again(again) => again.check(),
        }
    }
}

impl Again {
    /// Checks what there is, if it is enough more than the last time.
    fn check(&mut self) -> Option<String> {
        let ops = self.history.len();
        if ops == 0 || ops < self.checked_at + self.checked_at / GROWTH {
            return None;
        }
        self.checked_at = ops;
        let report = check(&self.history, &self.options);
        let invalid = report.verdict == Verdict::Invalid;
        invalid.then(|| report.reason.unwrap_or_default())
    }
}

/// Whether what breaks the model in a part of a history breaks it in the whole.
fn is_never_undone(model: Model) -> bool {
    matches!(
        model,
        Model::ListAppend
            | Model::RwRegister
            | Model::UniqueIds
            | Model::Bank
            | Model::Monotonic
            | Model::FencedLock
    )
}

/// Reads on until there is a proof or the run is over.
fn read_on(file: &Path, parts: &[Part], end: &AtomicBool) -> std::io::Result<Option<String>> {
    let mut followers: Vec<Follower> = parts.iter().filter_map(Follower::of).collect();
    if followers.is_empty() {
        tracing::info!("no workload of this run can be judged before its end");
        return Ok(None);
    }
    let mut input = BufReader::new(File::open(file)?);
    let mut line = Vec::new();
    let mut caught_up = Instant::now();
    while !end.load(Ordering::Relaxed) {
        if input.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\n") {
            // What there is of the line stays, and the rest of it is put behind it.
            std::thread::sleep(LOOK_EVERY);
        } else {
            if let Ok(op) = serde_json::from_slice::<Op>(&line) {
                let mut mine = followers.iter_mut().filter(|it| it.part.has(op.process));
                if let Some(proof) = mine.find_map(|it| it.take(&op)) {
                    return Ok(Some(proof));
                }
            }
            line.clear();
        }
        if caught_up.elapsed() >= CATCH_UP_EVERY {
            if let Some(proof) = followers.iter_mut().find_map(Follower::catch_up) {
                return Ok(Some(proof));
            }
            caught_up = Instant::now();
        }
    }
    Ok(None)
}
