//! The faults of a run, ready to be drawn: from `results.json`, or, for a history that came alone,
//! from what the nemesis wrote.

use std::collections::BTreeMap;

use super::folder::{self, Folder};
use super::timeline::Timeline;

/// A fault, on the run's clock.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) number: usize,
    pub(super) kind: String,
    pub(super) targets: Vec<String>,
    pub(super) description: String,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    /// Whether it came. A pause that was planned does not, when a kill was quicker.
    pub(super) installed: bool,
    /// What went wrong with the fault itself, if anything did.
    pub(super) trouble: Option<&'static str>,
}

/// All faults in the order they began.
pub(super) fn of_run(folder: &Folder, timeline: &Timeline) -> Vec<Shown> {
    let mut faults = if folder.results.faults.is_empty() {
        of_history(timeline)
    } else {
        folder
            .results
            .faults
            .iter()
            .map(|fault| of_results(fault, timeline.end_ns))
            .collect()
    };
    faults.sort_by_key(|fault| (fault.start_ns, fault.end_ns));
    for (position, fault) in faults.iter_mut().enumerate() {
        fault.number = position + 1;
    }
    faults
}

fn of_results(fault: &folder::Fault, run_end_ns: u64) -> Shown {
    let installed = fault.installed != Some(false);
    let trouble = match fault.healed {
        _ if !installed => Some("not installed"),
        Some(false) => Some("not healed"),
        _ => None,
    };
    Shown {
        number: 0,
        kind: fault.kind.clone(),
        targets: fault.targets.clone(),
        description: fault.description.clone(),
        start_ns: fault.start_ns,
        end_ns: fault.end_ns.unwrap_or(run_end_ns).max(fault.start_ns),
        installed,
        trouble,
    }
}

/// Pairs `start-KIND` with the next `stop-KIND`; what is neither is an event of no length.
fn of_history(timeline: &Timeline) -> Vec<Shown> {
    let mut faults: Vec<Shown> = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for op in &timeline.nemesis {
        let stop =
            op.f.strip_prefix("stop-")
                .or_else(|| op.f.strip_prefix("heal-"));
        if let Some(kind) = stop {
            if let Some(position) = open.remove(kind) {
                faults[position].end_ns = op.time_ns;
            }
            continue;
        }
        let start = op.f.strip_prefix("start-");
        let kind = start.unwrap_or(&op.f).to_owned();
        if open.contains_key(&kind) {
            continue; // The second line of one fault: its invocation and its completion.
        }
        let is_open = start.is_some();
        if is_open {
            open.insert(kind.clone(), faults.len());
        }
        faults.push(Shown {
            number: 0,
            kind,
            targets: Vec::new(),
            description: op.value.clone(),
            start_ns: op.time_ns,
            end_ns: if is_open { timeline.end_ns } else { op.time_ns },
            installed: true,
            trouble: None,
        });
    }
    faults
}

/// How many colours there are for kinds of fault.
const COLOURS: usize = 8;

/// A colour for each kind, the same in every report where the kinds allow it.
pub(super) fn colours(faults: &[Shown]) -> BTreeMap<String, usize> {
    let preferred = |kind: &str| {
        let words = [
            "partition",
            "kill",
            "pause",
            "packet",
            "disk",
            "clock",
            "member",
        ];
        words
            .iter()
            .position(|word| kind.contains(word))
            .unwrap_or(COLOURS - 1)
    };
    let mut colours: BTreeMap<String, usize> = BTreeMap::new();
    for fault in faults {
        if colours.contains_key(&fault.kind) {
            continue;
        }
        let first = preferred(&fault.kind);
        let free = (0..COLOURS)
            .map(|step| (first + step) % COLOURS)
            .find(|colour| !colours.values().any(|taken| taken == colour));
        colours.insert(fault.kind.clone(), free.unwrap_or(first));
    }
    colours
}
