//! Results: text to the standard output, as a table, YAML or JSON.

use crate::failure::Failure;
use clap::ValueEnum;
use serde_json::Value;
use std::io::{self, Write};

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Columns, for people.
    Table,
    /// YAML, as `apply` takes it.
    Yaml,
    /// JSON, as the admin API gives it.
    Json,
}

/// How a document is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentForm {
    /// YAML, as `apply` takes it.
    Yaml,
    /// JSON, as the admin API gives it.
    Json,
}

/// Prints a result.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    Ok(stdout.flush()?)
}

/// Tells something beside the result. That nobody listens is no failure.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as a document.
pub(crate) fn print_document(value: &Value, form: DocumentForm) -> Result<(), Failure> {
    match form {
        DocumentForm::Yaml => {
            let text = serde_saphyr::to_string(value)
                .map_err(|error| Failure::Runtime(format!("failed to write YAML: {error}")))?;
            print(&text)
        }
        DocumentForm::Json => print(&format!("{value:#}")),
    }
}

/// Columns of text, each as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_string()).collect();
    // A cell is one line, whatever somebody wrote into it.
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.replace('\n', "\u{fffd}")).collect()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text of foreign origin, without what would move the terminal's cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["orders".to_string(), "é".to_string(), "x".to_string()], vec!["a".into(), "".into(), "".into()]];
        assert_eq!(table(&["NAME", "B", "C"], &rows), "NAME    B  C\norders  é  x\na\n");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }
}
