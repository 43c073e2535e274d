//! What is wrong with a configuration: every fault at once, each with its place and what to do.

use crate::resource::ResourceKey;
use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The resource that has the fault; `None` when it is not of one resource.
    pub resource: Option<ResourceKey>,
    /// A JSON Pointer (RFC 6901) into the resource.
    pub pointer: String,
    /// What is wrong and what to do, a lower-case fragment.
    pub detail: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(resource) = &self.resource {
            write!(f, "{resource}")?;
        }
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// Collects faults while something is walked, and knows where the walk stands.
#[derive(Debug, Default)]
pub struct Faults {
    pointer: String,
    found: Vec<Invalid>,
}

impl Faults {
    /// Walks into a field or an element.
    pub fn at<T>(&mut self, token: impl fmt::Display, walk: impl FnOnce(&mut Faults) -> T) -> T {
        let before = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escape(&token.to_string()));
        let result = walk(self);
        self.pointer.truncate(before);
        result
    }

    /// Notes a fault where the walk stands.
    pub fn note(&mut self, detail: impl Into<String>) {
        self.found.push(Invalid { resource: None, pointer: self.pointer.clone(), detail: detail.into() });
    }

    /// Notes a fault at a field below where the walk stands.
    pub fn note_at(&mut self, token: impl fmt::Display, detail: impl Into<String>) {
        self.at(token, |faults| faults.note(detail));
    }

    /// Takes a result apart: the value, or a note of its fault.
    pub fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|detail| self.note(detail)).ok()
    }

    /// Walks into each element of a list that has at most so many; what is wrong is left out.
    pub fn each<M, T>(
        &mut self,
        field: impl fmt::Display,
        elements: &[M],
        most: usize,
        check: impl Fn(&M, &mut Faults) -> Option<T>,
    ) -> Vec<T> {
        self.at(field, |faults| {
            if elements.len() > most {
                faults.note(format!("at most {most} can be given"));
            }
            let elements = elements.iter().enumerate();
            elements.filter_map(|(at, element)| faults.at(at, |faults| check(element, faults))).collect()
        })
    }

    /// How many faults were noted.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// All that was noted.
    pub fn into_found(self) -> Vec<Invalid> {
        self.found
    }
}

/// Escapes a token of a JSON Pointer.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The candidate that was probably meant by `word`: at most two edits away.
pub fn meant<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = if word.len() <= 3 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "x"?)`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    meant(word, candidates).map(|c| format!("; did you mean {c:?}?")).unwrap_or_default()
}

/// Levenshtein's distance; long words are cut, for a hint needs no more.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested() {
        assert_eq!(meant("order", ["orders", "users"]), Some("orders"));
        assert_eq!(meant("entirely", ["orders", "users"]), None);
    }

    #[test]
    fn pointers_are_escaped() {
        let mut faults = Faults::default();
        faults.at("a/b", |f| f.at(0, |f| f.note("x")));
        assert_eq!(faults.into_found()[0].pointer, "/a~1b/0");
    }
}
