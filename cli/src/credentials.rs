//! `credentials`: the API keys of a consumer, made, listed, exchanged and revoked.

use crate::{
    changes::tell_revision,
    client::{
        Answer, Client,
        query::{Query, encode},
    },
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table, tell},
    wait::Wait,
};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an API key, and print it: once, and never again.
    Create(Create),
    /// Show the credentials of a consumer, but for the keys.
    List(List),
    /// Make another key in the place of one, which goes on for a while.
    Rotate(Rotate),
    /// Take a credential away; it opens nothing from then on.
    Revoke(Revoke),
}

#[derive(Args)]
struct Create {
    /// Whose it is.
    consumer: String,
    #[command(flatten)]
    made: Made,
}

#[derive(Args)]
struct Rotate {
    /// Whose it is.
    consumer: String,
    /// The id of the one that goes.
    credential: String,
    /// How long that one goes on, as in `24h` or `30d`; `0s`: it is revoked at once.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: String,
    #[command(flatten)]
    made: Made,
}

/// What the new one is to be.
#[derive(Args)]
struct Made {
    /// Its id, which stands in logs; without it one is made up.
    #[arg(long)]
    id: Option<String>,
    /// How long it is good for, as in `90d` or `8h`; without it, until it is revoked.
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
    /// Until when it is good, as in `2027-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    expires_at: Option<String>,
    /// Print all that is known of it, not the key alone.
    #[arg(short, long, value_enum)]
    output: Option<DocumentForm>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args)]
struct List {
    /// Whose they are.
    consumer: String,
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Args)]
struct Revoke {
    /// Whose it is.
    consumer: String,
    /// Its id.
    credential: String,
    #[command(flatten)]
    wait: Wait,
}

/// Runs `portico credentials`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Create(Create { consumer, made }) => make(&client, &path(&consumer), Map::new(), made).await,
        Command::List(List { consumer, output }) => show(&client, &path(&consumer), output).await,
        Command::Rotate(Rotate { consumer, credential, overlap, made }) => {
            let path = format!("{}/{}/rotate", path(&consumer), encode(&credential));
            make(&client, &path, Map::from_iter([("overlap".to_owned(), overlap.into())]), made).await
        }
        Command::Revoke(Revoke { consumer, credential, wait }) => {
            let mut query = Query::default();
            let wait = wait.add_to(&mut query)?;
            let path = query.path(&format!("{}/{}", path(&consumer), encode(&credential)));
            let answer = client.send(Method::DELETE, &path, None, wait).await?.success()?;
            tell_revision(&answer, "")
        }
    }
}

async fn make(client: &Client, path: &str, mut body: Map<String, Value>, made: Made) -> Result<(), Failure> {
    for (field, value) in [("id", made.id), ("expires_in", made.expires_in), ("expires_at", made.expires_at)] {
        if let Some(value) = value {
            body.insert(field.into(), value.into());
        }
    }
    let mut query = Query::default();
    let wait = made.wait.add_to(&mut query)?;
    let answer = client.send(Method::POST, &query.path(path), Some(&body.into()), wait).await?.success()?;
    tell_key(&answer, made.output)?;
    // It is told even if nodes lag, for it is there all the same.
    tell_revision(&answer, "")
}

fn tell_key(answer: &Answer, output: Option<DocumentForm>) -> Result<(), Failure> {
    let made = answer.json()?;
    match output {
        Some(form) => print_document(&made, form)?,
        // Alone, so that a script can put it where it belongs.
        None => match made["key"].as_str() {
            Some(key) => print(&plain(key))?,
            None => return Err(Failure::Runtime("the answer has no key; is that the admin API?".into())),
        },
    }
    tell("keep it now; it is not told again");
    Ok(())
}

async fn show(client: &Client, path: &str, output: Form) -> Result<(), Failure> {
    let answer = client.get(path).await?.success()?.json()?;
    match output {
        Form::Table => print(&rows(answer["credentials"].as_array().map(Vec::as_slice).unwrap_or_default())),
        Form::Yaml => print_document(&answer, DocumentForm::Yaml),
        Form::Json => print_document(&answer, DocumentForm::Json),
    }
}

fn rows(credentials: &[Value]) -> String {
    let row = |credential: &Value| {
        let text = |member: &str| credential[member].as_str().map_or_else(|| "-".to_string(), plain);
        ["id", "not_before", "expires_at"].map(text).to_vec()
    };
    table(&["ID", "NOT BEFORE", "EXPIRES"], &credentials.iter().map(row).collect::<Vec<_>>())
}

fn path(consumer: &str) -> String {
    format!("/v1/consumers/{}/credentials", encode(consumer))
}
