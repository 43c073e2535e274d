//! A configuration from a file, in the form that `apply` takes, for a node without a control plane.
//!
//! All faults are found at once, and each points into the file.

use crate::sources;
use proto::{
    invalid::{Faults, Invalid, did_you_mean},
    json::{Read, merge_faults, read_partial, secrets},
    resource::{KINDS, Kind, Resource, ResourceKey},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The largest file, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// What a file says, read as far as its shape is right.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    resources: Vec<Resource>,
    // Where each resource stands.
    places: BTreeMap<ResourceKey, String>,
    // Faults of shape, with pointers into the file.
    faults: Vec<Invalid>,
}

/// What is wrong with a file.
#[derive(Debug)]
pub(crate) struct FileFaults {
    path: PathBuf,
    faults: Vec<String>,
}

/// Reads a file; what is wrong with its resources comes with [`ConfigFile::place`].
pub(super) fn read(path: &Path) -> Result<ConfigFile, FileFaults> {
    let faults = |fault: String| FileFaults { path: path.into(), faults: vec![fault] };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(faults("it is not UTF-8".into())),
        Err(error) => return Err(faults(format!("cannot be read: {error}"))),
        Ok(length) if length as u64 > MAX_FILE => {
            return Err(faults(format!("it is larger than {} MiB", MAX_FILE >> 20)));
        }
        Ok(_) => {}
    }
    // JSON is YAML too; and YAML is read as the admin API reads it: `no` is a text and so is `0755`.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    let value = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| faults(format!("is neither YAML nor JSON: {error}")))?;
    let mut file = ConfigFile { path: path.into(), resources: Vec::new(), places: BTreeMap::new(), faults: Vec::new() };
    file.read(&value);
    Ok(file)
}

// === impl ConfigFile ===

impl ConfigFile {
    /// All resources that could be read; each name stands once.
    pub(super) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Whether nothing is wrong with its shape.
    pub(super) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// All that is wrong: its shape, and what was found wrong with its resources.
    pub(super) fn place(&self, faults: Vec<Invalid>) -> FileFaults {
        let place = |fault: Invalid| {
            let place = fault.resource.as_ref().and_then(|key| self.places.get(key)).map_or("", String::as_str);
            let name = fault.resource.as_ref().map(|key| format!(" ({key})")).unwrap_or_default();
            format!("{place}{}{name}: {}", fault.pointer, fault.detail)
        };
        let faults = merge_faults(self.faults.clone(), faults).into_iter().map(place).collect();
        FileFaults { path: self.path.clone(), faults }
    }

    fn read(&mut self, value: &Value) {
        let mut faults = Faults::default();
        match value {
            Value::Object(fields) => {
                for (field, list) in fields {
                    match KINDS.into_iter().find(|kind| kind.plural() == field) {
                        Some(kind) => faults.at(field, |faults| self.read_list(kind, list, faults)),
                        None => {
                            let hint = did_you_mean(field, KINDS.map(Kind::plural));
                            faults.note_at(field, format!("unknown field{hint}"));
                        }
                    }
                }
            }
            // It may be caught half-way through being written; an empty configuration says so: `routes: []`.
            Value::Null => faults.note("the file is empty; write `routes: []` for a configuration of nothing"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                faults.note(
                    "a configuration is an object: {routes: […], upstreams: […], policies: […], consumers: […], …}",
                );
            }
        }
        self.faults.extend(faults.into_found());
    }

    fn read_list(&mut self, kind: Kind, list: &Value, faults: &mut Faults) {
        match list {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.read_item(kind, at, item, faults);
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => faults.note("this is a list"),
        }
    }

    fn read_item(&mut self, kind: Kind, at: usize, item: &Value, faults: &mut Faults) {
        let place = format!("/{}/{at}", kind.plural());
        let mut item = item.clone();
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let before = faults.count();
        faults.at(at, |faults| secrets::fill(kind, &mut item, faults, &|place| sources::read(folder, place)));
        if faults.count() > before {
            return;
        }
        let Read { resource, faults: found, .. } = read_partial(kind, &item);
        match resource {
            None => {
                let placed = |fault: Invalid| Invalid { pointer: format!("{place}{}", fault.pointer), ..fault };
                self.faults.extend(found.into_iter().map(placed));
            }
            Some(resource) => match self.places.entry(resource.key.clone()) {
                Entry::Occupied(first) => {
                    let detail = format!("{} is the name of {} already", resource.key.name, first.get());
                    faults.at(at, |faults| faults.note_at("name", detail));
                }
                Entry::Vacant(free) => {
                    free.insert(place);
                    self.faults.extend(found);
                    self.resources.push(resource);
                }
            },
        }
    }
}

// === impl FileFaults ===

impl fmt::Display for FileFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration in {} is not valid", self.path.display())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for FileFaults {}
