//! `audit`: who did what.

use crate::{
    client::{Client, query::Query},
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table},
};
use clap::Args;
use serde_json::{Value, json};

/// How many changes of a line are shown in the table.
const SHOWN: usize = 3;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only what was done with the token of this name.
    #[arg(long, value_name = "TOKEN")]
    actor: Option<String>,
    /// Only what changed this: `route/orders`, or any `route`; beside resources there are `token` and `node`.
    #[arg(long)]
    resource: Option<String>,
    /// Only from that time on, as in `2026-11-24T09:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before that time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what made this revision.
    #[arg(long)]
    revision: Option<u64>,
    /// How many are listed, the newest first.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Runs `portico audit`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let mut query = Query::default();
    query.add("page_size", &arguments.limit.to_string());
    let revision = arguments.revision.map(|revision| revision.to_string());
    for (name, value) in [
        ("actor", &arguments.actor),
        ("resource", &arguments.resource),
        ("since", &arguments.since),
        ("until", &arguments.until),
        ("at_revision", &revision),
    ] {
        if let Some(value) = value {
            query.add(name, value);
        }
    }
    let page = client.get(&query.path("/v1/audit")).await?.success()?.json()?;
    match arguments.output {
        Form::Table => print(&rows(page["audit"].as_array().map(Vec::as_slice).unwrap_or_default())),
        Form::Yaml => print_document(&json!({ "audit": page["audit"] }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ "audit": page["audit"] }), DocumentForm::Json),
    }
}

fn rows(lines: &[Value]) -> String {
    let row = |line: &Value| {
        let text = |value: &Value| value.as_str().map_or_else(|| "-".to_string(), plain);
        let changes = line["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = changes.iter().take(SHOWN).map(|change| {
            let sign = match change["done"].as_str() {
                Some("created") => "+",
                Some("replaced") => "~",
                Some("deleted") => "-",
                _ => return format!("{} {}", text(&change["done"]), text(&change["resource"])),
            };
            format!("{sign} {}", text(&change["resource"]))
        });
        let mut what = shown.collect::<Vec<_>>().join(", ");
        let more = changes.len().saturating_sub(SHOWN) as u64 + line["changes_omitted"].as_u64().unwrap_or_default();
        if more > 0 {
            what.push_str(&format!(", {more} more"));
        }
        vec![
            line["id"].to_string(),
            text(&line["at"]),
            text(&line["actor"]),
            text(&line["peer"]),
            line["revision"].as_u64().map_or_else(|| "-".to_string(), |revision| revision.to_string()),
            what,
            line["reason"].as_str().map_or_else(String::new, plain),
        ]
    };
    let headings = ["LINE", "AT", "TOKEN", "FROM", "REVISION", "CHANGED", "REASON"];
    table(&headings, &lines.iter().map(row).collect::<Vec<_>>())
}
