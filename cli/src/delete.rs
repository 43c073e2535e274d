//! `delete`: takes a resource away.

use crate::{
    changes::tell_revision,
    client::{
        Client,
        query::{Query, encode},
    },
    collection::collection,
    failure::Failure,
    wait::Wait,
};
use clap::Args;
use hyper::Method;

#[derive(Args)]
pub(crate) struct Arguments {
    /// `route`, `upstream` or `policy`.
    #[arg(value_parser = collection)]
    kind: &'static str,
    /// Its name.
    name: String,
    #[command(flatten)]
    wait: Wait,
}

/// Runs `portico delete`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let mut query = Query::default();
    let wait = arguments.wait.add_to(&mut query)?;
    let path = query.path(&format!("/v1/{}/{}", arguments.kind, encode(&arguments.name)));
    let answer = client.send(Method::DELETE, &path, None, wait).await?.success()?;
    tell_revision(&answer, "")
}
