//! Paths: exact, template, prefix or expression, all over the normal form.

use crate::{invalid::Faults, path::normalise, pb};
use pb::path_match::Kind;
use regex_automata::meta::Regex;

/// The longest pattern, in bytes.
const MAX_LEN: usize = 2048;
/// The most variables of one template.
pub const MAX_VARIABLES: usize = 16;

/// What paths a route means.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Any path; a prefix of `/`.
    Any,
    /// The whole path.
    Exact(String),
    /// Segments, some of which are variables.
    Template(PathTemplate),
    /// Whole segments; without a final slash, and so empty for `/`.
    Prefix(String),
    /// An expression over the whole path.
    Regex(PathRegex),
}

/// A path template.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    /// In order; a rest stands last only.
    pub segments: Vec<Segment>,
    /// The variables' names, in order.
    pub variables: Vec<String>,
    len: u16,
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// One segment, not empty.
    Variable,
    /// All that follows, not empty.
    Rest,
}

/// An expression over the whole path.
#[derive(Clone, Debug)]
pub struct PathRegex {
    pattern: String,
    regex: Regex,
}

/// Where the variables of a template stand in the path, as byte ranges in the variables' order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    ranges: [(u16, u16); MAX_VARIABLES],
    len: u8,
}

// === impl PathPattern ===

impl PathPattern {
    pub(super) fn check(message: Option<&pb::PathMatch>, faults: &mut Faults) -> PathPattern {
        let Some(message) = message else { return PathPattern::Any };
        let Some(kind) = &message.kind else { return PathPattern::Any };
        let (field, parsed) = match kind {
            Kind::Exact(text) => ("exact", literal(text).map(|()| PathPattern::Exact(text.clone()))),
            Kind::Template(text) => ("template", PathTemplate::parse(text).map(PathPattern::Template)),
            Kind::Prefix(text) => {
                ("prefix", literal(text).map(|()| PathPattern::Prefix(text.strip_suffix('/').unwrap_or(text).into())))
            }
            Kind::Regex(text) => ("regex", PathRegex::parse(text).map(PathPattern::Regex)),
        };
        faults.at(field, |faults| faults.take(parsed)).unwrap_or(PathPattern::Any)
    }

    /// Whether the path, which is in its normal form, is meant, and what it captures.
    pub fn matches(&self, path: &str) -> Option<Captures> {
        let matched = match self {
            PathPattern::Any => true,
            PathPattern::Exact(exact) => path == exact,
            PathPattern::Template(template) => return template.matches(path),
            PathPattern::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            PathPattern::Regex(regex) => regex.matches(path),
        };
        matched.then(Captures::default)
    }

    /// The variables' names and whether each is the rest of the path, for templates of values.
    pub fn variables(&self) -> Vec<(&str, bool)> {
        let PathPattern::Template(template) = self else { return Vec::new() };
        let last_is_rest = template.segments.last() == Some(&Segment::Rest);
        let last = template.variables.len().saturating_sub(1);
        template.variables.iter().enumerate().map(|(at, name)| (name.as_str(), last_is_rest && at == last)).collect()
    }

    /// The pattern as the operator wrote it, the `http.route` of telemetry.
    pub fn label(&self) -> String {
        match self {
            PathPattern::Any => "/*".into(),
            PathPattern::Exact(path) => path.clone(),
            PathPattern::Template(template) => template.label(),
            PathPattern::Prefix(prefix) => format!("{prefix}/*"),
            PathPattern::Regex(regex) => regex.pattern.clone(),
        }
    }

    // Class, then length; the greater is the better match. Any path is the shortest of prefixes.
    pub(super) fn rank(&self) -> (u8, u16) {
        let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
        match self {
            PathPattern::Regex(regex) => (0, length(&regex.pattern)),
            PathPattern::Any => (1, 0),
            PathPattern::Prefix(prefix) => (1, length(prefix)),
            PathPattern::Template(template) => (2, template.len),
            PathPattern::Exact(_) => (3, 0),
        }
    }

    pub(super) fn normal_form(&self) -> String {
        match self {
            PathPattern::Any => "prefix ".into(),
            PathPattern::Exact(path) => format!("exact {path}"),
            PathPattern::Template(template) => format!("template {:?}", template.segments),
            PathPattern::Prefix(prefix) => format!("prefix {prefix}"),
            PathPattern::Regex(regex) => format!("regex {}", regex.pattern),
        }
    }
}

// === impl PathTemplate ===

impl PathTemplate {
    fn parse(text: &str) -> Result<PathTemplate, String> {
        let example = text.replace(['{', '}', '*'], "x");
        literal(&example)?;
        let mut template = PathTemplate { segments: Vec::new(), variables: Vec::new(), len: 0 };
        let mut segments = text[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
                if segment.contains(['{', '}']) {
                    return Err(format!("{segment:?}: a variable is a whole segment, as in /orders/{{id}}"));
                }
                template.len = template.len.saturating_add(segment.len() as u16 + 1);
                template.segments.push(Segment::Literal(segment.into()));
                continue;
            };
            let (name, segment) = match name.strip_suffix('*') {
                Some(name) if segments.peek().is_some() => {
                    return Err(format!("{{{name}*}} is the rest of the path and stands last"));
                }
                Some(name) => (name, Segment::Rest),
                None => (name, Segment::Variable),
            };
            if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-') {
                return Err(format!("{name:?} is not a variable's name; use letters, digits, _ and -"));
            }
            if template.variables.iter().any(|known| known == name) {
                return Err(format!("the variable {name:?} stands twice"));
            }
            template.len = template.len.saturating_add(1);
            template.variables.push(name.into());
            template.segments.push(segment);
        }
        match template.variables.len() {
            0 => Err("a template without a variable is an exact path; write it as `exact`".into()),
            n if n > MAX_VARIABLES => Err(format!("a template has at most {MAX_VARIABLES} variables")),
            _ => Ok(template),
        }
    }

    fn matches(&self, path: &str) -> Option<Captures> {
        let mut captures = Captures::default();
        // Where the next segment begins: behind its slash.
        let mut at = 1;
        for (index, segment) in self.segments.iter().enumerate() {
            let rest = path.get(at..)?;
            let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
            match segment {
                Segment::Literal(text) if rest[..end] == *text => {}
                Segment::Variable if end > 0 => captures.push(at, at + end),
                Segment::Rest if !rest.is_empty() => {
                    captures.push(at, path.len());
                    return Some(captures);
                }
                Segment::Literal(_) | Segment::Variable | Segment::Rest => return None,
            }
            at += end + 1;
            if index + 1 == self.segments.len() {
                return (at == path.len() + 1).then_some(captures);
            }
        }
        None
    }

    fn label(&self) -> String {
        let mut variables = self.variables.iter();
        let mut label = String::new();
        for segment in &self.segments {
            label.push('/');
            match segment {
                Segment::Literal(text) => label.push_str(text),
                Segment::Variable | Segment::Rest => {
                    label.push('{');
                    label.push_str(variables.next().map_or("", String::as_str));
                    label.push_str(if *segment == Segment::Rest { "*}" } else { "}" });
                }
            }
        }
        label
    }
}

// === impl PathRegex ===

impl PathRegex {
    fn parse(pattern: &str) -> Result<PathRegex, String> {
        super::value::regex(pattern).map(|regex| PathRegex { pattern: pattern.into(), regex })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

// === impl Captures ===

impl Captures {
    /// Appends the range of a variable. More than [`MAX_VARIABLES`] are not kept, and a path is far shorter than 64 KiB.
    pub fn push(&mut self, start: usize, end: usize) {
        if let (Some(range), Ok(start), Ok(end)) =
            (self.ranges.get_mut(usize::from(self.len)), u16::try_from(start), u16::try_from(end))
        {
            *range = (start, end);
            self.len += 1;
        }
    }

    /// The text of the variable of that index in the path it was captured from.
    pub fn get<'p>(&self, index: usize, path: &'p str) -> Option<&'p str> {
        let (start, end) = *self.ranges[..usize::from(self.len)].get(index)?;
        path.get(usize::from(start)..usize::from(end))
    }
}

fn literal(text: &str) -> Result<(), String> {
    if text.len() > MAX_LEN {
        return Err(format!("a path has at most {MAX_LEN} bytes"));
    }
    if text.contains(['?', '#']) {
        return Err("a path stands without query and fragment; match those by `query`".into());
    }
    match normalise(text) {
        Ok(normal) if normal == text => Ok(()),
        Ok(normal) => Err(format!("requests are matched in their normal form; write {normal:?}")),
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(kind: Kind) -> Result<PathPattern, String> {
        let mut faults = Faults::default();
        let pattern = PathPattern::check(Some(&pb::PathMatch { kind: Some(kind) }), &mut faults);
        match faults.into_found().pop() {
            None => Ok(pattern),
            Some(fault) => Err(fault.detail),
        }
    }

    fn check(kind: Kind, matching: &[&str], other: &[&str]) {
        let pattern = pattern(kind).expect("a pattern");
        for path in matching {
            assert!(pattern.matches(path).is_some(), "{path}");
        }
        for path in other {
            assert!(pattern.matches(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        check(Kind::Prefix("/orders".into()), &["/orders", "/orders/", "/orders/7"], &["/orders-old", "/order", "/"]);
        check(Kind::Prefix("/orders/".into()), &["/orders", "/orders/7"], &["/ordersx"]);
        check(Kind::Prefix("/".into()), &["/", "/x", "//"], &[]);
    }

    #[test]
    fn a_template_captures() {
        let template = pattern(Kind::Template("/o/{id}/f/{rest*}".into())).expect("a template");
        let path = "/o/7/f/a/b";
        let captures = template.matches(path).expect("a match");
        assert_eq!(
            (captures.get(0, path), captures.get(1, path), captures.get(2, path)),
            (Some("7"), Some("a/b"), None)
        );
        assert_eq!(template.variables(), [("id", false), ("rest", true)]);
        assert_eq!(template.label(), "/o/{id}/f/{rest*}");
        check(Kind::Template("/o/{id}".into()), &["/o/7"], &["/o", "/o/", "/o/7/", "/o/7/x", "/p/7"]);
        check(Kind::Template("/{a}/".into()), &["/x/"], &["/x", "//"]);
        check(Kind::Template("/{a*}".into()), &["/x", "/x/y", "//"], &["/"]);
    }

    #[test]
    fn an_expression_is_anchored() {
        check(Kind::Regex("/v[0-9]+/x".into()), &["/v1/x", "/v22/x"], &["/v/x", "/v1/xy", "/a/v1/x"]);
        check(Kind::Regex("/a|/b".into()), &["/a", "/b"], &["/ax", "x/b"]);
    }

    #[test]
    fn bad_patterns_are_refused() {
        for kind in [
            Kind::Exact("a".into()),
            Kind::Exact("/a/../b".into()),
            Kind::Exact("/a?b".into()),
            Kind::Exact("/%61".into()),
            Kind::Template("/a".into()),
            Kind::Template("/a{x}".into()),
            Kind::Template("/{x}/{x}".into()),
            Kind::Template("/{x*}/y".into()),
            Kind::Template("/{}".into()),
            Kind::Regex("(".into()),
            Kind::Regex("(?=a)".into()),
            Kind::Regex("((((a{100}){100}){100}){100})".into()),
        ] {
            assert!(pattern(kind.clone()).is_err(), "{kind:?}");
        }
    }
}
