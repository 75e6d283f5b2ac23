//! Snapshot files: written aside, synced, renamed; every chunk checksummed; sent and received in
//! pieces that can be taken up again where they broke off.
//!
//! ```text
//! file   = "ORDEALSN" | version u32 | length u32 | group u32, meta | crc32c u32 | chunk* | end
//! chunk  = length u32 | crc32c u32 | bytes            (length > 0; the sum starts from the offset)
//! end    = 0 u32 | digest u32 | bytes in all chunks u64
//! ```
//!
//! The digest is the CRC32C over all chunks' sums: it names the file's content, so that a transfer
//! is only ever resumed with bytes of the same file. A file travels as it is and is verified as a
//! whole before it is renamed, so a receiver never holds a snapshot that it could not restore.

use super::error::{Damage, StorageError};
use super::segment::sync_dir;
use crate::encoding::{self, GroupId, Reader};
use bytes::Bytes;
use raft::{Index, SnapshotMeta, Term};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ORDEALSN";
const FORMAT_VERSION: u32 = 1;
/// Bytes in a chunk, but for the last one.
const CHUNK_LEN: usize = 256 << 10;
const END_LEN: u64 = 16;
/// A header names members and addresses; more than this is no header.
const HEADER_LEN_MAX: u32 = 1 << 24;

/// All snapshots of a node.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

/// A complete snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it lies.
    pub path: PathBuf,
    /// Whose it is.
    pub group: GroupId,
    /// What it covers.
    pub meta: SnapshotMeta,
    /// The file's length in bytes.
    pub len: u64,
    /// Names its content, together with the length.
    pub digest: u32,
}

impl Snapshots {
    /// Opens the folder, and deletes what a crash left half written.
    pub(crate) fn open(dir: &Path) -> Result<Snapshots, StorageError> {
        fs::create_dir_all(dir).map_err(|e| StorageError::io("make", dir, e))?;
        let snapshots = Snapshots::at(dir);
        for path in snapshots.files("new")? {
            fs::remove_file(&path).map_err(|e| StorageError::io("delete", &path, e))?;
        }
        Ok(snapshots)
    }

    /// The folder as it is.
    pub(crate) fn at(dir: &Path) -> Snapshots {
        Snapshots {
            dir: dir.to_owned(),
        }
    }

    /// The snapshot that covers exactly this much, if it is there. Only its frame is checked:
    /// reading it checks the rest.
    pub fn find(
        &self,
        group: GroupId,
        index: Index,
        term: Term,
    ) -> Result<Option<Snapshot>, StorageError> {
        let path = self.path(group, index, term);
        if path.exists() {
            Snapshot::open(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Refuses a directory whose log starts behind a snapshot that is not there.
    pub(crate) fn require(&self, group: GroupId, meta: &SnapshotMeta) -> Result<(), StorageError> {
        if self.find(group, meta.index, meta.term)?.is_some() {
            return Ok(());
        }
        let path = self.path(group, meta.index, meta.term);
        let what = "the log starts behind this snapshot, and it is missing";
        Err(StorageError::Damaged(Damage {
            path,
            offset: 0,
            what,
        }))
    }

    /// The group's newest complete snapshot. One that is newer than the log's marker was never
    /// put to use: a crash came between.
    pub fn newest(&self, group: GroupId) -> Result<Option<Snapshot>, StorageError> {
        let files = self.files("snap")?;
        let newest = files
            .iter()
            .rev()
            .find(|path| group_of(path) == Some(group));
        newest.map(|path| Snapshot::open(path)).transpose()
    }

    /// All complete snapshots, by group and index.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, StorageError> {
        self.files("snap")
    }

    /// Starts writing a snapshot.
    pub fn create(
        &self,
        group: GroupId,
        meta: &SnapshotMeta,
    ) -> Result<SnapshotWriter, StorageError> {
        SnapshotWriter::new(self.path(group, meta.index, meta.term), group, meta)
    }

    /// Starts, or takes up again, receiving a snapshot whose length and digest the sender told.
    pub fn receive(
        &self,
        group: GroupId,
        index: Index,
        term: Term,
        len: u64,
        digest: u32,
    ) -> Result<IncomingSnapshot, StorageError> {
        let target = self.path(group, index, term);
        let path = target.with_extension(format!("{len:x}-{digest:08x}.part"));
        let open = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path);
        let file = open.map_err(|e| StorageError::io("open", &path, e))?;
        let at = file
            .metadata()
            .map_err(|e| StorageError::io("look at", &path, e))?
            .len();
        let incoming = IncomingSnapshot {
            file,
            path,
            target,
            group,
            len,
            at,
        };
        if at <= len {
            Ok(incoming)
        } else {
            incoming.restart()
        }
    }

    /// Deletes the group's snapshots, and unfinished transfers, below this index.
    pub fn prune(&self, group: GroupId, keep_from: Index) -> Result<(), StorageError> {
        let mut paths = self.files("snap")?;
        paths.extend(self.files("part")?);
        for path in paths {
            if group_of(&path) == Some(group) && index_of(&path) < Some(keep_from) {
                fs::remove_file(&path).map_err(|e| StorageError::io("delete", &path, e))?;
            }
        }
        Ok(())
    }

    fn path(&self, group: GroupId, index: Index, term: Term) -> PathBuf {
        self.dir
            .join(format!("{group:08x}-{index:016x}-{term:016x}.snap"))
    }

    fn files(&self, extension: &str) -> Result<Vec<PathBuf>, StorageError> {
        let read = || -> io::Result<Vec<PathBuf>> {
            let paths = fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.path()));
            paths.collect()
        };
        let mut paths = read().map_err(|e| StorageError::io("list", &self.dir, e))?;
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort_unstable();
        Ok(paths)
    }
}

fn group_of(path: &Path) -> Option<GroupId> {
    u32::from_str_radix(path.file_name()?.to_str()?.get(..8)?, 16).ok()
}

fn index_of(path: &Path) -> Option<Index> {
    u64::from_str_radix(path.file_name()?.to_str()?.get(9..25)?, 16).ok()
}

impl Snapshot {
    /// Reads the frame of a snapshot file.
    pub(crate) fn open(path: &Path) -> Result<Snapshot, StorageError> {
        let (snapshot, _) = Snapshot::open_file(path)?;
        Ok(snapshot)
    }

    fn open_file(path: &Path) -> Result<(Snapshot, File), StorageError> {
        let io = |e| StorageError::io("read", path, e);
        let damaged = |offset, what| {
            Err(StorageError::Damaged(Damage {
                path: path.to_owned(),
                offset,
                what,
            }))
        };
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut head = [0; 16];
        if len < 16 + 4 + END_LEN {
            return damaged(len, "the snapshot is cut short");
        }
        file.read_exact(&mut head).map_err(io)?;
        if &head[..8] != MAGIC {
            return damaged(0, "not a snapshot");
        }
        let (found, header_len) = (word(&head[8..12]), word(&head[12..16]));
        if found > FORMAT_VERSION {
            let path = path.to_owned();
            return Err(StorageError::Newer {
                path,
                found,
                supported: FORMAT_VERSION,
            });
        }
        if header_len > HEADER_LEN_MAX || 20 + u64::from(header_len) + END_LEN > len {
            return damaged(12, "header length");
        }
        let mut header = vec![0; header_len as usize + 4];
        file.read_exact(&mut header).map_err(io)?;
        let (body, sum) = header.split_at(header_len as usize);
        if crc32c::crc32c_append(crc32c::crc32c(&head), body) != word(sum) {
            return damaged(16, "header checksum");
        }
        let group = word(&body[..4.min(body.len())]);
        let mut reader = Reader::new(Bytes::copy_from_slice(&body[4.min(body.len())..]));
        let Ok(meta) = encoding::snapshot_meta(&mut reader) else {
            return damaged(16, "header");
        };
        let mut end = [0; END_LEN as usize];
        file.read_exact_at(&mut end, len - END_LEN).map_err(io)?;
        if word(&end[..4]) != 0 {
            return damaged(len - END_LEN, "the snapshot has no end");
        }
        let digest = word(&end[4..8]);
        Ok((
            Snapshot {
                path: path.to_owned(),
                group,
                meta,
                len,
                digest,
            },
            file,
        ))
    }

    /// Reads the content, verifying it on the way: an error of kind `InvalidData` names the file
    /// and the offset that is damaged.
    pub fn read(&self) -> Result<SnapshotReader, StorageError> {
        let (_, mut file) = Snapshot::open_file(&self.path)?;
        let at = file
            .stream_position()
            .map_err(|e| StorageError::io("read", &self.path, e))?;
        Ok(SnapshotReader {
            path: self.path.clone(),
            file: BufReader::with_capacity(CHUNK_LEN, file),
            at,
            chunk: Vec::new(),
            taken: 0,
            digest: 0,
            total: 0,
            ended: false,
        })
    }

    /// Reads bytes of the file as it lies, to be sent to another node; fewer at its end.
    pub fn piece(&self, offset: u64, len_max: usize) -> Result<Bytes, StorageError> {
        let read = || -> io::Result<Bytes> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let len = (self.len.saturating_sub(offset)).min(len_max as u64) as usize;
            let mut piece = vec![0; len];
            file.read_exact(&mut piece)?;
            Ok(piece.into())
        };
        read().map_err(|e| StorageError::io("read", &self.path, e))
    }

    /// Reads all of it and verifies every sum.
    pub fn verify(&self) -> Result<(), StorageError> {
        io::copy(&mut self.read()?, &mut io::sink())
            .map(drop)
            .map_err(|e| StorageError::io("verify", &self.path, e))
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn chunk_sum(offset: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), bytes)
}

/// Writes a snapshot's content; it is there when [`finish`](Self::finish) returns, and not before.
#[derive(Debug)]
pub struct SnapshotWriter {
    /// Taken on success: what is dropped with it is deleted.
    aside: Option<PathBuf>,
    target: PathBuf,
    file: File,
    at: u64,
    chunk: Vec<u8>,
    digest: u32,
    total: u64,
}

impl SnapshotWriter {
    fn new(
        target: PathBuf,
        group: GroupId,
        meta: &SnapshotMeta,
    ) -> Result<SnapshotWriter, StorageError> {
        let aside = target.with_extension("new");
        let mut body = group.to_le_bytes().to_vec();
        encoding::put_snapshot_meta(&mut body, meta);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&(body.len() as u32).to_le_bytes());
        header.extend_from_slice(&body);
        let sum = crc32c::crc32c(&header);
        header.extend_from_slice(&sum.to_le_bytes());
        let begin = || -> io::Result<File> {
            let mut file = File::create(&aside)?;
            file.write_all(&header)?;
            Ok(file)
        };
        let file = begin().map_err(|e| {
            let _ = fs::remove_file(&aside);
            StorageError::io("write", &aside, e)
        })?;
        Ok(SnapshotWriter {
            aside: Some(aside),
            target,
            file,
            at: header.len() as u64,
            chunk: Vec::with_capacity(CHUNK_LEN),
            digest: 0,
            total: 0,
        })
    }

    /// Makes the snapshot stable and gives it its name.
    pub fn finish(mut self) -> Result<Snapshot, StorageError> {
        let aside = self.aside.clone().expect("finished once");
        let mut end = || -> io::Result<()> {
            self.put_chunk()?;
            let mut end = 0u32.to_le_bytes().to_vec();
            end.extend_from_slice(&self.digest.to_le_bytes());
            end.extend_from_slice(&self.total.to_le_bytes());
            self.file.write_all(&end)?;
            self.file.sync_all()?;
            fs::rename(&aside, &self.target)
        };
        end().map_err(|e| StorageError::io("write", &aside, e))?;
        self.aside = None;
        sync_dir(self.target.parent().expect("a file stands in a folder"))?;
        Snapshot::open(&self.target)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let sum = chunk_sum(self.at, &self.chunk);
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(self.chunk.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all(&head)?;
        self.file.write_all(&self.chunk)?;
        self.at += 8 + self.chunk.len() as u64;
        self.total += self.chunk.len() as u64;
        self.digest = crc32c::crc32c_append(self.digest, &sum.to_le_bytes());
        self.chunk.clear();
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_LEN {
            self.put_chunk()?;
        }
        let len = bytes.len().min(CHUNK_LEN - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            let _ = fs::remove_file(aside);
        }
    }
}

/// Reads a snapshot's content and verifies it on the way.
#[derive(Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
    chunk: Vec<u8>,
    taken: usize,
    digest: u32,
    total: u64,
    ended: bool,
}

impl SnapshotReader {
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut head = [0; 8];
        self.file.read_exact(&mut head)?;
        let (len, sum) = (word(&head[..4]) as usize, word(&head[4..]));
        if len == 0 {
            let mut total = [0; 8];
            self.file.read_exact(&mut total)?;
            if sum != self.digest || u64::from_le_bytes(total) != self.total {
                return Err(self.damaged("digest"));
            }
            if self.file.read(&mut [0])? != 0 {
                return Err(self.damaged("bytes behind the end"));
            }
            self.ended = true;
            self.chunk.clear();
        } else {
            if len > CHUNK_LEN {
                return Err(self.damaged("chunk length"));
            }
            self.chunk.resize(len, 0);
            self.file.read_exact(&mut self.chunk)?;
            if chunk_sum(self.at, &self.chunk) != sum {
                return Err(self.damaged("chunk checksum"));
            }
            self.at += 8 + len as u64;
            self.total += len as u64;
            self.digest = crc32c::crc32c_append(self.digest, &sum.to_le_bytes());
        }
        self.taken = 0;
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> io::Error {
        let damage = Damage {
            path: self.path.clone(),
            offset: self.at,
            what,
        };
        io::Error::new(io::ErrorKind::InvalidData, StorageError::Damaged(damage))
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() && !self.ended {
            self.next_chunk()?;
        }
        let len = out.len().min(self.chunk.len() - self.taken);
        out[..len].copy_from_slice(&self.chunk[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

/// A snapshot that another node sends.
#[derive(Debug)]
pub struct IncomingSnapshot {
    file: File,
    path: PathBuf,
    target: PathBuf,
    group: GroupId,
    len: u64,
    at: u64,
}

impl IncomingSnapshot {
    /// The offset of the byte that is wanted next: where the sender should go on.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.at == self.len
    }

    /// Takes a piece of the file. One that does not go on where the last one ended, or would go
    /// beyond the end, is left alone: the caller answers with [`at`](Self::at).
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        if offset == self.at && bytes.len() as u64 <= self.len - self.at {
            let written = self.file.write_all(bytes);
            written.map_err(|e| StorageError::io("write", &self.path, e))?;
            self.at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Verifies the whole file, makes it stable and gives it its name. A file that does not
    /// verify is deleted: the transfer starts anew.
    pub fn finish(self) -> Result<Snapshot, StorageError> {
        let io = |e| StorageError::io("complete", &self.path, e);
        self.file.sync_all().map_err(io)?;
        let verified = Snapshot::open(&self.path).and_then(|snapshot| {
            snapshot.verify()?;
            Ok(snapshot.group == self.group)
        });
        if !matches!(verified, Ok(true)) {
            let _ = fs::remove_file(&self.path);
            verified?;
            let what = "a snapshot of another group";
            return Err(StorageError::Damaged(Damage {
                path: self.path,
                offset: 16,
                what,
            }));
        }
        fs::rename(&self.path, &self.target).map_err(io)?;
        sync_dir(self.target.parent().expect("a file stands in a folder"))?;
        Snapshot::open(&self.target)
    }

    fn restart(mut self) -> Result<IncomingSnapshot, StorageError> {
        self.file
            .set_len(0)
            .map_err(|e| StorageError::io("empty", &self.path, e))?;
        self.at = 0;
        Ok(self)
    }
}
