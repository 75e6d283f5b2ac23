//! The store: one folder for each run, `store/<YYYYMMDDTHHMMSS>-<playbook>`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder and points `latest` at it.
    pub fn create(store: &Path, playbook: &str) -> Result<RunFolder> {
        fs::create_dir_all(store)
            .with_context(|| format!("cannot make the store {}", store.display()))?;
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S").to_string();
        for attempt in 1..100 {
            let name = match attempt {
                1 => format!("{stamp}-{playbook}"),
                _ => format!("{stamp}-{playbook}.{attempt}"),
            };
            let path = store.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    point_latest(store, &name)?;
                    return Ok(RunFolder { path });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        }
        bail!("a hundred runs of {playbook} began in this second")
    }

    /// Opens a run by its name, a part of it that only one run has, `latest`, or a path.
    pub fn open(store: &Path, name: &str) -> Result<RunFolder> {
        for path in [store.join(name), PathBuf::from(name)] {
            if path.join("run.json").is_file() || path.join("history.jsonl").is_file() {
                let path = path.canonicalize()?;
                return Ok(RunFolder { path });
            }
        }
        let mut matching = list(store)?;
        matching.retain(|run| run.name().contains(name));
        match matching.len() {
            1 => Ok(matching.remove(0)),
            0 => bail!(
                "no run in {} is called {name}; `ordeal runs` lists them",
                store.display()
            ),
            many => bail!(
                "{many} runs in {} match {name}; write more of it",
                store.display()
            ),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let file = self.file(name);
        let draft = self.file(&format!(".{name}.new"));
        fs::write(&draft, content)
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Writes a file of JSON.
    pub fn write_json(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        self.write(name, text)
    }

    /// Reads a file of JSON.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let file = self.file(name);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))
    }
}

/// All runs of a store, oldest first.
pub fn list(store: &Path) -> Result<Vec<RunFolder>> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", store.display()))?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path().join("run.json").is_file() {
            runs.push(RunFolder { path: entry.path() });
        }
    }
    runs.sort_by_key(RunFolder::name);
    Ok(runs)
}

/// Copies the runs of another store that this one does not have; gives back how many.
///
/// Two runs may have one name: those of two shards that began in the same second. Such a run gets
/// a name of its own.
pub fn merge(store: &Path, other: &Path) -> Result<usize> {
    if !other.is_dir() {
        bail!("there is no store at {}", other.display());
    }
    fs::create_dir_all(store)?;
    let mut merged = 0;
    for run in list(other)? {
        let record = fs::read(run.file("run.json"))?;
        let Some(name) = free_name(store, &run.name(), &record) else {
            continue;
        };
        // Under another name until it is whole, so that a copy that is cut short is no run.
        let draft = store.join(format!(".{name}.new"));
        copy(run.path(), &draft)
            .and_then(|()| fs::rename(&draft, store.join(name)))
            .with_context(|| format!("cannot copy {}", run.path().display()))?;
        merged += 1;
    }
    Ok(merged)
}

/// A name that no run here has; none when one of the like names is this very run.
fn free_name(store: &Path, name: &str, record: &[u8]) -> Option<String> {
    let names = (2..).map(|number| format!("{name}.{number}"));
    for name in std::iter::once(name.to_owned()).chain(names) {
        match fs::read(store.join(&name).join("run.json")) {
            Ok(here) if here == record => return None,
            Ok(_) => {}
            Err(_) if store.join(&name).exists() => {}
            Err(_) => return Some(name),
        }
    }
    unreachable!("the numbers do not end")
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn point_latest(store: &Path, name: &str) -> Result<()> {
    let latest = store.join("latest");
    let new = store.join(format!(".latest.{}", std::process::id()));
    std::os::unix::fs::symlink(name, &new)
        .and_then(|()| fs::rename(&new, &latest))
        .with_context(|| format!("cannot point {} at the run", latest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_brings_every_run_once_though_two_have_one_name() {
        let stores: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        for (number, store) in stores[1..].iter().enumerate() {
            let run = RunFolder::create(store.path(), "same").unwrap();
            let here = store.path().join("20261122T000000-same");
            fs::rename(run.path(), &here).unwrap();
            fs::write(here.join("run.json"), number.to_string()).unwrap();
        }
        let all = stores[0].path();
        let merged = |from: usize| merge(all, stores[from].path()).unwrap();
        assert_eq!((merged(1), merged(2)), (1, 1));
        assert_eq!((merged(1), merged(2)), (0, 0), "they are here already");
        assert_eq!(list(all).unwrap().len(), 2);
        assert!(merge(all, Path::new("/nowhere")).is_err());
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders_and_latest_is_the_last() {
        let store = tempfile::tempdir().unwrap();
        let first = RunFolder::create(store.path(), "quick").unwrap();
        let second = RunFolder::create(store.path(), "quick").unwrap();
        assert_ne!(first.path(), second.path());
        second.write_json("run.json", &1).unwrap();
        let latest = RunFolder::open(store.path(), "latest").unwrap();
        assert_eq!(latest.name(), second.name());
        assert_eq!(list(store.path()).unwrap().len(), 1);
        assert!(RunFolder::open(store.path(), "quicker").is_err());
    }
}
