//! The life of a change, second half: receive, check, build, swap, report, persist.
