//! A cluster of real processes in a temporary folder.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up; no test measures time.
const PATIENCE: Duration = Duration::from_secs(30);

/// One node of a [`Cluster`].
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) http: String,
    /// Where its peers are told to call it.
    pub(crate) peer: String,
    /// Where it listens to them.
    listens: String,
    pub(crate) data: PathBuf,
    child: Option<Child>,
}

/// Nodes on loopback; killed when dropped.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    extra: Vec<String>,
    /// What each node gets for a disk, when not a folder of the machine's.
    disk: Option<Disk>,
    client: reqwest::Client,
    dir: TempDir,
}

/// A disk that only its node sees: a script that puts it at `$1`, in a mount namespace of its own.
#[derive(Clone)]
enum Disk {
    /// A tmpfs of this size.
    Small(String),
    /// A file system on a loop device over a file in memory, which can be taken away.
    Failing,
}

impl Disk {
    fn mount(&self) -> String {
        match self {
            Disk::Small(size) => format!("mount -t tmpfs -o size={size} disk \"$1\""),
            Disk::Failing => {
                "mkdir -p \"$1.back\" && mount -t tmpfs -o size=80m back \"$1.back\" && \
                 truncate -s 64m \"$1.back/disk\" && mkfs.ext4 -q \"$1.back/disk\" && \
                 mount -o loop \"$1.back/disk\" \"$1\""
                    .to_owned()
            }
        }
    }
}

/// A status and its JSON body.
pub(crate) type Answer = (u16, Json);

impl Cluster {
    /// `count` nodes that found a cluster, up and with a leader.
    pub(crate) async fn start(count: u64, extra: &[&str]) -> Cluster {
        let cluster = Cluster::launched(count, extra);
        for id in 1..=count {
            eventually("the node is ready", async || {
                let (status, _) = cluster.try_send(id, "GET", "/ready", None, &[]).await?;
                (status == 200).then_some(())
            })
            .await;
        }
        cluster
    }

    /// The same, without waiting for anything.
    pub(crate) fn launched(count: u64, extra: &[&str]) -> Cluster {
        let mut cluster = Cluster::planned(count, extra);
        for id in 1..=count {
            cluster.run(id);
        }
        cluster
    }

    /// Nodes that do not run yet, and that their peers call at another place than where they listen:
    /// there `carry` takes the connections and carries them on.
    pub(crate) fn behind<F: Future<Output = ()> + Send + 'static>(
        count: u64,
        extra: &[&str],
        carry: impl Fn(TcpListener, String) -> F,
    ) -> Cluster {
        let mut cluster = Cluster::planned(count, extra);
        for node in &mut cluster.nodes {
            let listener = TcpListener::bind(free_address()).unwrap();
            node.peer = listener.local_addr().unwrap().to_string();
            tokio::spawn(carry(listener, node.listens.clone()));
        }
        cluster
    }

    /// Nodes that do not run yet.
    pub(crate) fn planned(count: u64, extra: &[&str]) -> Cluster {
        let mut cluster = Cluster {
            nodes: Vec::new(),
            extra: Vec::new(),
            disk: None,
            client: reqwest::Client::builder()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            dir: TempDir::new().unwrap(),
        };
        cluster.also_say(extra);
        (1..=count).for_each(|id| cluster.add(id));
        cluster
    }

    /// Flags for every node that is started from now on.
    pub(crate) fn also_say(&mut self, flags: &[&str]) {
        self.extra.extend(flags.iter().map(ToString::to_string));
    }

    /// Nodes that are started from now on have a disk of this size, seen by nobody else. Root only.
    pub(crate) fn on_disks_of(&mut self, size: &str) {
        self.disk = Some(Disk::Small(size.to_owned()));
    }

    /// Nodes that are started from now on have a disk that can be made to fail. Root only, and where
    /// there are loop devices; gives why not.
    pub(crate) fn on_disks_that_fail(&mut self) -> Result<(), String> {
        let dir = self.dir.path().join("trial");
        std::fs::create_dir_all(&dir).unwrap();
        let mut trial = on_own_disk(&Disk::Failing, &dir);
        let trial = trial
            .arg("true")
            .output()
            .map_err(|error| error.to_string())?;
        if !trial.status.success() {
            return Err(String::from_utf8_lossy(&trial.stderr).into_owned());
        }
        self.disk = Some(Disk::Failing);
        Ok(())
    }

    /// Nothing that is written to a node's disk arrives from now on: there is no room behind it.
    pub(crate) fn break_disk(&self, id: u64) {
        let data = &self.node(id).data;
        // What the kernel is about to write may take the room again before it is gone.
        let script = r#"cd "$0.back" && echo >full
            for _ in $(seq 1000); do
                truncate -s 0 disk && mount -o remount,size=4k "$0.back" 2>/dev/null && exit
            done
            exit 1"#;
        self.in_its_place(id, &["sh", "-c", script, data.to_str().unwrap()]);
    }

    /// Gives a running node's small disk another size.
    pub(crate) fn resize_disk(&self, id: u64, size: &str) {
        let data = self.node(id).data.to_str().unwrap();
        self.in_its_place(id, &["mount", "-o", &format!("remount,size={size}"), data]);
    }

    /// Runs a command that sees the disks that a node sees.
    fn in_its_place(&self, id: u64, command: &[&str]) {
        let pid = self.node(id).child.as_ref().unwrap().id().to_string();
        let done = Command::new("nsenter")
            .args(["--mount", "--target", &pid])
            .args(command)
            .status();
        assert!(done.unwrap().success());
    }

    fn add(&mut self, id: u64) {
        let listens = free_address();
        self.nodes.push(Node {
            id,
            http: free_address(),
            peer: listens.clone(),
            listens,
            data: self.dir.path().join(format!("data{id}")),
            child: None,
        });
    }

    /// Starts a node that founded the cluster, again or for the first time.
    pub(crate) fn run(&mut self, id: u64) {
        self.run_with(id, &[]);
    }

    /// The same, with more said.
    pub(crate) fn run_with(&mut self, id: u64, flags: &[&str]) {
        let members = self.nodes.iter().flat_map(|node| {
            [
                "--member".into(),
                format!("{}={},{}", node.id, node.peer, node.http),
            ]
        });
        let flags = flags.iter().map(ToString::to_string);
        self.launch(id, members.chain(flags).collect());
    }

    /// Starts a new node that waits to be added, and knows nobody.
    pub(crate) fn join(&mut self, id: u64) {
        self.join_by(id, &[]);
    }

    /// The same, with more said.
    pub(crate) fn join_by(&mut self, id: u64, flags: &[&str]) {
        self.add(id);
        let flags = flags.iter().map(ToString::to_string);
        self.launch(id, flags.chain(["--join".into()]).collect());
    }

    /// From its next start on, a node listens to its peers elsewhere.
    pub(crate) fn move_peer_address(&mut self, id: u64) {
        let node = self.nodes.iter_mut().find(|node| node.id == id).unwrap();
        node.listens = free_address();
        node.peer.clone_from(&node.listens);
    }

    fn launch(&mut self, id: u64, flags: Vec<String>) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.dir.path().join(format!("log{id}")))
            .unwrap();
        let node = self.nodes.iter_mut().find(|node| node.id == id).unwrap();
        let program = env!("CARGO_BIN_EXE_ordeal-node");
        let mut command = match &self.disk {
            None => Command::new(program),
            Some(disk) => {
                std::fs::create_dir_all(&node.data).unwrap();
                let mut command = on_own_disk(disk, &node.data);
                command.arg(program);
                command
            }
        };
        command
            .args(["serve", "--threads", "1", "--id", &id.to_string()])
            .args(["--http", &node.http, "--peer", &node.listens, "--data"])
            .arg(&node.data)
            .args(flags)
            .args(&self.extra)
            .stdout(Stdio::null())
            .stderr(log);
        node.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    /// What a node has logged.
    pub(crate) fn log(&self, id: u64) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("log{id}"))).unwrap_or_default()
    }

    /// Kills a node as a crash of its process does.
    pub(crate) fn kill(&mut self, id: u64) {
        let node = self.nodes.iter_mut().find(|node| node.id == id).unwrap();
        if let Some(mut child) = node.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Freezes a node: its connections stand, and nothing answers.
    pub(crate) fn freeze(&self, id: u64) {
        let child = self.node(id).child.as_ref().unwrap();
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    /// Asks a node to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, id: u64) -> ExitStatus {
        let child = self.node(id).child.as_ref().unwrap();
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.ends(id).await
    }

    /// Waits until a node has ended.
    pub(crate) async fn ends(&mut self, id: u64) -> ExitStatus {
        let node = self.nodes.iter_mut().find(|node| node.id == id).unwrap();
        let mut child = node.child.take().unwrap();
        eventually("the node ends", async || child.try_wait().unwrap()).await
    }

    /// One request to one node.
    pub(crate) async fn send(
        &self,
        id: u64,
        method: &str,
        path: &str,
        body: Option<Json>,
    ) -> Answer {
        self.try_send(id, method, path, body, &[]).await.unwrap()
    }

    /// One request that may fail to reach the node.
    pub(crate) async fn try_send(
        &self,
        id: u64,
        method: &str,
        path: &str,
        body: Option<Json>,
        headers: &[(&str, String)],
    ) -> Option<Answer> {
        let url = format!("http://{}{path}", self.node(id).http);
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Json::String(text)),
        ))
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Waits until a live node says who leads, and that one agrees.
    pub(crate) async fn leader(&self) -> u64 {
        eventually("a leader", async || {
            for node in self.nodes.iter().filter(|node| node.child.is_some()) {
                let status = self.try_send(node.id, "GET", "/status", None, &[]).await;
                if let Some((200, status)) = status
                    && status["role"] == "leader"
                {
                    return Some(node.id);
                }
            }
            None
        })
        .await
    }

    /// A story of what holds while one node leads: told again if another was elected meanwhile, as
    /// may happen whenever the machine is busy. Gives the leader and what the story came to.
    pub(crate) async fn under_one_leader<T>(&self, story: impl AsyncFn(u64) -> T) -> (u64, T) {
        eventually("one leader stays", async || {
            let leader = self.leader().await;
            let term = async || {
                let status = self.try_send(leader, "GET", "/status", None, &[]).await?.1;
                (status["role"] == "leader").then(|| status["term"].as_u64())
            };
            let before = term().await?;
            let told = story(leader).await;
            (term().await? == before).then_some((leader, told))
        })
        .await
    }

    /// Writes until the cluster takes it; gives the node's answer.
    pub(crate) async fn put(&self, id: u64, key: &str, value: Json) -> Json {
        eventually("a write is taken", async || {
            let (status, body) = self
                .try_send(id, "PUT", &format!("/kv/{key}"), Some(value.clone()), &[])
                .await?;
            (status == 200).then_some(body)
        })
        .await
    }

    /// Reads until the node can answer; `None` for an absent key.
    pub(crate) async fn get(&self, id: u64, key: &str) -> Option<Json> {
        eventually("a read is answered", async || {
            match self
                .try_send(id, "GET", &format!("/kv/{key}"), None, &[])
                .await?
            {
                (200, body) => Some(Some(body["value"].clone())),
                (404, _) => Some(None),
                _ => None,
            }
        })
        .await
    }

    /// Waits until the node's status is as wanted.
    pub(crate) async fn until(&self, id: u64, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        eventually(what, async || {
            let (_, status) = self.try_send(id, "GET", "/status", None, &[]).await?;
            wanted(&status).then_some(status)
        })
        .await
    }

    /// How a membership change names a node.
    pub(crate) fn member(&self, id: u64) -> Json {
        let node = self.node(id);
        json!({"id": id, "peer": node.peer, "http": node.http})
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for at in 0..self.nodes.len() {
            self.kill(self.nodes[at].id);
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- node {}\n{}", node.id, self.log(node.id));
            }
        }
    }
}

/// A command, still to be given its program, that sees a disk of its own in this folder.
fn on_own_disk(disk: &Disk, folder: &Path) -> Command {
    let script = disk.mount() + " && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command.arg(folder);
    command
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An address that nobody else gets. Ports that the kernel calls free may be given out twice, and may
/// carry a connection of somebody else while a node is down: so each process of tests has a loopback
/// address of its own, and ports below those that connections are made from.
fn free_address() -> String {
    static NEXT_PORT: AtomicU16 = AtomicU16::new(10_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 128 | high, middle, low);
    let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
    SocketAddrV4::new(ip, port).to_string()
}
