//! Histories in every format: what is read is what was written, and what is wrong is named.

use std::io::Write;

use ordeal_checker::history::generate::{Recipe, generate};
use ordeal_checker::history::{
    Format, History, Op, ReadOptions, Type, edn, jsonl, read, text, write,
};
use ordeal_checker::{Budget, Model, Options, Report, Verdict, check};
use proptest::prelude::*;
use serde_json::json;

fn ops(history: &History) -> Vec<Op> {
    history.ops().collect()
}

fn read_text(text: &str) -> History {
    read(text.as_bytes(), ReadOptions::default()).unwrap()
}

fn seed() -> u64 {
    let given = std::env::var("ORDEAL_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(7);
    println!("ORDEAL_SEED={seed}");
    seed
}

#[test]
fn a_torn_last_line_is_left_out_and_noted() {
    let whole = r#"{"ordeal":"history","version":1}
{"index":0,"time":5,"process":0,"type":"invoke","f":"read","value":null}
{"index":1,"time":9,"process":0,"type":"ok","f":"re"#;
    let history = read_text(whole);
    assert_eq!(history.len(), 1);
    assert!(
        history.notes()[0].contains("line 3 is torn"),
        "{:?}",
        history.notes()
    );
}

#[test]
fn a_bad_line_is_named_with_line_column_and_what_was_expected() {
    let bad = "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n{\"process\":0,\"type\":\"begin\",\"f\":\"read\"}\n";
    let error = read(bad.as_bytes(), ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line 2, column "), "{error}");
    assert!(
        error.contains("`invoke`") && error.contains("begin"),
        "{error}"
    );
}

#[test]
fn a_version_from_the_future_is_refused() {
    let error = read(
        &b"{\"ordeal\":\"history\",\"version\":2}\n"[..],
        ReadOptions::default(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("expected a history of version 1")
    );
}

#[test]
fn what_makes_no_sense_is_named() {
    let orphan: History = [Op::new(3, Type::Ok, "read", 1)].into_iter().collect();
    let error = orphan.calls().unwrap_err().to_string();
    assert!(
        error.contains("process 3") && error.contains("invoked nothing"),
        "{error}"
    );
    let twice: History = [
        Op::new(3, Type::Invoke, "read", ()),
        Op::new(3, Type::Invoke, "write", 1),
    ]
    .into_iter()
    .collect();
    let error = twice.calls().unwrap_err().to_string();
    assert!(error.contains("still open"), "{error}");
    let report = check(&twice, &Options::default());
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("malformed"));
}

#[test]
fn time_running_backwards_is_noted() {
    let history = read_text(
        "{\"time\":9,\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n\
         {\"time\":4,\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":null}\n",
    );
    assert!(
        history.notes()[0].contains("from 9 to 4 ns"),
        "{:?}",
        history.notes()
    );
}

#[test]
fn edn_is_read_in_both_forms_with_independent_keys_and_the_nemesis_apart() {
    let lines = "{:process 0, :type :invoke, :f :write, :value [3 5]}
        {:process :nemesis, :type :info, :f :start, :value [\"n1\" \"n2\"]} ; cut
        #_ {:ignored true} {:process 0, :type :ok, :f :write, :value [3 5], :error [:odd nil]}";
    let vector = format!("[{lines}]");
    for text in [lines, &vector] {
        let read = edn::read(text.as_bytes(), true).unwrap();
        let ops = ops(&read);
        assert_eq!(ops.len(), 3);
        assert_eq!((&ops[0].key, &ops[0].value), (&json!(3), &json!(5)));
        assert_eq!(ops[1].value, json!(["n1", "n2"]));
        assert_eq!(ops[2].error.as_deref(), Some("[\"odd\",null]"));
        assert_eq!(read.calls().unwrap().len(), 1);
    }
    let error = edn::read(b"[{:process 0,\n :type :begin}]", false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 1, column 2") && error.contains(":invoke"),
        "{error}"
    );
}

#[test]
fn independent_tuples_are_told_by_the_reads() {
    let tuples = "{:process 0 :type :invoke :f :read :value [3 nil]}
        {:process 0 :type :ok :f :read :value [3 5]}";
    let history = read_text(tuples);
    assert_eq!(ops(&history)[1].key, json!(3));
    assert!(history.notes()[0].contains("[key value]"));
    let as_they_are = ReadOptions {
        independent: Some(false),
        ..ReadOptions::default()
    };
    let history = read(tuples.as_bytes(), as_they_are).unwrap();
    assert_eq!(ops(&history)[1].value, json!([3, 5]));
    // A register of pairs is asked with nothing.
    let history = read_text(&tuples.replace("[3 nil]", "nil"));
    assert_eq!(ops(&history)[1].value, json!([3, 5]));
}

#[test]
fn lines_for_the_eye_are_read_too() {
    let lines = "starting the test\n3\t:invoke\t:write\t5\n\
                 INFO  jepsen.util - 4 :invoke :cas [1 2]\n\
                 3\t:info\t:write\t5\t:timed-out\nINFO  jepsen.util - 4 :fail :cas [1 2]\n";
    let history = text::read(lines.as_bytes(), false).unwrap();
    let ops = ops(&history);
    assert_eq!(ops.len(), 4);
    assert_eq!(ops[1].value, json!([1, 2]));
    assert_eq!(ops[2].error.as_deref(), Some("timed-out"));
    assert!(history.notes()[0].contains("1 lines are no ops"));
}

#[test]
fn histories_survive_every_format_and_packing() {
    let recipe = Recipe {
        keys: 5,
        cas: 0.2,
        unknown: 0.1,
        seed: seed(),
        ..Recipe::default()
    };
    let history = generate(&recipe);
    let mut plain = Vec::new();
    write(&history, &mut plain, Format::Jsonl).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 0).unwrap();
    for bytes in [plain, gzip.finish().unwrap(), zstd] {
        let again = read(bytes.as_slice(), ReadOptions::default()).unwrap();
        assert_eq!(ops(&again), ops(&history));
    }
    let mut edn = Vec::new();
    write(&history, &mut edn, Format::Edn).unwrap();
    let independent = ReadOptions {
        independent: Some(true),
        ..ReadOptions::default()
    };
    assert_eq!(
        ops(&read(edn.as_slice(), independent).unwrap()),
        ops(&history)
    );
    assert!(
        history.memory_bytes() <= 64 * 1000 + 20_000,
        "{} bytes",
        history.memory_bytes()
    );
}

#[test]
fn with_little_contention_operations_rarely_meet() {
    let met = |contention| {
        let history = generate(&Recipe {
            contention,
            seed: seed(),
            ..Recipe::default()
        });
        let (mut open, mut met) = (0, 0);
        for op in history.ops() {
            if op.type_ == Type::Invoke {
                met += usize::from(open > 0);
                open += 1;
            } else {
                open -= 1;
            }
        }
        met
    };
    let (rare, some, always) = (met(0.01), met(0.2), met(1.0));
    assert!(rare < some && some < always, "{rare}, {some}, {always}");
    assert!(rare < 400 && always > 990, "{rare}, {always}");
}

/// A report without what may differ: times, memory, order of keys.
fn essence(mut report: Report) -> Report {
    report.figures.elapsed_ms = 0.0;
    report.figures.memory_bytes = 0;
    report.keys.sort_by_key(|key| key.key.to_string());
    report
}

#[test]
fn verdicts_do_not_depend_on_threads_or_on_the_order_of_keys() {
    // Long enough to be taken apart by several.
    let recipe = Recipe {
        operations: 70_000,
        keys: 350,
        unknown: 0.05,
        values: Some(3),
        cas: 0.3,
        seed: seed(),
        ..Recipe::default()
    };
    let mut mutated: Vec<Op> = generate(&recipe).ops().collect();
    // Two keys get a read of what was never there.
    for key in ["k3", "k11"] {
        let read = |op: &&mut Op| op.key == json!(key) && op.f == "read" && op.type_ == Type::Ok;
        mutated
            .iter_mut()
            .filter(read)
            .nth(20)
            .expect("it was read often")
            .value = json!(99);
    }
    let history: History = mutated.iter().cloned().collect();
    let with = |threads| Options {
        threads: Some(threads),
        explain: false,
        ..Options::default()
    };
    let one = essence(check(&history, &with(1)));
    assert_eq!(one.verdict, Verdict::Invalid);
    assert_eq!(one.keys.len(), 2);
    assert_eq!(essence(check(&history, &with(4))), one);
    // Other names: other order.
    let renamed: History = mutated
        .into_iter()
        .map(|mut op| {
            op.key = json!(format!("{}-{}", op.key.to_string().len(), op.key));
            op
        })
        .collect();
    let renamed = check(&renamed, &with(2));
    assert_eq!((renamed.verdict, renamed.keys.len()), (Verdict::Invalid, 2));
}

#[test]
fn what_a_register_holds_at_first_is_told_from_what_only_a_cas_names() {
    let cas = |type_| Op::new(0, type_, "cas", json!(["a", "b"]));
    let history: History = [cas(Type::Invoke), cas(Type::Ok)].into_iter().collect();
    let from = |initial: &str| {
        let options = Options {
            initial: json!(initial),
            ..Options::default()
        };
        check(&history, &options).verdict
    };
    assert_eq!(from("a"), Verdict::Valid);
    assert_eq!(from("x"), Verdict::Invalid);
}

#[test]
fn revisions_decide_when_they_are_right_and_nothing_when_they_are_wrong() {
    // Forty adds open at once, then a read of each sum: hard to search, plain with revisions.
    let mut ops: Vec<Op> = Vec::new();
    let mut push = |op: Op, revision| ops.push(Op { revision, ..op });
    for client in 0..40 {
        push(
            Op::new(client, Type::Invoke, "add", 1 << (client % 20)),
            None,
        );
        push(Op::new(100 + client, Type::Invoke, "read", ()), None);
    }
    let mut sum = 0u64;
    for client in (0..40).rev() {
        sum += 1 << (client % 20);
        let revision = Some(u64::from(41 - client));
        push(
            Op::new(client, Type::Ok, "add", 1 << (client % 20)),
            revision,
        );
        push(Op::new(100 + client, Type::Ok, "read", sum), revision);
    }
    let mut options = Options::new(Model::Counter);
    options.certify = true;
    options.budget.time = std::time::Duration::from_secs(600);
    let told: History = ops.iter().cloned().collect();
    let report = check(&told, &options);
    assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.reason);
    let order = &report.details["certificate"][0]["linearization"];
    assert_eq!(order.as_array().map(Vec::len), Some(80));
    // Four of them, with revisions that lie: the verdict is the search's.
    ops.retain(|op| {
        op.process
            .to_string()
            .parse::<u32>()
            .is_ok_and(|it| it % 100 > 37)
    });
    for op in &mut ops {
        op.revision = op.revision.map(|it| 100 - it);
    }
    let lied: History = ops.iter().cloned().collect();
    assert_eq!(check(&lied, &options).verdict, Verdict::Valid);
    ops.last_mut().expect("there are some").value = json!(7);
    let wrong: History = ops.into_iter().collect();
    assert_eq!(check(&wrong, &options).verdict, Verdict::Invalid);
}

#[test]
fn budgets_end_in_unknown_with_the_reason() {
    // Even numbers are added and odd ones read, within all bounds: no order fits, but which would
    // have to be tried.
    let adds = |client| json!(2 << (client % 19));
    let mut ops: Vec<Op> = (0..40)
        .map(|client| Op::new(client, Type::Invoke, "add", adds(client)))
        .collect();
    for client in 0..40 {
        ops.push(Op::new(client, Type::Ok, "add", adds(client)));
        if client < 10 {
            ops.push(Op::new(100 + client, Type::Invoke, "read", ()));
            ops.push(Op::new(100 + client, Type::Ok, "read", 1_000_001));
        }
    }
    let history: History = ops.into_iter().collect();
    let mut options = Options::new(Model::Counter);
    options.explain = false;
    options.budget = Budget {
        time: std::time::Duration::from_millis(50),
        memory_bytes: 1 << 40,
    };
    let report = check(&history, &options);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("time budget"));
    options.budget = Budget {
        time: std::time::Duration::from_secs(60),
        memory_bytes: 1 << 20,
    };
    let report = check(&history, &options);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("memory budget"));
    assert!(report.figures.memory_bytes <= 1 << 20);
}

fn recorded_as(format: usize, history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    match format {
        0 => write(history, &mut bytes, Format::Jsonl).unwrap(),
        1 => write(history, &mut bytes, Format::Edn).unwrap(),
        2 => {
            // Escapes, maps, floats, sets: what our own writers do not need.
            let odd = r#"{"index":0,"process":0,"type":"invoke","f":"c\u00e4s","value":[1,{"a":[null,-0.5e3]}]}"#;
            bytes = odd.as_bytes().to_vec();
            bytes.extend(
                b"\n{:process 1, :type :ok, :f :read, :value #{1 2 \\a}, :error \"a\\u00e9\"}\n",
            );
        }
        _ => {
            for op in history.ops() {
                let line = format!(
                    "{}\t:{}\t:{}\t{}\n",
                    op.process,
                    op.type_.name(),
                    op.f,
                    op.value
                );
                bytes.extend(line.into_bytes());
            }
        }
    }
    bytes
}

fn pack(packing: usize, bytes: &[u8]) -> Vec<u8> {
    match packing {
        0 => bytes.to_vec(),
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        _ => zstd::encode_all(bytes, 0).unwrap(),
    }
}

/// Changes a byte, cuts the end off, takes a part out, doubles it, or puts brackets in.
fn spoil(bytes: &mut Vec<u8>, at: usize, byte: u8, kind: u8) {
    if bytes.is_empty() {
        return;
    }
    let at = at % bytes.len();
    let end = bytes.len().min(at + usize::from(byte));
    match kind {
        0 => bytes[at] = byte,
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let brackets = [b'[', b'{', b'"', b'(', b'#', b'\\'][usize::from(byte) % 6];
            bytes.splice(at..at, vec![brackets; usize::from(byte) * 40]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(bytes.as_slice(), ReadOptions::default());
        let _ = edn::read(&bytes, true);
        let _ = text::read(&bytes, true);
        let _ = jsonl::read(bytes.as_slice());
    }

    /// A good recording in each format, packed or not, broken before or after it is packed.
    #[test]
    fn readers_never_panic_on_broken_histories(
        seed in any::<u64>(), format in 0usize..4, packing in 0usize..3, packed_first in any::<bool>(),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>(), 0u8..5), 1..6),
    ) {
        let recipe = Recipe { operations: 12, clients: 3, keys: 2, cas: 0.3, unknown: 0.2, seed, ..Recipe::default() };
        let mut bytes = recorded_as(format, &generate(&recipe));
        for packs in [packed_first, !packed_first] {
            if packs {
                bytes = pack(packing, &bytes);
            } else {
                for &(at, byte, kind) in &damage {
                    spoil(&mut bytes, usize::from(at), byte, kind);
                }
            }
        }
        for independent in [None, Some(true)] {
            if let Ok(history) = read(bytes.as_slice(), ReadOptions { independent, ..ReadOptions::default() }) {
                let _ = check(&history, &Options::default());
            }
        }
        let _ = edn::read(&bytes, true);
        let _ = text::read(&bytes, true);
        let _ = jsonl::read(bytes.as_slice());
    }

    #[test]
    fn the_fast_reader_reads_what_serde_reads(
        value in prop_oneof![
            Just(json!(null)), any::<i64>().prop_map(|it| json!(it)), any::<i32>().prop_map(|it| json!(f64::from(it) / 8.0)),
            ".{0,6}".prop_map(|it| json!(it)),
            proptest::collection::vec(any::<i32>(), 0..4).prop_map(|it| json!(it)),
            Just(json!([[1, null], ["a b", true], []])), Just(json!({"b": [1], "a": "x"})),
        ],
        index in any::<u64>(), key in "[a-z]{0,3}", error in proptest::option::of(".{0,4}"),
    ) {
        let mut op = Op::new(7, Type::Ok, "read", value);
        (op.index, op.time, op.key, op.error) = (index, index / 2, json!(key), error);
        let line = serde_json::to_string(&op).unwrap() + "\n";
        let read = jsonl::read(line.as_bytes()).unwrap();
        prop_assert_eq!(ops(&read), vec![op]);
    }
}
