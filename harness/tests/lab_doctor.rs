//! The doctor finds what is wrong, on this machine and on the hosts, and says what to type.

mod lab;

use lab::{Lab, ordeal};
use serde_json::Value;

fn examine(lab: &Lab) -> (Option<i32>, Vec<Value>) {
    let output = ordeal(&["doctor", "--json", "--on", &lab.selector()]);
    let findings = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), findings)
}

/// What was found about one thing in one place.
fn finding<'a>(findings: &'a [Value], place: &str, subject: &str) -> &'a Value {
    let is_it = |finding: &&Value| finding["place"] == place && finding["subject"] == subject;
    findings
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("{place}: {subject}: not looked at"))
}

#[test]
fn a_sound_lab_is_found_sound_and_a_broken_one_broken() {
    let Some(lab) = Lab::up("doctor", 2) else {
        return;
    };
    let (code, findings) = examine(&lab);
    let bad: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["grade"] == "bad")
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(code, Some(0));
    assert_eq!(
        finding(&findings, "n1", "clock")["grade"],
        "limited",
        "a lab has no clock"
    );
    assert_eq!(finding(&findings, "n2", "partition")["grade"], "good");
    assert!(
        finding(&findings, "n2", "clock offset")["found"]
            .as_str()
            .expect("text")
            .contains("ms")
    );

    lab.exec(
        "n1",
        &["mount", "--bind", "/bin/false", "/usr/sbin/iptables"],
    );
    lab.exec(
        "n2",
        &["sh", "-c", "echo > /run/ordeal-lab/authorized_keys"],
    );
    let (code, findings) = examine(&lab);
    assert_eq!(code, Some(3));
    assert_eq!(finding(&findings, "n1", "partition")["grade"], "bad");
    let ssh = finding(&findings, "n2", "ssh");
    assert_eq!(ssh["grade"], "bad");
    assert!(
        ssh["mend"].as_str().expect("text").contains("ssh-copy-id"),
        "{ssh}"
    );
    for finding in findings.iter().filter(|finding| finding["grade"] != "good") {
        assert!(
            finding["mend"].is_string(),
            "nothing is said to mend it: {finding}"
        );
    }
}
