//! The page that Prometheus scrapes, in the form that it asks for.
//!
//! OpenMetrics has a type for a family and `_total` for a sample of a counter; in the older text format, which has no
//! units and no end either, both names are the same.

use prometheus_client::{encoding::text::encode, registry::Registry};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

// === impl Page ===

impl Page {
    /// Writes all metrics in the form that `Accept` asks for; OpenMetrics only for whoever names it.
    pub fn write(registry: &Registry, accept: &str) -> Page {
        let mut text = String::new();
        // To write into a string cannot fail.
        encode(&mut text, registry).ok();
        match accept.contains("application/openmetrics-text") {
            true => Page { content_type: OPEN_METRICS, text },
            false => Page { content_type: TEXT, text: classic(&text) },
        }
    }
}

fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(about) = line.strip_prefix("# ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let (word, rest) = about.split_once(' ').unwrap_or((about, ""));
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        // What is said of a family stands before its type.
        let is_counter = match word {
            "HELP" => lines
                .peek()
                .is_some_and(|next| next.strip_prefix("# TYPE ").is_some_and(|next| next.ends_with(" counter"))),
            "TYPE" => rest == "counter",
            _ => continue,
        };
        let total = if is_counter { "_total" } else { "" };
        out.push_str(&format!("# {word} {name}{total} {rest}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{
        metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
        registry::Unit,
    };

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("a", "Things", counter);
        registry.register("b", "State", Gauge::<i64>::default());
        registry.register_with_unit("c", "Time", Unit::Seconds, Histogram::new([0.5]));
        registry
    }

    #[test]
    fn whoever_names_open_metrics_gets_it() {
        let page = Page::write(&registry(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        assert_eq!(page.content_type, OPEN_METRICS);
        assert!(page.text.contains("# TYPE a counter\na_total 1\n") && page.text.ends_with("# EOF\n"), "{}", page.text);
    }

    #[test]
    fn everybody_else_gets_the_older_text() {
        let page = Page::write(&registry(), "*/*");
        assert_eq!(page.content_type, TEXT);
        let expect = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n\
                      # HELP b State.\n# TYPE b gauge\nb 0\n\
                      # HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_sum 0.0\nc_seconds_count 0\n\
                      c_seconds_bucket{le=\"0.5\"} 0\nc_seconds_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(page.text, expect);
    }
}
