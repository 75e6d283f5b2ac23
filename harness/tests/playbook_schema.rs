//! What an editor says of a file by our schemas is what we say: it takes every file that is
//! shipped, and refuses the mistakes that people make.

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use ordeal::playbook::schema;
use serde_json::Value;

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let name = "schema.json";
        compiler.add_resource(name, schema).expect("JSON");
        let index = compiler.compile(name, &mut schemas);
        let index = index.unwrap_or_else(|error| panic!("no JSON Schema: {error:#}"));
        Self { schemas, index }
    }

    fn verdict(&self, text: &str) -> Result<(), String> {
        let value: Value = serde_yaml::from_str(text).expect("YAML");
        let verdict = self.schemas.validate(&value, self.index);
        verdict.map_err(|error| format!("{error:#}"))
    }

    fn takes_all(&self, folder: &str) {
        let files = files(folder);
        assert!(!files.is_empty(), "{folder} has no file");
        let refused: Vec<String> = files
            .iter()
            .filter_map(|file| {
                let text = std::fs::read_to_string(file).expect("it is there");
                let why = self.verdict(&text).err()?;
                Some(format!("{}: {why}", file.display()))
            })
            .collect();
        assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    }
}

/// The YAML files of a folder of `playbooks/`; of all that hold playbooks, for `.`.
fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let read = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).expect("it is there");
        entries.map(|entry| entry.expect("it is there").path())
    };
    let is_apart = |path: &PathBuf| path.ends_with("systems") || path.ends_with("campaigns");
    let mut found: Vec<PathBuf> = read(root.join(folder)).collect();
    if folder == "." {
        let (folders, files): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.is_dir());
        found = files;
        found.extend(
            folders
                .into_iter()
                .filter(|it| !is_apart(it))
                .flat_map(read),
        );
    }
    found.retain(|path| path.extension().is_some_and(|it| it == "yaml"));
    found
}

#[test]
fn every_file_that_is_shipped_is_right_by_its_schema() {
    Schema::new(schema::playbook()).takes_all(".");
    Schema::new(schema::system()).takes_all("systems");
    Schema::new(schema::matrix()).takes_all("campaigns");
}

#[test]
fn a_playbook_with_a_mistake_is_refused() {
    let schema = Schema::new(schema::playbook());
    let sound = "name: p\nsystem: {use: s}\nworkloads: [{kind: register, clients: 2n}]\n";
    assert_eq!(schema.verdict(sound), Ok(()));
    for mistake in [
        "faults: [{kil: one, every: 5s}]",
        "faults: [{kill: one, evry: 5s}]",
        "faults: [{kill: one, every: 5}]",
        "faults: [{kill: one, every: 5s, until: never}]",
        "faults: [{kill: one, every: 5s, until: {caught-up: 3}}]",
        "faults: [{partition: oval, every: 5s}]",
        "faults: standart",
        "nodes: many",
        "time: {befor: 1s}",
        "time: {before: soon}",
        "expect: {ok: {during: {read: lots}}}",
    ] {
        let text = format!("{sound}{mistake}\n");
        assert!(schema.verdict(&text).is_err(), "{mistake} is taken");
    }
    for lacking in ["name: p\n", "name: p\nsystem: {use: s}\n"] {
        assert!(schema.verdict(lacking).is_err(), "{lacking} is taken");
    }
}

#[test]
fn a_parameter_may_stand_for_any_value() {
    let schema = Schema::new(schema::playbook());
    let text = "name: p\nsystem: {use: \"${system}\"}\nnodes: ${nodes}\ntime: {before: \"${t}\"}\n\
                workloads: [{kind: \"${kind}\", clients: \"${clients}\", rate: \"${rate}/s\"}]\n\
                faults: [{partition: \"${shape}\", every: \"${every}\", until: \"${until}\"}]\n";
    assert_eq!(schema.verdict(text), Ok(()));
}
