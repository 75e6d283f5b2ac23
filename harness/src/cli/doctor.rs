//! `ordeal doctor`: is everything there that a run needs?

use anyhow::Context as _;
use clap::Args;

use super::{Context, Exit};
use crate::cluster;
use crate::doctor::{Finding, Grade, examine_hosts, examine_machine, fix_machine};

/// Check this machine and a cluster's hosts, and say what to type where something is wrong
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal doctor                 this machine\n  \
    ordeal doctor --fix           and install what is missing (Debian, as root)\n  \
    ordeal doctor --on lab        and the hosts of a cluster\n\n\
    Faults are tried where they harm nobody, and undone. Exits 3 when a run would fail.")]
pub(super) struct Doctor {
    /// Install what is missing on this machine
    #[arg(long)]
    fix: bool,

    /// Show what is as it should be, too
    #[arg(long)]
    all: bool,
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if self.fix {
            let installed = fix_machine().context("what is missing cannot be installed")?;
            if !installed.is_empty() {
                eprintln!("installed: {}", installed.join(" "));
            }
        }
        let mut findings = examine_machine();
        if let Some(selector) = context.named_selector() {
            let cluster = cluster::open(selector)?;
            cluster.enter()?;
            findings.extend(context.block_on(async { Ok(examine_hosts(&cluster).await?) })?);
        }
        let worst = findings.iter().map(|finding| finding.grade).max();
        context.print(&findings, self.text(&findings))?;
        Ok(if worst == Some(Grade::Bad) {
            Exit::Harness
        } else {
            Exit::Valid
        })
    }

    fn text(&self, findings: &[Finding]) -> String {
        let mut lines = Vec::new();
        for Finding {
            place,
            subject,
            grade,
            found,
            mend,
        } in findings
        {
            let mark = match grade {
                Grade::Good if !self.all => continue,
                Grade::Good => "ok     ",
                Grade::Limited => "limited",
                Grade::Bad => "BAD    ",
            };
            lines.push(format!("{mark} {place}: {subject}: {found}"));
            lines.extend(mend.as_ref().map(|mend| format!("          -> {mend}")));
        }
        let count = |grade| {
            findings
                .iter()
                .filter(|finding| finding.grade == grade)
                .count()
        };
        lines.push(format!(
            "{} checks good, {} limited, {} bad",
            count(Grade::Good),
            count(Grade::Limited),
            count(Grade::Bad)
        ));
        lines.join("\n")
    }
}
