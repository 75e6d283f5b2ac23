//! The node, broken on purpose: it takes `--bug NAME`. Never for use.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ordeal_node::cli::main()
}
