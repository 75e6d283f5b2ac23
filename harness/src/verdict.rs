//! The verdict: did the properties hold, was enough covered, did the harness itself work.
//!
//! Only all three together pass. A violation is a violation even when the coverage is short or
//! the harness failed later; everything else that is missing keeps a run from passing, and says
//! which of the three it was.

use std::collections::BTreeMap;

use ordeal_checker::{Report, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::nemesis::Fault;

/// `results.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// The three parts together.
    pub verdict: Verdict,
    /// What the process exits with.
    pub exit_code: u8,
    /// What the checker said of each workload.
    pub properties: Vec<Property>,
    /// What the playbook asked for, and what came of it.
    pub coverage: Vec<Coverage>,
    /// Whether the harness worked.
    pub harness: Harness,
    /// Numbers.
    pub figures: Value,
    /// What was done to the system.
    pub faults: Vec<FaultRecord>,
}

/// A promise of the system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Property {
    /// Which.
    pub name: String,
    /// Whether it was kept.
    pub verdict: Verdict,
    /// Why not, in a sentence.
    pub reason: String,
    /// All that the checker said.
    pub report: Report,
}

/// Something that must have happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// What.
    pub name: String,
    /// How much of it.
    pub wanted: Value,
    /// How much there was.
    pub got: Value,
    /// Whether that is enough.
    pub met: bool,
    /// The playbook's line that asks for it.
    pub line: Option<usize>,
}

/// Whether the harness worked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harness {
    /// Whether it did.
    pub ok: bool,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// A fault that was planned, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Its number in the run.
    pub id: u64,
    /// Which entry of the playbook it is from, from 0; none when it was done by hand.
    #[serde(default)]
    pub entry: Option<usize>,
    /// Its kind.
    pub kind: String,
    /// The nodes it was done to.
    pub targets: Vec<String>,
    /// When it held, from the start of the run.
    pub start_ns: u64,
    /// When it was healed.
    pub end_ns: Option<u64>,
    /// In words.
    pub description: String,
    /// Whether it was installed and verified.
    pub installed: bool,
    /// Whether it was healed and verified.
    pub healed: bool,
    /// The fault with all chance taken out, and when it came and went, from the start of the
    /// faults' part of the run: what a replay repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// A fault as it really came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// What was done to whom.
    pub fault: Fault,
    /// When it came, in nanoseconds from the start of the faults' part of the run.
    pub at_ns: u64,
    /// How long it held, in nanoseconds.
    pub lasts_ns: u64,
}

impl Results {
    /// Puts the parts together.
    pub fn new(
        properties: Vec<Property>,
        coverage: Vec<Coverage>,
        errors: Vec<String>,
        figures: Value,
        faults: Vec<FaultRecord>,
    ) -> Results {
        let harness = Harness {
            ok: errors.is_empty(),
            errors,
        };
        let (verdict, exit_code) = decide(&properties, &coverage, harness.ok);
        Results {
            verdict,
            exit_code,
            properties,
            coverage,
            harness,
            figures,
            faults,
        }
    }

    /// When the earliest proof of a violation was complete, in seconds from the start of the run.
    pub fn first_proof_seconds(&self) -> Option<f64> {
        let reports = self.properties.iter().map(|property| &property.report);
        let proofs = reports.filter(|report| report.verdict == Verdict::Invalid);
        let proofs = proofs.flat_map(|report| {
            let anomalies = report.anomalies.iter().map(|anomaly| &anomaly.ops);
            anomalies.chain([&report.counterexample])
        });
        let ends = proofs.filter_map(|ops| ops.iter().map(|op| op.time).max());
        ends.min().map(|nanos| nanos as f64 / 1e9)
    }

    /// The same with other words of the checker.
    #[must_use]
    pub fn judged_again(self, properties: Vec<Property>) -> Results {
        Results::new(
            properties,
            self.coverage,
            self.harness.errors,
            self.figures,
            self.faults,
        )
    }
}

fn decide(properties: &[Property], coverage: &[Coverage], harness_ok: bool) -> (Verdict, u8) {
    let held = if properties.is_empty() {
        Verdict::Unknown
    } else {
        properties
            .iter()
            .fold(Verdict::Valid, |all, one| all.and(one.verdict))
    };
    match held {
        Verdict::Invalid => (Verdict::Invalid, 1),
        _ if !harness_ok => (Verdict::Unknown, 3),
        Verdict::Valid if coverage.iter().all(|one| one.met) => (Verdict::Valid, 0),
        _ => (Verdict::Unknown, 2),
    }
}

impl Coverage {
    /// At least so many.
    pub fn least(name: String, wanted: u64, got: u64, line: Option<usize>) -> Coverage {
        Coverage {
            name,
            wanted: json!(wanted),
            got: json!(got),
            met: got >= wanted,
            line,
        }
    }
}

/// How often each kind of fault was installed and verified.
pub fn installed(faults: &[FaultRecord]) -> BTreeMap<&str, u64> {
    let mut kinds = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.installed) {
        *kinds.entry(fault.kind.as_str()).or_default() += 1;
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(verdict: Verdict) -> Property {
        let report = Report::new("register", verdict);
        Property {
            name: "register".into(),
            verdict,
            reason: String::new(),
            report,
        }
    }

    fn coverage(met: bool) -> Coverage {
        Coverage::least("reads".into(), 1, u64::from(met), None)
    }

    #[test]
    fn only_all_three_together_pass() {
        use Verdict::{Invalid, Unknown, Valid};
        let table = [
            (Valid, true, true, (Valid, 0)),
            (Valid, false, true, (Unknown, 2)),
            (Valid, true, false, (Unknown, 3)),
            (Unknown, true, true, (Unknown, 2)),
            (Unknown, true, false, (Unknown, 3)),
            (Invalid, true, true, (Invalid, 1)),
            (Invalid, false, false, (Invalid, 1)),
        ];
        for (verdict, met, ok, expected) in table {
            let decided = decide(&[property(Valid), property(verdict)], &[coverage(met)], ok);
            assert_eq!(decided, expected, "{verdict:?} {met} {ok}");
        }
        assert_eq!(
            decide(&[], &[], true),
            (Unknown, 2),
            "a run that checked nothing"
        );
    }
}
