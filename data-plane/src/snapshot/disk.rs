//! The data directory: a lock, the node's id, and two slots for configurations that it starts from without anybody.
//!
//! `snapshot.current` is what ran last, `snapshot.proven` what last ran for a minute. A slot is written beside itself,
//! synced and moved into place, so it is there whole or as it was before. Slots are sealed, for a configuration has
//! secrets: what was changed since is told by that, and is passed over.

mod form;
mod key;

#[cfg(test)]
pub(super) use form::clear;

use super::assembly::{MAX_WHOLE, Whole};
use form::{Content, SlotError};
use proto::{identity::Identity, pb, seal::SealKey, snapshot::Snapshot};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// A data directory that nobody else uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    node_id: String,
    key: SealKey,
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
        let key = key::open(path).map_err(failed(path.join("seal.key")))?;
        Ok(DataDir { path: path.into(), node_id, key, _lock: lock })
    }

    /// The node's id, made at its first start.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the slot holds; `None`, and a word in the log, if it cannot be trusted.
    pub(crate) fn read(&self, slot: Slot) -> Option<Whole> {
        let path = self.path.join(slot.file());
        let content = read(&path).map_err(SlotError::Io).and_then(|bytes| form::read(&bytes, slot.file(), &self.key));
        match content {
            Ok(Content::Sealed(whole)) => Some(whole),
            Ok(Content::Clear(whole)) => {
                if let Err(error) = self.fill(slot, &whole.identity, whole.resources.iter().cloned()) {
                    tracing::warn!(file = %path.display(), %error, "failed to seal a kept configuration");
                }
                Some(whole)
            }
            Err(SlotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), "a kept configuration {error}; it is passed over");
                None
            }
        }
    }

    /// Keeps a configuration in the slot.
    pub(crate) fn write(&self, slot: Slot, stored: &Stored) -> io::Result<()> {
        self.fill(slot, &stored.identity, stored.snapshot.entries().map(|entry| (&entry.resource).into()))
    }

    fn fill(&self, slot: Slot, identity: &Identity, resources: impl Iterator<Item = pb::Resource>) -> io::Result<()> {
        replace(&self.path, slot.file(), |file| form::write(file, slot.file(), &self.key, identity, resources))
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
    // Anything may stand in a file that was damaged.
    match fs::read(folder.join("node-id")) {
        Ok(bytes) => match Uuid::try_parse_ascii(bytes.trim_ascii()) {
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

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would never answer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    // One that is longer than anything that is written cannot be opened.
    File::open(path)?.take(2 * MAX_WHOLE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
