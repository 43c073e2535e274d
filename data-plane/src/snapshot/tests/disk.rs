//! What is kept on the disk: it is there whole, sealed, or passed over.

use super::{
    super::{
        disk::{DataDir, DataDirError, Slot, clear},
        keeper::Keeper,
        mailbox::Mailbox,
        state::Status,
    },
    stored, telemetry,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

fn slot_files(dir: &TempDir) -> [PathBuf; 2] {
    ["snapshot.current", "snapshot.proven"].map(|file| dir.path().join(file))
}

#[test]
fn a_damaged_slot_is_passed_over() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().expect("a folder");
    let data_dir = DataDir::open(dir.path()).expect("a data directory");
    data_dir.write(Slot::Current, &stored(2, &["a", "b"])).expect("it is written");
    data_dir.write(Slot::Proven, &stored(1, &["a"])).expect("it is written");
    for file in slot_files(&dir) {
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    let revision = |slot| data_dir.read(slot).map(|whole| whole.identity.revision);
    let files = slot_files(&dir);
    for (at, (slot, other)) in [(Slot::Current, 1), (Slot::Proven, 2)].into_iter().enumerate() {
        let other_slot = if slot == Slot::Current { Slot::Proven } else { Slot::Current };
        let whole = fs::read(&files[at]).expect("it is there");
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 0x10;
            fs::write(&files[at], flipped).expect("it is written");
            assert_eq!((revision(slot), revision(other_slot)), (None, Some(other)), "byte {byte}");
        }
        for length in [0, 31, 40, whole.len() - 1] {
            fs::write(&files[at], &whole[..length]).expect("it is written");
            assert_eq!(revision(slot), None, "length {length}");
        }
        fs::write(&files[at], &whole).expect("it is written");
        assert!(revision(slot).is_some());
    }
}

#[test]
fn what_is_kept_is_sealed_with_a_key_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().expect("a folder");
    let open = || DataDir::open(dir.path()).expect("a data directory");
    let sent = stored(2, &["a", "b"]);
    open().write(Slot::Current, &sent).expect("it is written");
    let [current, proven] = slot_files(&dir);
    let holds = |file: &PathBuf, text: &[u8]| {
        fs::read(file).expect("it is there").windows(text.len()).any(|bytes| bytes == text)
    };
    assert!(sent.snapshot.entries().all(|entry| !holds(&current, &entry.resource.payload)));
    assert!(!holds(&current, b"route") && !holds(&current, b"secret"));
    let key = dir.path().join("seal.key");
    assert_eq!(fs::metadata(&key).expect("it is there").permissions().mode() & 0o777, 0o600);
    let revision = |slot| open().read(slot).map(|whole| whole.identity.revision);
    assert_eq!(revision(Slot::Current), Some(2));

    // It is of its slot.
    fs::copy(&current, &proven).expect("it is copied");
    assert_eq!(revision(Slot::Proven), None);
    // Without the key nothing can be read, and nothing is lost but that.
    let text = fs::read_to_string(&key).expect("it is text");
    for damaged in [None, Some(""), Some("short"), Some(&text.replace(&text[..1], "x") as &str)] {
        match damaged {
            None => fs::remove_file(&key).expect("it is there"),
            Some(text) => fs::write(&key, text).expect("it is written"),
        }
        assert_eq!(revision(Slot::Current), None, "{damaged:?}");
        assert!(fs::read_to_string(&key).expect("there is one again").len() >= 32);
    }
    open().write(Slot::Current, &sent).expect("it is written");
    assert_eq!(revision(Slot::Current), Some(2));
}

#[test]
fn what_was_kept_in_the_clear_is_read_and_sealed() {
    let dir = TempDir::new().expect("a folder");
    let data_dir = DataDir::open(dir.path()).expect("a data directory");
    let sent = stored(2, &["a", "b"]);
    let [current, _] = slot_files(&dir);
    let before = clear(&sent);
    fs::write(&current, &before).expect("it is written");
    for _ in 0..2 {
        let whole = data_dir.read(Slot::Current).expect("it is good");
        assert_eq!((whole.identity, whole.resources.len()), (sent.identity, 2));
        assert!(fs::read(&current).expect("it is there").starts_with(b"portico2"));
    }
    // Its checksum is still looked at.
    for at in 0..before.len() {
        let mut flipped = before.clone();
        flipped[at] ^= 1;
        fs::write(&current, flipped).expect("it is written");
        assert!(data_dir.read(Slot::Current).is_none(), "byte {at}");
    }
}

#[test]
fn a_data_directory_is_for_one_node() {
    let dir = TempDir::new().expect("a folder");
    let first = DataDir::open(dir.path()).expect("a data directory");
    let second = DataDir::open(dir.path());
    assert!(matches!(second, Err(DataDirError::Taken(_))), "{second:?}");
    let id = first.node_id().to_string();
    drop(first);
    assert_eq!(DataDir::open(dir.path()).expect("it is free").node_id(), id);
    // Whatever a damaged file holds, the node starts.
    fs::write(dir.path().join("node-id"), b"\xff\xfe").expect("a file");
    assert_ne!(DataDir::open(dir.path()).expect("it is free").node_id(), id);
}

#[test]
fn of_a_burst_the_newest_is_kept() {
    let dir = TempDir::new().expect("a folder");
    let (status, mailbox) = (Status::new(telemetry()), Mailbox::new());
    let keeper = Keeper::new(DataDir::open(dir.path()).expect("a data directory"), status.clone(), None);
    for revision in 1..=100 {
        mailbox.put(stored(revision, &["a"]));
    }
    mailbox.close();
    keeper.run(&mailbox);
    assert_eq!(status.watch().borrow().persisted.map(|identity| identity.revision), Some(100));
    let kept = DataDir::open(dir.path()).expect("it is free").read(Slot::Current).expect("it was kept");
    assert_eq!(kept.identity.revision, 100);
}
