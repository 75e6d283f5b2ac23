//! This machine: what the harness itself and a local lab need.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::Finding;

const HERE: &str = "this machine";

/// A tool, the Debian package that brings it, and what it is for.
const TOOLS: [(&str, &str, &str); 9] = [
    ("ssh", "openssh-client", "control"),
    ("ssh-keygen", "openssh-client", "control"),
    ("sshd", "openssh-server", "the lab"),
    ("ip", "iproute2", "the lab"),
    ("tc", "iproute2", "packet faults in the lab"),
    ("iptables", "iptables", "partitions in the lab"),
    ("ps", "procps", "looking at processes"),
    ("setpriv", "util-linux", "the lab"),
    ("nsenter", "util-linux", "the lab"),
];

/// Things tried in namespaces that are gone when the command ends.
const TRIALS: [(&str, &str, &str); 4] = [
    (
        "namespaces",
        "true",
        "the lab needs a kernel with network, PID, mount, UTS and IPC namespaces, and root outside \
         of a locked-down container",
    ),
    (
        "bridges and links",
        "ip link add br0 type bridge && ip link add v0 type veth peer name v1 && \
         ip link set v0 master br0",
        "the lab needs the kernel modules `bridge` and `veth`; type: modprobe -a bridge veth",
    ),
    (
        "partitions (iptables)",
        "iptables -N T && iptables -A T -s 192.0.2.1 -j DROP && iptables -A INPUT -j T",
        "the lab's partitions need iptables in the kernel; type: modprobe -a nf_tables ip_tables",
    ),
    (
        "packet loss (iptables)",
        "iptables -A INPUT -m statistic --mode random --probability 0.1 -j DROP",
        "the fault `loss` needs the kernel module xt_statistic; type: modprobe xt_statistic",
    ),
];

/// Looks at this machine.
pub fn examine_machine() -> Vec<Finding> {
    let mut findings = Vec::new();
    for (tool, package, purpose) in TOOLS {
        findings.push(match find(tool) {
            Some(path) => Finding::good(HERE, tool, path),
            None => Finding::bad(
                HERE,
                tool,
                format!("not installed; {purpose} needs it"),
                format!("apt-get install -y --no-install-recommends {package}"),
            ),
        });
    }
    if !is_root() {
        let found = "not root: no local lab; other clusters are not concerned";
        findings.push(Finding::limited(HERE, "root", found, "sudo ordeal doctor"));
        return findings;
    }
    findings.push(Finding::good(HERE, "root", "yes"));
    for (subject, script, mend) in TRIALS {
        findings.push(match try_apart(script) {
            Ok(()) => Finding::good(HERE, subject, "tried and undone"),
            Err(said) => Finding::bad(HERE, subject, said, mend),
        });
    }
    findings.push(match try_apart("tc qdisc add dev lo root netem delay 1ms") {
        Ok(()) => Finding::good(HERE, "packet faults (netem)", "tried and undone"),
        Err(said) => Finding::limited(
            HERE,
            "packet faults (netem)",
            said,
            "in a lab here there is no delay, jitter, reorder, duplicate or rate; loss works without. \
             If the kernel has it as a module: modprobe sch_netem",
        ),
    });
    findings.push(Finding::limited(
        HERE,
        "clock faults",
        "namespaces share the machine's wall clock",
        "clock faults take hosts with a clock of their own: virtual machines, rented hosts",
    ));
    findings.push(open_files());
    findings.extend(disk());
    findings
}

/// Installs what is missing, where that is safe: on Debian and its kin, as root. Returns what it
/// installed. The SSH server is installed without being started or enabled: the lab starts its
/// own, in its own network.
pub fn fix_machine() -> anyhow::Result<Vec<&'static str>> {
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, ..)| find(tool).is_none())
        .map(|(_, package, _)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(missing);
    }
    let packages = missing.join(" ");
    if !Path::new("/etc/debian_version").exists() {
        bail!(
            "missing: {packages} (by their Debian names); install them with this system's own tool"
        );
    }
    if !is_root() {
        bail!("installing takes root; type: sudo ordeal doctor --fix");
    }
    let _quiet = missing
        .contains(&"openssh-server")
        .then(KeepServicesDown::new)
        .transpose()?;
    let install = || {
        let arguments = ["install", "-y", "-q", "--no-install-recommends"];
        apt_get(&[&arguments[..], &missing].concat())
    };
    // A fresh machine has no package lists yet, an old one has stale ones.
    if install().is_err() {
        apt_get(&["update", "-q"])?;
        install()?;
    }
    Ok(missing)
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    eprintln!("apt-get {}", arguments.join(" "));
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// While it lives, packages that are installed start no services, by the policy file that Debian
/// has for that; afterwards the SSH server is not enabled either.
struct KeepServicesDown {
    ours: bool,
}

impl KeepServicesDown {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn new() -> anyhow::Result<Self> {
        let ours = !Path::new(Self::POLICY).exists();
        if ours {
            fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(Self::POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot write {}", Self::POLICY))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for KeepServicesDown {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(Self::POLICY);
        }
        if Path::new("/run/systemd/system").exists() {
            let _ = Command::new("systemctl")
                .args(["disable", "ssh.service"])
                .output();
        }
    }
}

fn find(tool: &str) -> Option<String> {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .map(|folder| format!("{folder}/{tool}"))
    .find(|path| Path::new(path).exists())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a script in namespaces of its own, so that there is nothing to undo.
fn try_apart(script: &str) -> Result<(), String> {
    let output = Command::new("unshare")
        .args([
            "--net",
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
        ])
        .args(["sh", "-c", script])
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .output()
        .map_err(|error| format!("cannot run unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().lines().next().unwrap_or("it failed").to_owned())
}

fn open_files() -> Finding {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("unknown");
    match hard.parse::<u64>() {
        Ok(number) if number < 4096 => Finding::bad(
            HERE,
            "open files",
            format!("at most {number}"),
            "ulimit -Hn 65536",
        ),
        _ => Finding::good(HERE, "open files", format!("at most {hard}")),
    }
}

/// Space, and what a synced write costs, where the nodes of a lab have their disks.
fn disk() -> Vec<Finding> {
    let folder = Path::new("/var/lib");
    let mut findings = Vec::new();
    if let Ok(stat) = rustix::fs::statvfs(folder) {
        let free_mb = stat.f_bavail * stat.f_frsize / (1 << 20);
        let found = format!("{free_mb} MB free in {}", folder.display());
        findings.push(if free_mb < 1024 {
            Finding::bad(
                HERE,
                "disk space",
                found,
                "make room: a run may take a gigabyte",
            )
        } else {
            Finding::good(HERE, "disk space", found)
        });
    }
    match sync_latency_us(folder) {
        Ok(us) => {
            let found = format!("a synced write takes {us} µs (median of 20)");
            findings.push(if us > 50_000 {
                Finding::limited(
                    HERE,
                    "disk latency",
                    found,
                    "elections may come from slow writes: raise the timeouts",
                )
            } else {
                Finding::good(HERE, "disk latency", found)
            });
        }
        Err(error) => findings.push(Finding::bad(
            HERE,
            "disk latency",
            error.to_string(),
            format!("let root write to {}", folder.display()),
        )),
    }
    findings
}

fn sync_latency_us(folder: &Path) -> std::io::Result<u128> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut all = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        all.push(start.elapsed().as_micros());
    }
    all.sort_unstable();
    Ok(all[all.len() / 2])
}
