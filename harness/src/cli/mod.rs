//! The command line: one file a verb, and what all verbs share.
//!
//! A verb is a struct of arguments with `run(self, &Context) -> anyhow::Result<Exit>`. It runs on
//! the main thread, without a runtime: what is asynchronous goes through [`Context::block_on`],
//! after the verb has entered the cluster it works on. Results go to stdout, logs to stderr, and
//! an error is printed once, here.

mod bench;
mod campaign;
mod check;
mod choose;
mod cluster;
mod cluster_backup;
mod cluster_status;
mod completions;
mod context;
mod demo;
mod doctor;
mod exit;
mod fault;
mod generate;
mod heal;
mod history;
mod kv;
mod lab;
mod launch;
mod man;
mod members;
mod operate;
mod playbook;
mod recheck;
mod replay;
mod report;
mod run;
mod runs;
mod shrink;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use context::{Context, Global};
pub use exit::{Exit, UsageError};

/// Puts a replicated system through an ordeal and says whether it kept its promises.
#[derive(Debug, Parser)]
#[command(
    name = "ordeal",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 valid or done, 1 invalid, 2 unknown or coverage short, \
                  3 the harness failed, 64 usage."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What `ordeal` can do.
#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Demo(demo::Demo),
    Report(report::ReportVerb),
    Check(check::Check),
    History(history::HistoryVerb),
    Playbook(playbook::Playbook),
    Runs(runs::Runs),
    Recheck(recheck::Recheck),
    Replay(replay::Replay),
    Shrink(shrink::Shrink),
    Bench(bench::Bench),
    Lab(lab::LabVerb),
    Doctor(doctor::Doctor),
    Use(choose::Use),
    Fault(fault::FaultVerb),
    Heal(heal::Heal),
    Cluster(cluster::ClusterVerb),
    Members(members::Members),
    Kv(kv::Kv),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(name = "lab-init")]
    LabInit(lab::LabInit),
}

impl Verb {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Run(verb) => verb.run(context),
            Self::Demo(verb) => verb.run(context),
            Self::Playbook(verb) => verb.run(context),
            Self::Runs(verb) => verb.run(context),
            Self::Recheck(verb) => verb.run(context),
            Self::Replay(verb) => verb.run(context),
            Self::Shrink(verb) => verb.run(context),
            Self::Bench(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(context),
            Self::Man(verb) => verb.run(context),
            Self::Lab(verb) => verb.run(context),
            Self::LabInit(verb) => verb.run(),
            Self::Doctor(verb) => verb.run(context),
            Self::Use(verb) => verb.run(context),
            Self::Fault(verb) => verb.run(context),
            Self::Heal(verb) => verb.run(context),
            Self::Report(verb) => verb.run(context),
            Self::Cluster(verb) => verb.run(context),
            Self::Members(verb) => verb.run(context),
            Self::Kv(verb) => verb.run(context),
            Self::Check(verb) => verb.run(context),
            Self::History(verb) => verb.run(context),
        }
    }
}

/// The command line as clap knows it, for completions, man pages and the tests of help texts.
pub fn command() -> clap::Command {
    Cli::command().mut_subcommands(with_examples)
}

/// Gives each verb below a verb those of the verb's examples that are about it.
fn with_examples(verb: clap::Command) -> clap::Command {
    let examples = verb
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let name = verb.get_name().to_owned();
    verb.mut_subcommands(|below| {
        if below.get_after_help().is_some() {
            return below;
        }
        let typed = format!("ordeal {name} {}", below.get_name());
        let about = |line: &&str| {
            let rest = line.trim_start().strip_prefix(&typed);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let lines: Vec<&str> = examples.lines().filter(about).collect();
        let text = format!("Examples:\n{}", lines.join("\n"));
        if lines.is_empty() {
            below
        } else {
            below.after_help(text)
        }
    })
}

/// Parses the arguments, runs the verb, prints its error if it has one, and names the exit code.
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` arrive here too: clap prints those on stdout.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Valid
            };
            // Nowhere is left to say that stdout or stderr is closed.
            let _ = error.print();
            return exit.into();
        }
    };
    let context = Context::new(cli.global);
    match cli.verb.run(&context) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Nowhere is left to say that nobody reads this (`2>&1 | head`).
            let _ = writeln!(std::io::stderr(), "{}", context.error_text(&error));
            Exit::of_error(&error).into()
        }
    }
}

/// clap reads `NO_COLOR` by itself, but `--no-color` only once it has parsed: too late for help.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    if std::env::args_os().any(|argument| argument == "--no-color") {
        command = command.color(clap::ColorChoice::Never);
    }
    Cli::from_arg_matches(&command.try_get_matches()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_shows_how_it_is_typed() {
        fn without(command: &clap::Command, path: &str) -> Vec<String> {
            let path = format!("{path} {}", command.get_name());
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let lacks = (!help.contains("Examples:"))
                .then(|| path.clone())
                .into_iter();
            let below = command
                .get_subcommands()
                .filter(|below| !below.is_hide_set());
            lacks
                .chain(below.flat_map(|below| without(below, &path)))
                .collect()
        }
        let verbs = command();
        let verbs = verbs.get_subcommands().filter(|verb| !verb.is_hide_set());
        let lacking: Vec<String> = verbs.flat_map(|verb| without(verb, "ordeal")).collect();
        assert!(lacking.is_empty(), "no examples: {lacking:?}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
