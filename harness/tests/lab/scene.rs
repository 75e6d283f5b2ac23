//! A nemesis over a lab whose every node runs a daemon that does nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use ordeal::cluster::Cluster;
use ordeal::control::Control;
use ordeal::control::daemon::{Daemon, State};
use ordeal::journal::{self, Journal};
use ordeal::nemesis::{Fault, Installed, Nemesis, NemesisError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

/// A daemon that does nothing.
pub(crate) fn idle() -> Daemon {
    Daemon {
        name: "idle".into(),
        argv: ["sleep", "1000"].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        cwd: "/var/lib/idle".into(),
        log: "/var/log/idle.log".into(),
        pidfile: Daemon::pidfile_of("idle"),
    }
}

/// A nemesis over a lab whose every node runs a daemon that does nothing; `n2` leads.
pub(crate) struct Scene {
    pub(crate) control: Arc<Control>,
    pub(crate) daemons: BTreeMap<String, Daemon>,
    pub(crate) nemesis: Nemesis,
    pub(crate) folder: TempDir,
    pub(crate) rng: ChaCha8Rng,
}

impl Scene {
    pub(crate) async fn new(cluster: &Cluster, control: Control) -> Self {
        let control = Arc::new(control);
        let mut daemons = BTreeMap::new();
        for session in control.sessions() {
            let daemon = idle();
            daemon.start(session).await.expect("it starts");
            daemons.insert(session.name().to_owned(), daemon);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::create(folder.path(), cluster).expect("a journal");
        let leader = Arc::new(|| async { Some("n2".to_owned()) }.boxed());
        Self {
            nemesis: Nemesis::new(Arc::clone(&control), journal, daemons.clone(), leader),
            control,
            daemons,
            folder,
            rng: ChaCha8Rng::seed_from_u64(5),
        }
    }

    pub(crate) async fn install(&mut self, fault: &str) -> Installed {
        self.attempt(fault).await.expect("it is installed")
    }

    pub(crate) async fn attempt(&mut self, fault: &str) -> Result<Installed, NemesisError> {
        let fault: Fault = serde_json::from_str(fault).expect("a fault");
        self.nemesis.install(&fault, &mut self.rng).await
    }

    pub(crate) async fn state(&self, node: &str) -> State {
        self.daemons[node]
            .status(self.control.host(node))
            .await
            .expect("it is asked")
    }

    pub(crate) fn outstanding(&self) -> usize {
        let path = self.folder.path().join(journal::FILE);
        journal::read(&path).expect("it is read").faults.len()
    }
}
