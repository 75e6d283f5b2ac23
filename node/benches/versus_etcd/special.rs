//! What is no table: elections, failover, restarts, long loads.

use crate::Common;
use crate::cluster::{Cluster, System};
use crate::http::Http;
use crate::load::{Client, Operation, Outcome, Plan};
use crate::measure::figure;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Connections of an open loop.
const OPEN_CLIENTS: usize = 256;

/// An open loop at a fixed rate.
pub(crate) async fn open(common: &Common, rate: f64) -> Result<()> {
    for system in [System::Ordeal, System::Etcd] {
        let cluster = Cluster::start(&common.recipe(system))?;
        let leader = cluster.leader().await?;
        let plan = Plan {
            rate: Some(rate),
            ..common.plan(Operation::Put)
        };
        let figure = figure(&cluster, system, &[leader], OPEN_CLIENTS, "index", plan).await?;
        let m = figure.measured;
        println!(
            "{}: {:.0} of {rate:.0} puts/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            system.name(),
            m.rate(),
            m.quantile_ms(0.5),
            m.quantile_ms(0.99),
            m.quantile_ms(0.999),
        );
    }
    Ok(())
}

/// Many groups: elected in how long, idle for how much.
pub(crate) async fn groups(common: &Common, count: u32) -> Result<()> {
    let mut recipe = common.recipe(System::Ordeal);
    recipe
        .arguments
        .extend(["--groups".into(), count.to_string()]);
    let begun = Instant::now();
    let cluster = Cluster::start(&recipe)?;
    let elected = loop {
        if led(&cluster, count).await.unwrap_or(false) {
            break begun.elapsed();
        }
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("after a minute some groups have no leader");
        }
        sleep(Duration::from_millis(50)).await;
    };
    println!(
        "{count} groups of three nodes elected {:.2} s after their start",
        elected.as_secs_f64()
    );
    sleep(Duration::from_secs(5)).await;
    let (before, begun) = (cluster.processor_time(), Instant::now());
    sleep(Duration::from_secs_f64(common.seconds.max(10.0))).await;
    let used = cluster.processor_time().saturating_sub(before);
    let used = used.as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("idle: {:.2}% of a core per node", used / 3.0 * 100.0);
    println!(
        "memory per node: {:?} MiB",
        cluster.memory().iter().map(|b| b >> 20).collect::<Vec<_>>()
    );
    Ok(())
}

async fn led(cluster: &Cluster, count: u32) -> Result<bool> {
    let mut node = Http::connect(cluster.address(1), "index").await?;
    let status = node.json("/status").await?;
    let groups = status["groups"].as_array().context("no groups")?;
    let led = groups
        .iter()
        .filter(|group| group["leader"].as_u64().is_some_and(|id| id > 0));
    Ok(led.count() == count as usize)
}

/// Kills the leader again and again, and writes through whoever is left.
pub(crate) async fn failover(common: &Common) -> Result<()> {
    let kills = common.rounds.max(10);
    let mut took = Vec::new();
    let mut cluster = Cluster::start(&common.recipe(System::Ordeal))?;
    for round in 0..kills {
        let leader = cluster.leader().await?;
        let other = leader % 3 + 1;
        let mut client = Http::connect(cluster.address(other), "index").await?;
        while client.put(0, b"before").await? != Outcome::Done {
            sleep(Duration::from_millis(10)).await;
        }
        cluster.kill(leader)?;
        let killed = Instant::now();
        // One request at a time: one that hangs is left and its connection with it.
        while !matches!(
            timeout(
                Duration::from_millis(100),
                client.put(round as u64, b"after")
            )
            .await,
            Ok(Ok(Outcome::Done))
        ) {
            client = Http::connect(cluster.address(other), "index").await?;
            sleep(Duration::from_millis(2)).await;
        }
        took.push(killed.elapsed().as_millis());
        cluster.start_node(leader)?;
        sleep(Duration::from_secs(2)).await;
    }
    took.sort_unstable();
    println!(
        "failover: {kills} kills of the leader, to the first acknowledged write: p50 {} ms, least {} ms, most {} ms",
        took[took.len() / 2],
        took[0],
        took[took.len() - 1]
    );
    Ok(())
}

/// Writes much, kills a node, and times until it serves all of it again.
pub(crate) async fn restart(common: &Common, bytes: u64) -> Result<()> {
    let value_len = 16 << 10;
    let keys = bytes / value_len as u64;
    let mut cluster = Cluster::start(&common.recipe(System::Ordeal))?;
    let leader = cluster.leader().await?;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Http::connect(cluster.address(leader), "index").await?);
    }
    let value = vec![7; value_len];
    let tasks = clients.into_iter().enumerate().map(|(number, mut client)| {
        let value = &value;
        async move {
            for key in (number as u64..keys).step_by(32) {
                while client.put(key, value).await? != Outcome::Done {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    for done in futures::future::join_all(tasks).await {
        done?;
    }
    for id in [leader % 3 + 1, leader] {
        cluster.kill(id)?;
        let begun = Instant::now();
        cluster.start_node(id)?;
        let served = loop {
            let answer = async {
                let mut node = Http::connect(cluster.address(id), "stale").await?;
                node.json("/ready").await
            };
            if answer.await.is_ok() {
                break begun.elapsed();
            }
            if begun.elapsed() > Duration::from_secs(120) {
                bail!("node {id} is not ready after two minutes");
            }
            sleep(Duration::from_millis(20)).await;
        };
        println!(
            "restart of node {id} with {} MiB of values, {} MiB on disk: ready after {:.2} s",
            bytes >> 20,
            disk_usage(&cluster.data(id)) >> 20,
            served.as_secs_f64()
        );
    }
    println!(
        "memory per node: {:?} MiB",
        cluster.memory().iter().map(|b| b >> 20).collect::<Vec<_>>()
    );
    Ok(())
}

/// A long load at a fixed rate: memory and disk must stay flat. Both rise until the next snapshot and fall
/// with it, so what counts is their least and their most in each part of the time.
pub(crate) async fn soak(common: &Common, rate: f64) -> Result<()> {
    const PARTS: u32 = 10;
    let cluster = Cluster::start(&common.recipe(System::Ordeal))?;
    let through = [cluster.leader().await?];
    let plan = Plan {
        rate: Some(rate),
        measured: Duration::from_secs_f64(common.seconds) / PARTS,
        ..common.plan(Operation::Put)
    };
    for part in 1..=PARTS {
        let mut used = [Span::default(); 3];
        let load = figure(
            &cluster,
            System::Ordeal,
            &through,
            OPEN_CLIENTS,
            "index",
            plan,
        );
        let m = tokio::select! {
            figure = load => figure?.measured,
            () = watch(&cluster, &mut used) => unreachable!("it watches for ever"),
        };
        let each = used.map(|span| span.to_string()).join(", ");
        println!(
            "{part}/{PARTS}: {:.0} puts/s, p99 {:.2} ms{}; memory and disk in MiB: {each}",
            m.rate(),
            m.quantile_ms(0.99),
            m.refusals(),
        );
    }
    Ok(())
}

/// The least and the most that a node used, in MiB.
#[derive(Clone, Copy, Default)]
struct Span {
    memory: Option<(u64, u64)>,
    disk: Option<(u64, u64)>,
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (memory, disk) = (
            self.memory.unwrap_or_default(),
            self.disk.unwrap_or_default(),
        );
        write!(f, "{}-{} and {}-{}", memory.0, memory.1, disk.0, disk.1)
    }
}

/// Looks every half second at what each node uses.
async fn watch(cluster: &Cluster, used: &mut [Span; 3]) {
    let widen = |span: &mut Option<(u64, u64)>, bytes: u64| {
        let now = bytes >> 20;
        let (least, most) = span.unwrap_or((now, now));
        *span = Some((least.min(now), most.max(now)));
    };
    loop {
        for (id, (span, memory)) in (1..).zip(used.iter_mut().zip(cluster.memory())) {
            widen(&mut span.memory, memory);
            widen(&mut span.disk, disk_usage(&cluster.data(id)));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn disk_usage(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
