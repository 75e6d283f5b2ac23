//! The hosts of a cluster: whether they can be reached, and what can be done to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;

use super::{Finding, Grade};
use crate::cluster::Cluster;
use crate::control::{Call, Control, ControlError, Session};

const SCRIPT: &str = include_str!("host.sh");

/// More than this and logs of two hosts cannot be read side by side.
const OFFSET_MAX_MS: i128 = 200;

/// Looks at every host of a cluster, all at once. The cluster must have been entered.
pub async fn examine_hosts(cluster: &Cluster) -> Result<Vec<Finding>, ControlError> {
    let (control, errors) = Control::connect_to_some(cluster).await?;
    let unreached = errors.iter().map(|error| {
        let text = error.to_string();
        let (found, mend) = text.rsplit_once("; ").unwrap_or((&text, ""));
        Finding::bad(error.host().unwrap_or("ssh"), "ssh", found, mend)
    });
    let mut findings: Vec<Finding> = unreached.collect();
    let examining = control.sessions().map(|session| examine(session));
    for (session, examined) in control.sessions().zip(join_all(examining).await) {
        match examined {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let mend = "the host's shell does not do as it should; look there by hand";
                findings.push(Finding::bad(
                    session.name(),
                    "commands",
                    error.to_string(),
                    mend,
                ));
            }
        }
    }
    Ok(findings)
}

async fn examine(session: &Session) -> Result<Vec<Finding>, ControlError> {
    let name = session.name();
    let mut findings = vec![Finding::good(
        name,
        "ssh",
        "connected, host key known, root",
    )];
    findings.push(match session.control_address() {
        Some(address) if address == session.host().address => Finding::bad(
            name,
            "control address",
            "ordeal runs on this very host: it cannot be cut off",
            "run ordeal on a host outside the cluster",
        ),
        Some(address) => Finding::good(name, "control address", format!("we come from {address}")),
        None => Finding::bad(
            name,
            "control address",
            "SSH_CONNECTION is not set, so partitions could cut us off",
            "log in through sshd itself, without a wrapper that clears the environment",
        ),
    });
    findings.push(clock_offset(session).await?);
    let call = Call::script(SCRIPT, [] as [&str; 0]).limit(Duration::from_secs(60));
    let said = session.run_with(call).await?.stdout;
    findings.extend(said.lines().filter_map(|line| finding(name, line)));
    Ok(findings)
}

fn finding(place: &str, line: &str) -> Option<Finding> {
    let mut parts = line.splitn(4, '|');
    let (subject, grade, found) = (parts.next()?, parts.next()?, parts.next()?);
    let grade = match grade {
        "good" => Grade::Good,
        "limited" => Grade::Limited,
        _ => Grade::Bad,
    };
    let mend = parts
        .next()
        .filter(|mend| !mend.is_empty())
        .map(str::to_owned);
    Some(Finding {
        grade,
        mend,
        ..Finding::good(place, subject, found)
    })
}

/// How far the host's clock is from ours, the answer's way counted as half of the round trip.
async fn clock_offset(session: &Session) -> Result<Finding, ControlError> {
    let before = SystemTime::now();
    let said = session.run(["date", "+%s%N"]).await?.stdout;
    let round_trip = before.elapsed().unwrap_or_default();
    let middle = before + round_trip / 2;
    let ours = middle
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
        .cast_signed();
    let theirs: i128 = said.trim().parse().unwrap_or_default();
    let offset_ms = (theirs - ours) / 1_000_000;
    let found = format!(
        "{offset_ms:+} ms from ours (± {} ms)",
        round_trip.as_millis() / 2
    );
    Ok(if offset_ms.abs() > OFFSET_MAX_MS {
        let mend = format!("on {}: timedatectl set-ntp true", session.name());
        Finding::limited(session.name(), "clock offset", found, mend)
    } else {
        Finding::good(session.name(), "clock offset", found)
    })
}
