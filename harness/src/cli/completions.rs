//! `ordeal completions`: the shell learns the verbs.

use clap::Args;

use super::{Context, Exit};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal completions bash > /etc/bash_completion.d/ordeal\n  \
    ordeal completions fish > ~/.config/fish/completions/ordeal.fish")]
pub(super) struct Completions {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "ordeal", &mut script);
        context.print_text(String::from_utf8(script)?)?;
        Ok(Exit::Valid)
    }
}
