//! A query string, and names within a path, percent-encoded.

/// The parameters of a request.
#[derive(Default)]
pub(crate) struct Query(String);

// === impl Query ===

impl Query {
    /// Adds a parameter.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }

    /// Adds `name=true`, or nothing.
    pub(crate) fn add_flag(&mut self, name: &str, set: bool) {
        if set {
            self.add(name, "true");
        }
    }

    /// A path with the query behind it.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// All but unreserved characters encoded, so that it can stand in a path segment and in a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        let mut query = Query::default();
        query.add_flag("prune", true);
        query.add_flag("dry_run", false);
        query.add("labels", "a=b&c=é");
        assert_eq!(query.path("/v1/apply"), "/v1/apply?prune=true&labels=a%3Db%26c%3D%C3%A9");
        assert_eq!(encode("../x"), "..%2Fx");
    }
}
