//! The table of `ordeal cluster status`: what every node says, side by side.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::operate::in_words;
use crate::control::{Control, ControlError};
use crate::operator::{Answer, Operator, Survey, daemons};

const COLUMNS: [&str; 12] = [
    "node", "address", "daemon", "role", "term", "commit", "applied", "lag", "leads", "disk", "up",
    "clock",
];

/// Asks every node and every host, over these connections, and draws the table; also as data.
pub(super) async fn status(
    operator: &Operator,
    (control, unreachable): &(Control, Vec<ControlError>),
) -> (Value, String) {
    // A survey has an answer for each host of the cluster, in its order.
    let asked = operator.cluster().hosts.iter().map(|host| async {
        let session = control.get(&host.name)?;
        Some((
            daemons::state_on(session).await,
            daemons::clock_offset_ms(session).await,
        ))
    });
    let (survey, hosts) = tokio::join!(operator.survey(), join_all(asked));

    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(COLUMNS);
    let mut rows = Vec::new();
    for (answer, host) in survey.answers.iter().zip(hosts) {
        let (daemon, clock_ms) = host.unwrap_or_else(|| ("no SSH".into(), None));
        table.add_row(row(&survey, answer, &daemon, clock_ms));
        rows.push(
            json!({"node": answer.host, "answer": answer, "daemon": daemon,
                         "clock_offset_ms": clock_ms}),
        );
    }

    let mut notes: Vec<String> = survey
        .groups()
        .iter()
        .filter_map(|group| {
            let (_, seen) = survey.group(*group)?;
            let leader = survey
                .leader(*group)
                .map(|(leader, _)| leader.host.as_str());
            Some(format!(
                "group {group}: {} leads, {}, since entry {}",
                leader.unwrap_or("nobody"),
                in_words(operator, &seen.configuration),
                seen.configuration.index
            ))
        })
        .take(8)
        .collect();
    notes.extend(
        survey
            .answers
            .iter()
            .filter_map(|answer| match &answer.said {
                crate::operator::Said::Unreachable(why) => Some(format!("{}: {why}", answer.host)),
                crate::operator::Said::Status(_) => None,
            }),
    );
    notes.extend(unreachable.iter().map(ToString::to_string));
    let result = json!({"cluster": operator.cluster().name, "nodes": rows, "notes": notes});
    (result, format!("{table}\n\n{}", notes.join("\n")))
}

fn row(survey: &Survey, answer: &Answer, daemon: &str, clock_ms: Option<f64>) -> Vec<String> {
    let clock = clock_ms
        .map(|ms| format!("{ms:+.0} ms"))
        .unwrap_or_default();
    let start = [
        answer.host.clone(),
        answer.address.clone(),
        daemon.to_owned(),
    ];
    let Some(status) = answer.status() else {
        let silent = ["–", "", "", "", "", "", "", ""].map(str::to_owned);
        return start.into_iter().chain(silent).chain([clock]).collect();
    };
    let group = status.groups.first().cloned().unwrap_or_default();
    let lag = Operator::lag(survey, 0, answer.id);
    let led = survey.groups_led().get(&answer.id).copied().unwrap_or(0);
    let up = Duration::from_secs(status.uptime_ms / 1_000);
    start
        .into_iter()
        .chain([
            group.role,
            group.term.to_string(),
            group.commit.to_string(),
            group.applied.to_string(),
            lag.map(|lag| lag.to_string()).unwrap_or_default(),
            format!("{led}/{}", survey.groups().len()),
            format!("{:.1} MB", status.disk_bytes as f64 / 1e6),
            humantime::format_duration(up).to_string(),
            clock,
        ])
        .collect()
}
