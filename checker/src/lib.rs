//! Histories, models and engines: is this history consistent, and if not, why?
//!
//! A history in, a verdict out. Nothing here knows that a network exists.
//!
//! ```
//! use ordeal_checker::history::{History, Op, Type};
//! use ordeal_checker::{Model, Options, Verdict, check};
//!
//! let history: History = [
//!     Op::new(0, Type::Invoke, "write", 1),
//!     Op::new(0, Type::Ok, "write", 1),
//!     Op::new(1, Type::Invoke, "read", ()),
//!     Op::new(1, Type::Ok, "read", 2),
//! ]
//! .into_iter()
//! .collect();
//! let report = check(&history, &Options::new(Model::Register));
//! assert_eq!(report.verdict, Verdict::Invalid);
//! ```

mod bank;
mod counter;
mod follow;
pub mod history;
mod linear;
mod lock;
mod log;
mod long_fork;
mod model;
mod monotonic;
mod options;
mod queue;
mod resident;
mod set;
mod stats;
mod tally;
pub mod txn;
mod unique;
mod verdict;
mod weaker;
mod wording;

pub use bank::Bank;
pub use linear::{Online, Violation};
pub use model::{Effect, Observed, Specification};
pub use options::{Budget, Model, Options};
pub use verdict::{Anomaly, Figures, KeyReport, Report, Verdict};

use history::History;

/// Decides whether the history is consistent with the model that the options name.
pub fn check(history: &History, options: &Options) -> Report {
    if let Some(why) = options.model.refuses(&options.initial) {
        return Report::unknown(options.model.name(), why);
    }
    timed(history, options.threads, || match options.model {
        Model::ListAppend => txn::check(history, options, txn::Data::Lists),
        Model::RwRegister => txn::check(history, options, txn::Data::Registers),
        Model::SetFull => set::check(history, options),
        Model::TotalQueue => queue::check(history, options),
        Model::CounterBounds => counter::check(history, options),
        Model::UniqueIds => unique::check(history, options),
        Model::Bank => bank::check(history, options),
        Model::LongFork => long_fork::check(history, options),
        Model::Monotonic => monotonic::check(history, options),
        Model::FencedLock => lock::check(history, options),
        Model::Log => log::check(history, options),
        Model::Stats => stats::check(history, options),
        Model::Register => {
            let started = std::time::Instant::now();
            let mut report = linear::check(history, options);
            weaker::add(history, options, started, &mut report);
            report
        }
        _ => linear::check(history, options),
    })
}

/// Decides whether the history is linearizable to a specification of your own. The model that the
/// options name, and their initial value, are not used.
pub fn check_with<M: Specification>(model: &M, history: &History, options: &Options) -> Report {
    timed(history, options.threads, || {
        linear::check_objects(model, history, options)
    })
}

/// Adds to a report what every report has.
fn timed(
    history: &History,
    threads: Option<usize>,
    check: impl FnOnce() -> Report + Send,
) -> Report {
    let started = std::time::Instant::now();
    let mut report = match threads {
        None => check(),
        // It takes a while to start others.
        Some(threads) if threads == rayon::current_num_threads() => check(),
        Some(threads) => match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
            Ok(pool) => pool.install(check),
            Err(error) => Report::unknown("any", format!("no threads to check with: {error}")),
        },
    };
    report.notes.extend(history.notes().iter().cloned());
    report.figures.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    report
}
