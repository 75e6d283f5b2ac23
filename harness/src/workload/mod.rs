//! Workloads: for each kind of promise the operations that test it, what they are checked
//! against, and the last reads that bring to light what was lost.

mod register;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::generator::{Generator, Keys, Mix, Slot};
use crate::playbook::{Load, Spread};

/// The kinds of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Keys that are read, written and compared-and-set: linearizable, each on its own.
    Register,
}

/// What a generator is made from.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// What the playbook asks for.
    pub load: &'a Load,
    /// Which workload of the run this is.
    pub number: usize,
    /// For which process.
    pub slot: Slot,
    /// The run's seed.
    pub seed: u64,
}

impl Kind {
    /// Its name in a playbook.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
        }
    }

    /// Its operations, each with its usual weight.
    pub fn functions(self) -> &'static [(&'static str, u32)] {
        match self {
            Kind::Register => &register::FUNCTIONS,
        }
    }

    /// The operations that a system must know for it: those that come, and those of the last reads.
    pub fn needs(self, load: &Load) -> impl Iterator<Item = &'static str> {
        let comes = |f: &str, usual: u32| {
            if load.mix.is_empty() {
                usual > 0
            } else {
                load.mix.get(f).is_some_and(|weight| *weight > 0)
            }
        };
        let last = self.last();
        let functions = self
            .functions()
            .iter()
            .filter(move |(f, usual)| comes(f, *usual) || last == Some(*f));
        functions.map(|(f, _)| *f)
    }

    /// The operation of the last reads.
    fn last(self) -> Option<&'static str> {
        match self {
            Kind::Register => Some("read"),
        }
    }

    /// The checker's model for its promise.
    pub fn model(self) -> &'static str {
        match self {
            Kind::Register => "register",
        }
    }

    /// What a process does while the run lasts.
    pub fn generator(self, making: Making<'_>) -> Box<dyn Generator> {
        match self {
            Kind::Register => Box::new(register::Main::new(making)),
        }
    }

    /// What a process does at the end, when all is healed: it reads back.
    pub fn finale(self, making: Making<'_>) -> Box<dyn Generator> {
        match self {
            Kind::Register => Box::new(register::Finale::new(making)),
        }
    }
}

impl Making<'_> {
    fn random(&self, purpose: &str) -> rand_chacha::ChaCha8Rng {
        let number = (self.number as u64) << 32 | self.slot.number as u64;
        crate::generator::random(self.seed, purpose, number)
    }

    fn mix(&self) -> Mix {
        let mix = &self.load.mix;
        let all = self.load.kind.functions();
        Mix::new(all.iter().map(|(f, usual)| {
            if mix.is_empty() {
                (*f, *usual)
            } else {
                (*f, mix.get(*f).copied().unwrap_or(0))
            }
        }))
    }

    fn keys(&self, usual: usize) -> Keys {
        let count = self.load.keys.unwrap_or(usual);
        // Two workloads of one run never touch the same key.
        let prefix = match self.number {
            0 => "k".to_owned(),
            number => format!("w{number}-k"),
        };
        match self.load.spread {
            Spread::Uniform => Keys::uniform(&prefix, count),
            Spread::Zipf => Keys::zipf(&prefix, count),
            Spread::Hot => Keys::hot(&prefix, count),
        }
    }
}
