//! `ordeal cluster backup`, `restore` and `recover`: what a cluster knows, kept and brought back.
//!
//! A backup is the data folder of one node that had everything that was committed when it was
//! asked for, copied while its daemon stands still: what a crash at that moment would have left,
//! and a node starts from that. It is brought back the way a lost majority is: its node votes
//! alone, and new members join it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::operate::confirm;
use super::{Context, UsageError};
use crate::cluster::Host;
use crate::control::daemon::Daemon;
use crate::control::{Call, Session, sha256};
use crate::operator::Operator;
use crate::operator::daemons::{self, Verb};

/// How long packing, sending and unpacking may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// How long a node may take to apply what is committed.
const LEVEL_WITHIN: Duration = Duration::from_secs(30);
/// So much is sent at a time.
const CHUNK_BYTES: u64 = 6 << 20;

/// Packs the folder `$2` into `$2.backup.tgz` while the process `$1` stands still; prints its size.
/// Whatever ends this, the process goes on.
const PACK: &str = "\
set -e
trap 'kill -CONT \"$1\"' EXIT
trap 'exit 1' HUP INT TERM
kill -STOP \"$1\"
tar -C \"$2\" -czf \"$2.backup.tgz\" .
kill -CONT \"$1\"
stat -c %s \"$2.backup.tgz\"";

/// Prints the chunk `$2` of the file `$1` as text, `$3` bytes long.
const CHUNK: &str = "dd if=\"$1\" bs=\"$3\" skip=\"$2\" count=1 2>/dev/null | base64 -w 0";

/// What stands beside a backup.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The cluster it is of.
    cluster: String,
    /// The node whose data it is: it is brought back to a host of this number.
    node: u64,
    /// What was committed in each group when it was asked for: all that is in it.
    committed: Vec<(u64, u64)>,
    /// The node's version.
    version: String,
    /// When.
    taken: String,
    /// The file's length.
    bytes: u64,
    /// The file's digest.
    sha256: String,
}

fn manifest_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// The data folder that a daemon was started with.
pub(super) fn data_of(daemon: &Daemon, host: &str) -> anyhow::Result<String> {
    let data = daemon
        .argv
        .iter()
        .skip_while(|word| *word != "--data")
        .nth(1);
    data.cloned()
        .with_context(|| format!("cannot tell where {} on {host} keeps its data", daemon.name))
}

/// Copies what a node knows into a file.
pub(super) async fn backup(
    context: &Context,
    operator: &Operator,
    host: &Host,
    session: &Session,
    daemon: &Daemon,
    file: &Path,
) -> anyhow::Result<()> {
    let manifest = manifest_of(file);
    let survey = operator.survey().await;
    let groups = survey.groups();
    let committed: Vec<(u64, u64)> = groups
        .iter()
        .filter_map(|group| Some((*group, survey.leader(*group)?.1.commit)))
        .collect();
    ensure!(
        !committed.is_empty() && committed.len() == groups.len(),
        "not every group has a leader that answers, so nobody can tell what is committed; \
         `ordeal cluster status` shows who does"
    );
    let version = level(operator, host, &committed).await?;
    let data = data_of(daemon, &host.name)?;
    let pid = match daemon.status(session).await? {
        crate::control::daemon::State::Running(pid) => pid.to_string(),
        other => bail!("the daemon on {} does not run ({other:?})", host.name),
    };
    let begin = Instant::now();
    let packed = session
        .run_with(Call::script(PACK, [&pid, &data]).limit(LIMIT))
        .await?;
    let stood_still = begin.elapsed();
    let remote = format!("{data}.backup.tgz");
    let fetched = fetch(session, &remote, packed.stdout.trim().parse()?).await;
    session.run(["rm", "-f", "--", &remote]).await?;
    let copied = fetched?;

    let draft = file.with_extension("part");
    fs::write(&draft, &copied)
        .and_then(|()| fs::rename(&draft, file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let written = Manifest {
        cluster: operator.cluster().name.clone(),
        node: host.id,
        committed,
        version,
        taken: jiff::Timestamp::now().to_string(),
        bytes: copied.len() as u64,
        sha256: sha256(&copied),
    };
    fs::write(&manifest, serde_json::to_vec_pretty(&written)?)
        .with_context(|| format!("cannot write {}", manifest.display()))?;
    let text = format!(
        "{}: {:.1} MB of {}, whose daemon stood still for {:.1} s; bring it back with \
         `ordeal cluster restore {}`",
        file.display(),
        copied.len() as f64 / 1e6,
        host.name,
        stood_still.as_secs_f64(),
        file.display()
    );
    context.print(&written, text)
}

/// Waits until a node has applied what was committed; returns its version.
async fn level(
    operator: &Operator,
    host: &Host,
    committed: &[(u64, u64)],
) -> anyhow::Result<String> {
    let deadline = Instant::now() + LEVEL_WITHIN;
    loop {
        let survey = operator.survey().await;
        let answer = survey.answers.iter().find(|answer| answer.id == host.id);
        if let Some(status) = answer.and_then(|answer| answer.status()) {
            let has = |(group, commit): &(u64, u64)| {
                let groups = &mut status.groups.iter();
                groups.any(|one| one.group == *group && one.applied >= *commit)
            };
            if committed.iter().all(has) {
                return Ok(status.version.clone());
            }
        }
        ensure!(
            Instant::now() < deadline,
            "{} has not applied what is committed within {} s; choose another with --node",
            host.name,
            LEVEL_WITHIN.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn fetch(session: &Session, remote: &str, bytes: u64) -> anyhow::Result<Vec<u8>> {
    let bar = ProgressBar::new(bytes).with_message("fetched");
    let mut content = Vec::with_capacity(bytes as usize);
    let chunk_bytes = CHUNK_BYTES.to_string();
    for chunk in 0..bytes.div_ceil(CHUNK_BYTES) {
        let chunk = chunk.to_string();
        let call = Call::script(CHUNK, [remote, &chunk, &chunk_bytes]).limit(LIMIT);
        let sent = session.run_with(call).await?;
        content.extend(
            BASE64
                .decode(sent.stdout.trim())
                .context("what came is no base64")?,
        );
        bar.set_position(content.len() as u64);
    }
    bar.finish_and_clear();
    ensure!(
        content.len() as u64 == bytes,
        "{} of {bytes} bytes came from {}",
        content.len(),
        session.name()
    );
    Ok(content)
}

/// A backup that was read and found whole.
#[derive(Debug)]
pub(super) struct Backup {
    content: Vec<u8>,
    /// The node whose data it is.
    pub(super) node: u64,
    cluster: String,
}

impl Backup {
    /// Reads a backup and what stands beside it.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let beside = manifest_of(file);
        let wrong = |what: String| UsageError(what);
        let read = |file: &Path| {
            fs::read(file)
                .map_err(|error| wrong(format!("cannot read {}: {error}", file.display())))
        };
        let manifest: Manifest = serde_json::from_slice(&read(&beside)?)
            .map_err(|error| wrong(format!("{} is of no backup: {error}", beside.display())))?;
        let content = read(file)?;
        if sha256(&content) != manifest.sha256 {
            let file = file.display();
            return Err(wrong(format!(
                "{file} is damaged: its digest is not that of {}",
                beside.display()
            ))
            .into());
        }
        Ok(Self {
            content,
            node: manifest.node,
            cluster: manifest.cluster,
        })
    }

    /// Puts the backup in the place of a node's data and lets the node vote alone; it is not
    /// started.
    pub(super) async fn put(
        &self,
        operator: &Operator,
        host: &Host,
        session: &Session,
        daemon: &Daemon,
    ) -> anyhow::Result<()> {
        let data = data_of(daemon, &host.name)?;
        let packed = format!("{data}.backup.tgz");
        session
            .write_file(&packed, self.content.clone(), 0o600)
            .await?;
        let unpack = "set -e; mkdir -p -- \"$2\"; tar -C \"$2\" -xzf \"$1\"; rm -f -- \"$1\"";
        session
            .run_with(Call::script(unpack, [&packed, &data]).limit(LIMIT))
            .await?;
        vote_alone(operator, host, session, daemon).await.map(drop)
    }

    /// What to type next.
    pub(super) fn next(&self, host: &str, others: &[&str]) -> String {
        let mut text = format!("{host} has what {} knew, and votes alone", self.cluster);
        if !others.is_empty() {
            text.push_str("; now type:\n  ordeal cluster deploy --join ");
            text.push_str(&others.join(" "));
            text.extend(
                others
                    .iter()
                    .map(|node| format!("\n  ordeal members add {node}")),
            );
        }
        text
    }
}

/// Makes a node that is not running the sole voter of its groups; returns the node's own words.
async fn vote_alone(
    operator: &Operator,
    host: &Host,
    session: &Session,
    daemon: &Daemon,
) -> anyhow::Result<String> {
    let data = data_of(daemon, &host.name)?;
    let program = daemon.argv.iter().find(|word| word.starts_with('/'));
    let program =
        program.with_context(|| format!("cannot tell which program runs on {}", host.name))?;
    let member = operator.member(host);
    let member = format!("{}={},{}", member.id, member.peer, member.http);
    let argv = [program, "recover", &data, "--member", &member, "--yes"];
    let said = session
        .run_with(Call::new(argv).limit(Duration::from_secs(300)))
        .await?;
    Ok(said.stdout)
}

/// Lets a survivor of a lost majority go on alone.
pub(super) async fn recover(
    context: &Context,
    operator: &Operator,
    host: &Host,
    session: &Session,
    daemon: &Daemon,
    force: bool,
) -> anyhow::Result<()> {
    let survey = operator.survey().await;
    let known = survey
        .group(0)
        .map(|(_, group)| group.configuration.clone());
    if let Some(configuration) = &known {
        ensure!(
            !configuration.decides(&survey.able()),
            "refused: a quorum of the voters answers, so nothing is lost; `ordeal members remove` \
             lets go of those that are gone"
        );
    }
    let lost: Vec<String> = operator
        .cluster()
        .hosts
        .iter()
        .filter(|other| other.id != host.id)
        .map(|other| other.name.clone())
        .collect();
    let at_stake = [
        format!(
            "all that was acknowledged and {} had not received: nobody can tell what that was",
            host.name
        ),
        format!(
            "{}, if any of them comes back with its old data: it could elect another leader; wipe it first",
            lost.join(", ")
        ),
    ];
    ensure!(
        force,
        "refused: what {} had not received is lost for good; first try to bring back a majority \
         (`ordeal cluster start`); --force does it all the same",
        host.name
    );
    confirm(operator, &at_stake)?;
    let mut err = std::io::stderr();
    daemons::act(Verb::Kill, daemon, session).await?;
    let said = vote_alone(operator, host, session, daemon).await?;
    writeln!(err, "{}", said.trim())?;
    daemons::act(Verb::Start, daemon, session).await?;
    operator.ready(host).await?;
    let text = format!(
        "{0} votes alone and leads; now wipe the others and let them join again:\n  \
         ordeal cluster wipe NODE --force\n  ordeal cluster deploy --join NODE\n  ordeal members add NODE",
        host.name
    );
    context.print(&json!({"recovered": host.name, "said": said}), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_backup_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b.tgz");
        assert!(
            Backup::read(&file)
                .unwrap_err()
                .to_string()
                .contains("cannot read")
        );
        let manifest = Manifest {
            cluster: "c".into(),
            node: 1,
            committed: vec![(0, 5)],
            version: String::new(),
            taken: String::new(),
            bytes: 3,
            sha256: sha256(b"abc"),
        };
        fs::write(manifest_of(&file), serde_json::to_vec(&manifest).unwrap()).unwrap();
        fs::write(&file, b"abc").unwrap();
        assert_eq!(Backup::read(&file).unwrap().node, 1);
        fs::write(&file, b"abd").unwrap();
        assert!(
            Backup::read(&file)
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }
}
