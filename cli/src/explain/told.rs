//! An explanation as a person reads it, from top to bottom: the request, the route, the policies, where it goes.

use crate::output::{plain, table};
use serde_json::Value;

/// The whole explanation.
pub(super) fn text(told: &Value) -> String {
    let mut text = String::new();
    let mut line = |label: &str, content: String| text.push_str(&format!("{label:<10}{content}\n"));
    if let Some(request) = told.get("request") {
        line("request", request_line(request));
    }
    line("route", route(told));
    for policy in list(told, "policies") {
        line("policy", self::policy(policy));
    }
    for (label, content) in outcome(told) {
        line(label, content);
    }
    if let Some(revision) = told["revision"].as_u64() {
        line("revision", revision.to_string());
    }
    let rows: Vec<Vec<String>> =
        list(told, "lost").map(|lost| vec![format!("  {}", of(lost, "name")), of(lost, "why")]).collect();
    if !rows.is_empty() {
        text.push_str("\nOther routes, the nearest first:\n");
        text.push_str(table(&["  NAME", "WHY NOT"], &rows).split_once('\n').map_or("", |(_, rows)| rows));
    }
    if let Some(omitted) = told["lost_omitted"].as_u64() {
        text.push_str(&format!("  and {omitted} more\n"));
    }
    let depends: Vec<String> = list(told, "depends_on").filter_map(Value::as_str).map(plain).collect();
    if !depends.is_empty() {
        text.push_str(&format!("\nNobody can foretell:\n  {}\n", depends.join("\n  ")));
    }
    text
}

fn request_line(request: &Value) -> String {
    let query = of(request, "query");
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let [method, scheme, host, path] = ["method", "scheme", "host", "path"].map(|member| of(request, member));
    format!(
        "{method} {scheme}://{host}{path}{query}, from {} by listener {}",
        of(request, "client"),
        of(request, "listener")
    )
}

fn route(told: &Value) -> String {
    let Some(route) = told.get("route") else {
        return if told.get("request").is_some() { "none matches" } else { "not looked for" }.into();
    };
    let variables = route["variables"].as_object().into_iter().flatten();
    let variables: Vec<String> =
        variables.map(|(name, value)| format!("{}={}", plain(name), plain(value.as_str().unwrap_or("?")))).collect();
    match variables.as_slice() {
        [] => of(route, "name"),
        variables => format!("{} with {}", of(route, "name"), variables.join(", ")),
    }
}

fn policy(policy: &Value) -> String {
    let changes: Vec<String> = list(policy, "answer_headers").map(change).collect();
    let does = if changes.is_empty() { String::new() } else { format!("; answer: {}", changes.join(", ")) };
    let [name, kind, attached] = ["name", "kind", "attached"].map(|member| of(policy, member));
    let decision = match of(policy, "decision").as_str() {
        "continue" => "lets it pass".to_string(),
        "stop" => "stops it".to_string(),
        "would_stop" => "is tried out: it would stop it".to_string(),
        "absent" => "finds no credential".to_string(),
        "depends" => "decides by what only a running node knows".to_string(),
        "none" => "only tells of it".to_string(),
        other => other.replace('_', " "),
    };
    format!("{name} ({kind}, {attached}) {decision}{does}")
}

fn change(change: &Value) -> String {
    let name = of(change, "name");
    match (change["set"].as_str(), change["added"].as_str()) {
        (Some(""), _) => format!("sets {name} (new each time)"),
        (Some(value), _) => format!("sets {name}: {}", plain(value)),
        (None, Some(value)) => format!("adds {name}: {}", plain(value)),
        (None, None) => format!("removes {name}"),
    }
}

fn outcome(told: &Value) -> Vec<(&'static str, String)> {
    if let Some(refused) = told.get("refused") {
        return vec![(
            "refused",
            format!("{} {}: {}", refused["status"], of(refused, "reason"), of(refused, "detail")),
        )];
    }
    if let Some(redirect) = told.get("redirect") {
        return vec![("redirect", format!("{} {}", redirect["status"], of(redirect, "location")))];
    }
    if let Some(respond) = told.get("respond") {
        let bytes = respond["body_bytes"].as_u64().unwrap_or(0);
        return vec![("respond", format!("{} with {bytes} bytes", respond["status"]))];
    }
    if let Some(compose) = told.get("compose") {
        return composed(compose);
    }
    list(&told["forward"], "upstreams").flat_map(forward).collect()
}

fn composed(compose: &Value) -> Vec<(&'static str, String)> {
    let variant = of(compose, "variant");
    let shape = if variant.is_empty() { "the answer of all".into() } else { format!("the variant {variant}") };
    let part = |part: &Value| {
        let [name, need, upstream, method, target, timeout] =
            ["name", "need", "upstream", "method", "target", "timeout"].map(|member| of(part, member));
        let target = if target.is_empty() { "what another part says".into() } else { target };
        let wave = part["wave"].as_u64().unwrap_or(0);
        ("  part", format!("{wave}. {name} ({need}): {method} {target} of upstream {upstream}, within {timeout}"))
    };
    let mut parts: Vec<(u64, (&'static str, String))> =
        list(compose, "parts").map(|told| (told["wave"].as_u64().unwrap_or(0), part(told))).collect();
    // Those of one wave begin together.
    parts.sort_by_key(|(wave, _)| *wave);
    [("compose", shape)].into_iter().chain(parts.into_iter().map(|(_, line)| line)).collect()
}

fn forward(to: &Value) -> Vec<(&'static str, String)> {
    let percent = to["percent"].as_u64().unwrap_or(0);
    let share = if percent == 100 { String::new() } else { format!(" for {percent} % of such requests") };
    let mut lines = vec![
        ("forward", format!("to upstream {}{share}", of(to, "upstream"))),
        ("  sends", format!("{} to host {}", of(to, "target"), of(to, "host"))),
    ];
    let headers: Vec<String> = list(to, "headers").map(change).collect();
    lines.extend(headers.into_iter().map(|header| ("  header", header)));
    let endpoint = |endpoint: &Value| {
        let weight = endpoint["weight"].as_u64().unwrap_or(0);
        let priority =
            endpoint["priority"].as_u64().map(|priority| format!(", priority {priority}")).unwrap_or_default();
        format!("{} (weight {weight}{priority})", of(endpoint, "address"))
    };
    let endpoints: Vec<String> = list(to, "endpoints").take(8).map(endpoint).collect();
    let more = list(to, "endpoints").count().saturating_sub(endpoints.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    lines.push(("  one of", format!("{}{more}, {}", endpoints.join(", "), of(to, "balance"))));
    let timeouts = ["connect", "response", "idle"].map(|name| format!("{name} {}", of(&to["timeouts"], name)));
    lines.push(("  within", timeouts.join(", ")));
    lines.push(("  retries", format!("at most {}", to["retries"].as_u64().unwrap_or(0))));
    for (label, member) in [("  upgrade", "upgrade"), ("  copy to", "mirror")] {
        if to.get(member).is_some() {
            lines.push((label, of(to, member)));
        }
    }
    lines
}

fn list<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    value[member].as_array().into_iter().flatten()
}

fn of(value: &Value, member: &str) -> String {
    plain(value[member].as_str().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_explanation_reads_from_top_to_bottom() {
        let told = json!({
            "revision": 7,
            "request": {"method": "GET", "scheme": "https", "host": "a", "path": "/o/7", "query": "x=1", "client": "1.2.3.4",
                "listener": "https"},
            "route": {"name": "orders", "variables": {"id": "7"}},
            "lost": [{"name": "all", "matches": true, "why": "matches too"}, {"name": "other", "why": "host: no"}],
            "lost_omitted": 3,
            "policies": [{"name": "p", "kind": "k", "attached": "global", "decision": "continue",
                "answer_headers": [{"name": "server", "removed": {}}]}],
            "forward": {"upstreams": [{
                "upstream": "o", "percent": 100, "target": "/7?x=1", "host": "a", "headers": [{"name": "x", "set": "1"}],
                "balance": "random", "endpoints": [{"address": "o:1", "weight": 1}],
                "timeouts": {"connect": "1s", "response": "2s", "idle": "3s"}, "retries": 1,
            }]},
            "depends_on": ["health: x"],
        });
        let expect = "\
            request   GET https://a/o/7?x=1, from 1.2.3.4 by listener https\n\
            route     orders with id=7\n\
            policy    p (k, global) lets it pass; answer: removes server\n\
            forward   to upstream o\n\
            \x20 sends   /7?x=1 to host a\n\
            \x20 header  sets x: 1\n\
            \x20 one of  o:1 (weight 1), random\n\
            \x20 within  connect 1s, response 2s, idle 3s\n\
            \x20 retries at most 1\n\
            revision  7\n\
            \nOther routes, the nearest first:\n\
            \x20 all    matches too\n\
            \x20 other  host: no\n\
            \x20 and 3 more\n\
            \nNobody can foretell:\n  health: x\n";
        assert_eq!(text(&told), expect);
        let page = json!({"compose": {"variant": "mobile", "parts": [
            {"name": "b", "need": "optional", "upstream": "v", "wave": 2, "method": "POST", "timeout": "2s"},
            {"name": "a", "need": "required", "upstream": "u", "wave": 1, "method": "GET", "target": "/a", "timeout": "1s"},
        ]}});
        let expect = "\
            route     not looked for\n\
            compose   the variant mobile\n\
            \x20 part    1. a (required): GET /a of upstream u, within 1s\n\
            \x20 part    2. b (optional): POST what another part says of upstream v, within 2s\n";
        assert_eq!(text(&page), expect);
        let refused = json!({"refused": {"status": 400, "reason": "host_invalid", "detail": "no"}});
        assert_eq!(text(&refused), "route     not looked for\nrefused   400 host_invalid: no\n");
    }
}
