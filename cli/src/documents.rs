//! What `-f` names: files, folders or the standard input, as one body for the admin API.
//!
//! Lists of the same name are joined in order, and it is remembered which file each element came from, so that a fault
//! is told where a person can mend it.

use crate::{client::problem::Problem, failure::Failure};
use data_plane::sources;
use proto::{invalid::Faults, json::secrets, resource::KINDS};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The most bytes that are read from all files.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The body, and where its parts are from.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// What `apply` takes.
    pub(crate) body: Map<String, Value>,
    origins: Vec<Origin>,
}

/// A run of elements of one list that are from one file.
#[derive(Debug)]
struct Origin {
    list: String,
    first: usize,
    count: usize,
    file: String,
    /// The index of the first of them in the file's own list.
    first_in_file: usize,
}

// === impl Documents ===

impl Documents {
    /// Reads all of it.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Documents, Failure> {
        let mut documents = Documents::default();
        let mut left = MOST_BYTES;
        for path in paths {
            if path.as_os_str() == "-" {
                documents
                    .add("the standard input", &read_text(io::stdin().lock(), "the standard input", &mut left)?)?;
            } else if path.is_dir() {
                for path in files_of(path)? {
                    documents.add_file(&path, &mut left)?;
                }
            } else {
                documents.add_file(path, &mut left)?;
            }
        }
        Ok(documents)
    }

    /// How many resources there are.
    pub(crate) fn len(&self) -> usize {
        self.body.values().filter_map(Value::as_array).map(Vec::len).sum()
    }

    fn add_file(&mut self, path: &Path, left: &mut u64) -> Result<(), Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::Usage(format!("failed to open {name}: {error}")))?;
        let text = read_text(file, &name, left)?;
        self.add(&name, &text)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), Failure> {
        let wrong = |why: String| Failure::Configuration(format!("{file}: {why}"));
        // JSON is YAML, but its own reader tells better where it ends too soon. That one takes the last of two equal
        // keys, which is for the other to refuse.
        if text.trim_start().starts_with('{') {
            serde_json::from_str::<Value>(text).map_err(|error| wrong(error.to_string()))?;
        }
        let parsed: Vec<Value> =
            serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|error| wrong(error.to_string()))?;
        let mut seen: Map<String, Value> = Map::new();
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let mut faults = Faults::default();
        for document in parsed {
            let document = match document {
                Value::Null => continue,
                Value::Object(document) => document,
                _ => return Err(wrong("a document is a mapping with lists, as in `routes: [...]`".into())),
            };
            for (list, value) in document {
                let mut elements = match value {
                    Value::Array(elements) => elements,
                    // YAML has a null where a list is left empty.
                    Value::Null => Vec::new(),
                    _ => return Err(wrong(format!("/{list}: expected a list"))),
                };
                let before = seen.entry(list.clone()).or_insert(Value::from(0));
                let first_in_file = before.as_u64().unwrap_or(0) as usize;
                fill(&list, first_in_file, &mut elements, folder, &mut faults);
                *before = Value::from(first_in_file + elements.len());
                let all = self.body.entry(list.clone()).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(all) = all else { continue };
                let (first, count) = (all.len(), elements.len());
                self.origins.push(Origin { list, first, count, file: file.to_string(), first_in_file });
                all.append(&mut elements);
            }
        }
        let faults: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if faults.is_empty() { Ok(()) } else { Err(wrong(faults.join("\n  "))) }
    }

    /// Puts the file's name and its own pointer in place of the body's.
    pub(crate) fn place(&self, problem: &mut Problem) {
        for fault in &mut problem.faults {
            if let Some(placed) = self.placed(&fault.pointer) {
                fault.pointer = placed;
            }
        }
    }

    /// The same where the body stands below a pointer.
    pub(crate) fn place_below(&self, above: &str, problem: &mut Problem) {
        for fault in &mut problem.faults {
            if let Some(placed) = fault.pointer.strip_prefix(above).and_then(|pointer| self.placed(pointer)) {
                fault.pointer = placed;
            }
        }
    }

    fn placed(&self, pointer: &str) -> Option<String> {
        let mut parts = pointer.strip_prefix('/')?.splitn(3, '/');
        let (list, at) = (parts.next()?, parts.next()?.parse::<usize>().ok()?);
        let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
        let within =
            |origin: &&Origin| origin.list == list && (origin.first..origin.first + origin.count).contains(&at);
        let origin = self.origins.iter().find(within)?;
        Some(format!("{}: /{list}/{}{rest}", origin.file, at - origin.first + origin.first_in_file))
    }
}

/// Reads the secrets that the elements say are in files or in the environment.
fn fill(list: &str, first: usize, elements: &mut [Value], folder: &Path, faults: &mut Faults) {
    let Some(kind) = KINDS.into_iter().find(|kind| kind.plural() == list) else { return };
    faults.at(list, |faults| {
        for (at, element) in elements.iter_mut().enumerate() {
            faults.at(first + at, |faults| {
                secrets::fill(kind, element, faults, &|place| sources::read(folder, place));
            });
        }
    });
}

/// YAML as the admin API reads it: `no` is a text, and so is `0755`.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn read_text(from: impl Read, name: &str, left: &mut u64) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(*left + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Configuration(format!("failed to read {name}: {error}")))?;
    match left.checked_sub(text.len() as u64) {
        Some(rest) => *left = rest,
        None => return Err(Failure::Configuration(format!("{name}: more than {MOST_BYTES} bytes in all"))),
    }
    Ok(text)
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("failed to list {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::Usage(format!("{} has no .yaml, .yml or .json file", folder.display())));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_joined_and_faults_find_their_file() {
        let mut documents = Documents::default();
        documents.add("a.yaml", "routes: [{name: a}]\n---\nroutes: [{name: b}]\nupstreams: []\n").unwrap();
        documents.add("b.json", r#"{"routes": [{"name": "c"}, {"name": "d"}]}"#).unwrap();
        assert_eq!(documents.body["routes"], json!([{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]));
        assert_eq!(documents.len(), 4);
        assert_eq!(documents.placed("/routes/1").unwrap(), "a.yaml: /routes/1");
        assert_eq!(documents.placed("/routes/3/match/path").unwrap(), "b.json: /routes/1/match/path");
        assert!(documents.placed("/routes/4").is_none() && documents.placed("/x").is_none());
    }

    #[test]
    fn what_is_printed_is_read_again_as_it_was() {
        for text in
            ["y", "no", "on", "null", "~", "0755", "1_000", "1e3", "true", "", " a", "a: b", "# a", "a\nb\n", "{x}"]
        {
            let value = json!({ "routes": [{ "name": text }] });
            let mut documents = Documents::default();
            documents.add("x", &serde_saphyr::to_string(&value).unwrap()).unwrap();
            assert_eq!(Value::Object(documents.body), value);
        }
        let mut documents = Documents::default();
        documents.add("x", "routes: [{name: y, on: no}]").unwrap();
        assert_eq!(documents.body["routes"], json!([{"name": "y", "on": "no"}]));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in [
            "{\"routes\": [], \"routes\": []}",
            "routes: []\nroutes: []\n",
            "{\"routes\": [{\"name\": \"a\", \"name\": \"b\"}]}",
        ] {
            assert!(Documents::default().add("x", text).is_err(), "{text}");
        }
        Documents::default().add("x", "routes:\n").unwrap();
    }

    #[test]
    fn secrets_are_read_where_the_document_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.pem"), "hush\n").unwrap();
        let file = folder.path().join("a.yaml").display().to_string();
        let mut documents = Documents::default();
        let text = "certificates: [{name: a, private_key: {file: key.pem}}]";
        documents.add(&file, text).unwrap();
        assert_eq!(documents.body["certificates"][0]["private_key"], json!({"value": "hush"}));
        let text =
            "certificates: [{name: a, private_key: {file: none.pem}}, {name: b, private_key: {env: NONE_OF_IT}}]";
        let Err(Failure::Configuration(told)) = Documents::default().add(&file, text) else { panic!("it is refused") };
        assert!(told.contains("/certificates/0/private_key/file: cannot read"), "{told}");
        assert!(told.contains("/certificates/1/private_key/env: cannot read \"NONE_OF_IT\""), "{told}");
    }

    #[test]
    fn what_is_no_mapping_of_lists_is_refused_with_its_file() {
        for text in ["[1]", "routes: 5", "{\"routes\": ", "a: b: c"] {
            let Err(Failure::Configuration(text)) = Documents::default().add("x.yaml", text) else { panic!("{text}") };
            assert!(text.starts_with("x.yaml: "), "{text}");
        }
    }
}
