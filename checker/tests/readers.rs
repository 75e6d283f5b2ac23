//! The readers, fuzzed: recordings in every format, damaged in every way, packed and not.
//!
//! Whatever the bytes, nothing panics, no line is swallowed unsaid, the fast reader of JSONL reads what
//! `serde_json` reads, and what was read is read again when it is written, in either format.
//! `ORDEAL_ROUNDS` draws more, `ORDEAL_SEED` others.

use std::io::Write;

use ordeal_checker::history::{
    Format, History, Op, Process, ReadOptions, Type, edn, jsonl, read, text, write,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

fn seed_and_rounds(rounds: u64) -> (u64, u64) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = read("ORDEAL_SEED").unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    (seed, read("ORDEAL_ROUNDS").unwrap_or(rounds))
}

/// Texts that readers stumble over.
const ODD: [&str; 18] = [
    "",
    " ",
    "nil",
    ":a",
    "a b",
    "\"",
    "\\",
    "\u{8}\u{c}\u{0}",
    "é",
    "😀",
    "\\u00e9",
    "#_",
    "[1 2]",
    "nemesis",
    "1",
    "-",
    "\n",
    "invoke",
];

fn word(rng: &mut StdRng) -> String {
    let odd = ODD.choose(rng).expect("there are some");
    let plain = ["read", "write", "cas", "txn", "add-2", "x"]
        .choose(rng)
        .expect("there are some");
    (*if rng.random_bool(0.2) { odd } else { plain }).to_owned()
}

fn number(rng: &mut StdRng) -> u64 {
    let edges = [
        0,
        1,
        1 << 30,
        (1 << 31) - 1,
        1 << 53,
        i64::MAX as u64,
        u64::MAX - 1,
        u64::MAX,
    ];
    if rng.random_bool(0.2) {
        return *edges.choose(rng).expect("there are some");
    }
    rng.random_range(0..20)
}

fn value(rng: &mut StdRng, depth: u32) -> Value {
    match rng.random_range(0..if depth > 3 { 8 } else { 12 }) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2..5 => json!(number(rng)),
        5 => json!(number(rng).cast_signed().wrapping_neg()),
        6 => json!(f64::from(rng.random_range(-1000..1000)) / 8.0),
        7 => json!(word(rng)),
        8 => (0..rng.random_range(0..3))
            .map(|_| (word(rng), value(rng, depth + 1)))
            .collect(),
        9 if rng.random_bool(0.05) => {
            (0..rng.random_range(20..120)).fold(json!(1), |inner, _| json!([inner]))
        }
        _ => (0..rng.random_range(0..4))
            .map(|_| value(rng, depth + 1))
            .collect(),
    }
}

fn op(rng: &mut StdRng, row: u64) -> Op {
    let odd = rng.random_bool(0.3);
    let rare = |rng: &mut StdRng| odd && rng.random_bool(0.4);
    let type_ = [Type::Invoke, Type::Ok, Type::Fail, Type::Info];
    let f = if odd { word(rng) } else { "read".into() };
    let mut op = Op::new(
        rng.random_range(0..4),
        *type_.choose(rng).expect("there are some"),
        &f,
        value(rng, 0),
    );
    if rare(rng) {
        op.process = Process::Nemesis;
    }
    (op.index, op.time) = if rare(rng) {
        (number(rng), number(rng))
    } else {
        (row, row * 1000)
    };
    op.key = if rare(rng) {
        value(rng, 2)
    } else {
        Value::Null
    };
    op.error = rare(rng).then(|| word(rng));
    op.node = rare(rng).then(|| word(rng));
    op.revision = rare(rng).then(|| number(rng));
    op
}

fn recorded(rng: &mut StdRng) -> Vec<u8> {
    let ops: Vec<Op> = (0..rng.random_range(0..8))
        .map(|row| op(rng, row))
        .collect();
    let mut bytes = Vec::new();
    match rng.random_range(0..5) {
        0 | 1 => write(&ops.into_iter().collect(), &mut bytes, Format::Jsonl).unwrap(),
        2 | 3 => write(&ops.into_iter().collect(), &mut bytes, Format::Edn).unwrap(),
        _ => {
            for op in ops {
                let Op {
                    process,
                    type_,
                    f,
                    value,
                    ..
                } = op;
                writeln!(bytes, "{process}\t:{}\t:{f}\t{value}", type_.name()).unwrap();
            }
        }
    }
    bytes
}

/// What a reader may take for a beginning that never ends.
const TOKENS: [&[u8]; 22] = [
    b"[",
    b"{",
    b"(",
    b"\"",
    b"#",
    b"#_",
    b"#{",
    b"#_[",
    b"\\",
    b"\\ud800",
    b"9",
    b"-",
    b"1e",
    b"]",
    b"}",
    b"\xff",
    b"\n",
    b" ",
    b",",
    b"\"type\":\"ok\",",
    b":type :ok ",
    b"\0",
];

fn spoil(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(rng.random());
    }
    let at = rng.random_range(0..bytes.len());
    let end = bytes.len().min(at + rng.random_range(0..20));
    match rng.random_range(0..11) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
        5 | 6 => {
            let token = TOKENS.choose(rng).expect("there are some");
            let many = if rng.random_bool(0.02) { 20_000 } else { 3 };
            bytes.splice(at..at, token.repeat(rng.random_range(1..=many)));
        }
        7 => bytes.extend((0..rng.random_range(0..30)).map(|_| rng.random::<u8>())),
        _ => spoil_lines(rng, bytes),
    }
}

/// Takes a line out, doubles it, or has it change places with another.
fn spoil_lines(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|&it| it == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (at, other) = (
        rng.random_range(0..lines.len()),
        rng.random_range(0..lines.len()),
    );
    match rng.random_range(0..3) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(other, lines[at].clone()),
        _ => lines.swap(at, other),
    }
    *bytes = lines.concat();
}

fn pack(rng: &mut StdRng, bytes: &[u8]) -> Vec<u8> {
    if rng.random_bool(0.5) {
        return zstd::encode_all(bytes, 0).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn ops(history: &History) -> Vec<Op> {
    history.ops().collect()
}

/// What was read is written and read again, and is the same.
fn comes_back(history: &History) {
    let mut bytes = Vec::new();
    write(history, &mut bytes, Format::Jsonl).unwrap();
    let again = jsonl::read(bytes.as_slice()).expect("we wrote it");
    assert_eq!(ops(&again), ops(history));

    bytes.clear();
    write(history, &mut bytes, Format::Edn).unwrap();
    let tupled = |mut op: Op| {
        if !op.key.is_null() {
            op.value = json!([op.key.take(), op.value.take()]);
        }
        op
    };
    let expected: Vec<Op> = history.ops().map(tupled).collect();
    match edn::read(&bytes, false) {
        Ok(again) => assert_eq!(ops(&again), expected),
        // A key makes its value nest deeper, and an object's keys may be many.
        Err(error) => assert!(error.to_string().contains("nested"), "{error}"),
    }
}

#[derive(serde::Deserialize)]
struct Header {
    ordeal: String,
    version: u64,
    process: Option<serde::de::IgnoredAny>,
}

fn is_header(line: &[u8]) -> bool {
    serde_json::from_slice::<Header>(line.trim_ascii())
        .is_ok_and(|it| it.ordeal == "history" && it.version == 1 && it.process.is_none())
}

/// Each line by itself.
fn lines_are_read_as_serde_reads_them(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        let mut whole = line.to_vec();
        whole.push(b'\n');
        let expected = serde_json::from_slice::<Op>(line.trim_ascii());
        match (jsonl::read(whole.as_slice()), expected) {
            (Ok(read), Ok(op)) => assert_eq!(ops(&read), [op]),
            (Ok(read), Err(error)) => {
                let nothing = line.trim_ascii().is_empty() || is_header(line);
                assert!(nothing && read.is_empty(), "read, although {error}");
            }
            (Err(error), Ok(_)) => assert!(error.to_string().contains("64 bits"), "{error}"),
            (Err(_), Err(_)) => {}
        }
    }
}

/// One damaged recording; how many ops were read of it.
fn fuzz(rng: &mut StdRng) -> usize {
    let mut bytes = if rng.random_bool(0.05) {
        (0..rng.random_range(0..200))
            .map(|_| rng.random())
            .collect()
    } else {
        recorded(rng)
    };
    for _ in 0..rng.random_range(0..4) {
        spoil(rng, &mut bytes);
    }
    if rng.random_bool(0.3) {
        let mut packed = pack(rng, &bytes);
        for _ in 0..rng.random_range(0..3) {
            spoil(rng, &mut packed);
        }
        let _ = read(packed.as_slice(), ReadOptions::default());
    }
    if let Ok(history) = text::read(&bytes, true) {
        comes_back(&history);
    }
    if let Ok(history) = edn::read(&bytes, true) {
        comes_back(&history);
    }
    lines_are_read_as_serde_reads_them(&bytes);
    let Ok(history) = jsonl::read(bytes.as_slice()) else {
        return 0;
    };
    let full = |line: &&[u8]| !line.trim_ascii().is_empty();
    let lines = bytes.split(|&byte| byte == b'\n').filter(full).count();
    let first = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let header = usize::from(is_header(first));
    let torn = history
        .notes()
        .iter()
        .filter(|note| note.contains("is torn"))
        .count();
    let read = history.len() + header + torn;
    assert_eq!(
        read,
        lines,
        "a line was swallowed: {}",
        bytes.escape_ascii()
    );
    comes_back(&history);
    history.len()
}

#[test]
fn whatever_the_bytes_nothing_is_swallowed_and_what_is_read_comes_back() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let mut read = 0;
    for round in 0..rounds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(round));
        read += fuzz(&mut rng);
        if round % 100_000 == 99_999 {
            println!("{} rounds", round + 1);
        }
    }
    println!("{rounds} recordings, {read} ops read from JSONL");
    assert!(read as u64 > rounds / 2, "hardly anything is read");
}

#[test]
fn what_could_not_be_kept_as_it_stands_is_refused() {
    let line = |rest: &str| format!("{{\"process\":0,\"type\":\"ok\",\"f\":\"read\",{rest}}}\n");
    let form = |rest: &str| format!("{{:process 0, :type :ok, :f :read, {rest}}}\n");
    let many = |form: fn(u32) -> String| (0..2000).map(form).collect::<String>();
    let nested = |open: &str, close: &str| open.repeat(127) + &close.repeat(127);
    let cases = [
        (
            line("\"value\":18446744073709551616"),
            "integers of at most 64 bits",
        ),
        (
            line("\"value\":[1.5,-9223372036854775809]"),
            "integers of at most 64 bits",
        ),
        (line("\"value\":1,\"value\":2"), "duplicate field"),
        (
            many(|f| format!("{{\"process\":0,\"type\":\"ok\",\"f\":\"f{f}\"}}\n")),
            "at most 1024 functions",
        ),
        (
            many(|f| format!("{{:process 0 :type :ok :f :f{f}}}\n")),
            "at most 1024 functions",
        ),
        (
            many(|f| format!("0 :ok :f{f} 1\n")),
            "at most 1024 functions",
        ),
        (form(":value 18446744073709551616"), "an integer of 64 bits"),
        (
            form(":value -9223372036854775809N"),
            "an integer of 64 bits",
        ),
        (form(":type :fail"), "each key of this map once"),
        (form(r#":value "\q""#), "behind a backslash"),
        (form(r#":value "\ud83d!""#), "not half of one"),
        (form(r#":value "\u+123""#), "four hexadecimal digits"),
        (
            form(&format!(":value {}", nested("[", "]"))),
            "fewer nested forms",
        ),
        (
            form(&format!(":value {}", nested("#a ", "1"))),
            "fewer nested forms",
        ),
        ("#_".repeat(1_000_000), "fewer nested forms"),
        ("#_[".repeat(1_000_000), "fewer nested forms"),
    ];
    for (text, expected) in cases {
        let start = &text[..text.len().min(100)];
        match read(text.as_bytes(), ReadOptions::default()) {
            Ok(history) => panic!("{start:?}… is read as {} ops", history.len()),
            Err(error) => assert!(error.to_string().contains(expected), "{start:?}…: {error}"),
        }
    }
    let mut invalid = form(r#":value "é""#).into_bytes();
    invalid.retain(|&byte| byte != 0xa9);
    let error = edn::read(&invalid, false).expect_err("half of a letter");
    assert!(error.to_string().contains("UTF-8"), "{error}");
}

#[test]
fn what_is_rare_is_kept_as_it_stands() {
    let deep = "[".repeat(126) + &"]".repeat(126);
    let values = [
        r#""\b\f\u00e9\ud83d\ude00\/""#,
        "18446744073709551615",
        "9223372036854775808N",
        "-9223372036854775808",
        "[nil true -1.5e300 a/b #{1} #_ #_ 1 2 3]",
        &deep,
    ];
    let forms =
        values.map(|value| format!("{{:process 0, :type :ok, :f \"a b\", :value {value}}}"));
    let history = edn::read(forms.concat().as_bytes(), false).expect("it can be kept");
    let read: Vec<Value> = history.ops().map(|op| op.value).collect();
    assert_eq!(read[0], json!("\u{8}\u{c}é😀/"));
    assert_eq!(
        read[1..4],
        [json!(u64::MAX), json!(1_u64 << 63), json!(i64::MIN)]
    );
    assert_eq!(read[4], json!([null, true, -1.5e300, "a/b", [1], 3]));
    comes_back(&history);
}

#[test]
fn where_index_and_time_are_not_told_the_row_stands_for_them() {
    // By the fast reader, and by the one that takes all there is.
    for value in ["1", "1.5", r#"{"time":3,"index":7}"#] {
        let line = format!(r#"{{"process":0,"type":"info","f":"x","value":{value}}}"#);
        let all = format!("{line}\n{line}\n{line}\n");
        let history = jsonl::read(all.as_bytes()).expect("it is a history");
        let places: Vec<_> = history.ops().map(|op| (op.index, op.time)).collect();
        assert_eq!(places, [(0, 0), (1, 1), (2, 2)], "{value}");
    }
}

#[test]
fn keys_in_tuples_are_taken_out_in_every_format() {
    let keys = |bytes: &str, independent| {
        let options = ReadOptions {
            independent,
            ..ReadOptions::default()
        };
        let history = read(bytes.as_bytes(), options).expect("it is a history");
        let op = |op: Op| (op.key, op.value);
        history.ops().map(op).collect::<Vec<_>>()
    };
    let line = |type_, value| {
        format!(r#"{{"process":0,"type":"{type_}","f":"read","value":{value}}}"#) + "\n"
    };
    let lines = line("invoke", "[3,null]") + &line("ok", "[3,4]");
    let apart = [(json!(3), Value::Null), (json!(3), json!(4))];
    assert_eq!(keys(&lines, Some(true)), apart);
    assert_eq!(keys(&lines, None)[1], (Value::Null, json!([3, 4])));
    // An answer that is nil does not speak against it.
    let form = |type_, value| format!("{{:process 0 :type {type_} :f :read :value {value}}}\n");
    let forms = form(":invoke", "[3 nil]") + &form(":ok", "[3 4]");
    assert_eq!(keys(&forms, None), apart);
    let crashed = forms.clone() + &form(":invoke", "[3 nil]") + &form(":info", "nil");
    assert_eq!(keys(&crashed, None)[..2], apart);
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let endless = std::io::BufReader::with_capacity(1 << 18, std::io::repeat(b' '));
    let error = jsonl::read(endless).expect_err("it never ends");
    assert!(error.to_string().contains("256 MiB"), "{error}");
}
