//! `?wait=`: until which share of the live nodes runs a revision, and how that ended.

use super::{nodes, problem::Problem};
use crate::fleet::{Waited, Want};
use http::HeaderValue;
use serde_json::{Value, json};
use std::time::Duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads what a request waits for, and how long.
pub(crate) fn read(wait: Option<&str>, timeout: Option<Duration>) -> Result<Option<(Want, Duration)>, Problem> {
    let Some(text) = wait else {
        return match timeout {
            None => Ok(None),
            Some(_) => Err(Problem::invalid_request("timeout", "means nothing without wait")),
        };
    };
    let want = parse(text).ok_or_else(|| {
        Problem::invalid_request("wait", format!("{text:?} is not a share; write all, 95% (1% to 100%) or n:3"))
    })?;
    Ok(Some((want, timeout.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT))))
}

fn parse(text: &str) -> Option<Want> {
    if text == "all" {
        return Some(Want::All);
    }
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|share| digits(percent) && (1..=100).contains(share))?;
        return Some(Want::Percent(percent));
    }
    let count = text.strip_prefix("n:")?;
    count.parse().ok().filter(|number| digits(count) && *number > 0).map(Want::Count)
}

/// How a wait ended, for the header.
pub(crate) fn header(waited: &Waited) -> HeaderValue {
    let end = match (waited.reached, waited.live) {
        (true, 0) => "no-live-nodes",
        (true, _) => "reached",
        (false, _) => "not-reached",
    };
    let text = format!("{end}; running={}; live={}", waited.running, waited.live);
    HeaderValue::try_from(text).expect("it is of words and numbers")
}

/// How a wait ended, for the body.
pub(crate) fn report(waited: &Waited) -> Value {
    let lagging: Vec<Value> = waited.lagging.iter().map(nodes::json).collect();
    json!({"running": waited.running, "live": waited.live, "stale": waited.stale, "lagging": lagging})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_parsed() {
        for (text, want) in [("all", Want::All), ("95%", Want::Percent(95)), ("n:3", Want::Count(3))] {
            assert_eq!(parse(text), Some(want), "{text}");
        }
        for bad in ["", "ALL", "0%", "101%", "+5%", "n:0", "n:-1", "n:", "3", "%"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wait_is_bounded() {
        let (_, timeout) = read(Some("all"), Some(Duration::from_secs(3600))).unwrap().unwrap();
        assert_eq!(timeout, MAX_TIMEOUT);
        assert!(read(None, Some(Duration::from_secs(1))).is_err());
    }
}
