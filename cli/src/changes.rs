//! What a change does, for people: names alone, or line by line.

use crate::{
    client::Answer,
    failure::Failure,
    output::{plain, print, tell},
};
use hyper::StatusCode;
use serde_json::Value;

/// Beyond so many lines a resource is shown whole, before and after.
const MOST_LINES: usize = 2000;

/// How many lines around a difference are shown.
const AROUND: usize = 2;

/// Prints the names of what was created, updated and deleted.
pub(crate) fn print_names(summary: &Value) -> Result<(), Failure> {
    let mut text = String::new();
    for (sign, member) in [('+', "created"), ('~', "updated"), ('-', "deleted")] {
        for name in summary[member].as_array().into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("{sign} {}\n", plain(name)));
        }
    }
    if text.is_empty() { Ok(()) } else { print(&text) }
}

/// Prints each resource that differs, line by line; returns whether any does.
pub(crate) fn print_differences(value: &Value) -> Result<bool, Failure> {
    let changes = value["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for change in changes {
        let name = plain(change["resource"].as_str().unwrap_or("?"));
        let (before, after) = (lines(&change["before"])?, lines(&change["after"])?);
        let sign = match (before.is_empty(), after.is_empty()) {
            (true, _) => '+',
            (false, true) => '-',
            (false, false) => '~',
        };
        text.push_str(&format!("{sign} {name}\n"));
        text.push_str(&difference(&before, &after));
    }
    if !changes.is_empty() {
        print(&text)?;
    }
    Ok(!changes.is_empty())
}

/// Tells which revision an answer is of, and how far it has come if that was waited for; not far enough is a failure.
pub(crate) fn tell_revision(answer: &Answer, what: &str) -> Result<(), Failure> {
    if let Some(revision) = answer.revision() {
        tell(&format!("revision {revision}{what}"));
    }
    if answer.status != StatusCode::ACCEPTED {
        let waited = answer.headers.get("portico-wait").and_then(|waited| waited.to_str().ok());
        if let Some((_, counts)) = waited.and_then(|waited| waited.split_once("; ")) {
            tell(&format!("nodes: {}", plain(counts)));
        }
        return Ok(());
    }
    let wait = &answer.json()?["wait"];
    let lagging = wait["lagging"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!(
        "the change stands, but only {} of {} live nodes run it in time; these do not:",
        wait["running"], wait["live"]
    );
    for node in lagging {
        text.push_str(&format!("\n  {}", plain(node["id"].as_str().unwrap_or("?"))));
        for error in node["refused"]["errors"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n    refused: {}", plain(error["detail"].as_str().unwrap_or("?"))));
        }
    }
    Err(Failure::Runtime(text))
}

fn lines(resource: &Value) -> Result<Vec<String>, Failure> {
    if resource.is_null() {
        return Ok(Vec::new());
    }
    let text = serde_saphyr::to_string(resource)
        .map_err(|error| Failure::Runtime(format!("failed to write YAML: {error}")))?;
    Ok(text.lines().map(plain).collect())
}

/// The lines that only one side has, with some of those around them.
fn difference(before: &[String], after: &[String]) -> String {
    let script = script(before, after);
    let is_near = |at: usize| {
        let window = at.saturating_sub(AROUND)..(at + AROUND + 1).min(script.len());
        script[window].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut text = String::new();
    let mut skipped = false;
    for (at, (sign, line)) in script.iter().enumerate() {
        match is_near(at) {
            true => text.push_str(&format!("  {sign} {line}\n")),
            false if !skipped => text.push_str("    ...\n"),
            false => {}
        }
        skipped = !is_near(at);
    }
    text
}

/// The shortest way from one list of lines to another, by the longest list that both have in common.
fn script<'l>(before: &'l [String], after: &'l [String]) -> Vec<(char, &'l str)> {
    let gone = before.iter().map(|line| ('-', line.as_str()));
    let come = after.iter().map(|line| ('+', line.as_str()));
    if before.len() > MOST_LINES || after.len() > MOST_LINES {
        return gone.chain(come).collect();
    }
    // common[i][j]: how many lines the rests from i and j have in common.
    let mut common = vec![vec![0_u16; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = match before[i] == after[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut script = Vec::with_capacity(before.len() + after.len());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            script.push((' ', before[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || i < before.len() && common[i + 1][j] >= common[i][j + 1] {
            script.push(('-', before[i].as_str()));
            i += 1;
        } else {
            script.push(('+', after[j].as_str()));
            j += 1;
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &str) {
        let lines = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(difference(&lines(before), &lines(after)), expected);
    }

    #[test]
    fn differences_are_shown_with_what_is_around_them() {
        check("a b c", "a x c", "    a\n  - b\n  + x\n    c\n");
        check("", "a", "  + a\n");
        check("a", "", "  - a\n");
        check("a b c d e f g", "a b c d e f x", "    ...\n    e\n    f\n  - g\n  + x\n");
    }
}
