//! Where documents say that their secrets are: files beside them, and the environment. Whoever reads a document as its
//! author's program reads them; a control plane never does, for what it could read is not its authors'.

use proto::{json::secrets::Place, secret::MAX_SECRET};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The secret that is there; the folder is that of the document. A line break at the end is the editor's.
pub fn read(folder: &Path, place: Place<'_>) -> Result<String, String> {
    let mut text = match place {
        Place::File(path) => {
            let path = folder.join(path);
            read_file(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        Place::Env(name) => std::env::var(name).map_err(|error| format!("cannot read {name:?}: {error}"))?,
    };
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

fn read_file(path: &Path) -> io::Result<String> {
    // A pipe might never answer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    // One byte more than is taken is told from what fits.
    File::open(path)?.take(MAX_SECRET as u64 + 2).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_beside_the_document_or_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "hush\r\n").unwrap();
        assert_eq!(read(folder.path(), Place::File("key")).unwrap(), "hush");
        assert!(read(folder.path(), Place::File("none")).unwrap_err().contains("none: No such file"));
        assert!(read(folder.path(), Place::File(".")).unwrap_err().contains("it is no file"));
        assert!(read(folder.path(), Place::Env("PORTICO_NOT_THERE")).unwrap_err().contains("PORTICO_NOT_THERE"));
    }
}
