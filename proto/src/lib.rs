//! The contract of Portico: what an operator says, checked.
//!
//! Floor 1 of the house: no I/O, no clock, no state. The `.proto` files are the only spelling of a route, an upstream
//! or a policy; the JSON of the admin API, the stored payload and the message on the wire are the same message.
//!
//! Parse once, then never fail: [`snapshot::Snapshot::with`] is the only way from what was said to what is true. The
//! control plane runs it to refuse a change, a node runs the same code to accept one, and what it yields cannot be
//! wrong: expressions are compiled, references exist, and no two routes match the same.

mod authorities;
pub mod certificate;
pub mod claims;
pub mod compose;
pub mod consumer;
pub mod example;
pub mod explain;
pub mod ext_authz;
pub mod fields;
pub mod hash_key;
pub mod identity;
pub mod invalid;
pub mod jose;
pub mod json;
pub mod json_path;
pub mod keyring;
pub mod limit_key;
pub mod log_level;
pub mod matching;
pub mod name;
pub mod path;
pub mod pb;
pub mod policy;
pub mod quantity;
pub mod resource;
pub mod route;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod shards;
pub mod snapshot;
pub mod template;
pub mod test;
pub mod upstream;
pub mod url;
