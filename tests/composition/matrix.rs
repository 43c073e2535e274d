//! Whatever is wrong with a part, and whatever the part is to the answer: the status, the body and what the answer says of
//! itself, in one table.

use crate::harness::{
    http::{Request, Response},
    stack::{ControlPlane, Node},
    upstream::{Seen, Upstream},
};
use serde_json::{Value, json};
use std::{
    io::{self, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

// What is wrong, the upstream that has it, and the reason that is told.
const CASES: [(&str, &str, &str); 11] = [
    ("refused", "nobody", "connect"),
    ("hangs", "service", "timeout"),
    ("stalls", "service", "timeout"),
    ("404", "service", "status"),
    ("500", "service", "status"),
    ("no_json", "service", "json"),
    ("large", "service", "too_large"),
    ("large_in_chunks", "service", "too_large"),
    ("deep", "service", "too_deep"),
    ("cut_off", "service", "cut_off"),
    ("elsewhere", "service", "no_value"),
];
const WHOLE: &str = "{\"good\":{\"n\":10000000000000000001}}";

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

// A service that misbehaves as the path says.
fn misbehave(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(Seen { target, .. }) = Seen::read(&mut stream)? {
        let bytes = match target.trim_start_matches('/') {
            "good" => answer("200 OK", "{\"n\":10000000000000000001}"),
            "hangs" => return stream.read_to_end(&mut Vec::new()).map(drop),
            "stalls" => {
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"v\"")?;
                return stream.read_to_end(&mut Vec::new()).map(drop);
            }
            "404" => answer("404 Not Found", "{\"v\":1}"),
            "500" => answer("500 Internal Server Error", "{\"v\":1}"),
            "no_json" => answer("200 OK", "{\"v\":1,}"),
            "large" => answer("200 OK", &format!("{{\"v\":\"{}\"}}", "x".repeat(4096))),
            "large_in_chunks" => {
                let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(5))
                    .into_bytes()
            }
            "deep" => answer("200 OK", &format!("{{\"v\":{}{}}}", "[".repeat(9), "]".repeat(9))),
            "cut_off" => {
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"v\":1}")?;
                return Ok(());
            }
            "elsewhere" => answer("200 OK", "{\"w\":1}"),
            other => panic!("nobody asks for {other}"),
        };
        stream.get_mut().write_all(&bytes)?;
    }
    Ok(())
}

fn route(name: &str, (case, upstream): (&str, &str), need: (&str, Value)) -> Value {
    let mut part = json!({
        "name": "bad",
        "call": {"upstream": upstream, "path": format!("/{case}")},
        "timeout": "400ms", "max_body": "1KiB", "max_depth": 8, "select": "v", "retries": 0,
    });
    part[need.0] = need.1;
    json!({
        "name": name,
        "match": {"path": {"exact": format!("/{name}")}},
        "compose": {
            "parts": [{"name": "good", "call": {"upstream": "service", "path": "/good"}, "required": {}}, part],
            "incomplete": {"status": 206, "at": "meta.incomplete"},
        },
    })
}

fn ask(node: &Node, name: &str) -> Response {
    node.send(&Request::get(&format!("/{name}")))
}

#[test]
fn each_failure_does_what_the_configuration_says() {
    let control_plane = ControlPlane::start();
    let node = control_plane.node();
    let service = Upstream::scripted(misbehave);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = |name: &str, address: String| json!({"name": name, "endpoints": [{"address": address}], "ejection": {"consecutive_failures": 0}});
    let mut routes = Vec::new();
    for (case, upstream, _) in CASES {
        let case_of = |need: &str| format!("{need}-{}", case.replace('_', "-"));
        let rules = json!({"status": [{"when": [404, 410], "answer": 404}]});
        routes.push(route(&case_of("required"), (case, upstream), ("required", rules)));
        routes.push(route(&case_of("optional"), (case, upstream), ("optional", json!({}))));
        routes.push(route(&case_of("fallback"), (case, upstream), ("fallback", json!({"value": "[ 1.0 ]"}))));
    }
    let body = json!({
        "upstreams": [upstream("service", service.address.to_string()), upstream("nobody", nobody.to_string())],
        "routes": routes,
    });
    control_plane.admin.ok("POST", "/v1/apply?wait=all", Some(&body));

    for (case, _, reason) in CASES {
        let name = case.replace('_', "-");
        let required = ask(&node, &format!("required-{name}"));
        let status = match (case, reason) {
            ("404", _) => 404,
            (_, "timeout") => 504,
            _ => 502,
        };
        assert_eq!(required.status, status, "{case}: {}", required.text());
        assert_eq!(required.header("content-type"), Some("application/problem+json"), "{case}");
        let problem = required.json();
        assert_eq!(problem["reason"], "part_failed", "{case}");
        assert!(
            problem["detail"].as_str().unwrap().starts_with("the part \"bad\" of the answer failed: "),
            "{problem}"
        );

        let optional = ask(&node, &format!("optional-{name}"));
        assert_eq!((optional.status, optional.header("content-type")), (206, Some("application/json")), "{case}");
        assert_eq!(optional.header("portico-incomplete"), Some(&*format!("bad;reason={reason}")), "{case}");
        let list = format!("[{{\"part\":\"bad\",\"state\":\"missing\",\"reason\":\"{reason}\"}}]");
        let whole = WHOLE.strip_suffix('}').unwrap();
        assert_eq!(optional.text(), format!("{whole},\"meta\":{{\"incomplete\":{list}}}}}"), "{case}");

        let fallback = ask(&node, &format!("fallback-{name}"));
        let told = format!("bad;reason={reason};state=fallback");
        assert_eq!((fallback.status, fallback.header("portico-incomplete")), (206, Some(&*told)), "{case}");
        let list = list.replace("missing", "fallback");
        let expect = format!("{whole},\"bad\":[ 1.0 ],\"meta\":{{\"incomplete\":{list}}}}}");
        assert_eq!(fallback.text(), expect, "{case}");
    }
    let metrics = node.metrics();
    for labels in [
        "outcome=\"failed\",part=\"bad\",reason=\"status\",route=\"required-404\"",
        "outcome=\"missing\",part=\"bad\",reason=\"timeout\",route=\"optional-hangs\"",
        "outcome=\"whole\",part=\"good\",reason=\"\",route=\"fallback-deep\"",
    ] {
        let line = format!("portico_compose_part_duration_seconds_count{{{labels}}} 1");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}
