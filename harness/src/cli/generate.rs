//! `ordeal history generate`: histories from a seed, sound or with one anomaly planted.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use ordeal_checker::history::History;
use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::txn::Data;
use ordeal_checker::txn::generate::{Plan, generate as generate_transactions, plants};

use super::UsageError;

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The object
    #[arg(long, value_enum, default_value_t = Made::Register)]
    model: Made,
    /// Operations, or transactions
    #[arg(long, default_value_t = 1000)]
    ops: usize,
    /// Clients, each with one operation open at a time
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    clients: usize,
    /// How soon a client begins its next operation: above 0, where they rarely meet, to 1, always busy
    /// [default: 1]
    #[arg(long, value_parser = share)]
    contention: Option<f64>,
    /// Keys; of transactions, how many at a time [default: 1, of transactions 10]
    #[arg(long, value_parser = at_least_one)]
    keys: Option<usize>,
    /// Share of unknown outcomes, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    unknown: f64,
    /// Distinct values that are written [default: each value is written once]
    #[arg(long)]
    values: Option<u32>,
    /// Share of compare-and-set, 0 to 1 [default: 0]
    #[arg(long, value_parser = share)]
    cas: Option<f64>,
    /// Break the promise once; stale-read and lost-write: registers only; G0 and what follows: transactions
    #[arg(long, value_parser = PossibleValuesParser::new(anomalies()))]
    anomaly: Option<String>,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to
    #[arg(short, long, default_value = "-")]
    pub(super) output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Made {
    Register,
    Kv,
    Queue,
    Stack,
    PriorityQueue,
    Set,
    Counter,
    AppendLog,
    Mutex,
    ListAppend,
    RwRegister,
}

/// What breaks an object that is read.
const ANOMALIES: [(&str, Anomaly); 3] = [
    ("stale-read", Anomaly::StaleRead),
    ("lost-write", Anomaly::LostWrite),
    ("phantom", Anomaly::Phantom),
];

fn anomalies() -> Vec<&'static str> {
    let of_objects = ANOMALIES.iter().map(|(name, _)| *name);
    of_objects.chain(plants(Data::Lists)).collect()
}

impl Generate {
    pub(super) fn history(&self) -> Result<History, UsageError> {
        Ok(match self.model {
            Made::Register => generate(&self.recipe(Object::Register)?),
            Made::Kv => generate(&self.recipe(Object::Kv)?),
            Made::Queue => generate(&self.recipe(Object::Queue)?),
            Made::Stack => generate(&self.recipe(Object::Stack)?),
            Made::PriorityQueue => generate(&self.recipe(Object::PriorityQueue)?),
            Made::Set => generate(&self.recipe(Object::Set)?),
            Made::Counter => generate(&self.recipe(Object::Counter)?),
            Made::AppendLog => generate(&self.recipe(Object::AppendLog)?),
            Made::Mutex => generate(&self.recipe(Object::Mutex)?),
            Made::ListAppend => self.transactions(Data::Lists)?,
            Made::RwRegister => self.transactions(Data::Registers)?,
        })
    }

    fn recipe(&self, object: Object) -> Result<Recipe, UsageError> {
        let anomaly = match self.anomaly.as_deref() {
            None => None,
            Some(name) => Some(planted(name, object)?),
        };
        if self.cas.is_some() && object != Object::Register {
            return Err(UsageError("--cas goes with --model register only".into()));
        }
        if self.contention == Some(0.0) {
            let what = "--contention 0: nobody would ever begin; the least is a little more";
            return Err(UsageError(what.into()));
        }
        Ok(Recipe {
            object,
            operations: self.ops,
            clients: self.clients,
            contention: self.contention.unwrap_or(1.0),
            keys: self.keys.unwrap_or(1),
            unknown: self.unknown,
            values: self.values,
            cas: self.cas.unwrap_or(0.0),
            anomaly,
            seed: self.seed,
        })
    }

    fn transactions(&self, data: Data) -> Result<History, UsageError> {
        let told = [
            ("--cas", self.cas.is_some()),
            ("--values", self.values.is_some()),
            ("--contention", self.contention.is_some()),
        ];
        if let Some((option, _)) = told.iter().find(|(_, given)| *given) {
            return Err(UsageError(format!(
                "{option} does not go with transactions"
            )));
        }
        let plant = match self.anomaly.as_deref() {
            None => None,
            Some(name) => {
                let known = plants(data).find(|it| *it == name);
                Some(known.ok_or_else(|| {
                    let which: Vec<&str> = plants(data).collect();
                    let which = which.join(", ");
                    UsageError(format!(
                        "--anomaly {name} cannot be planted here; what can: {which}"
                    ))
                })?)
            }
        };
        let mut plan = Plan::new(data, self.ops, self.seed);
        plan.processes = self.clients;
        plan.keys = self.keys.unwrap_or(plan.keys);
        plan.unknown = self.unknown;
        plan.plant = plant;
        let mut history = History::new();
        generate_transactions(&plan, |op| history.push(&op));
        Ok(history)
    }
}

fn planted(name: &str, object: Object) -> Result<Anomaly, UsageError> {
    let known = ANOMALIES.iter().find(|(known, _)| *known == name);
    let what = match known {
        None => {
            "--anomaly must be stale-read, lost-write or phantom where no transactions are made"
        }
        Some((_, Anomaly::Phantom)) if object == Object::Mutex => {
            "--anomaly breaks what is read, and a mutex is not"
        }
        Some(&(_, Anomaly::Phantom)) => return Ok(Anomaly::Phantom),
        Some(&(_, anomaly)) if object == Object::Register => return Ok(anomaly),
        Some(_) => "--anomaly must be phantom where --model is not register",
    };
    Err(UsageError(what.into()))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&it| it > 0);
    number.ok_or_else(|| "expected a number from 1".to_owned())
}
