//! `ordeal members`: who votes and who listens, and how that is changed without losing the quorum.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::operate::{At, confirm, host, in_words, on_record};
use super::{Context, Exit};
use crate::operator::{Change, Configuration, Done, Operator, Survey, objections};

/// See and change who votes and who only listens
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal members list\n  \
    ordeal members add n4                  synced as a learner first, then it votes\n  \
    ordeal members add n4 --vote-at-once   votes before it has the log\n  \
    ordeal members replace n2 n6           both in one step, so that no failure is survived less\n  \
    ordeal members transfer n3\n\n\
    Before it acts, each verb shows the configuration before and after, how many failures each\n\
    survives and who answers now. What would lose the quorum is refused; --force says what is at\n\
    stake and asks for the cluster's name.")]
pub(super) struct Members {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    at: At,
    /// The group to change
    #[arg(long, default_value_t = 0, global = true)]
    group: u64,
    /// Show what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Do it although it is refused, after the cluster's name has been typed
    #[arg(long, global = true)]
    force: bool,
    /// How long a learner may take to catch up
    #[arg(long, global = true, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    within: Duration,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the members, who leads and how far each is
    List,
    /// Add a voter: as a learner until it has the log, then with a vote
    Add {
        /// The node, by name or number
        node: String,
        /// Let it vote before it has the log: it counts against the quorum until it does
        #[arg(long)]
        vote_at_once: bool,
    },
    /// Add a node that receives the log and does not vote
    #[command(after_help = "Examples:\n  ordeal members add-learner n4")]
    AddLearner {
        /// The node, by name or number
        node: String,
    },
    /// Let a learner vote, once it has caught up
    #[command(after_help = "Examples:\n  ordeal members promote n4")]
    Promote {
        /// The node, by name or number
        node: String,
    },
    /// Take a voter's vote, and let it listen
    #[command(after_help = "Examples:\n  ordeal members demote n2")]
    Demote {
        /// The node, by name or number
        node: String,
    },
    /// Let a member go; a leader hands over first
    #[command(after_help = "Examples:\n  ordeal members remove n2")]
    Remove {
        /// The node, by name or number
        node: String,
    },
    /// Put a node in another's place: synced first, then both changes in one step
    Replace {
        /// The voter that goes
        old: String,
        /// The node that comes
        new: String,
    },
    /// Hand leadership to a voter
    Transfer {
        /// The node, by name or number
        node: String,
    },
    /// Spread the groups' leaders evenly over the voters
    #[command(after_help = "Examples:\n  ordeal members rebalance")]
    Rebalance,
}

impl Members {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let operator = self.at.operator(context)?;
        let hand = Hand {
            options: &self,
            context,
            operator: &operator,
        };
        let only_looks = self.dry_run || matches!(self.action, Action::List);
        context.block_on(async {
            if only_looks {
                return hand.act().await;
            }
            on_record(operator.cluster(), hand.act()).await
        })?;
        Ok(Exit::Valid)
    }
}

/// A verb at work.
struct Hand<'a> {
    options: &'a Members,
    context: &'a Context,
    operator: &'a Operator,
}

impl Hand<'_> {
    async fn act(&self) -> anyhow::Result<()> {
        let id = |node: &str| host(self.operator, node).map(|host| host.id);
        match &self.options.action {
            Action::List => self.list().await,
            Action::Add {
                node,
                vote_at_once: true,
            } => {
                let member = self.operator.member(host(self.operator, node)?);
                self.change(&[Change::AddVoter(member)]).await
            }
            Action::Add {
                node,
                vote_at_once: false,
            } => {
                self.add_learner(node).await?;
                self.promote(id(node)?, &[]).await
            }
            Action::AddLearner { node } => {
                self.add_learner(node).await?;
                self.caught_up(id(node)?).await
            }
            Action::Promote { node } => self.promote(id(node)?, &[]).await,
            Action::Demote { node } => {
                self.step_down(id(node)?).await?;
                self.change(&[Change::Demote(id(node)?)]).await
            }
            Action::Remove { node } => {
                self.step_down(id(node)?).await?;
                self.change(&[Change::Remove(id(node)?)]).await
            }
            Action::Replace { old, new } => {
                let (old, comes) = (id(old)?, id(new)?);
                if !self.seen().await?.1.contains(comes) {
                    self.add_learner(new).await?;
                }
                self.step_down(old).await?;
                self.promote(comes, &[Change::Remove(old)]).await
            }
            Action::Transfer { node } => self.transfer(self.options.group, id(node)?).await,
            Action::Rebalance => self.rebalance().await,
        }
    }

    /// What the nodes say now, and the configuration in force.
    async fn seen(&self) -> anyhow::Result<(Survey, Configuration)> {
        let survey = self.operator.survey().await;
        let Some((_, group)) = survey.group(self.options.group) else {
            bail!(
                "no node of {} knows group {}; `ordeal cluster status` shows who answers",
                self.operator.cluster().name,
                self.options.group
            );
        };
        let configuration = group.configuration.clone();
        Ok((survey, configuration))
    }

    async fn list(&self) -> anyhow::Result<()> {
        let (survey, configuration) = self.seen().await?;
        let leader = survey
            .leader(self.options.group)
            .map(|(answer, _)| answer.id);
        let all = [
            (&configuration.voters, "voter"),
            (&configuration.outgoing, "outgoing"),
            (&configuration.learners, "learner"),
            (&configuration.joining, "joining"),
        ];
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_header(["node", "id", "kind", "leads", "lag", "answers"]);
        let mut rows = Vec::new();
        for (ids, kind) in all {
            for &id in ids {
                let lag = Operator::lag(&survey, self.options.group, id);
                let (leads, answers) = (leader == Some(id), survey.reachable().contains(&id));
                let name = self.operator.name(id);
                table.add_row([
                    name.clone(),
                    id.to_string(),
                    kind.into(),
                    if leads { "yes" } else { "" }.into(),
                    lag.map(|lag| lag.to_string()).unwrap_or_default(),
                    if answers { "yes" } else { "no" }.into(),
                ]);
                rows.push(json!({"node": name, "id": id, "kind": kind, "leads": leads,
                                 "lag": lag, "answers": answers}));
            }
        }
        let words = in_words(self.operator, &configuration);
        let result = json!({"group": self.options.group, "members": rows,
                            "configuration": configuration, "leader": leader,
                            "failures_survived": configuration.failures_survived(),
                            "quorum_reachable": configuration.decides(&survey.able())});
        self.context.print(&result, format!("{table}\n\n{words}"))
    }

    async fn add_learner(&self, node: &str) -> anyhow::Result<()> {
        let member = self.operator.member(host(self.operator, node)?);
        self.change(&[Change::AddLearner(member)]).await
    }

    /// Waits until a learner has caught up, then lets it vote, with other changes in the same step.
    async fn promote(&self, id: u64, others: &[Change]) -> anyhow::Result<()> {
        if !self.options.dry_run {
            self.caught_up(id).await?;
        }
        let changes: Vec<Change> = [Change::Promote(id)]
            .iter()
            .chain(others)
            .cloned()
            .collect();
        self.change(&changes).await
    }

    /// Shows a change, weighs it, and makes it.
    async fn change(&self, changes: &[Change]) -> anyhow::Result<()> {
        let (survey, before) = self.seen().await?;
        let after = before.after(changes).map_err(anyhow::Error::msg)?;
        self.say("before", &in_words(self.operator, &before));
        self.say("after", &in_words(self.operator, &after));
        let reachable = survey.reachable();
        self.say("answer", &super::operate::names(self.operator, &reachable));

        let mut objections = objections(&before, &after, &survey.able());
        let added = changes.iter().filter_map(|change| match change {
            Change::AddVoter(member) | Change::AddLearner(member) => Some(member),
            _ => None,
        });
        for member in added.filter(|member| !reachable.contains(&member.id)) {
            objections.push(format!(
                "{} does not answer at {}; start it first: ordeal cluster deploy --join {0}",
                self.operator.name(member.id),
                member.http
            ));
        }
        if self.options.dry_run {
            for objection in &objections {
                self.say("but", objection);
            }
            return self.context.print(
                &json!({"before": before, "after": after, "objections": objections}),
                "nothing was done",
            );
        }
        if !objections.is_empty() {
            ensure!(
                self.options.force,
                "refused: {}; --force does it all the same",
                objections.join("; ")
            );
            confirm(self.operator, &objections)?;
        }
        let done = self
            .operator
            .change(&survey, self.options.group, changes, &after)
            .await?;
        self.done(&json!({"before": before, "after": after}), &done)
    }

    /// Lets another lead if this node does; what is left behind must not stop the cluster.
    async fn step_down(&self, id: u64) -> anyhow::Result<()> {
        let (survey, configuration) = self.seen().await?;
        let leads = survey
            .leader(self.options.group)
            .is_some_and(|(leader, _)| leader.id == id);
        let able = survey.able();
        let heir = configuration
            .voters
            .iter()
            .copied()
            .filter(|one| *one != id && able.contains(one));
        match heir.min_by_key(|heir| Operator::lag(&survey, self.options.group, *heir)) {
            Some(heir) if leads && !self.options.dry_run => {
                self.transfer(self.options.group, heir).await
            }
            _ => Ok(()),
        }
    }

    async fn transfer(&self, group: u64, to: u64) -> anyhow::Result<()> {
        let (survey, configuration) = self.seen().await?;
        ensure!(
            configuration.voters.contains(&to),
            "{} has no vote in group {group}, so it cannot lead; `ordeal members promote` gives it one",
            self.operator.name(to)
        );
        let from = survey.leader(group).map(|(leader, _)| leader.host.clone());
        if from.as_deref() == Some(&self.operator.name(to)) {
            return self
                .context
                .print(&json!({"leader": to}), "it leads already");
        }
        let (old, new) = (
            from.unwrap_or_else(|| "nobody".into()),
            self.operator.name(to),
        );
        self.say("leader", &format!("{old} → {new} in group {group}"));
        if self.options.dry_run {
            return self
                .context
                .print(&json!({"from": old, "to": new}), "nothing was done");
        }
        let done = self.operator.transfer(&survey, group, to).await?;
        self.done(&json!({"from": old, "to": new}), &done)
    }

    /// Moves leadership from those that lead most to those that lead least.
    async fn rebalance(&self) -> anyhow::Result<()> {
        let survey = self.operator.survey().await;
        let mut led = survey.groups_led();
        let mut moves = Vec::new();
        for group in survey.groups() {
            let survey = self.operator.survey().await;
            let Some((leader, seen)) = survey.leader(group) else {
                continue;
            };
            let load = |id: u64| led.get(&id).copied().unwrap_or(0);
            let able = survey.able();
            let voters = seen.configuration.voters.iter().copied();
            let heirs = voters.filter(|id| able.contains(id));
            let Some(heir) = heirs.min_by_key(|id| load(*id)) else {
                continue;
            };
            if load(heir) + 1 >= load(leader.id) {
                continue;
            }
            let to = self.operator.name(heir);
            self.say(
                "leader",
                &format!("{} → {to} in group {group}", leader.host),
            );
            if !self.options.dry_run {
                self.operator.transfer(&survey, group, heir).await?;
            }
            moves.push(json!({"group": group, "from": leader.host, "to": to}));
            *led.entry(leader.id).or_default() -= 1;
            *led.entry(heir).or_default() += 1;
        }
        let words = led
            .iter()
            .map(|(id, count)| format!("{} leads {count}", self.operator.name(*id)));
        let words = words.collect::<Vec<_>>().join(", ");
        let verb = if self.options.dry_run {
            "would be moved"
        } else {
            "moved"
        };
        self.context.print(
            &json!({"moves": moves, "led": led, "dry_run": self.options.dry_run}),
            format!("{} {verb}: {words}", moves.len()),
        )
    }

    /// Waits for a learner to have what the leader has committed.
    async fn caught_up(&self, id: u64) -> anyhow::Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let begin = Instant::now();
        let bar = ProgressBar::no_length().with_style(
            ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} entries, {elapsed}")?
                .progress_chars("=> "),
        );
        bar.set_message(format!("{} catches up", self.operator.name(id)));
        let mut most = 0;
        loop {
            let survey = self.operator.survey().await;
            let lag = Operator::lag(&survey, self.options.group, id);
            if let Some(lag) = lag {
                most = most.max(lag);
                bar.set_length(most);
                bar.set_position(most - lag);
                // The last of a log that grows is always some entries away.
                if lag <= LAG_ENOUGH && survey.able().contains(&id) {
                    break;
                }
            }
            if begin.elapsed() > self.options.within {
                bar.abandon();
                bail!(
                    "{} has not caught up within {}: it lacks {}; it stays a learner, \
                     and `ordeal members promote {0}` goes on waiting",
                    self.operator.name(id),
                    humantime::format_duration(self.options.within),
                    lag.map_or("an unknown number of entries".into(), |lag| format!(
                        "{lag} entries"
                    ))
                );
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        bar.finish_and_clear();
        self.say(
            "synced",
            &format!(
                "{} in {:.1} s",
                self.operator.name(id),
                begin.elapsed().as_secs_f64()
            ),
        );
        Ok(())
    }

    fn done(&self, what: &serde_json::Value, done: &Done) -> anyhow::Result<()> {
        let Done {
            term,
            index,
            commit,
            elapsed,
        } = done;
        let seconds = elapsed.as_secs_f64();
        let mut result = what.clone();
        result["done"] =
            json!({"term": term, "index": index, "commit": commit, "elapsed_s": seconds});
        let text = format!(
            "done    term {term}, configuration of index {index}, commit {commit}, in {seconds:.2} s"
        );
        self.context.print(&result, text)
    }

    /// Says something on the way to the result.
    fn say(&self, what: &str, words: &str) {
        if !self.context.json {
            // Only the result may fail the verb.
            let _ = self.context.print_text(format!("{what:<7} {words}"));
        }
    }
}

/// So few entries behind, a learner is as good as level.
const LAG_ENOUGH: u64 = 64;
