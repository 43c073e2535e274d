//! `explain`: what a node would do with a request, and why.

mod told;

use crate::{
    client::Client,
    documents::Documents,
    failure::Failure,
    output::{DocumentForm, Form, print, print_document},
};
use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};
use std::{path::PathBuf, time::Duration};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The address as a client has it; or the path alone, with `--header 'host: …'`.
    url: String,
    /// The method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// A header, `name: value`; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The client's address.
    #[arg(long, value_name = "IP")]
    client: Option<String>,
    /// The listener that the request comes through; default: the one that is called as its scheme.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How large the body is, as in 10KiB; default: there is none.
    #[arg(long, value_name = "SIZE")]
    body_size: Option<String>,
    /// The consumer whose request it is, as if that were proven.
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// By the configuration of this revision; default: the newest.
    #[arg(long)]
    revision: Option<u64>,
    /// With the resources of a file, of a folder or of the standard input (`-`) laid over it; may be given several times.
    #[arg(long, value_name = "FILE")]
    draft: Vec<PathBuf>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

/// Runs `portico explain`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let documents = Documents::read(&arguments.draft)?;
    let mut request = json!({"method": arguments.method, "url": arguments.url});
    let headers = arguments.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
    request["headers"] = headers.collect();
    let more = [
        ("client", &arguments.client),
        ("listener", &arguments.listener),
        ("body_size", &arguments.body_size),
        ("consumer", &arguments.consumer),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            request[name] = value.as_str().into();
        }
    }
    let mut body = Map::from_iter([("request".to_string(), request)]);
    if let Some(revision) = arguments.revision {
        body.insert("revision".into(), revision.into());
    }
    if !arguments.draft.is_empty() {
        body.insert("draft".into(), documents.body.clone().into());
    }
    let answer = client.send(Method::POST, "/v1/explain", Some(&Value::Object(body)), Duration::ZERO).await?;
    let explanation = answer.success_or(|problem| documents.place_below("/draft", problem))?.json()?;
    match arguments.output {
        Form::Table => print(&told::text(&explanation)),
        Form::Yaml => print_document(&explanation, DocumentForm::Yaml),
        Form::Json => print_document(&explanation, DocumentForm::Json),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'name: value'")?;
    Ok((name.trim().into(), value.trim().into()))
}
