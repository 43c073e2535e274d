//! A path as servers see it that merge slashes and take parameters of segments out: `/a//b;v=1` is `/a/b` to them.
//!
//! Nothing is changed on the way: to many servers both are other paths. But where the two lead to two routes, one of them
//! would be a way around the policies of the other.

/// The path without empty segments and parameters; `None` if it has none of them.
pub(super) fn merged(path: &str) -> Option<String> {
    if !has_any(path) {
        return None;
    }
    let mut merged = String::with_capacity(path.len());
    for segment in path.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        if !segment.is_empty() {
            merged.push('/');
            merged.push_str(segment);
        }
    }
    // What ends with a slash is not what does not.
    if merged.is_empty() || path.ends_with('/') {
        merged.push('/');
    }
    Some(merged)
}

/// Whether there is anything to take out.
pub(super) fn has_any(path: &str) -> bool {
    path.contains("//") || path.contains(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_and_parameters_are_taken_out() {
        for (path, expect) in [
            ("/", None),
            ("/a/b/", None),
            ("//", Some("/")),
            ("//a", Some("/a")),
            ("/a//b", Some("/a/b")),
            ("/a///b//", Some("/a/b/")),
            ("/a;x/b;y=1;z", Some("/a/b")),
            ("/a/;x/b", Some("/a/b")),
            ("/;x", Some("/")),
            ("/a/;x", Some("/a")),
        ] {
            assert_eq!(merged(path).as_deref(), expect, "{path}");
        }
    }
}
