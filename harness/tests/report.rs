//! The report as its readers get it: made by the binary from a run's folder.

#[path = "report/fixture.rs"]
mod fixture;

use std::path::Path;

use assert_cmd::Command;
use fixture::{Broken, Plan};

fn report(folder: &Path, format: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(["report", "--format", format, "--output", "-", "--no-color"])
        .arg(folder)
        .assert()
        .success();
    String::from_utf8(output.get_output().stdout.clone()).expect("reports are UTF-8")
}

#[test]
fn an_invalid_run_shows_what_broke_where_and_why() {
    let folder = Plan {
        broken: Broken::StaleRead,
        ..Plan::new("invalid")
    }
    .write();
    let page = report(&folder, "html");
    std::fs::write(folder.join("report.html"), &page).expect("the folder is ours");
    for words in [
        "<h1>Invalid</h1>",
        "process 9 read 17 at 18.421 s",
        "What broke: linearizable registers",
        "read → 17",
        "linearizable registers broken",
        "1 of 2 violated",
        "minority {n1, n4} cut off",
        "timeout after 1 s",
        "playbook.yaml --seed 42",
    ] {
        assert!(page.contains(words), "the page does not say: {words}");
    }
    assert_eq!(
        page.matches(" stuck\"").count(),
        1,
        "one operation is the impossible one"
    );
}

#[test]
fn a_cycle_of_transactions_is_drawn_and_told() {
    let plan = Plan {
        broken: Broken::LostOrder,
        ..Plan::new("cycle")
    };
    let folder = plan.write();
    let page = report(&folder, "html");
    std::fs::write(folder.join("report.html"), &page).expect("the folder is ours");
    assert!(
        page.contains("A cycle of 3 transactions"),
        "the cycle is drawn"
    );
    assert_eq!(page.matches("class=\"arrow\"").count(), 3);
    assert!(
        !page.contains(" stuck\""),
        "no transaction of a cycle is the guilty one"
    );
    assert!(
        page.contains("x += 1  y: []"),
        "a transaction is told by its steps"
    );
}

#[test]
fn a_valid_run_says_so_in_every_format() {
    let folder = Plan::new("valid").write();
    let page = report(&folder, "html");
    std::fs::write(folder.join("report.html"), &page).expect("the folder is ours");
    assert!(page.contains("<h1>Valid</h1>"));
    assert!(!page.contains("What broke"));
    assert!(report(&folder, "text").contains("VALID  Every promise was kept"));
    assert!(report(&folder, "markdown").starts_with("## ✅ Valid"));
    assert!(report(&folder, "junit").contains("failures=\"0\" errors=\"0\""));
}

#[test]
fn what_did_not_happen_never_looks_like_a_pass() {
    let short = Plan {
        coverage_met: false,
        ..Plan::new("short")
    }
    .write();
    assert!(report(&short, "text").contains("COVERAGE SHORT"));
    assert!(report(&short, "junit").contains("failures=\"1\" errors=\"0\""));
    let failed = Plan {
        harness_ok: false,
        ..Plan::new("failed")
    }
    .write();
    assert!(report(&failed, "text").contains("HARNESS FAILED  n3: cannot heal partition 2"));
    assert!(report(&failed, "junit").contains("failures=\"0\" errors=\"1\""));
}

#[test]
fn a_fault_that_did_not_come_is_not_counted() {
    let folder = Plan::new("missed").write();
    let file = folder.join("results.json");
    let written = std::fs::read(&file).expect("results");
    let mut results: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let faults = results["faults"].as_array_mut().expect("faults");
    (faults[0]["installed"], faults[0]["healed"]) = (false.into(), false.into());
    let came = faults.len() - 1;
    std::fs::write(&file, results.to_string()).expect("the folder is ours");
    let text = report(&folder, "text");
    assert!(text.contains(&format!("through {came} faults")), "{text}");
    assert!(text.contains("; 1 more did not come"), "{text}");
}

#[test]
fn a_violation_survives_the_failure_of_the_harness() {
    let plan = Plan {
        broken: Broken::StaleRead,
        harness_ok: false,
        ..Plan::new("both")
    };
    let text = report(&plan.write(), "text");
    assert!(
        text.contains("INVALID") && text.contains("ordeal heal latest"),
        "{text}"
    );
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let page = report(&Plan::new("offline").write(), "html");
    for address in ["http://", "https://", "//cdn", "@import", "url("] {
        assert!(!page.contains(address), "the page refers to {address}");
    }
}

#[test]
fn a_long_history_does_not_make_a_long_page() {
    let length = |name, seconds| {
        let plan = Plan {
            seconds,
            ..Plan::new(name)
        };
        report(&plan.write(), "html").len()
    };
    let (short, long) = (length("length-1", 20), length("length-10", 200));
    assert!(long < 4 * short, "{short} bytes became {long}");
}

#[test]
fn a_hostile_history_stays_text() {
    const ATTACK: &str = "</script><img src=x onerror=alert(1)>'\"{{7*7}}";
    let folder = Plan {
        broken: Broken::StaleRead,
        ..Plan::new("hostile")
    }
    .write();
    for file in ["history.jsonl", "results.json", "run.json"] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).expect("the fixture wrote it");
        let quoted = serde_json::to_string(ATTACK).expect("a string is JSON");
        let attack = quoted.trim_matches('"');
        let mut text = text
            .replace("timeout after 1 s", attack)
            .replace("minority", attack)
            .replace("\"kill\"", &quoted)
            .replace("\"n4\"", &quoted)
            .replace("\"k3\"", &quoted)
            .replace("\"cas\"", &quoted)
            .replace("linearizable registers", attack)
            .replace("\"quickstart\"", &quoted)
            .replace("warm up", attack)
            .replace("Process 4 wrote", attack);
        if file == "run.json" {
            text = text.replace("\"kernel\"", &quoted);
        }
        std::fs::write(&path, text).expect("the folder is ours");
    }
    std::fs::write(folder.join("playbook.yaml"), ATTACK).expect("the folder is ours");
    let page = report(&folder, "html");
    assert!(page.contains("&lt;img src=x"), "the words are shown");
    assert!(!page.contains("<img"), "but not as an element");
    assert_eq!(page.matches("</script>").count(), 2, "no script ends early");
    assert!(
        !page.contains("{{7*7}}") || !page.contains("49'"),
        "and nothing is evaluated"
    );
    let junit = report(&folder, "junit");
    assert!(!junit.contains("<img") && junit.contains("&lt;img"));
}

#[test]
fn a_folder_without_a_run_is_a_mistake_of_usage() {
    let assert = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(["report", env!("CARGO_TARGET_TMPDIR")])
        .assert()
        .code(64);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("holds no run"), "{stderr}");
}
