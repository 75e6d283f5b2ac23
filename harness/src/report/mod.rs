//! The report on a run: what broke, where and why, within a minute of reading.
//!
//! It is made from the run's folder alone, so it can be made again at any time, and its size is
//! bounded whatever the length of the history. One reading serves every format: a page for people,
//! a summary for the terminal, Markdown and `JUnit` for CI.

mod axis;
mod call;
mod counterexample;
mod cycle;
mod faults;
mod findings;
mod folder;
mod junit;
mod markdown;
mod page;
mod plot;
mod summary;
mod terminal;
mod timeline;

use std::path::{Path, PathBuf};

use folder::Folder;
use summary::Summary;
use timeline::Timeline;

pub(crate) use summary::many;

/// The page's file name in a run's folder.
pub const PAGE: &str = "report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds no finished run.
    #[error("{} holds no run: there is no results.json", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what its name promises.
    #[error("cannot make sense of {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The page cannot be rendered.
    #[error("cannot render the page")]
    Render(#[from] minijinja::Error),
}

/// A run, read and summed up.
#[derive(Debug)]
pub struct Report {
    folder: Folder,
    timeline: Timeline,
    faults: Vec<faults::Shown>,
    summary: Summary,
}

impl Report {
    /// Reads a run's folder; its history is streamed.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let folder = Folder::read(path)?;
        // The last reads wait for nodes to come back: that is no outage, and no throughput.
        let last = folder.run.phases.iter().find(|phase| phase.name == "final");
        let timeline = Timeline::read(&folder.history(), last.map(|phase| phase.start_ns))?;
        let faults = faults::of_run(&folder, &timeline);
        let summary = Summary::new(&folder, &timeline, &faults);
        Ok(Self {
            folder,
            timeline,
            faults,
            summary,
        })
    }

    /// One self-contained page.
    pub fn html(&self) -> Result<String, ReportError> {
        page::render(self)
    }

    /// For GitHub's and GitLab's job summaries.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// For whatever reads `JUnit`: each property, each coverage goal and the harness is a test case.
    pub fn junit(&self) -> String {
        junit::render(self)
    }

    /// A dozen lines for the terminal.
    pub fn terminal(&self, color: bool) -> String {
        terminal::render(self, color)
    }

    /// The summary as data.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "run": self.folder.name(),
            "verdict": self.summary.banner,
            "parts": self.summary.parts,
            "figures": self.summary.figures,
        })
    }
}

/// Writes every format beside the history and returns where the page lies.
pub fn write(path: &Path) -> Result<PathBuf, ReportError> {
    let report = Report::read(path)?;
    let write = |name: &str, text: String| {
        let file = path.join(name);
        match std::fs::write(&file, text) {
            Ok(()) => Ok(file),
            Err(source) => Err(ReportError::Write { path: file, source }),
        }
    };
    write("junit.xml", report.junit())?;
    write("summary.md", report.markdown())?;
    write(PAGE, report.html()?)
}
