//! `get`: resources of a kind, or one.

use crate::{
    client::{Client, query::encode},
    collection::{collection, list},
    failure::Failure,
    output::{DocumentForm, Form, plain, print, print_document, table},
};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub(crate) struct Arguments {
    /// `routes`, `upstreams`, `policies`, `certificates` or `tests`; the singular does too.
    #[arg(value_parser = collection)]
    kind: &'static str,
    /// The name of one.
    name: Option<String>,
    /// Only those whose labels meet all conditions: key=value, key!=value, key or !key, with commas between.
    #[arg(long, value_name = "SELECTOR", conflicts_with = "name")]
    labels: Option<String>,
    /// How it is printed; default: a table, and YAML for one.
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

/// Runs `portico get`.
pub(crate) async fn run(client: Client, arguments: Arguments) -> Result<(), Failure> {
    let kind = arguments.kind;
    if let Some(name) = &arguments.name {
        let resource = client.get(&format!("/v1/{kind}/{}", encode(name))).await?.success()?.json()?;
        return match arguments.output.unwrap_or(Form::Yaml) {
            Form::Table => print(&rows(kind, &[resource])),
            Form::Yaml => print_document(&resource, DocumentForm::Yaml),
            Form::Json => print_document(&resource, DocumentForm::Json),
        };
    }
    let resources = list(&client, kind, arguments.labels.as_deref()).await?;
    match arguments.output.unwrap_or(Form::Table) {
        Form::Table => print(&rows(kind, &resources)),
        Form::Yaml => print_document(&json!({ kind: resources }), DocumentForm::Yaml),
        Form::Json => print_document(&json!({ kind: resources }), DocumentForm::Json),
    }
}

fn rows(kind: &str, resources: &[Value]) -> String {
    let headings: &[&str] = match kind {
        "routes" => &["NAME", "MATCH", "ACTION", "LABELS"],
        "upstreams" => &["NAME", "ENDPOINTS", "LABELS"],
        "tests" => &["NAME", "REQUEST", "EXPECT", "LABELS"],
        _ => &["NAME", "KIND", "LABELS"],
    };
    let row = |resource: &Value| {
        let mut cells = vec![plain(resource["name"].as_str().unwrap_or("?"))];
        match kind {
            "routes" => cells.extend([conditions(&resource["match"]), action(resource)]),
            "upstreams" => cells.push(endpoints(&resource["endpoints"])),
            "tests" => cells.extend([request(&resource["request"]), expectation(&resource["expect"])]),
            _ => cells.push(choice(resource, &["name", "labels", "global"])),
        }
        cells.push(labels(&resource["labels"]));
        cells
    };
    table(headings, &resources.iter().map(row).collect::<Vec<_>>())
}

fn conditions(matches: &Value) -> String {
    let mut parts = Vec::new();
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect()
    };
    let methods = words(&matches["methods"]);
    if !methods.is_empty() {
        parts.push(methods.join(","));
    }
    let hosts = words(&matches["hosts"]);
    let path = matches["path"].as_object().and_then(|path| path.iter().next());
    let path = path.map(|(kind, value)| {
        let text = plain(value.as_str().unwrap_or("?"));
        match kind.as_str() {
            "exact" => text,
            "prefix" => format!("{}/*", text.trim_end_matches('/')),
            kind => format!("{kind} {text}"),
        }
    });
    parts.push(format!("{}{}", hosts.join(","), path.unwrap_or_else(|| "*".into())));
    for member in ["headers", "query"] {
        if let Some(count) = matches[member].as_array().map(Vec::len).filter(|count| *count > 0) {
            parts.push(format!("+{count} {member}"));
        }
    }
    parts.join(" ")
}

fn action(route: &Value) -> String {
    match (&route["forward"], &route["redirect"], &route["respond"]) {
        (Value::Object(forward), _, _) => {
            format!("forward {}", plain(forward.get("upstream").and_then(Value::as_str).unwrap_or("?")))
        }
        (_, Value::Object(_), _) => format!("redirect {}", route["redirect"]["status"].as_u64().unwrap_or(302)),
        (_, _, Value::Object(_)) => format!("respond {}", route["respond"]["status"].as_u64().unwrap_or(200)),
        _ if route["compose"].is_object() => {
            let parts = route["compose"]["parts"].as_array().into_iter().flatten();
            let names: Vec<String> = parts.filter_map(|part| part["name"].as_str()).map(plain).collect();
            format!("compose {}", names.join(","))
        }
        _ => "?".into(),
    }
}

fn endpoints(endpoints: &Value) -> String {
    let addresses = endpoints.as_array().into_iter().flatten().filter_map(|endpoint| endpoint["address"].as_str());
    addresses.map(plain).collect::<Vec<_>>().join(",")
}

fn request(request: &Value) -> String {
    let method = request["method"].as_str().unwrap_or("GET");
    plain(&format!("{method} {}", request["url"].as_str().unwrap_or("?")))
}

fn expectation(expect: &Value) -> String {
    let pairs = expect.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), plain);
    pairs.map(|(name, value)| format!("{}={}", plain(name), text(value))).collect::<Vec<_>>().join(" ")
}

fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.map(|(key, value)| plain(&format!("{key}={}", value.as_str().unwrap_or("?")))).collect::<Vec<_>>().join(",")
}

// The member that is none of these.
fn choice(resource: &Value, others: &[&str]) -> String {
    let members = resource.as_object().into_iter().flat_map(|members| members.keys());
    members.map(String::as_str).find(|member| !others.contains(member)).map_or_else(|| "?".into(), plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_in_one_line() {
        let route = json!({"name": "orders", "labels": {"team": "pay"}, "forward": {"upstream": "orders"},
            "match": {"hosts": ["a.example"], "path": {"prefix": "/orders"}, "methods": ["GET"], "query": [{}]}});
        assert_eq!(
            rows("routes", &[route]),
            "NAME    MATCH                            ACTION          LABELS\n\
             orders  GET a.example/orders/* +1 query  forward orders  team=pay\n"
        );
        let parts = [json!({"name": "order"}), json!({"name": "stock"})];
        let page = json!({"name": "page", "match": {"path": {"exact": "/page"}}, "compose": {"parts": parts}});
        assert_eq!(
            rows("routes", &[page]),
            "NAME  MATCH  ACTION               LABELS\npage  /page  compose order,stock\n"
        );
    }

    #[test]
    fn a_test_is_told_by_what_is_asked_and_expected() {
        let test = json!({"name": "t", "request": {"url": "/x"}, "expect": {"route": "r", "status": 404}});
        assert_eq!(
            rows("tests", &[test]),
            "NAME  REQUEST  EXPECT              LABELS\nt     GET /x   route=r status=404\n"
        );
    }

    #[test]
    fn a_policy_is_told_by_its_kind() {
        let policy = json!({"name": "x", "global": {}, "some_kind": {}});
        assert_eq!(rows("policies", &[policy]), "NAME  KIND       LABELS\nx     some_kind\n");
    }
}
