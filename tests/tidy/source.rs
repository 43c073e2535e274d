//! Rules over the text of source files: floors, sizes, banned words.

use super::{CRATES, File, assert_none, file, files, read, sources};
use std::collections::{BTreeMap, BTreeSet};

/// The lines of a file that are neither comments nor tests, with their numbers.
fn code(file: &File) -> Vec<(usize, &str)> {
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let mut kept = Vec::new();
    // The line that ends the test item we are in; rustfmt makes it the indentation of its first line and a brace.
    let mut skip_until: Option<String> = None;
    let mut marked = false;
    for (at, line) in file.text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        if let Some(end) = &skip_until {
            if line == end {
                skip_until = None;
            }
            continue;
        }
        if bare.starts_with("//") {
            continue;
        }
        if bare.starts_with("#[cfg(test)]") {
            marked = true;
            continue;
        }
        if marked {
            if bare.starts_with("#[") {
                continue;
            }
            marked = false;
            if !bare.ends_with(';') && !bare.ends_with('}') {
                skip_until = Some(format!("{indent}}}"));
            }
            continue;
        }
        kept.push((at + 1, line.split(" // ").next().unwrap_or(line)));
    }
    kept
}

/// Whether a word stands in a line on its own, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let starts_in_word = word.starts_with(part);
    let ends_in_word = word.ends_with(part);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(starts_in_word && before.is_some_and(part) || ends_in_word && after.is_some_and(part))
    })
}

/// A rule: these words stand nowhere under a folder but in the files that are allowed to have them.
struct Only<'a> {
    under: &'a str,
    words: &'a [&'a str],
    /// Paths below `under`: `store.rs`, or `store/` for a whole folder.
    allowed: &'a [&'a str],
}

impl Only<'_> {
    fn broken(&self, files: &[File]) -> Vec<String> {
        let mut broken = Vec::new();
        for file in files {
            let Some(path) = file.path.strip_prefix(self.under) else { continue };
            if self
                .allowed
                .iter()
                .any(|allowed| path == *allowed || allowed.ends_with('/') && path.starts_with(allowed))
            {
                continue;
            }
            for (at, line) in code(file) {
                for word in self.words.iter().filter(|word| has_word(line, word)) {
                    broken.push(format!("{}:{at}: `{word}` has its place in {}", file.path, self.allowed.join(", ")));
                }
            }
        }
        broken
    }

    #[track_caller]
    fn hold(&self) {
        let bad = format!("fn f() {{\n    let _ = {};\n}}\n", self.words[0]);
        assert_eq!(self.broken(&[file(&format!("{}odd.rs", self.under), &bad)]).len(), 1, "the rule is asleep");
        if let Some(allowed) = self.allowed.first() {
            let name = if allowed.ends_with('/') { format!("{allowed}x.rs") } else { allowed.to_string() };
            assert_none(self.broken(&[file(&format!("{}{name}", self.under), &bad)]));
        }
        assert_none(self.broken(&sources()));
    }
}

#[test]
fn tests_and_comments_are_not_code() {
    let text = "//! doc\nuse a;\n\n// b\nfn f() {} // c\n\n#[cfg(test)]\nmod tests {\n    d\n}\n\n#[cfg(test)]\nuse e;\nfn g() {}\n";
    let sample = file("x/src/y.rs", text);
    let kept: Vec<_> = code(&sample).into_iter().map(|(_, line)| line).collect();
    assert_eq!(kept, ["use a;", "", "fn f() {}", "", "", "fn g() {}"]);
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("use sqlx::query;", "sqlx"));
    assert!(!has_word("let my_sqlx = 1;", "sqlx"));
    assert!(has_word("pb::Route", "pb::"));
    assert!(!has_word("xpb::Route", "pb::"));
}

#[test]
fn proto_does_no_io() {
    let words = [
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "now_utc",
        "now_local",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "tokio",
    ];
    Only { under: "proto/src/", words: &words, allowed: &[] }.hold();
}

#[test]
fn only_the_store_has_sql() {
    let words =
        ["sqlx", "insert into", "delete from", "select *", "order by", "begin immediate", "PgPool", "SqlitePool"];
    Only { under: "control-plane/src/", words: &words, allowed: &["store.rs", "store/"] }.hold();
}

#[test]
fn only_the_api_knows_http_in_the_control_plane() {
    let words = ["axum", "StatusCode", "HeaderMap"];
    // The app hands the API's router to a server, and says that there is none yet; nothing else knows of HTTP.
    Only { under: "control-plane/src/", words: &words, allowed: &["api.rs", "api/", "app/admin.rs"] }.hold();
}

#[test]
fn the_node_reads_messages_only_where_configuration_arrives() {
    // `explain` writes its answer as a message; `figures`, behind a feature, configurations to measure with.
    let allowed = ["snapshot.rs", "snapshot/", "explain.rs", "explain/", "figures.rs", "figures/"];
    Only { under: "data-plane/src/", words: &["pb", "tonic"], allowed: &allowed }.hold();
}

#[test]
fn only_the_router_is_swapped() {
    Only { under: "data-plane/src/", words: &["arc_swap", "ArcSwap"], allowed: &["router.rs", "router/"] }.hold();
}

#[test]
fn filters_and_pools_do_not_know_the_router() {
    for under in ["data-plane/src/filter", "data-plane/src/pool"] {
        Only { under, words: &["crate::router", "router::", "crate::proxy", "proxy::"], allowed: &[] }.hold();
    }
}

#[test]
fn the_control_plane_names_no_policy_kind() {
    let policy = read("proto/portico/v1/policy.proto");
    let kinds = policy_kinds(&policy.text);
    assert!(kinds.iter().any(|kind| kind == "response_headers"), "the kinds were not found in policy.proto: {kinds:?}");
    // The library that logs is called as one of them is, and so is who may use the admin API; in quotes it is the kind.
    let word = |kind: &String| match kind.as_str() {
        "tracing" | "access" => format!("\"{kind}\""),
        kind => kind.to_string(),
    };
    let kinds: Vec<String> = kinds.iter().map(word).collect();
    let words: Vec<&str> = kinds.iter().map(String::as_str).collect();
    Only { under: "control-plane/src/", words: &words, allowed: &[] }.hold();
}

/// The policy kinds as their fields and their messages are called: what follows `ref` in the choice `kind`.
fn policy_kinds(text: &str) -> Vec<String> {
    let choice = text.split_once("oneof kind {").and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
    let fields = choice.lines().map(str::trim).filter(|line| line.ends_with(';') && !line.starts_with("//"));
    let kinds = fields.filter_map(|line| {
        let mut parts = line.split_whitespace();
        Some((parts.next()?, parts.next()?)).filter(|(_, name)| *name != "ref")
    });
    kinds.flat_map(|(message, field)| [field.to_string(), message.to_string()]).collect()
}

#[test]
fn nothing_is_unsafe() {
    for under in CRATES {
        let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "unsafe_code"];
        Only { under, words: &words, allowed: &[] }.hold();
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    for under in CRATES {
        Only { under, words: &[".unwrap()"], allowed: &[] }.hold();
    }
}

#[test]
fn names_are_of_our_words() {
    for under in CRATES {
        let words = ["mod util", "mod utils", "mod helper", "mod helpers", "mod manager", "mod common", "mod misc"];
        Only { under, words: &words, allowed: &[] }.hold();
    }
}

/// The most lines of a file.
const MOST_LINES: usize = 500;

/// The most lines of a module's opening words.
const MOST_DOC_LINES: usize = 10;

fn sizes(files: &[File]) -> Vec<String> {
    let lines = files.iter().map(|file| (&file.path, file.text.lines().count()));
    lines.filter(|(_, lines)| *lines > MOST_LINES).map(|(path, lines)| format!("{path} has {lines} lines")).collect()
}

/// How many lines a file opens with, a grammar or a drawing in fences not counted.
fn doc_lines(text: &str) -> usize {
    let mut fenced = false;
    let doc = text.lines().take_while(|line| line.starts_with("//!"));
    let counted = doc.filter(|line| {
        let fence = line.starts_with("//! ```");
        fenced ^= fence;
        !fenced && !fence
    });
    counted.count()
}

fn openings(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    // The tests of a module are in its own words.
    for file in files.iter().filter(|file| !file.path.ends_with("/tests.rs")) {
        let doc = doc_lines(&file.text);
        if doc == 0 {
            broken.push(format!("{} does not open with its job (`//!`)", file.path));
        } else if doc > MOST_DOC_LINES {
            broken.push(format!("{} opens with {doc} lines; {MOST_DOC_LINES} are enough", file.path));
        }
    }
    broken
}

#[test]
fn no_file_is_longer_than_500_lines() {
    assert_eq!(sizes(&[file("a.rs", &"\n".repeat(500)), file("b.rs", &"\n".repeat(501))]), ["b.rs has 501 lines"]);
    let mut all = sources();
    all.extend(files("tests", "rs"));
    assert_none(sizes(&all));
}

#[test]
fn every_module_opens_with_its_job() {
    assert_eq!(openings(&[file("a.rs", "use b;\n")]).len(), 1);
    assert_eq!(openings(&[file("a.rs", &"//! x\n".repeat(11))]).len(), 1);
    assert_none(openings(&[file("a.rs", &format!("//! x\n//! ```text\n{}//! ```\n", "//! x\n".repeat(20)))]));
    let mut all = sources();
    all.extend(files("tests", "rs"));
    assert_none(openings(&all));
}

#[test]
fn no_module_is_called_mod() {
    let named_mod = |files: &[File]| -> Vec<String> {
        files.iter().map(|file| file.path.clone()).filter(|path| path.ends_with("/mod.rs")).collect()
    };
    assert_eq!(named_mod(&[file("a/mod.rs", "")]).len(), 1);
    assert_none(named_mod(&sources()));
    assert_none(named_mod(&files("tests", "rs")));
}

#[test]
fn programs_are_thin() {
    let fat = |files: &[File]| -> Vec<String> {
        let lines = files.iter().map(|file| (&file.path, file.text.lines().count()));
        lines
            .filter(|(_, lines)| *lines > 20)
            .map(|(path, lines)| format!("{path} has {lines} lines, not 20"))
            .collect()
    };
    assert_eq!(fat(&[file("a.rs", &"\n".repeat(21))]).len(), 1);
    let programs = files("cli/src/bin", "rs");
    assert_eq!(programs.len(), 3);
    assert_none(fat(&programs));
}

/// Which top-level modules of a crate each of them imports from.
fn imports(files: &[File], src: &str) -> BTreeMap<String, BTreeSet<String>> {
    let module_of = |path: &str| path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_string();
    let modules: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(src))
        .map(module_of)
        .filter(|name| name != "lib")
        .collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let Some(path) = file.path.strip_prefix(src) else { continue };
        let module = module_of(path);
        if module == "lib" || module == "bin" {
            continue;
        }
        let text: String = code(file).into_iter().map(|(_, line)| format!("{line}\n")).collect();
        let entry = imports.entry(module.clone()).or_default();
        entry.extend(names_after_crate(&text).into_iter().filter(|name| *name != module && modules.contains(name)));
    }
    imports
}

/// The names that follow `crate::`, alone or in braces.
fn names_after_crate(text: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut names = Vec::new();
    for (at, word) in text.match_indices("crate::") {
        let rest = &text[at + word.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut first = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => first = true,
                c if depth == 1 && first && (c.is_alphanumeric() || c == '_') => {
                    names.push(name(&group[at..]));
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

/// A circle among modules, if there is one.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        at: &str,
        imports: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| seen == at) {
            return Some(path[start..].iter().cloned().chain([at.to_string()]).collect());
        }
        if !done.insert(at.to_string()) {
            return None;
        }
        path.push(at.to_string());
        let found = imports.get(at).into_iter().flatten().find_map(|next| walk(next, imports, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| walk(module, imports, &mut Vec::new(), &mut done))
}

#[test]
fn modules_form_no_circle() {
    let bad = [
        file("x/src/a.rs", "use crate::{\n    b::{C, D},\n    e,\n};\n"),
        file("x/src/b/c.rs", "fn f() -> crate::e::F {}\n"),
        file("x/src/e.rs", "use crate::a::G;\n"),
    ];
    assert_eq!(names_after_crate(&bad[0].text), ["b", "e"]);
    let found = circle(&imports(&[&bad[0], &bad[1], &bad[2]].map(|f| file(&f.path, &f.text)), "x/src/"));
    assert!(found.is_some_and(|found| found.len() > 2), "the rule is asleep");
    for src in CRATES {
        let found = circle(&imports(&sources(), src));
        assert!(found.is_none(), "in {src} modules import each other in a circle: {}", found.unwrap().join(" -> "));
    }
}
