//! The data directory: a lock, the node's id, and two slots for configurations that it starts from without anybody.
//!
//! `snapshot.current` is what ran last, `snapshot.proven` what last ran for a minute. A slot is written beside itself,
//! synced and moved into place, so it is there whole or as it was before; what was damaged since is told by a checksum.
//! A slot holds the chunks of the control stream, each with its length before it, and so is read by the same code.

use super::assembly::{Assembly, MAX_WHOLE, Whole};
use prost::Message;
use proto::{identity::Identity, pb, snapshot::Snapshot};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// The first bytes of a slot: what it is, and the version of its form.
const MAGIC: &[u8; 8] = b"portico1";
/// About how many bytes of payload there are in a chunk.
const CHUNK: usize = 1 << 20;

/// A data directory that nobody else uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    node_id: String,
    // Let go of when it is dropped, or the process ends.
    _lock: File,
}

/// A place for a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// What ran last.
    Current,
    /// What last ran for a minute.
    Proven,
}

/// A configuration to be kept.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Which.
    pub(crate) identity: Identity,
    /// Its content.
    pub(crate) snapshot: Snapshot,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Two nodes must not share one.
    #[error("another process uses the data directory {0}; give each node a --data-dir of its own")]
    Taken(PathBuf),
    /// The system says no.
    #[error("cannot use {0} in the data directory; see that this user may write there")]
    Io(PathBuf, #[source] io::Error),
}

/// Why a slot cannot be read.
#[derive(Debug, thiserror::Error)]
enum SlotError {
    #[error("cannot be read")]
    Io(#[from] io::Error),
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}

// === impl DataDir ===

impl DataDir {
    /// Opens the directory, makes it where there is none, and locks it.
    pub(crate) fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let failed = |path: PathBuf| |error| DataDirError::Io(path, error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path.into()))?;
        let lock_path = path.join("lock");
        let lock = private().create(true).open(&lock_path).map_err(failed(lock_path.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::Taken(path.into())),
            Err(TryLockError::Error(error)) => return Err(DataDirError::Io(lock_path, error)),
        }
        let node_id = node_id(path).map_err(failed(path.join("node-id")))?;
        Ok(DataDir { path: path.into(), node_id, _lock: lock })
    }

    /// The node's id, made at its first start.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the slot holds; `None`, and a warning, if it is damaged.
    pub(crate) fn read(&self, slot: Slot) -> Option<Whole> {
        match read(&self.path.join(slot.file())) {
            Ok(whole) => Some(whole),
            Err(SlotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path.join(slot.file());
                tracing::warn!(file = %path.display(), "a kept configuration {error}; it is passed over");
                None
            }
        }
    }

    /// Keeps a configuration in the slot.
    pub(crate) fn write(&self, slot: Slot, stored: &Stored) -> io::Result<()> {
        replace(&self.path, slot.file(), |file| write(file, stored))
    }
}

// === impl Slot ===

impl Slot {
    fn file(self) -> &'static str {
        match self {
            Slot::Current => "snapshot.current",
            Slot::Proven => "snapshot.proven",
        }
    }
}

fn node_id(folder: &Path) -> io::Result<String> {
    match fs::read_to_string(folder.join("node-id")) {
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(id) => return Ok(id.to_string()),
            Err(_) => tracing::warn!("the file node-id holds no id; a new one is made"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = Uuid::new_v4().to_string();
    replace(folder, "node-id", |file| writeln!(file, "{id}"))?;
    Ok(id)
}

/// Writes a file beside the other, and moves it into its place when it is on the disk.
pub(super) fn replace(
    folder: &Path,
    name: &str,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    let mut file = BufWriter::new(private().create(true).truncate(true).open(&beside)?);
    fill(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn write(file: &mut BufWriter<File>, stored: &Stored) -> io::Result<()> {
    let mut hasher = Sha256::new();
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    write(MAGIC)?;
    let mut entries = stored.snapshot.entries().peekable();
    loop {
        let mut chunk = pb::SnapshotChunk { identity: Some((&stored.identity).into()), ..Default::default() };
        let mut bytes = 0;
        while let Some(entry) = entries.next_if(|_| bytes < CHUNK) {
            bytes += entry.resource.payload.len();
            chunk.resources.push((&entry.resource).into());
        }
        chunk.last = entries.peek().is_none();
        write(&chunk.encode_length_delimited_to_vec())?;
        if chunk.last {
            break;
        }
    }
    file.write_all(&hasher.finalize())
}

fn read(path: &Path) -> Result<Whole, SlotError> {
    // A pipe would never answer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(SlotError::Damaged("it is no file"));
    }
    let mut bytes = Vec::new();
    // One that is longer than anything that is written fails on its checksum.
    File::open(path)?.take(2 * MAX_WHOLE as u64).read_to_end(&mut bytes)?;
    let (body, checksum) =
        bytes.len().checked_sub(32).map(|at| bytes.split_at(at)).ok_or(SlotError::Damaged("it is too short"))?;
    if Sha256::digest(body)[..] != *checksum {
        return Err(SlotError::Damaged("its checksum is wrong"));
    }
    let mut chunks = body.strip_prefix(MAGIC).ok_or(SlotError::Damaged("another version wrote it"))?;
    let mut assembly = Assembly::default();
    loop {
        let chunk = pb::SnapshotChunk::decode_length_delimited(&mut chunks)
            .map_err(|_| SlotError::Damaged("a chunk is not one"))?;
        let whole = assembly.add(chunk).map_err(|_| SlotError::Damaged("its chunks do not fit together"))?;
        if let Some(whole) = whole {
            return Ok(whole);
        }
    }
}
