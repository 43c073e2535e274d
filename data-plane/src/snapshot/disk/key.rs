//! The node's own key: what it keeps is sealed with it.
//!
//! It stands beside what it seals, and so keeps out nobody who reads the whole directory, or is root here. It is for a
//! slot that gets elsewhere without it (in a backup of large files, a support bundle, a block of a disk that was given
//! away), and it makes all slots unreadable at once when it is destroyed. Without it nothing is lost: the control plane
//! has the configuration.

use super::replace;
use proto::seal::SealKey;
use std::{
    fs,
    io::{self, Write},
    path::Path,
};
use uuid::Uuid;

/// Where it is.
const FILE: &str = "seal.key";

/// The key of a data directory; made where there is none that can be used.
pub(super) fn open(folder: &Path) -> io::Result<SealKey> {
    match fs::read_to_string(folder.join(FILE)).map(|text| SealKey::of(&text)) {
        Ok(Ok(key)) => return Ok(key),
        // The file is not even text, or too short.
        Ok(Err(_)) => tell_damaged(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => tell_damaged(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    replace(folder, FILE, |file| writeln!(file, "{text}"))?;
    SealKey::of(&text).map_err(io::Error::other)
}

fn tell_damaged() {
    tracing::error!(
        file = FILE,
        "the key of what is kept here is damaged; a new one is made, and what is kept is lost"
    );
}
