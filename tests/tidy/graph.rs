//! Rules over what is built: `cargo tree` tells the crates that really are, where Cargo.lock also lists those that no
//! feature asks for.

use super::{File, assert_none, file, licence, read, top};
use std::{collections::BTreeSet, process::Command, sync::OnceLock};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    ours: bool,
}

/// All crates of the workspace's build, tests included.
fn graph() -> &'static [Crate] {
    static GRAPH: OnceLock<Vec<Crate>> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let arguments = ["tree", "--offline", "--locked", "--workspace", "--prefix", "none", "--format", "{p}|{l}"];
        let output = Command::new(cargo).args(arguments).current_dir(top()).output().expect("cargo can be started");
        assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        parse(&String::from_utf8(output.stdout).unwrap())
    })
}

fn parse(tree: &str) -> Vec<Crate> {
    let lines = tree.lines().filter(|line| !line.is_empty());
    let crates = lines.map(|line| {
        let (package, licence) = line.split_once('|').unwrap_or_else(|| panic!("an odd line of cargo tree: {line}"));
        let mut words = package.split_whitespace();
        let name = words.next().unwrap_or_default().to_string();
        let version = words.next().unwrap_or_default().to_string();
        let licence = licence.trim_end_matches(" (*)").trim_end().to_string();
        Crate { name, version, licence, ours: package.contains("(/") }
    });
    crates.collect::<BTreeSet<_>>().into_iter().collect()
}

const BANNED: [&str; 4] = ["ring", "openssl-sys", "native-tls", "rsa"];
const ONCE: [&str; 5] = ["http", "hyper", "prost", "rustls", "tokio"];

fn banned(crates: &[Crate]) -> Vec<String> {
    let found = crates.iter().filter(|found| BANNED.contains(&found.name.as_str()));
    found.map(|found| format!("{} {} is built; deny.toml says why not", found.name, found.version)).collect()
}

fn doubled(crates: &[Crate]) -> Vec<String> {
    let mut broken = Vec::new();
    for name in ONCE {
        let versions: Vec<&str> = crates.iter().filter(|c| c.name == name).map(|c| c.version.as_str()).collect();
        if versions.len() != 1 {
            broken.push(format!("{name} should be built in one version, not in {}: {versions:?}", versions.len()));
        }
    }
    broken
}

fn unlicensed(crates: &[Crate]) -> Vec<String> {
    let found = crates.iter().filter(|found| !licence::is_allowed(&found.licence));
    found.map(|found| format!("{} {} has the licence {:?}", found.name, found.version, found.licence)).collect()
}

#[test]
fn no_banned_crate_is_built() {
    assert_eq!(banned(&parse("ring v0.17.0|ISC\nhttp v1.5.0|MIT (*)\n")).len(), 1);
    assert!(graph().len() > 100, "the graph has only {} crates", graph().len());
    assert_none(banned(graph()));
}

#[test]
fn crates_of_our_interfaces_are_built_once() {
    let once = "http v1|MIT\nhttp v1|MIT (*)\nhyper v1|MIT\nprost v0|MIT\nrustls v0|MIT\ntokio v1|MIT\n";
    assert_none(doubled(&parse(once)));
    assert_eq!(doubled(&parse(&format!("{once}http v0.2|MIT\n"))).len(), 1);
    assert_none(doubled(graph()));
}

#[test]
fn every_licence_is_allowed() {
    assert_eq!(unlicensed(&parse("a v1|GPL-3.0\nb v1|MIT (*)\n")).len(), 1);
    assert_none(unlicensed(graph()));
}

#[test]
fn cargo_deny_is_told_the_same() {
    let deny = read("deny.toml").text;
    let missing = |text: &str| -> Vec<String> {
        let named = licence::ALLOWED.iter().chain(&BANNED).chain(&ONCE);
        named.filter(|name| !text.contains(&format!("\"{name}\""))).map(|name| name.to_string()).collect()
    };
    assert!(!missing(&deny.replace("\"ring\"", "")).is_empty());
    assert_none(missing(&deny));
    let allowed = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    assert_eq!(allowed.matches('"').count() / 2, licence::ALLOWED.len(), "deny.toml allows more licences than tidy");
}

/// The crates named under a heading of a manifest.
fn dependencies(manifest: &File, heading: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.text.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{heading}]");
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            names.insert(name.trim().to_string());
        }
    }
    names
}

fn proto_dependencies_with_io(manifest: &File) -> Vec<String> {
    // What proto may use: nothing here opens a file or a socket. tonic is there for the generated service.
    let allowed = [
        "argon2",
        "aws-lc-rs",
        "base64ct",
        "bytes",
        "foldhash",
        "http",
        "ipnet",
        // Without its resolvers: whatever a schema refers to is in it.
        "jsonschema",
        "prost",
        "prost-reflect",
        "regex-automata",
        "rustls",
        "serde",
        "serde_json",
        "sha2",
        "thiserror",
        // Reads times; that nobody asks it for the time is another rule.
        "time",
        "tonic",
        "tonic-prost",
        "x509-parser",
    ];
    let found = dependencies(manifest, "dependencies");
    found.into_iter().filter(|name| !allowed.contains(&name.as_str())).collect()
}

fn planes_that_meet(control: &File, data: &File) -> Vec<String> {
    let mut broken = Vec::new();
    for (manifest, other) in [(control, "data-plane"), (data, "control-plane")] {
        for heading in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for banned in [other, "portico"] {
                if dependencies(manifest, heading).contains(banned) {
                    broken.push(format!("{} depends on {banned}", manifest.path));
                }
            }
        }
    }
    broken
}

#[test]
fn proto_depends_on_nothing_that_does_io() {
    let bad = file(
        "proto/Cargo.toml",
        "[dependencies]\nbytes.workspace = true\ntokio = \"1\"\n\n[dev-dependencies]\nx = \"1\"\n",
    );
    assert_eq!(proto_dependencies_with_io(&bad), ["tokio"]);
    let manifest = read("proto/Cargo.toml");
    assert!(dependencies(&manifest, "dependencies").contains("prost"), "the manifest was not understood");
    assert_none(proto_dependencies_with_io(&manifest));
}

/// Who of ours the lowest floor depends on: nobody.
fn floors_under_the_lowest(manifest: &File) -> Vec<String> {
    let ours = ["proto", "otel", "control-plane", "data-plane", "portico"];
    let headings = ["dependencies", "dev-dependencies", "build-dependencies"];
    let named = headings.into_iter().flat_map(|heading| dependencies(manifest, heading));
    let found = named.filter(|name| ours.contains(&name.as_str()));
    found.map(|name| format!("{} depends on {name}", manifest.path)).collect()
}

#[test]
fn the_lowest_floor_depends_on_none_of_ours() {
    let bad = file("otel/Cargo.toml", "[dependencies]\nproto.workspace = true\n");
    assert_eq!(floors_under_the_lowest(&bad), ["otel/Cargo.toml depends on proto"]);
    for floor in ["proto/Cargo.toml", "otel/Cargo.toml"] {
        let manifest = read(floor);
        assert!(!dependencies(&manifest, "dependencies").is_empty(), "the manifest was not understood");
        assert_none(floors_under_the_lowest(&manifest));
    }
}

#[test]
fn the_planes_do_not_depend_on_each_other() {
    let bad = file("data-plane/Cargo.toml", "[dev-dependencies]\ncontrol-plane.workspace = true\n");
    assert_eq!(planes_that_meet(&file("control-plane/Cargo.toml", ""), &bad).len(), 1);
    assert_none(planes_that_meet(&read("control-plane/Cargo.toml"), &read("data-plane/Cargo.toml")));
}
