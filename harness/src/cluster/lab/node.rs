//! A node: namespaces, a file system of its own where it matters, and an `sshd`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::control::{bind, forbid_ipv6, ip, make_namespaces, mount_proc, reap};
use super::processes::{self, Step};
use super::{ClusterError, Lab, node_address, node_name};

/// The capabilities that a node's root must not have: they reach beyond any namespace.
pub(super) const BOUNDING_SET: &str = "--bounding-set=-sys_time,-sys_module,-sys_boot";

/// Where a node looks for programs.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a node writes to on the disk; `/var/lib` comes last because it hides the disk itself.
const ON_DISK: [&str; 8] = [
    "/var/log", "/var/tmp", "/root", "/home", "/opt", "/srv", "/mnt", "/var/lib",
];

/// Where daemons keep their data.
const DATA: &str = "/var/lib";

/// What a node writes to in memory.
const IN_MEMORY: [(&str, &str); 3] = [
    ("/run", "mode=0755"),
    ("/tmp", "mode=1777"),
    ("/dev/shm", "mode=1777"),
];

/// What of `/proc` is the machine's and not the node's.
const NOT_ITS_OWN: [&str; 2] = ["/proc/sys", "/proc/sysrq-trigger"];

/// Where the node's own files in `/etc` really lie.
const ETC: &str = "/run/ordeal-lab";

/// Makes the namespaces and the network link, starts the node's init, and ends.
pub(super) fn enter(lab: &Lab, id: u16) -> Result<(), ClusterError> {
    make_namespaces(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )?;
    forbid_ipv6();
    // The keeper is process 1 here: the other end of the link goes to its network.
    ip(&format!(
        "link set lo up\n\
         link add eth0 type veth peer name {} netns 1\n\
         addr add {}/24 dev eth0\n\
         link set eth0 up\n",
        node_name(id),
        node_address(id)
    ))?;
    // Only now, because the first child after this is the namespace's init.
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|errno| ClusterError::failed("cannot make a namespace", errno.desc()))?;
    let init = processes::command(Step::Node, &lab.name, &id.to_string())?;
    Command::new("setpriv")
        .args([BOUNDING_SET, "--"])
        .arg(init.get_program())
        .args(init.get_args())
        .spawn()
        .map(drop)
        .map_err(ClusterError::io("cannot start a node's init"))
}

/// A node's init: arrange the file system, then keep an `sshd` running and bury the dead.
pub(super) fn init(lab: &Lab, id: u16) -> Result<(), ClusterError> {
    let record = lab.record().unwrap_or_default();
    let host_key = read(&lab.run().join(format!("host_key.{id}")))?;
    let client_key = read(&lab.run().join("key.pub"))?;
    let passwd = read(Path::new("/etc/passwd"))?;

    nix::unistd::sethostname(node_name(id))
        .map_err(|errno| ClusterError::failed("cannot set the host name", errno.desc()))?;
    std::env::set_current_dir("/").map_err(ClusterError::io("cannot go to /"))?;
    // Held open for as long as the node lives, so that unmounting does not take the disk away.
    let _disk = arrange_file_system(lab, id, record.disk_mb)?;
    for folder in ["/run/sshd", "/run/lock", ETC] {
        fs::create_dir_all(folder).map_err(ClusterError::path("create", Path::new(folder)))?;
    }
    own_file("hosts", &super::hosts(record.nodes), 0o644)?;
    own_file("hostname", &format!("{}\n", node_name(id)), 0o644)?;
    own_file("resolv.conf", "# A lab has no name server.\n", 0o644)?;
    own_file("shadow", &shadow(&passwd), 0o600)?;
    write(&in_etc("host_key"), &host_key, 0o600)?;
    write(&in_etc("authorized_keys"), &client_key, 0o600)?;
    write(&in_etc("sshd_config"), &sshd_config(id), 0o600)?;
    serve()
}

/// Starts `sshd`, and starts it again when it dies, as a service manager would.
fn serve() -> Result<(), ClusterError> {
    let mut sshd = start_sshd()?;
    loop {
        if reap().is_some_and(|pid| pid.as_raw() as u32 == sshd.id()) {
            thread::sleep(Duration::from_millis(100));
            sshd = start_sshd()?;
        }
    }
}

fn start_sshd() -> Result<Child, ClusterError> {
    let path = Path::new("/var/log/sshd.log");
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(ClusterError::path("open", path))?;
    // sshd starts itself anew for each connection, so it insists on being called by its full path.
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(in_etc("sshd_config"))
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(ClusterError::io("cannot start sshd"))
}

/// Gives the node its own places to write to, and makes all else that is mounted read-only.
fn arrange_file_system(
    lab: &Lab,
    id: u16,
    disk_mb: Option<u32>,
) -> Result<Option<fs::File>, ClusterError> {
    mount_proc()?;
    let machine = mount_points();
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_new("sysfs", "/sys", plain | MsFlags::MS_NOEXEC, None)?;
    let mut disk = None;
    for place in ON_DISK.map(Path::new) {
        match disk_mb {
            Some(size_mb) if place == Path::new(DATA) => {
                disk = Some(mount_own_disk(lab, id, size_mb)?);
            }
            _ => bind_from_disk(lab, id, place)?,
        }
    }
    for (place, options) in IN_MEMORY {
        mount_new("tmpfs", place, plain, Some(options))?;
    }
    for place in NOT_ITS_OWN
        .map(Path::new)
        .iter()
        .filter(|place| place.exists())
    {
        bind(place, place)?;
        make_read_only(place)?;
    }
    for place in machine {
        let hidden = |top: &str| place.starts_with(top);
        let own = IN_MEMORY.into_iter().map(|(place, _)| place);
        if ["/proc", "/dev", "/sys"]
            .into_iter()
            .chain(own)
            .chain(ON_DISK)
            .any(hidden)
        {
            continue;
        }
        make_read_only(&place)?;
    }
    Ok(disk)
}

fn mount_points() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(|place| PathBuf::from(place.replace("\\040", " ")))
        .collect()
}

fn bind_from_disk(lab: &Lab, id: u16, place: &Path) -> Result<(), ClusterError> {
    let Ok(original) = fs::metadata(place) else {
        return Ok(()); // What the machine does not have, nothing expects.
    };
    let flat = place.to_string_lossy().trim_matches('/').replace('/', "-");
    let own = lab.disk().join(node_name(id)).join(flat);
    fs::create_dir_all(&own).map_err(ClusterError::path("create", &own))?;
    fs::set_permissions(&own, original.permissions())
        .map_err(ClusterError::path("set the permissions of", &own))?;
    bind(&own, place)
}

/// Mounts a file system of the node's own at [`DATA`], from a file on the machine's disk. The kernel
/// frees the loop device by itself when neither the mount nor the returned file is left.
fn mount_own_disk(lab: &Lab, id: u16, size_mb: u32) -> Result<fs::File, ClusterError> {
    let folder = lab.disk().join(node_name(id));
    fs::create_dir_all(&folder).map_err(ClusterError::path("create", &folder))?;
    // Seen through a mount of its own, which the tmpfs on /run covers later: a file that is open
    // for writing would keep the machine's root from being made read-only.
    bind(&folder, Path::new("/run"))?;
    let image = Path::new("/run/disk.img");
    fs::File::create(image)
        .and_then(|file| file.set_len(u64::from(size_mb) << 20))
        .map_err(ClusterError::path("create", image))?;
    run("mkfs.ext4", &["-q", "-F", "-m", "0"], &[image])?;
    run("mount", &["-o", "loop"], &[image, Path::new(DATA)])?;
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let device = table
        .lines()
        .rev()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&DATA))
        .map(|fields| PathBuf::from(fields[0]))
        .ok_or_else(|| ClusterError::failed("the node's disk", "it is not mounted"))?;
    fs::File::open(&device).map_err(ClusterError::path("open", &device))
}

fn run(program: &str, options: &[&str], paths: &[&Path]) -> Result<(), ClusterError> {
    let output = Command::new(program)
        .args(options)
        .args(paths)
        .env("PATH", PATH)
        .output()
        .map_err(ClusterError::io(format!("cannot run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ClusterError::failed(program, said.trim()))
}

fn make_read_only(place: &Path) -> Result<(), ClusterError> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, place, None::<&str>, flags, None::<&str>)
        .map_err(ClusterError::path("make read-only", place))
}

fn mount_new(
    kind: &str,
    place: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), ClusterError> {
    mount(Some(kind), place, Some(kind), flags, options)
        .map_err(ClusterError::path("mount", Path::new(place)))
}

/// Puts a file of the node's own in the place of one in the machine's `/etc`.
fn own_file(name: &str, text: &str, mode: u32) -> Result<(), ClusterError> {
    let place = Path::new("/etc").join(name);
    if !place.exists() {
        // A resolver's file may be a link into `/run`, which is empty by now.
        let Ok(target) = fs::read_link(&place) else {
            return Ok(());
        };
        let target = Path::new("/etc").join(target);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(ClusterError::path("create", folder))?;
        }
        return write(&target, text, mode);
    }
    let own = in_etc(name);
    write(&own, text, mode)?;
    bind(&own, &place)
}

fn in_etc(name: &str) -> PathBuf {
    Path::new(ETC).join(name)
}

/// The machine's users without their passwords: nobody can log in with one, and nobody is locked
/// out, which is what `sshd` would make of a password that starts with `!`.
fn shadow(passwd: &str) -> String {
    passwd
        .lines()
        .filter_map(|line| line.split(':').next())
        .fold(String::new(), |text, user| {
            text + user + ":*:19000:0:99999:7:::\n"
        })
}

fn sshd_config(id: u16) -> String {
    format!(
        "ListenAddress {}\n\
         HostKey {ETC}/host_key\n\
         AuthorizedKeysFile {ETC}/authorized_keys\n\
         PidFile /run/sshd.pid\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         UsePAM no\n\
         UseDNS no\n\
         PrintMotd no\n",
        node_address(id)
    )
}

fn read(path: &Path) -> Result<String, ClusterError> {
    fs::read_to_string(path).map_err(ClusterError::path("read", path))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), ClusterError> {
    fs::write(path, text).map_err(ClusterError::path("write", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(ClusterError::path("set the permissions of", path))
}
