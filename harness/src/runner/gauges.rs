//! What the nodes tell about themselves while a run is on: their terms, how far they have come.
//!
//! `gauges.jsonl` has a line for each node and second; the figures have how each number began,
//! how it ended and how high it was. A node that does not answer is left out of that second.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::recorder::Recorder;
use crate::store::RunFolder;
use crate::system::{Node, Probes};

/// How often every node is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How one number of one node went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Course {
    first: f64,
    last: f64,
    max: f64,
}

/// Every number of every node: name, then node.
pub(super) type Courses = BTreeMap<String, BTreeMap<String, Course>>;

/// Follows the gauges until it is ended.
#[derive(Debug)]
pub(super) struct Gauges {
    courses: Arc<Mutex<Courses>>,
    task: JoinHandle<()>,
}

impl Gauges {
    /// Begins to ask.
    pub(super) fn follow(
        probes: &Arc<Probes>,
        nodes: &[Node],
        recorder: &Arc<Recorder>,
        folder: &RunFolder,
    ) -> Gauges {
        let courses = Arc::default();
        let asking = Asking {
            probes: Arc::clone(probes),
            nodes: nodes.to_vec(),
            recorder: Arc::clone(recorder),
            file: folder.file("gauges.jsonl"),
            courses: Arc::clone(&courses),
        };
        let task = tokio::spawn(async move { asking.go_on().await });
        Gauges { courses, task }
    }

    /// Asks no more, and gives what came together.
    pub(super) fn end(self) -> Courses {
        self.task.abort();
        std::mem::take(&mut *self.courses.lock().expect("nobody panics with it"))
    }
}

struct Asking {
    probes: Arc<Probes>,
    nodes: Vec<Node>,
    recorder: Arc<Recorder>,
    file: std::path::PathBuf,
    courses: Arc<Mutex<Courses>>,
}

impl Asking {
    async fn go_on(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut file = None;
        loop {
            tick.tick().await;
            let time = self.recorder.now_ns();
            let asked = self.nodes.iter().map(|node| self.probes.gauges(node));
            let answers = futures::future::join_all(asked).await;
            let mut lines = Vec::new();
            for (node, answer) in self.nodes.iter().zip(answers) {
                let Ok(numbers) = answer else { continue };
                if numbers.is_empty() {
                    continue;
                }
                let line = serde_json::json!({"time": time, "node": node.name, "gauges": numbers});
                lines.extend_from_slice(line.to_string().as_bytes());
                lines.push(b'\n');
                let mut courses = self.courses.lock().expect("nobody panics with it");
                for (name, number) in numbers {
                    let nodes = courses.entry(name.to_owned()).or_default();
                    let course = nodes.entry(node.name.clone()).or_insert(Course {
                        first: number,
                        last: number,
                        max: number,
                    });
                    course.last = number;
                    course.max = course.max.max(number);
                }
            }
            if lines.is_empty() {
                continue;
            }
            if file.is_none() {
                file = std::fs::File::create(&self.file).ok();
            }
            // The history is the run's evidence; these lines only help to read it.
            if let Some(file) = &mut file
                && let Err(error) = file.write_all(&lines)
            {
                tracing::warn!(%error, "the gauges cannot be written");
                return;
            }
        }
    }
}
