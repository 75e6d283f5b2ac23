//! A run before it begins: everything that can be known and checked without touching a host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::judge;
use super::outcome::{Mark, RunRecord};
use crate::cluster::Cluster;
use crate::generator::{self, Due, Pace, Schedule, Slot};
use crate::interpreter::Worker;
use crate::nemesis::{Fault, Target};
use crate::playbook::matrix::Cell;
use crate::playbook::source::{Mistake, Source, Step, nearest};
use crate::playbook::units::{Around, Span};
use crate::playbook::{self, FAULTS_MAX, FaultEntry, Faults, Load, Loaded, Until, When};
use crate::store::RunFolder;
use crate::system::{Node, System, check_parameters, compile, find};
use crate::verdict::{Results, Settled};
use crate::workload::Making;

/// How long a fault lasts when its playbook does not say.
const FAULT_LASTS: &str = "5s";

/// A playbook, its system and its seed, checked.
#[derive(Debug)]
pub struct Plan {
    /// The playbook.
    pub loaded: Loaded,
    /// The system, compiled for the cluster's nodes.
    pub system: Arc<System>,
    /// The seed of everything that is random.
    pub seed: u64,
    /// The faults, in time.
    pub faults: Vec<Due>,
    /// The run ends as soon as a violation is proven.
    pub stop_on_violation: bool,
    /// Its place in a campaign, if it is part of one.
    pub mark: Option<Mark>,
}

/// One workload of a plan and the slots it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedLoad<'a> {
    pub(super) load: &'a Load,
    number: usize,
    first: usize,
    clients: usize,
    all: usize,
    /// The last so many of its slots only read.
    readers: usize,
    seed: u64,
}

impl Plan {
    /// Reads a playbook and its system, and checks both against each other. Touches no host.
    pub fn read(
        file: &Path,
        set: &BTreeMap<String, String>,
        seed: Option<u64>,
    ) -> Result<Plan, Mistake> {
        let loaded = playbook::load(file, set)?;
        let seed = seed.or(loaded.playbook.seed).unwrap_or_else(rand::random);
        Plan::of(loaded, seed)
    }

    /// Checks a system file by itself, as for three nodes.
    pub fn check_system(file: &Path) -> Result<(), Mistake> {
        let source = Source::read(file)?;
        let system = compile(&source, &BTreeMap::new(), placeholders(3, 3))?;
        let tried = system.try_out();
        tried.map_err(|why| source.mistake(&["daemon".into(), "argv".into()], why))
    }

    /// A playbook with a seed.
    pub fn of(loaded: Loaded, seed: u64) -> Result<Plan, Mistake> {
        let nodes = placeholders(loaded.playbook.nodes, founders(&loaded));
        let system = Arc::new(system(&loaded, nodes)?);
        check_names(&loaded, &system, |name| is_beyond(name, &system.nodes))?;
        let faults = plan_faults(&loaded, seed);
        Ok(Plan {
            loaded,
            system,
            seed,
            faults,
            stop_on_violation: false,
            mark: None,
        })
    }

    /// One run of a campaign of so many.
    pub fn of_cell(cell: &Cell, campaign: &str, of: usize) -> Result<Plan, Mistake> {
        let mark = Mark {
            campaign: campaign.to_owned(),
            number: cell.number,
            of,
            labels: cell.labels.clone(),
        };
        let plan = Plan::of(cell.loaded.clone(), cell.seed)?;
        Ok(Plan {
            mark: Some(mark),
            ..plan
        })
    }

    /// The plan of a run that is in the store: its playbook and seed, and its faults as they came.
    pub fn replay(folder: &RunFolder) -> anyhow::Result<Plan> {
        let record: RunRecord = folder.read_json("run.json")?;
        let results: Results = folder.read_json("results.json")?;
        let text = std::fs::read_to_string(folder.file("playbook.yaml"))?;
        let source = Source {
            file: record.playbook.into(),
            text,
        };
        let mut loaded = playbook::parse(source).map_err(anyhow::Error::new)?;
        loaded.parameters = record.parameters;
        let came = results.faults.into_iter().filter_map(|fault| fault.settled);
        // What a person did cannot be repeated.
        let came = came.filter(|settled| !matches!(settled.fault, Fault::Manual(_)));
        loaded.playbook.faults = Faults(came.map(entry).collect());
        loaded.playbook.faults_at_once = FAULTS_MAX;
        let came: Vec<&str> = loaded
            .playbook
            .faults
            .iter()
            .map(|e| e.fault.kind())
            .collect();
        // What never came the first time is not expected to come now.
        let expected = &mut loaded.playbook.expect.faults;
        expected.retain(|kind, _| came.contains(&kind.as_str()));
        let loaded = loaded.written_again().map_err(anyhow::Error::new)?;
        Plan::of(loaded, record.seed).map_err(anyhow::Error::new)
    }

    /// The same plan once more.
    #[must_use]
    pub fn again(&self) -> Plan {
        Plan {
            loaded: self.loaded.clone(),
            system: Arc::clone(&self.system),
            seed: self.seed,
            faults: self.faults.clone(),
            stop_on_violation: self.stop_on_violation,
            mark: None,
        }
    }

    /// Refuses a plan that names nodes which a lab does not have: it is told before one is up.
    pub fn check_for_lab(&self) -> Result<(), Mistake> {
        let nodes = placeholders(self.loaded.playbook.nodes, founders(&self.loaded));
        check_names(&self.loaded, &self.system, |name| {
            !nodes.iter().any(|node| node.name == name)
        })
    }

    /// The same plan for the hosts that it will really run on.
    pub fn on(self, cluster: &Cluster) -> Result<Plan, Mistake> {
        let wanted = self.loaded.playbook.nodes;
        if cluster.hosts.len() < wanted {
            let has = cluster.hosts.len();
            let message = format!("the cluster {} has {has} hosts, not {wanted}", cluster.name);
            return Err(self.loaded.source.mistake(&["nodes".into()], message));
        }
        let founders = founders(&self.loaded);
        let hosts = cluster.hosts[..wanted].iter().enumerate();
        let nodes = hosts.map(|(at, host)| Node {
            name: host.name.clone(),
            id: host.id,
            address: host.address.to_string(),
            joins: at >= founders,
        });
        self.with_nodes(nodes.collect())
    }

    /// The same plan for these nodes.
    pub(super) fn with_nodes(self, nodes: Vec<Node>) -> Result<Plan, Mistake> {
        let system = Arc::new(system(&self.loaded, nodes)?);
        check_names(&self.loaded, &system, |name| {
            !system.nodes.iter().any(|node| node.name == name)
        })?;
        Ok(Plan { system, ..self })
    }

    /// Refuses a step by hand that nobody could end.
    pub fn check_hands(&self, at_terminal: bool) -> Result<(), Mistake> {
        let waits = |entry: &FaultEntry| {
            matches!(entry.fault, Fault::Manual(_)) && entry.when.until.is_none()
        };
        let entries = &self.loaded.playbook.faults;
        match entries.iter().position(waits) {
            Some(at) if !at_terminal => Err(self.loaded.source.mistake(
                &["faults".into(), at.into()],
                "this step waits for Enter, and there is no terminal: run it at one, or say what \
                 to wait for, such as `until: {voters: 4}`",
            )),
            _ => Ok(()),
        }
    }

    /// Whether who the members are changes while it runs.
    pub(super) fn members_change(&self) -> bool {
        let changes =
            |entry: &FaultEntry| matches!(entry.fault, Fault::Membership(_) | Fault::Manual(_));
        self.system.nodes.iter().any(|node| node.joins)
            || self.loaded.playbook.faults.iter().any(changes)
    }

    /// The cluster without the hosts that this plan has no use for.
    pub(super) fn hosts_of(&self, cluster: &Cluster) -> Cluster {
        let mut cluster = cluster.clone();
        cluster.hosts.truncate(self.system.nodes.len());
        cluster
    }

    /// The workloads, with the slots that each has.
    pub(super) fn makings(&self) -> Vec<PlannedLoad<'_>> {
        let nodes = self.loaded.playbook.nodes;
        let loads = &self.loaded.playbook.workloads;
        let all = loads.iter().map(|load| load.clients.on(nodes)).sum();
        let mut first = 0;
        let planned = loads.iter().enumerate().map(|(number, load)| {
            let clients = load.clients.on(nodes);
            first += clients;
            PlannedLoad {
                load,
                number,
                first: first - clients,
                clients,
                all,
                readers: load.readers.map_or(0, |readers| readers.on(nodes)),
                seed: self.seed,
            }
        });
        planned.collect()
    }

    /// What the judge has to know.
    pub fn parts(&self) -> Vec<judge::Part> {
        let planned = self.makings().into_iter().map(|planned| judge::Part {
            kind: planned.load.kind.name().into(),
            model: planned
                .load
                .check
                .clone()
                .unwrap_or(planned.load.kind.model().into()),
            first: planned.first,
            clients: planned.clients,
            all: planned.all,
        });
        planned.collect()
    }

    /// The same workers with the last reads to do.
    pub(super) fn finale(&self, mut workers: Vec<Worker>) -> Vec<Worker> {
        let slot_of = |worker: &Worker| (worker.process % worker.processes) as usize;
        workers.sort_by_key(slot_of);
        for planned in self.makings() {
            for slot in planned.slots() {
                let worker = &mut workers[slot.number];
                worker.generator = planned.load.kind.finale(planned.at(slot));
                worker.pace = None;
                worker.left = u64::MAX;
            }
        }
        workers
    }
}

impl<'a> PlannedLoad<'a> {
    /// Its slots, counted over the whole run.
    pub(super) fn slots(self) -> impl Iterator<Item = Slot> {
        (self.first..self.first + self.clients).map(move |number| Slot {
            number,
            of: self.all,
        })
    }

    /// What its generator for a slot is made from. Inside a workload slots count from 0.
    pub(super) fn at(self, slot: Slot) -> Making<'a> {
        let slot = Slot {
            number: slot.number - self.first,
            of: self.clients,
        };
        Making {
            load: self.load,
            number: self.number,
            slot,
            seed: self.seed,
            only_reads: slot.number + self.readers >= self.clients,
        }
    }

    /// How fast a slot goes, if the workload has a rate.
    pub(super) fn pace(self, slot: Slot) -> Option<Pace> {
        let making = self.at(slot);
        let random = generator::random(self.seed, "pace", slot.number as u64);
        self.load
            .rate
            .map(|rate| Pace::new(rate.0, making.slot, random))
    }

    /// How many operations a slot may begin.
    pub(super) fn operations(self, slot: Slot) -> u64 {
        let Slot { number, of } = self.at(slot).slot;
        let share = |all: u64| all / of as u64 + u64::from((number as u64) < all % of as u64);
        self.load.operations.map_or(u64::MAX, share)
    }
}

/// Nodes that stand for those that are not known yet.
fn placeholders(nodes: usize, founders: usize) -> Vec<Node> {
    let nodes = (1..=nodes as u64).map(|id| Node {
        name: format!("n{id}"),
        id,
        address: format!("192.0.2.{id}"),
        joins: id > founders as u64,
    });
    nodes.collect()
}

/// The playbook's system for some nodes, with everything checked that both together must fulfil.
fn system(loaded: &Loaded, nodes: Vec<Node>) -> Result<System, Mistake> {
    let reference = &loaded.playbook.system;
    let here = ["system".into(), "use".into()];
    let source =
        find(&reference.name, &loaded.folder()).map_err(|why| loaded.source.mistake(&here, why))?;
    let system = compile(&source, &reference.with, nodes)?;
    check_parameters(&system.definition, &reference.with).map_err(|(name, why)| {
        loaded
            .source
            .mistake(&["system".into(), "with".into(), name.as_str().into()], why)
    })?;
    system
        .try_out()
        .map_err(|why| loaded.source.mistake(&here, why))?;
    check_members(loaded, &system)?;
    for (at, load) in loaded.playbook.workloads.iter().enumerate() {
        let here = ["workloads".into(), at.into()];
        check_parameters(&system.definition, &load.with).map_err(|(name, why)| {
            let path = [&here[..], &["with".into(), name.as_str().into()]].concat();
            loaded.source.mistake(&path, why)
        })?;
        system
            .check_operations(load.kind.name(), load.kind.needs(load))
            .map_err(|why| loaded.source.mistake(&here, why))?;
    }
    Ok(system)
}

/// Refuses faults of nodes that `is_wrong` says are none.
fn check_names(
    loaded: &Loaded,
    system: &System,
    is_wrong: impl Fn(&str) -> bool,
) -> Result<(), Mistake> {
    for (at, entry) in loaded.playbook.faults.iter().enumerate() {
        let here = |key: &str| ["faults".into(), at.into(), key.into()];
        let kind = entry.fault.kind();
        if let Some(name) = entry.fault.names().into_iter().find(|name| is_wrong(name)) {
            return Err(no_node(loaded, system, &here(kind), &name));
        }
        for (key, awaited) in entry.when.conditions() {
            if let Until::CaughtUp(name) = awaited
                && is_wrong(name)
            {
                return Err(no_node(loaded, system, &here(key), name));
            }
        }
    }
    Ok(())
}

/// How many of the nodes found the cluster.
fn founders(loaded: &Loaded) -> usize {
    let playbook = &loaded.playbook;
    playbook.founders.unwrap_or(playbook.nodes)
}

/// Refuses changes of the members that the system does not say how to make.
fn check_members(loaded: &Loaded, system: &System) -> Result<(), Mistake> {
    let members = system.definition.members.as_ref();
    let refuse = |path: &[Step], what: &str| {
        let name = &system.definition.name;
        let message = format!("the system `{name}` does not say {what}, under `members:`");
        Err(loaded.source.mistake(path, message))
    };
    if members.is_none() && founders(loaded) < loaded.playbook.nodes {
        return refuse(&["founders".into()], "how a node joins");
    }
    for (at, entry) in loaded.playbook.faults.iter().enumerate() {
        let path = ["faults".into(), at.into()];
        if let Fault::Membership(fault) = &entry.fault {
            let can = |change| members.is_some_and(|members| members.can(change));
            if let Some(change) = fault.needs().iter().find(|change| !can(**change)) {
                return refuse(&path, &format!("how to {}", change.name()));
            }
        }
        for (_, awaited) in entry.when.conditions() {
            match awaited {
                Until::Voters(_) if members.is_none() => return refuse(&path, "who votes"),
                Until::CaughtUp(_) if members.is_none_or(|it| it.view.lag.is_none()) => {
                    return refuse(&path, "how far a node is behind (`view: {lag: …}`)");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn no_node(loaded: &Loaded, system: &System, path: &[Step], name: &str) -> Mistake {
    let names: Vec<&str> = system.nodes.iter().map(|node| node.name.as_str()).collect();
    let message = format!("no node is called `{name}`; there are {}", names.join(", "));
    let hint = nearest(name, Target::WORDS.into_iter());
    Mistake {
        hint: hint.map(|near| format!("did you mean `{near}`?")),
        ..loaded.source.mistake(path, message)
    }
}

/// Before the hosts are known only `n1`, `n2` … can be told to be too many, and words to be misspelt.
fn is_beyond(name: &str, nodes: &[Node]) -> bool {
    let number = name.strip_prefix('n').map(str::parse::<usize>);
    match number {
        Some(Ok(number)) => number == 0 || number > nodes.len(),
        // Short words are like too many names of hosts.
        _ => nearest(name, Target::WORDS.into_iter().filter(|it| it.len() > 5)).is_some(),
    }
}

fn plan_faults(loaded: &Loaded, seed: u64) -> Vec<Due> {
    let playbook = &loaded.playbook;
    let schedules: Vec<Schedule> = playbook
        .faults
        .iter()
        .map(|entry| match entry.fault {
            // It is over at once, or the schedule stands still for it.
            Fault::Membership(_) | Fault::Manual(_) => Schedule {
                lasts: (Duration::ZERO, Duration::ZERO),
                ..schedule(&entry.when)
            },
            _ => schedule(&entry.when),
        })
        .collect();
    generator::plan(
        &schedules,
        playbook.time.during.0,
        playbook.faults_at_once,
        seed,
    )
}

/// A fault that came once, to come again.
fn entry(settled: Settled) -> FaultEntry {
    let span = |nanos| Span(Duration::from_nanos(nanos));
    let lasts = Around {
        middle: span(settled.lasts_ns),
        spread: Span::default(),
    };
    let when = When {
        at: vec![span(settled.at_ns)],
        lasts: Some(lasts),
        ..When::default()
    };
    FaultEntry {
        fault: settled.fault,
        when,
    }
}

fn schedule(when: &When) -> Schedule {
    let parts = |around: Around| (around.middle.0, around.spread.0);
    let lasts = when
        .lasts
        .unwrap_or_else(|| FAULT_LASTS.parse().expect("a span"));
    Schedule {
        every: when.every.map(parts),
        at: when.at.iter().map(|at| at.0).collect(),
        lasts: parts(lasts),
        chance: when.chance.map_or(1.0, |chance| chance.0),
        times: when.times.unwrap_or(u32::MAX),
    }
}
