//! `nodes`: which nodes there are, what they run and what they refused; and whether one is let in.

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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Subcommand)]
enum Command {
    /// Let a node in no more: its streams end, and nobody joins under its id.
    Revoke(Node),
    /// Let a revoked node in again.
    Readmit(Node),
}

#[derive(Args)]
struct Node {
    /// The node's own id.
    id: String,
}

/// Runs `portico nodes`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Some(Command::Revoke(node)) => {
            change(&client, node, "revoke").await?;
            tell("it is not let in any more; if somebody else had it, exchange the join token too");
            return Ok(());
        }
        Some(Command::Readmit(node)) => {
            change(&client, node, "readmit").await?;
            tell("it is let in again");
            return Ok(());
        }
        None => {}
    }
    let nodes = list(&client, "nodes", None).await?;
    match arguments.output {
        Form::Table => print(&rows(&nodes)),
        Form::Yaml => print_document(&json!({ "nodes": nodes }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ "nodes": nodes }), DocumentForm::Json),
    }
}

async fn change(client: &Client, node: &Node, what: &str) -> Result<(), Failure> {
    let path = format!("/v1/nodes/{}/{what}", encode(&node.id));
    client.send(Method::POST, &path, None, Duration::ZERO).await?.success().map(drop)
}

fn rows(nodes: &[Value]) -> String {
    let row = |node: &Value| {
        let text = |member: &str| node[member].as_str().map_or_else(|| "-".to_string(), plain);
        let revision = |value: &Value| value["revision"].as_u64().map_or_else(|| "-".to_string(), |n| n.to_string());
        let state = match (node["live"].as_bool(), node["draining"].as_bool()) {
            _ if node["revoked"].as_bool() == Some(true) => "revoked",
            (Some(false), _) => "gone",
            (_, Some(true)) => "draining",
            _ => "live",
        };
        let (runs, refused) = (revision(&node["running"]), revision(&node["refused"]));
        vec![text("id"), state.to_string(), runs, refused, text("build"), text("control_plane")]
    };
    table(&["ID", "STATE", "RUNS", "REFUSED", "BUILD", "CONTROL PLANE"], &nodes.iter().map(row).collect::<Vec<_>>())
}
