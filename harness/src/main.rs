//! `ordeal`: everything is in [`ordeal::cli`], so that tests and tools can reach it too.

use std::process::ExitCode;

/// Most of what is allocated lives for one operation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads the command line, does what it says, and exits with its code.
///
/// There is no runtime yet when this starts, on purpose: the lab's namespaces are entered by the
/// main thread, and only threads that start after that live inside them.
fn main() -> ExitCode {
    ordeal::cli::main()
}
