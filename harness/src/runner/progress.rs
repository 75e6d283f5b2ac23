//! How a run goes, told on stderr: a moving line on a terminal, a line for each phase elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::recorder::Recorder;
use crate::tally::Tally;

/// Tells how a run goes.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    quiet: bool,
    /// Phases are shown only where they can be overwritten.
    brief: bool,
    /// Which of many runs this is.
    place: Mutex<String>,
    start: Instant,
}

impl Progress {
    /// On stderr, or not at all.
    pub fn new(quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !quiet {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{spinner} {prefix:<12} {msg}");
        bar.set_style(style.expect("the template is right"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress {
            bar,
            terminal,
            quiet,
            brief: false,
            place: Mutex::default(),
            start: Instant::now(),
        }
    }

    /// The same for many runs: a line for each of them, and nothing about their phases.
    pub fn brief(quiet: bool) -> Progress {
        Progress {
            brief: true,
            ..Progress::new(quiet)
        }
    }

    /// Which of many runs is on now.
    pub fn place(&self, place: &str) {
        place.clone_into(&mut self.place.lock().expect("nobody panics with it"));
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        if !self.terminal && !self.quiet && !self.brief {
            eprintln!("{:>6.1}s  {name}", self.start.elapsed().as_secs_f64());
        }
        if self.bar.is_finished() {
            self.bar.reset();
        }
        let place = self.place.lock().expect("nobody panics with it");
        let prefix = [place.as_str(), name].join(" ");
        self.bar.set_prefix(prefix.trim_start().to_owned());
        self.bar.set_message("");
    }

    /// Something worth a line of its own.
    pub fn tell(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal {
            self.bar.println(text);
        } else {
            eprintln!("{:>6.1}s  {text}", self.start.elapsed().as_secs_f64());
        }
    }

    /// Shows what is counted, until the task is aborted.
    pub(super) fn follow(
        &self,
        tally: &Arc<Tally>,
        recorder: &Arc<Recorder>,
        total: Duration,
    ) -> JoinHandle<()> {
        let (bar, tally, recorder) = (self.bar.clone(), Arc::clone(tally), Arc::clone(recorder));
        tokio::spawn(async move {
            let mut last = 0;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let counted = tally.total();
                let seconds = recorder.now_ns() / 1_000_000_000;
                bar.set_message(format!(
                    "{seconds}/{}s  {}/s  ok {}  fail {}  info {}",
                    total.as_secs(),
                    counted.total() - last,
                    counted.ok,
                    counted.fail,
                    counted.info
                ));
                last = counted.total();
            }
        })
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
