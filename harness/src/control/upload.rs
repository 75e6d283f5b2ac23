//! Files on a host.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Call, ControlError, Session};

/// A binary takes a while over a slow line.
const LIMIT: Duration = Duration::from_secs(300);

/// Prints the digest of `$1`, or nothing if there is no such file.
const DIGEST: &str = "[ ! -f \"$1\" ] || sha256sum <\"$1\"";

/// Writes stdin to `$1` with mode `$2`: whole or not at all, and even if it is being executed.
const WRITE: &str = "\
set -e
mkdir -p -- \"$(dirname -- \"$1\")\"
new=$(mktemp -- \"$1.XXXXXX\")
trap 'rm -f -- \"$new\"' EXIT
cat >\"$new\"
chmod \"$2\" \"$new\"
mv -f -- \"$new\" \"$1\"
trap - EXIT";

impl Session {
    /// Copies a file of this machine to the host, unless the host has the same content there
    /// already. Returns whether it was copied.
    pub async fn upload(
        &self,
        local: &Path,
        remote: &str,
        mode: u32,
    ) -> Result<bool, ControlError> {
        let content = tokio::fs::read(local)
            .await
            .map_err(|source| ControlError::Local {
                what: format!("cannot read {}", local.display()),
                source,
            })?;
        let digest = Call::script(DIGEST, [remote]).limit(LIMIT);
        let there = self.run_with(digest).await?.stdout;
        if there.split_whitespace().next() == Some(sha256(&content).as_str()) {
            self.run(["chmod", &format!("{mode:o}"), remote]).await?;
            return Ok(false);
        }
        self.write_file(remote, content, mode).await?;
        Ok(true)
    }

    /// Writes a file on the host, and its folders where they are missing.
    pub async fn write_file(
        &self,
        remote: &str,
        content: impl Into<Vec<u8>>,
        mode: u32,
    ) -> Result<(), ControlError> {
        let call = Call::script(WRITE, [remote, &format!("{mode:o}")]);
        self.run_with(call.stdin(content).limit(LIMIT))
            .await
            .map(drop)
    }
}

/// The digest of some bytes, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}
