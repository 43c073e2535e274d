//! The invariants of the README's code map, as tests: what each floor may use, what the build may hold.
//!
//! A rule is a function from files or crates to the places that break it; each is tried on a bad sample first, so that
//! no rule can fall asleep.

mod documents;
mod graph;
mod licence;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the repository, with its path from the top.
struct File {
    path: String,
    text: String,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> File {
    let text = fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("failed to read {path}: {error}"));
    File { path: path.into(), text }
}

/// All files under a folder whose names end so.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("failed to list {folder:?}: {error}"));
        for entry in entries {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(read(path.strip_prefix(top()).unwrap().to_str().unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The sources of all crates.
const CRATES: [&str; 5] = ["proto/src/", "otel/src/", "control-plane/src/", "data-plane/src/", "cli/src/"];

/// The Rust code of all crates.
fn sources() -> Vec<File> {
    CRATES.into_iter().flat_map(|at| files(at, "rs")).collect()
}

fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

#[track_caller]
fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} found:\n  {}", broken.len(), broken.join("\n  "));
}

#[test]
fn the_walk_over_the_sources_finds_them() {
    let sources = sources();
    for path in CRATES.map(|at| format!("{at}lib.rs")) {
        assert!(sources.iter().any(|file| file.path == path), "{path} is not among the sources");
    }
}
