//! `nodes`: which nodes there are, what they run and what they refused.

use crate::{
    client::Client,
    collection::list,
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table},
};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Runs `portico nodes`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let nodes = list(&client, "nodes", None).await?;
    match arguments.output {
        Form::Table => print(&rows(&nodes)),
        Form::Yaml => print_document(&json!({ "nodes": nodes }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ "nodes": nodes }), DocumentForm::Json),
    }
}

fn rows(nodes: &[Value]) -> String {
    let row = |node: &Value| {
        let text = |member: &str| node[member].as_str().map_or_else(|| "-".to_string(), plain);
        let revision = |value: &Value| value["revision"].as_u64().map_or_else(|| "-".to_string(), |n| n.to_string());
        let state = match (node["live"].as_bool(), node["draining"].as_bool()) {
            (Some(false), _) => "gone",
            (_, Some(true)) => "draining",
            _ => "live",
        };
        vec![text("id"), state.to_string(), revision(&node["running"]), revision(&node["refused"]), text("build")]
    };
    table(&["ID", "STATE", "RUNS", "REFUSED", "BUILD"], &nodes.iter().map(row).collect::<Vec<_>>())
}
