//! What a register still is, against the definitions: every order for sequential consistency, every
//! write for staleness.

use ordeal_checker::{Model, Options, Verdict, check};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::seed_and_rounds;
use super::world::{Call, World, history, show};

/// What a register of this key holds after a call; none when the call cannot happen then.
fn after(call: &Call, held: &Value) -> Option<Value> {
    match call.f {
        "read" => (!call.is_ok() || call.answer == *held).then(|| held.clone()),
        "write" => Some(call.argument.clone()),
        _ => (call.argument[0] == *held).then(|| call.argument[1].clone()),
    }
}

/// Whether some order of the calls, each process in its own, explains all answers; a call of unknown
/// outcome may be left out.
fn sequential(left: &[&Call], state: &[Value; 2]) -> bool {
    if left.iter().all(|call| !call.is_ok()) {
        return true;
    }
    (0..left.len()).any(|at| {
        let call = left[at];
        let first = left[..at].iter().all(|other| other.process != call.process);
        let key = call.key.as_u64().expect("a key") as usize;
        let Some(value) = after(call, &state[key]).filter(|_| first) else {
            return false;
        };
        let mut state = state.clone();
        state[key] = value;
        let mut rest = left.to_vec();
        rest.remove(at);
        sequential(&rest, &state)
    })
}

/// How many reads saw a surely replaced value, and by how many milliseconds and versions at most.
fn staleness(calls: &[Call]) -> (u64, usize, usize, bool) {
    let (mut stale, mut longest_ms, mut behind, mut unwritten) = (0, 0, 0, false);
    for read in calls.iter().filter(|call| call.f == "read" && call.is_ok()) {
        let writes = || {
            let of_key = calls
                .iter()
                .filter(|call| call.key == read.key && call.may());
            of_key.filter(|call| call.f != "read")
        };
        let new = |call: &Call| {
            if call.f == "cas" {
                call.argument[1].clone()
            } else {
                call.argument.clone()
            }
        };
        let saw = writes().find(|call| new(call) == read.answer && call.invoked < read.ended());
        let end = match saw {
            Some(write) => Some(write.ended()),
            None if read.answer.is_null() => None,
            None => {
                unwritten = true;
                continue;
            }
        };
        let later = || writes().filter(|call| end.is_none_or(|end| call.invoked > end));
        let replaced = later().map(Call::ended).min().unwrap_or(usize::MAX);
        if replaced < read.invoked {
            stale += 1;
            longest_ms = longest_ms.max(read.invoked - replaced);
            behind = behind.max(later().filter(|call| call.ended() < read.invoked).count());
        }
    }
    (stale, longest_ms, behind, unwritten)
}

#[test]
fn weaker_verdicts_agree_with_the_definitions() {
    let (seed, rounds) = seed_and_rounds(5_000);
    let mut counts = [0_u64; 2];
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let calls = World::registers().run(&mut rng);
        let report = check(&history(&calls), &Options::new(Model::Register));
        if report.verdict != Verdict::Invalid {
            continue;
        }
        let context = || format!("seed {seed}, round {round}\n{}{report:#?}", show(&calls));
        let weaker = &report.details["weaker"];
        let (stale, longest_ms, behind, unwritten) = staleness(&calls);
        assert_eq!(weaker["stale_reads"], json!(stale), "{}", context());
        assert_eq!(weaker["stale_max_ms"], json!(longest_ms), "{}", context());
        assert_eq!(
            weaker["versions_behind_max"],
            json!(behind),
            "{}",
            context()
        );
        let regular = stale == 0 && !unwritten;
        assert_eq!(weaker["regular_reads"], json!(regular), "{}", context());
        let may: Vec<&Call> = calls.iter().filter(|call| call.may()).collect();
        let holds = sequential(&may, &[Value::Null, Value::Null]);
        let word = if holds { "holds" } else { "violated" };
        assert_eq!(weaker["sequential"], json!(word), "{}", context());
        if holds {
            assert_eq!(weaker["causal"], "holds", "{}", context());
        }
        counts[usize::from(holds)] += 1;
    }
    println!("{counts:?} not linearizable histories that are not, and that are sequential");
    assert!(
        counts.iter().all(|count| *count > rounds / 50),
        "lopsided: {counts:?}"
    );
}
