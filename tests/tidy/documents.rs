//! Rules over what is not Rust: migrations, the README, the Dockerfile.

use super::{CRATES, File, assert_none, file, files, read, top};
use std::{collections::BTreeSet, path::Path};

fn unpaired(postgres: &[File], sqlite: &[File]) -> Vec<String> {
    let names = |files: &[File]| -> BTreeSet<String> {
        files.iter().map(|file| file.path.rsplit('/').next().unwrap_or_default().to_string()).collect()
    };
    let (postgres, sqlite) = (names(postgres), names(sqlite));
    postgres.symmetric_difference(&sqlite).map(|name| format!("{name} is in one of the two folders only")).collect()
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(unpaired(&[file("a/1_x.sql", "")], &[file("b/1_x.sql", ""), file("b/2_y.sql", "")]).len(), 1);
    let (postgres, sqlite) = (files("migrations/postgres", "sql"), files("migrations/sqlite", "sql"));
    assert!(!postgres.is_empty(), "there are no migrations");
    assert_none(unpaired(&postgres, &sqlite));
}

/// The lines of the README's shell blocks.
fn commands(readme: &str) -> Vec<&str> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim_start().starts_with('#') {
            commands.push(line);
        }
    }
    commands
}

/// Programs of the repository and subcommands of `portico` that a command line names and that do not exist.
fn missing(commands: &[&str], exists: impl Fn(&Path) -> bool, subcommands: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for line in commands {
        let words: Vec<&str> = line.split_whitespace().collect();
        for word in words.iter().filter(|word| word.starts_with("tests/") || word.starts_with(".ci/")) {
            if !exists(Path::new(word)) {
                missing.push(format!("`{line}` names {word}, which does not exist"));
            }
        }
        let follows = |program: &str| words.iter().position(|word| *word == program).and_then(|at| words.get(at + 1));
        let called = if line.contains("cargo run") { follows("--") } else { follows("target/release/portico") };
        if let Some(called) = called.filter(|called| !called.starts_with('-'))
            && !subcommands.contains(*called)
        {
            missing.push(format!("`{line}` names the command {called}, which does not exist"));
        }
    }
    missing
}

fn subcommands() -> BTreeSet<String> {
    portico::command::parser().get_subcommands().map(|command| command.get_name().to_string()).collect()
}

#[test]
fn commands_of_the_readme_exist() {
    let some = BTreeSet::from(["dev".to_string()]);
    let sample = commands("```sh\ncargo run --release -- dve\ntests/runn\n# tests/x\n```\n```yaml\ntests/y\n```\n");
    assert_eq!(missing(&sample, |_| false, &some).len(), 2);
    let readme = read("README.md").text;
    let commands = commands(&readme);
    for wanted in ["cargo run --release -- dev", "tests/run"] {
        assert!(commands.iter().any(|line| line.starts_with(wanted)), "the README does not say `{wanted}`");
    }
    assert_none(missing(&commands, |path| top().join(path).exists(), &subcommands()));
}

/// The rows of a plane's settings, as the README has them.
fn rows(command: &clap::Command) -> Vec<String> {
    let settings = command.get_arguments().filter(|argument| argument.get_env().is_some());
    let row = |argument: &clap::Arg| {
        let flag = argument.get_long().unwrap_or_default();
        let variable = argument.get_env().unwrap_or_default().to_string_lossy();
        let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let hidden = argument.is_hide_default_value_set() || !argument.get_action().takes_values();
        let default = match default.as_slice() {
            [] => String::new(),
            _ if hidden => String::new(),
            values => format!("`{}`", values.join(",")),
        };
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        format!("| `--{flag}` | `{variable}` | {default} | {} |", help.trim_end_matches('.'))
    };
    settings.map(row).collect()
}

#[test]
fn the_readme_tells_all_settings() {
    let sample =
        clap::Command::new("x").arg(clap::Arg::new("odd").long("odd").env("ODD").default_value("1").help("Odd."));
    assert_eq!(rows(&sample), ["| `--odd` | `ODD` | `1` | Odd |"]);
    let readme = read("README.md").text;
    for command in [portico::command::control_plane_parser(), portico::command::node_parser()] {
        let name = command.get_name();
        // What both planes have stands in a table of its own.
        let (common, own): (Vec<String>, Vec<String>) =
            rows(&command).into_iter().partition(|row| row.contains("| `OTEL_"));
        for rows in [own, common] {
            assert!(rows.len() > 5, "{name} has no settings");
            let all_there = rows.iter().all(|row| readme.contains(row.as_str()));
            assert!(all_there, "the README's table for {name} should be:\n{}", rows.join("\n"));
            let first = format!("`{}`", rows[0].split('`').nth(1).unwrap_or_default());
            let section = readme.split_once(&first).map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default());
            let count = section.unwrap_or_default().lines().count();
            assert_eq!(count, rows.len(), "the README's table for {name} has rows of settings that are gone");
        }
    }
}

#[test]
fn the_code_map_names_every_folder() {
    let unnamed = |readme: &str| -> Vec<String> {
        let folders = ["proto/", "otel/", "control-plane/", "data-plane/", "cli/", "tests/", "migrations/"];
        folders.into_iter().filter(|folder| !readme.contains(folder)).map(String::from).collect()
    };
    assert!(!unnamed("proto/").is_empty());
    assert_none(unnamed(&read("README.md").text));
}

/// What the images are built from and the Dockerfile does not copy, and what it copies and .dockerignore shuts out.
fn shut_out(dockerfile: &str, dockerignore: &str) -> Vec<String> {
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.rsplit_once(' ').map_or(line, |(sources, _)| sources).split_whitespace())
        .collect();
    let needed = CRATES.iter().map(|at| at.trim_end_matches("/src/")).chain(["migrations"]);
    let missing = needed.filter(|folder| !copied.contains(folder)).map(|folder| format!("{folder} is not copied"));
    let shut_out = copied.iter().filter_map(|source| source.split('/').next()).collect::<BTreeSet<_>>();
    let shut_out =
        shut_out.into_iter().filter(|top| !dockerignore.lines().any(|line| line.strip_prefix('!') == Some(top)));
    missing.chain(shut_out.map(|top| format!("{top} is copied, but .dockerignore shuts it out"))).collect()
}

#[test]
fn the_images_are_built_from_all_crates() {
    let all = CRATES.map(|at| at.trim_end_matches("/src/")).join(" ");
    let sample = |copied: &str, let_in: &str| {
        let dockerignore = let_in.split(' ').map(|folder| format!("!{folder}\n")).collect::<String>();
        shut_out(&format!("COPY --from=build /out /\nCOPY {copied} ./\n"), &dockerignore)
    };
    assert_none(sample(&format!("{all} migrations"), &format!("{all} migrations")));
    assert_eq!(sample(&format!("{all} Cargo.toml"), &format!("{all} Cargo.toml")), ["migrations is not copied"]);
    let broken = sample(&format!("{all} migrations proto/Cargo.toml"), &all.replace("proto", ""));
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert_none(shut_out(&read("Dockerfile").text, &read(".dockerignore").text));
}

// The first layer builds empty crates: cargo wants every program that a manifest names to be there.
#[test]
fn the_images_begin_with_all_programs_that_manifests_name() {
    let dockerfile = read("Dockerfile").text;
    let manifests: Vec<String> = CRATES.iter().map(|at| at.trim_end_matches("src/").to_string()).collect();
    let mut programs = Vec::new();
    for folder in manifests.iter().map(String::as_str).filter(|folder| *folder != "cli/").chain([""]) {
        let text = read(&format!("{folder}Cargo.toml")).text;
        for table in text.split("\n[[").skip(1) {
            let value = |key: &str| table.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
            let (kind, name) = (table.split(']').next().unwrap(), value("name = \"").unwrap());
            let path = value("path = \"").map_or_else(|| format!("{kind}s/{name}.rs"), String::from);
            programs.push(format!("{folder}{path}"));
        }
    }
    assert!(programs.len() >= 5 && programs.iter().any(|program| program == "tests/main.rs"), "{programs:?}");
    assert_none(programs.into_iter().filter(|program| !dockerfile.contains(&format!(" {program}"))).collect());
}
