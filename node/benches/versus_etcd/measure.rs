//! The tables: systems, reads and switches side by side.

use crate::Common;
use crate::bare::Bare;
use crate::cluster::{Cluster, Recipe, System};
use crate::grpc::Grpc;
use crate::http::Http;
use crate::http2::Http2;
use crate::load::{self, Measured, Operation, Plan};
use anyhow::Result;
use std::time::Duration;

/// Clients on a connection of HTTP/2.
const CLIENTS_PER_CONNECTION: usize = 8;

/// What a client speaks, and with that to which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// To our node, a connection to each client.
    Http1,
    /// To our node, over shared connections.
    Http2,
    /// To three logs and nothing else, a connection to each client.
    Bare,
    /// To etcd, over shared connections.
    Grpc,
}

impl Wire {
    fn system(self) -> System {
        match self {
            Wire::Http1 | Wire::Http2 => System::Ordeal,
            Wire::Bare => System::Bare,
            Wire::Grpc => System::Etcd,
        }
    }

    /// The one that a system is measured with where only one is.
    fn of(system: System) -> Wire {
        match system {
            System::Ordeal => Wire::Http1,
            System::Bare => Wire::Bare,
            System::Etcd => Wire::Grpc,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Wire::Http1 => "ordeal, HTTP/1.1",
            Wire::Http2 => "ordeal, HTTP/2",
            Wire::Bare => "bare minimum",
            Wire::Grpc => "etcd",
        }
    }
}

/// One figure: what was measured, and what it cost.
pub(crate) struct Figure {
    /// The load.
    pub(crate) measured: Measured,
    /// Processor time of all nodes.
    pub(crate) processor: Duration,
}

impl Figure {
    fn cell(&self) -> String {
        let m = &self.measured;
        let done = m.latency_us.len().max(1);
        format!(
            "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} µs{}",
            m.rate(),
            m.quantile_ms(0.5),
            m.quantile_ms(0.99),
            self.processor.as_micros() as f64 / done as f64,
            m.refusals(),
        )
    }
}

/// Loads a cluster through the given nodes, in turn.
pub(crate) async fn figure(
    cluster: &Cluster,
    system: System,
    through: &[usize],
    clients: usize,
    read: &'static str,
    plan: Plan,
) -> Result<Figure> {
    figure_over(cluster, Wire::of(system), through, clients, read, plan).await
}

async fn figure_over(
    cluster: &Cluster,
    wire: Wire,
    through: &[usize],
    clients: usize,
    read: &'static str,
    plan: Plan,
) -> Result<Figure> {
    let address = |number: usize| cluster.address(through[number % through.len()]);
    let shared = clients.div_ceil(CLIENTS_PER_CONNECTION);
    let before = cluster.processor_time();
    let whole = plan.warm_up + plan.measured;
    let measured = match wire {
        Wire::Http1 => {
            let mut connections = Vec::new();
            for number in 0..clients {
                connections.push(Http::connect(address(number), read).await?);
            }
            load::run(connections, plan).await?
        }
        Wire::Http2 => {
            let mut connections = Vec::new();
            for number in 0..shared {
                connections.push(Http2::connect(address(number), read).await?);
            }
            load::run(dealt(&connections, clients), plan).await?
        }
        Wire::Bare => {
            let mut connections = Vec::new();
            for number in 0..clients {
                connections.push(Bare::connect(address(number)).await?);
            }
            load::run(connections, plan).await?
        }
        Wire::Grpc => {
            let mut connections = Vec::new();
            for number in 0..shared {
                connections.push(Grpc::connect(address(number), read == "stale").await?);
            }
            load::run(dealt(&connections, clients), plan).await?
        }
    };
    // The warm-up cost as much per request as what was measured.
    let share = plan.measured.as_secs_f64() / whole.as_secs_f64();
    let processor = cluster
        .processor_time()
        .saturating_sub(before)
        .mul_f64(share);
    Ok(Figure {
        measured,
        processor,
    })
}

/// A connection for each client, shared in turn.
fn dealt<C: Clone>(connections: &[C], clients: usize) -> Vec<C> {
    connections.iter().cycle().take(clients).cloned().collect()
}

/// Fills a cluster with every key.
pub(crate) async fn fill(
    cluster: &Cluster,
    system: System,
    leader: usize,
    plan: Plan,
) -> Result<()> {
    let warm = Plan {
        operation: Operation::Put,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(1),
        ..plan
    };
    figure(cluster, system, &[leader], 64, "index", warm)
        .await
        .map(drop)
}

/// Puts and linearizable reads at each number of clients.
pub(crate) async fn compare(
    common: &Common,
    wires: &[Wire],
    puts: bool,
    reads: bool,
) -> Result<()> {
    let mut operations = Vec::new();
    operations.extend(puts.then_some((Operation::Put, "puts")));
    operations.extend(reads.then_some((Operation::Get, "linearizable reads")));
    for (operation, title) in operations {
        let stores = |wire: &&Wire| operation == Operation::Put || **wire != Wire::Bare;
        let wires: Vec<Wire> = wires.iter().filter(stores).copied().collect();
        let mut table = Table::new(wires.iter().map(|wire| wire.name().to_owned()));
        for _ in 0..common.rounds {
            for &clients in &common.clients {
                for (row, &wire) in wires.iter().enumerate() {
                    let system = wire.system();
                    let cluster = Cluster::start(&common.recipe(system))?;
                    let leader = cluster.leader().await?;
                    let plan = common.plan(operation);
                    fill(&cluster, system, leader, plan).await?;
                    let figure =
                        figure_over(&cluster, wire, &[leader], clients, "index", plan).await?;
                    table.add(row, clients, figure);
                }
            }
        }
        table.print(title, common);
        let row = |wanted| wires.iter().position(|wire| *wire == wanted);
        for ours in [Wire::Http1, Wire::Http2].into_iter().filter_map(row) {
            if let Some(etcd) = row(Wire::Grpc) {
                table.print_ratios(ours, etcd, "rate", |figure| figure.measured.rate());
                table.print_ratios(ours, etcd, "p99", |figure| {
                    figure.measured.quantile_ms(0.99)
                });
            }
            if let Some(bare) = row(Wire::Bare) {
                table.print_ratios(ours, bare, "rate", |figure| figure.measured.rate());
            }
        }
    }
    Ok(())
}

/// Puts with each optimisation on alone, off alone, all and none.
pub(crate) async fn switches(common: &Common) -> Result<()> {
    const SWITCHES: [(&str, &str); 4] = [
        ("batching", "--no-batching"),
        ("pipelining", "--no-pipelining"),
        ("parallel append", "--no-parallel-append"),
        ("asynchronous apply", "--no-async-apply"),
    ];
    let all_off: Vec<&str> = SWITCHES.iter().map(|(_, off)| *off).collect();
    let mut variants = vec![("none".to_owned(), all_off.clone())];
    for (name, flag) in SWITCHES {
        let others = all_off.iter().copied().filter(|off| *off != flag).collect();
        variants.push((format!("{name} alone"), others));
    }
    for (name, flag) in SWITCHES {
        variants.push((format!("all but {name}"), vec![flag]));
    }
    variants.push(("all".to_owned(), Vec::new()));
    let mut table = Table::new(variants.iter().map(|(name, _)| name.clone()));
    for _ in 0..common.rounds {
        for &clients in &common.clients {
            for (row, (_, flags)) in variants.iter().enumerate() {
                let mut recipe: Recipe = common.recipe(System::Ordeal);
                recipe
                    .arguments
                    .extend(flags.iter().map(|&flag| flag.to_owned()));
                let cluster = Cluster::start(&recipe)?;
                let leader = cluster.leader().await?;
                let plan = common.plan(Operation::Put);
                let ours = System::Ordeal;
                let figure = figure(&cluster, ours, &[leader], clients, "index", plan).await?;
                table.add(row, clients, figure);
            }
        }
    }
    table.print("puts by optimisation", common);
    Ok(())
}

/// Reads of each mode, through the leader and through all nodes.
pub(crate) async fn reads(common: &Common) -> Result<()> {
    let rows: [(System, &'static str, bool); 7] = [
        (System::Ordeal, "index", false),
        (System::Ordeal, "lease", false),
        (System::Ordeal, "follower", true),
        (System::Ordeal, "stale", true),
        (System::Etcd, "index", false),
        (System::Etcd, "index", true),
        (System::Etcd, "stale", true),
    ];
    let name = |(system, mode, spread): &(System, &str, bool)| {
        let through = if *spread { "all nodes" } else { "the leader" };
        format!("{} {mode} through {through}", system.name())
    };
    let mut table = Table::new(rows.iter().map(name));
    for _ in 0..common.rounds {
        for &clients in &common.clients {
            for (row, &(system, mode, spread)) in rows.iter().enumerate() {
                let cluster = Cluster::start(&common.recipe(system))?;
                let leader = cluster.leader().await?;
                let plan = common.plan(Operation::Get);
                fill(&cluster, system, leader, plan).await?;
                let through = if spread { vec![1, 2, 3] } else { vec![leader] };
                let figure = figure(&cluster, system, &through, clients, mode, plan).await?;
                table.add(row, clients, figure);
            }
        }
    }
    table.print("reads by mode", common);
    Ok(())
}

struct Row {
    name: String,
    /// By column: the figures of all rounds.
    figures: Vec<(usize, Vec<Figure>)>,
}

struct Table {
    rows: Vec<Row>,
}

impl Table {
    fn new(names: impl Iterator<Item = String>) -> Table {
        Table {
            rows: names
                .map(|name| Row {
                    name,
                    figures: Vec::new(),
                })
                .collect(),
        }
    }

    fn add(&mut self, row: usize, clients: usize, figure: Figure) {
        let row = &mut self.rows[row];
        eprintln!("{:>4} clients  {:<28} {}", clients, row.name, figure.cell());
        match row
            .figures
            .iter_mut()
            .find(|(column, _)| *column == clients)
        {
            Some((_, figures)) => figures.push(figure),
            None => row.figures.push((clients, vec![figure])),
        }
    }

    /// Prints the median round of each cell.
    fn print(&self, title: &str, common: &Common) {
        println!(
            "\n{title}: {} bytes, {} rounds of {} s",
            common.value_len, common.rounds, common.seconds
        );
        print!("| |");
        self.rows[0]
            .figures
            .iter()
            .for_each(|(clients, _)| print!(" {clients} clients |"));
        print!("\n| --- |");
        self.rows[0].figures.iter().for_each(|_| print!(" --- |"));
        println!();
        for row in &self.rows {
            print!("| {} |", row.name);
            for (_, figures) in &row.figures {
                let mut order: Vec<&Figure> = figures.iter().collect();
                order.sort_by(|a, b| a.measured.rate().total_cmp(&b.measured.rate()));
                print!(" {} |", order[order.len() / 2].cell());
            }
            println!();
        }
    }

    /// Prints the median of the rounds' ratios of two rows, and the least and the greatest.
    fn print_ratios(&self, ours: usize, theirs: usize, name: &str, of: impl Fn(&Figure) -> f64) {
        let (ours, theirs) = (&self.rows[ours], &self.rows[theirs]);
        print!("| {name}: {} over {} |", ours.name, theirs.name);
        for ((_, ours), (_, theirs)) in ours.figures.iter().zip(&theirs.figures) {
            let pairs = ours.iter().zip(theirs);
            let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| of(ours) / of(theirs)).collect();
            ratios.sort_by(f64::total_cmp);
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            print!(
                " {:.2} ({least:.2} to {most:.2}) |",
                ratios[ratios.len() / 2]
            );
        }
        println!();
    }
}
