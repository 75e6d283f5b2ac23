//! Where a system file is looked for.

use std::path::{Path, PathBuf};

use crate::playbook::source::{Mistake, Source};

/// The system files that this binary carries, for playbooks far from any `systems` folder.
const BUILT_IN: [(&str, &str); 1] = [(
    "raft-node",
    include_str!("../../../playbooks/systems/raft-node.yaml"),
)];

/// The system that a playbook in `folder` means by `name`: a path, or a file in a folder
/// `systems` beside it or above, or one that is built in. The mistake has no place yet.
pub fn find(name: &str, folder: &Path) -> Result<Source, String> {
    if Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
    {
        return read(&folder.join(name)).map_err(|mistake| mistake.to_string());
    }
    let here = folder.canonicalize().unwrap_or_else(|_| PathBuf::from("."));
    for above in here.ancestors() {
        let file = above.join("systems").join(format!("{name}.yaml"));
        if file.is_file() {
            return read(&file).map_err(|mistake| mistake.to_string());
        }
    }
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
    let Some((_, text)) = built_in else {
        let near = crate::playbook::source::nearest(name, BUILT_IN.iter().map(|(known, _)| *known));
        let hint = near
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        return Err(format!(
            "no system is called `{name}` in a `systems` folder here or above{hint}"
        ));
    };
    let file = PathBuf::from(format!("(built in) systems/{name}.yaml"));
    Ok(Source {
        file,
        text: (*text).to_owned(),
    })
}

fn read(file: &Path) -> Result<Source, Mistake> {
    Source::read(file)
}
