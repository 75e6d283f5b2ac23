//! What outlives a verb, for one user: the cluster that was chosen with `ordeal use`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The user's state folder; none where neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from);
    let home = || set("HOME").map(|home| Path::new(&home).join(".local/state"));
    Some(state.or_else(home)?.join("ordeal"))
}

fn file() -> Option<PathBuf> {
    Some(folder()?.join("cluster"))
}

/// The selector that was remembered.
pub fn cluster() -> Option<String> {
    let selector = fs::read_to_string(file()?).ok()?;
    Some(selector.trim().to_owned()).filter(|selector| !selector.is_empty())
}

/// Remembers a selector, or forgets it.
pub fn remember(selector: Option<&str>) -> io::Result<()> {
    let nowhere = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            "neither XDG_STATE_HOME nor HOME is set",
        )
    };
    let file = file().ok_or_else(nowhere)?;
    let Some(selector) = selector else {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    fs::create_dir_all(file.parent().unwrap_or(&file))?;
    fs::write(&file, format!("{selector}\n"))
}
