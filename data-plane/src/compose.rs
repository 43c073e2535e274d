//! One answer out of several: the room of the action `compose`.
//!
//! [`run`](run::run) reads top to bottom: who asks, what can be asked at all, the parts as soon as they can be, one
//! document, its shape. Below it are two halves: calls to upstreams, and a pure engine over the bytes of their answers,
//! which scans each of them once and builds nothing: what nobody goes into is a slice from the beginning to the end.

mod answer;
mod each;
mod find;
mod foretell;
mod key;
mod ledger;
mod merge;
mod node;
mod part;
mod plan;
#[cfg(any(test, feature = "fuzzing"))]
mod probe;
mod reason;
mod run;
mod scan;
mod selection;
mod shape;
mod text;
mod value;
mod variant;

pub(crate) use foretell::{Foretold, ForetoldPart, foretell};
pub(crate) use ledger::{Called, Ledger};
pub(crate) use plan::{Part, Plan};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use probe::{Probe, probe};
pub(crate) use reason::Reason;
pub(crate) use run::{Lent, run};
