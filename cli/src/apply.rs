//! `apply` and `diff`: makes the configuration what files say, as one revision, or shows what that would change.

use crate::{
    changes::{print_differences, print_names, tell_revision},
    client::{Answer, Client, query::Query},
    documents::Documents,
    failure::Failure,
    output::tell,
    wait::Wait,
};
use clap::Args;
use hyper::Method;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// What is applied.
#[derive(Args)]
pub(crate) struct Source {
    /// A file, a folder of .yaml, .yml and .json files, or `-` for the standard input; may be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Delete what the files leave out.
    #[arg(long)]
    prune: bool,
    /// Delete only resources whose labels meet all conditions: key=value, key!=value, key or !key, commas between.
    #[arg(long, value_name = "SELECTOR", requires = "prune")]
    labels: Option<String>,
}

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Change nothing; show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Allow a change that takes away more than half of a large configuration.
    #[arg(long)]
    confirm_shrink: bool,
    /// Why; recorded with the revision.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args)]
pub(crate) struct DiffArguments {
    #[command(flatten)]
    source: Source,
    /// Exit with 1 when there is a difference.
    #[arg(long)]
    exit_code: bool,
}

/// Runs `portico apply`.
pub(crate) async fn apply(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let mut query = Query::default();
    query.add_flag("dry_run", arguments.dry_run);
    query.add_flag("confirm_shrink", arguments.confirm_shrink);
    if let Some(reason) = &arguments.reason {
        query.add("reason", reason);
    }
    let wait = arguments.wait.add_to(&mut query)?;
    let answer = send(&client, &arguments.source, query, wait).await?;
    if arguments.dry_run {
        print_differences(&answer.json()?)?;
        tell("dry run: nothing was changed");
        return Ok(());
    }
    let value = answer.json()?;
    print_names(&value)?;
    tell_revision(&answer, if value["changed"] == Value::Bool(false) { ": nothing had to be changed" } else { "" })
}

/// Runs `portico diff`.
pub(crate) async fn diff(client: Client, arguments: DiffArguments) -> Result<(), Failure> {
    let mut query = Query::default();
    query.add_flag("dry_run", true);
    let answer = send(&client, &arguments.source, query, Duration::ZERO).await?;
    let differs = print_differences(&answer.json()?)?;
    if differs && arguments.exit_code { Err(Failure::Drift) } else { Ok(()) }
}

async fn send(client: &Client, source: &Source, mut query: Query, wait: Duration) -> Result<Answer, Failure> {
    let documents = Documents::read(&source.files)?;
    // What is empty by accident must not prune everything; a list that is empty on purpose says so.
    if documents.body.is_empty() || (documents.len() == 0 && !source.prune) {
        return Err(Failure::Usage("the files hold no resource; to delete all, write `routes: []` and prune".into()));
    }
    query.add_flag("prune", source.prune);
    if let Some(labels) = &source.labels {
        query.add("labels", labels);
    }
    let body = Value::Object(documents.body.clone());
    let answer = client.send(Method::POST, &query.path("/v1/apply"), Some(&body), wait).await?;
    answer.success_or(|problem| documents.place(problem))
}
