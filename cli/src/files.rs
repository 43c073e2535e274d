//! How many files a program may have open: each connection is one, and a request that is sent on takes two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many as the system lets the program allow itself, and says how many that is; `None`: any number. The lower limit
/// that it starts with, often 1024, is for programs that cannot count further (select).
pub(crate) fn allow() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays");
            current
        }
    }
}

/// Warns where the limit is hit before the limit of connections is: then nobody is told that the node is full, and requests of
/// those who are there fail too.
pub(crate) fn check(allowed: Option<u64>, max_connections: usize) {
    let needed = 2 * max_connections as u64;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "fewer files may be open than --max-connections may need; raise the limit (ulimit -Hn, LimitNOFILE=) or lower that"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_gives_way_to_the_upper_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let half = maximum.map_or(4096, |maximum| maximum / 2);
        setrlimit(Resource::Nofile, Rlimit { current: Some(half), maximum }).unwrap();
        assert_eq!(allow(), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
