//! Judges a graph of dependencies: its cycles, what they break, and proofs of what holds.

use hashbrown::HashSet;

use super::analysis::{Analysis, Limits};
use super::anomaly::{Evidence, Kind, Order, Shape};
use super::certificate::{Event, in_turn, replays};
use super::component::Components;
use super::cycle::{Found, Pattern, Search};
use super::graph::{Graph, Mask};
use super::level::Level;
use super::solve::{SEARCHED, Searched, search};
use super::standing::{Known, Standing, broken_by_cycles};
use super::table::Data;
use super::visibility::Visibility;
use super::witness::Witness;
use super::work::{Stop, Watch, Work};

/// How many cycles of one kind are looked for.
const CYCLES: usize = 8;
const SHAPES: [Shape; 5] = [
    Shape::G0,
    Shape::G1c,
    Shape::GSingle,
    Shape::GNonadjacent,
    Shape::G2Item,
];

pub(crate) struct Judge<'a> {
    pub(crate) witness: Witness<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) limits: &'a Limits,
    pub(crate) watch: Watch,
    /// Whether the order of every key's versions is known.
    pub(crate) order_known: bool,
    /// A level that was searched for already.
    pub(crate) searched: Option<(Level, Searched)>,
    pub(crate) analysis: &'a mut Analysis,
}

impl Judge<'_> {
    /// Judges a graph of these components; of lists, both are about those on cycles alone.
    pub(crate) fn run(&mut self, all: &Components) -> Result<(), Stop> {
        let data = self.witness.table.data();
        if !all.is_empty() {
            self.cycles(all)?;
        }
        let mut known = Known {
            done: true,
            order: self.order_known,
            no_cycle: all.is_empty(),
            branches: self.witness.order.branches(),
            broken: broken_by_cycles(self.graph, all, data, self.watch)?,
            ..Known::default()
        };
        self.stand(&known);
        // Of lists the search is the cheaper one, and what it proves need not be looked at; of
        // registers what the weak levels forbid needs no search.
        if data == Data::Lists {
            self.certify(all, &mut known)?;
        }
        if self.analysis.standing(Level::Causal) != Standing::Holds {
            self.weak_levels(&mut known)?;
        }
        if data == Data::Registers {
            self.certify(all, &mut known)?;
        }
        Ok(())
    }

    fn stand(&mut self, known: &Known) {
        self.analysis.standings = known.stand(self.analysis, self.witness.table.data());
    }

    /// Decides the levels that need no search; causal consistency, whose clocks take as long as all the
    /// rest, only when nothing weaker was asked for.
    fn weak_levels(&mut self, known: &mut Known) -> Result<(), Stop> {
        let (witness, graph, watch) = (self.witness, self.graph, self.watch);
        if witness.updates_clash(graph, watch)? {
            known.broken.push(Level::CursorStability);
        }
        let open = [
            (Level::CursorStability, !known.order),
            (Level::ConsistentView, !known.order || known.branches),
        ];
        for (level, _) in open.into_iter().filter(|(_, open)| *open) {
            let reason = "the order of some writes is not known";
            self.analysis.undecided.push((level, reason.into()));
        }
        let whole;
        let graph = match witness.table.data() {
            Data::Registers => graph,
            Data::Lists => {
                whole = Graph::of(witness, None, Mask::WR.and(Mask::PROCESS), watch)?;
                &whole
            }
        };
        let visibility = Visibility {
            witness,
            graph,
            watch: watch.holding(graph.memory())?,
        };
        visibility.atomic(&mut self.analysis.findings)?;
        known.weak = true;
        self.stand(known);
        if self.analysis.standing(self.limits.asked) == Standing::Holds {
            return Ok(());
        }
        known.causal = visibility.causal(&mut self.analysis.findings)?;
        if !known.causal {
            let reason = "the clocks of what depends on what do not fit the memory budget";
            self.analysis.undecided.push((Level::Causal, reason.into()));
        }
        self.stand(known);
        Ok(())
    }

    /// Proves what holds, and searches where nothing is decided.
    fn certify(&mut self, all: &Components, known: &mut Known) -> Result<(), Stop> {
        let strict = Level::StrictSerializable;
        if self.analysis.standing(strict) == Standing::Holds {
            return self.certify_strict(all);
        }
        // What is stronger than what was asked for is not worth a search.
        if self.analysis.standing(self.limits.asked) == Standing::Holds {
            return Ok(());
        }
        for level in SEARCHED {
            if self.analysis.standing(level) != Standing::Open {
                continue;
            }
            let searched = match self.searched.take_if(|(done, _)| *done == level) {
                Some((_, searched)) => searched,
                None => self.search_for(level, all),
            };
            match searched {
                Searched::Proven(events) => {
                    known.proven.push(level);
                    self.analysis.certificate.get_or_insert((level, events));
                }
                Searched::Refuted => {
                    known.broken.push(level);
                    if level == Level::Serializable {
                        known.broken.push(Level::RepeatableRead);
                    }
                    self.analysis.refuted.push(level);
                }
                Searched::Exhausted(reason) => self.analysis.undecided.push((level, reason)),
            }
            self.stand(known);
        }
        Ok(())
    }

    /// A budget that ends here leaves what was decided before as it is.
    fn search_for(&self, level: Level, all: &Components) -> Searched {
        let Witness {
            table,
            writes,
            order,
        } = self.witness;
        let lists = (table.data() == Data::Lists).then_some((order, self.graph, all));
        let bounds = self.limits.bounds(table.len(), self.watch);
        let time = self.watch.time();
        time.and_then(|()| search(table, writes, lists, level, bounds))
            .unwrap_or_else(|stop| Searched::Exhausted(stop.to_string()))
    }

    /// A graph without a cycle gives an order; it is replayed.
    fn certify_strict(&mut self, all: &Components) -> Result<(), Stop> {
        let Witness { table, writes, .. } = self.witness;
        let nodes = all.finished.iter().rev().copied();
        let txns = nodes.filter(|&node| node < self.graph.txns && writes.is_live(node));
        let events: Vec<Event> = in_turn(&txns.collect::<Vec<u32>>()).collect();
        let strict = Level::StrictSerializable;
        if !replays(table, writes, &events, strict, self.watch)? {
            let fault = "the order that was found does not replay: a fault of the checker";
            return Err(Stop::Because(fault.into()));
        }
        self.analysis.certificate = Some((strict, events));
        Ok(())
    }

    /// Finds smallest cycles of each shape. In a part that has one without real time or sessions,
    /// those with them say nothing new.
    fn cycles(&mut self, all: &Components) -> Result<(), Stop> {
        let mut told: HashSet<u32> = HashSet::new();
        for order in [Order::Data, Order::Process, Order::Realtime] {
            let mut fresh: Vec<u32> = Vec::new();
            for shape in SHAPES {
                self.watch.time()?;
                let pattern = Pattern { shape, order };
                let parts = all.within(self.graph, pattern.mask(), self.watch)?;
                let plain = |part: &u32| {
                    let mut members = parts.members[*part as usize].iter();
                    order == Order::Data || !members.any(|node| told.contains(node))
                };
                for part in (0..parts.members.len() as u32).filter(plain).take(CYCLES) {
                    fresh.extend(self.search(pattern, &parts, part));
                }
                if order != Order::Data {
                    told.extend(fresh.drain(..));
                }
            }
            told.extend(fresh);
        }
        Ok(())
    }

    /// Looks for one cycle, and gives the transactions on it.
    fn search(&mut self, pattern: Pattern, parts: &Components, part: u32) -> Vec<u32> {
        let (graph, table) = (self.graph, self.witness.table);
        let work = Work::new(self.limits.work, self.watch);
        match (Search {
            graph,
            table,
            pattern,
            work,
        })
        .run(parts, part)
        {
            Found::Cycle(cycle) => {
                let kind = Kind::Cycle(pattern.shape, pattern.order);
                let evidence = || Evidence::Cycle(self.witness.steps(&cycle));
                self.analysis
                    .findings
                    .add_sized(kind, cycle.smallest, evidence);
                cycle.steps.iter().map(|(node, _)| *node).collect()
            }
            Found::None => Vec::new(),
            Found::Exhausted => {
                self.analysis
                    .exhausted
                    .push(Kind::Cycle(pattern.shape, pattern.order));
                Vec::new()
            }
        }
    }
}
