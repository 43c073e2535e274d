//! `tokens`: admin tokens, made, listed and taken away.

use crate::{
    client::{Client, query::encode},
    collection::list,
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table, tell},
};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token, and print it: once, and never again.
    Create(Create),
    /// Show the tokens, but for themselves.
    List(List),
    /// Take a token away; it opens nothing from then on.
    Delete(Delete),
}

#[derive(Args)]
struct Create {
    /// Its name, which stands in the history and the audit.
    name: String,
    /// What it may do: `viewer` reads, `editor` writes the configuration too, `admin` does everything.
    #[arg(long)]
    role: String,
    /// How long it is good for, as in `90d` or `8h`; without it, until it is deleted.
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// Until when it is good, as in `2027-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    expires_at: Option<String>,
    /// Print all that is known of it, not the token alone.
    #[arg(short, long, value_enum)]
    output: Option<DocumentForm>,
}

#[derive(Args)]
struct List {
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Args)]
struct Delete {
    /// Its name.
    name: String,
}

/// Runs `portico tokens`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Create(arguments) => create(&client, arguments).await,
        Command::List(List { output }) => show(&client, output).await,
        Command::Delete(Delete { name }) => delete(&client, &name).await,
    }
}

async fn create(client: &Client, arguments: Create) -> Result<(), Failure> {
    let mut body = json!({"name": arguments.name, "role": arguments.role});
    for (field, value) in [("expires_in", arguments.expires_in), ("expires_at", arguments.expires_at)] {
        if let Some(value) = value {
            body[field] = value.into();
        }
    }
    let answer = client.send(Method::POST, "/v1/tokens", Some(&body), Duration::ZERO).await?.success()?.json()?;
    match arguments.output {
        Some(form) => print_document(&answer, form)?,
        // Alone, so that a script can put it where it belongs.
        None => match answer["token"].as_str() {
            Some(token) => print(&plain(token))?,
            None => return Err(Failure::Runtime("the answer has no token; is that the admin API?".into())),
        },
    }
    tell("keep it now; it is not told again");
    Ok(())
}

async fn show(client: &Client, output: Form) -> Result<(), Failure> {
    let tokens = list(client, "tokens", None).await?;
    match output {
        Form::Table => print(&rows(&tokens)),
        Form::Yaml => print_document(&json!({ "tokens": tokens }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ "tokens": tokens }), DocumentForm::Json),
    }
}

async fn delete(client: &Client, name: &str) -> Result<(), Failure> {
    let path = format!("/v1/tokens/{}", encode(name));
    client.send(Method::DELETE, &path, None, Duration::ZERO).await?.success()?;
    tell("it opens nothing any more");
    Ok(())
}

fn rows(tokens: &[Value]) -> String {
    let row = |token: &Value| {
        let text = |member: &str| token[member].as_str().map_or_else(|| "-".to_string(), plain);
        ["name", "role", "created_at", "created_by", "expires_at", "last_used_at"].map(text).to_vec()
    };
    let headings = ["NAME", "ROLE", "CREATED", "BY", "EXPIRES", "LAST USED"];
    table(&headings, &tokens.iter().map(row).collect::<Vec<_>>())
}
