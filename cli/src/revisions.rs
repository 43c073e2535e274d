//! `revisions`: the history; what differs between two; going back to one.

use crate::{
    changes::{print_differences, print_names, tell_revision},
    client::{Client, query::Query},
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table},
    wait::Wait,
};
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Arguments {
    /// One of them; without it, the newest are listed.
    revision: Option<u64>,
    /// Show what differs between it and this one.
    #[arg(long, value_name = "REVISION", requires = "revision", conflicts_with = "restore")]
    diff: Option<u64>,
    /// Make the configuration what it was then; that makes a new revision.
    #[arg(long, requires = "revision")]
    restore: bool,
    /// Why; recorded with the new revision.
    #[arg(long, value_name = "TEXT", requires = "restore")]
    reason: Option<String>,
    /// Allow a change that takes away more than half of a large configuration.
    #[arg(long, requires = "restore")]
    confirm_shrink: bool,
    #[command(flatten)]
    wait: Wait,
    /// How many are listed.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// How it is printed.
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

/// Runs `portico revisions`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let Some(revision) = arguments.revision else { return list(&client, &arguments).await };
    if arguments.restore {
        return restore(&client, &arguments, revision).await;
    }
    let Some(to) = arguments.diff else { return show(&client, &arguments, revision).await };
    let difference = client.get(&format!("/v1/revisions/{revision}/diff?to={to}")).await?.success()?.json()?;
    match arguments.output.unwrap_or(Form::Table) {
        Form::Table => print_differences(&difference).map(|_| ()),
        Form::Yaml => print_document(&difference, DocumentForm::Yaml),
        Form::Json => print_document(&difference, DocumentForm::Json),
    }
}

async fn list(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let page = client.get(&format!("/v1/revisions?page_size={}", arguments.limit)).await?.success()?.json()?;
    match arguments.output.unwrap_or(Form::Table) {
        Form::Table => print(&rows(page["revisions"].as_array().map(Vec::as_slice).unwrap_or_default())),
        Form::Yaml => print_document(&json!({ "revisions": page["revisions"] }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ "revisions": page["revisions"] }), DocumentForm::Json),
    }
}

async fn show(client: &Client, arguments: &Arguments, revision: u64) -> Result<(), Failure> {
    let shown = client.get(&format!("/v1/revisions/{revision}")).await?.success()?.json()?;
    match arguments.output.unwrap_or(Form::Yaml) {
        Form::Table => print(&rows(&[shown])),
        Form::Yaml => print_document(&shown, DocumentForm::Yaml),
        Form::Json => print_document(&shown, DocumentForm::Json),
    }
}

async fn restore(client: &Client, arguments: &Arguments, revision: u64) -> Result<(), Failure> {
    let mut query = Query::default();
    if let Some(reason) = &arguments.reason {
        query.add("reason", reason);
    }
    query.add_flag("confirm_shrink", arguments.confirm_shrink);
    let wait: Duration = arguments.wait.add_to(&mut query)?;
    let path = query.path(&format!("/v1/revisions/{revision}/restore"));
    let answer = client.send(Method::POST, &path, None, wait).await?.success()?;
    print_names(&answer.json()?)?;
    tell_revision(&answer, &format!(" is what revision {revision} was"))
}

fn rows(revisions: &[Value]) -> String {
    let row = |revision: &Value| {
        let text = |member: &str| revision[member].as_str().map_or_else(String::new, plain);
        vec![
            revision["revision"].to_string(),
            text("at"),
            text("author"),
            revision["resources"].to_string(),
            text("reason"),
        ]
    };
    table(&["REVISION", "AT", "AUTHOR", "RESOURCES", "REASON"], &revisions.iter().map(row).collect::<Vec<_>>())
}
