//! The form of a slot: the chunks of the control stream, each sealed, and so read by the same code.
//!
//! First what it is and the version of its form, the name of the key, and a salt. Then each chunk with its length before
//! it, sealed for its place: this slot, this salt, this number. So a chunk can neither be changed, nor moved, nor taken
//! out. Before, chunks stood in the clear with a checksum behind them; that form is still read.

use crate::snapshot::assembly::{Assembly, AssemblyError, Whole};
use prost::Message;
use proto::{identity::Identity, pb, seal::SealKey};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use uuid::Uuid;

/// The first bytes of a slot.
const SEALED: &[u8; 8] = b"portico2";
/// Those of one that is not sealed.
const CLEAR: &[u8; 8] = b"portico1";
/// The length of a key's name.
const KEY_ID: usize = 16;
/// The length of a salt.
const SALT: usize = 16;
/// About how many bytes of payload there are in a chunk.
const CHUNK: usize = 1 << 20;

/// What a slot holds.
pub(super) enum Content {
    /// As it is written now.
    Sealed(Whole),
    /// As it was written before.
    Clear(Whole),
}

/// Why a slot cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SlotError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    #[error("was sealed with another key than the one in seal.key, or one of the two is damaged")]
    OtherKey,
}

/// Writes what is to be kept in the slot of that name.
pub(super) fn write(
    to: &mut impl Write,
    slot: &str,
    key: &SealKey,
    identity: &Identity,
    resources: impl Iterator<Item = pb::Resource>,
) -> io::Result<()> {
    let salt = Uuid::new_v4().into_bytes();
    to.write_all(SEALED)?;
    to.write_all(key.id().as_bytes())?;
    to.write_all(&salt)?;
    let mut resources = resources.peekable();
    for number in 0.. {
        let mut chunk = pb::SnapshotChunk { identity: Some(identity.into()), ..Default::default() };
        let mut bytes = 0;
        while let Some(resource) = resources.next_if(|_| bytes < CHUNK) {
            bytes += resource.payload.len();
            chunk.resources.push(resource);
        }
        chunk.last = resources.peek().is_none();
        let sealed = key.seal(&place(slot, &salt, number), &chunk.encode_to_vec());
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_be_bytes())?;
        to.write_all(&sealed)?;
        if chunk.last {
            break;
        }
    }
    Ok(())
}

/// Reads what was kept in the slot of that name.
pub(super) fn read(bytes: &[u8], slot: &str, key: &SealKey) -> Result<Content, SlotError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(SlotError::Damaged("it is too short"))?;
    match magic {
        SEALED => read_sealed(rest, slot, key).map(Content::Sealed),
        CLEAR => read_clear(bytes).map(Content::Clear),
        _ => Err(SlotError::Damaged("another version wrote it")),
    }
}

fn read_sealed(rest: &[u8], slot: &str, key: &SealKey) -> Result<Whole, SlotError> {
    let cut = || SlotError::Damaged("it is cut off");
    let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or_else(cut)?;
    let (salt, mut rest) = rest.split_first_chunk::<SALT>().ok_or_else(cut)?;
    if id != key.id().as_bytes() {
        return Err(SlotError::OtherKey);
    }
    let mut assembly = Assembly::default();
    for number in 0.. {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (sealed, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
        let opened = key.open(&place(slot, salt, number), sealed);
        let opened = opened.map_err(|_| SlotError::Damaged("a chunk was changed, or is not of this place"))?;
        let chunk = pb::SnapshotChunk::decode(&*opened).map_err(|_| SlotError::Damaged("a chunk is not one"))?;
        if let Some(whole) = assembly.add(chunk).map_err(apart)? {
            return if after.is_empty() { Ok(whole) } else { Err(SlotError::Damaged("something stands behind it")) };
        }
        rest = after;
    }
    Err(cut())
}

fn read_clear(bytes: &[u8]) -> Result<Whole, SlotError> {
    let (body, checksum) = bytes.split_last_chunk::<32>().ok_or(SlotError::Damaged("it is too short"))?;
    if Sha256::digest(body)[..] != *checksum {
        return Err(SlotError::Damaged("its checksum is wrong"));
    }
    let mut chunks = body.get(CLEAR.len()..).ok_or(SlotError::Damaged("it is too short"))?;
    let mut assembly = Assembly::default();
    loop {
        let chunk = pb::SnapshotChunk::decode_length_delimited(&mut chunks)
            .map_err(|_| SlotError::Damaged("a chunk is not one"))?;
        if let Some(whole) = assembly.add(chunk).map_err(apart)? {
            return Ok(whole);
        }
    }
}

fn apart(_: AssemblyError) -> SlotError {
    SlotError::Damaged("its chunks do not fit together")
}

fn place(slot: &str, salt: &[u8; SALT], number: u32) -> String {
    format!("{slot} {} {number}", Uuid::from_bytes(*salt))
}

/// As it was written before.
#[cfg(test)]
pub(in crate::snapshot) fn clear(stored: &super::Stored) -> Vec<u8> {
    let resources = stored.snapshot.entries().map(|entry| (&entry.resource).into()).collect();
    let chunk =
        pb::SnapshotChunk { identity: Some((&stored.identity).into()), resources, last: true, ..Default::default() };
    let mut bytes = [&CLEAR[..], &chunk.encode_length_delimited_to_vec()].concat();
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    bytes
}
