//! What can be said on the command line, and which module does it.

use crate::{
    apply, audit, client::Access, credentials, delete, dev, explain, export, failure::Failure, get, healthcheck,
    log::LogSettings, log_level, nodes, output::tell, revisions, sample, serve, tokens,
};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// An API gateway: one front door before many services.
#[derive(Parser)]
#[command(name = "portico", version, arg_required_else_help = true)]
struct Portico {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run both planes in one process, on loopback, with SQLite.
    Dev(Box<dev::Arguments>),
    /// Make the configuration what files say.
    Apply(apply::Arguments),
    /// Show what `apply` would change.
    Diff(apply::DiffArguments),
    /// Print the whole configuration, as `apply` takes it.
    Export(export::Arguments),
    /// Tell what a node would do with a request, and why.
    Explain(explain::Arguments),
    /// Show resources of a kind, or one.
    Get(get::Arguments),
    /// Delete a resource.
    Delete(delete::Arguments),
    /// Show the nodes and what they run.
    Nodes(nodes::Arguments),
    /// Show the history, compare revisions, go back to one.
    Revisions(revisions::Arguments),
    /// Make, show, exchange and revoke the API keys of a consumer.
    Credentials(credentials::Arguments),
    /// Make, show and delete admin tokens.
    Tokens(tokens::Arguments),
    /// Show who did what.
    Audit(audit::Arguments),
    /// Show or change what the control plane's own log tells.
    LogLevel(log_level::Arguments),
    /// Ask a node or a control plane whether it is ready.
    Healthcheck(healthcheck::Arguments),
    /// Run a small service to put a gateway in front of.
    Sample(sample::Arguments),
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[derive(Args)]
struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// The control plane: takes the configuration and hands it to nodes.
#[derive(Parser)]
#[command(name = "portico-control-plane", version)]
struct ControlPlane {
    #[command(flatten)]
    settings: control_plane::settings::Settings,
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    question: Option<Question>,
}

/// A node: takes traffic and does with it what the configuration says.
#[derive(Parser)]
#[command(name = "portico-node", version)]
struct Node {
    #[command(flatten)]
    settings: data_plane::settings::Settings,
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    question: Option<Question>,
}

/// What a plane's program does instead of running, for an image that holds nothing else.
#[derive(Subcommand)]
enum Question {
    /// Ask the one that runs with the same settings on this machine whether it is ready.
    Healthcheck,
}

/// The program `portico`.
pub fn portico() -> ExitCode {
    end(parse::<Portico>().and_then(run))
}

/// The program `portico-control-plane`.
pub fn control_plane() -> ExitCode {
    end(parse::<ControlPlane>().and_then(|program| {
        let log_level = program.log.start().map_err(Failure::Usage)?;
        match program.question {
            None => serve::control_plane(program.settings, log_level),
            Some(Question::Healthcheck) => serve::once(healthcheck::control_plane(program.settings)),
        }
    }))
}

/// The program `portico-node`.
pub fn node() -> ExitCode {
    end(parse::<Node>().and_then(|program| {
        let log_level = program.log.start().map_err(Failure::Usage)?;
        match program.question {
            None => serve::node(program.settings, log_level),
            Some(Question::Healthcheck) => serve::once(healthcheck::node(program.settings)),
        }
    }))
}

/// The command line of `portico`.
pub fn parser() -> clap::Command {
    Portico::command()
}

/// The command line of `portico-control-plane`.
pub fn control_plane_parser() -> clap::Command {
    ControlPlane::command()
}

/// The command line of `portico-node`.
pub fn node_parser() -> clap::Command {
    Node::command()
}

fn run(program: Portico) -> Result<(), Failure> {
    let access = program.access;
    match program.command {
        Command::Dev(arguments) => dev::run(*arguments),
        Command::Apply(arguments) => serve::once(async { apply::apply(access.client()?, arguments).await }),
        Command::Diff(arguments) => serve::once(async { apply::diff(access.client()?, arguments).await }),
        Command::Export(arguments) => serve::once(async { export::run(access.client()?, arguments).await }),
        Command::Explain(arguments) => serve::once(async { explain::run(access.client()?, arguments).await }),
        Command::Get(arguments) => serve::once(async { get::run(access.client()?, arguments).await }),
        Command::Delete(arguments) => serve::once(async { delete::run(access.client()?, arguments).await }),
        Command::Nodes(arguments) => serve::once(async { nodes::run(access.client()?, arguments).await }),
        Command::Revisions(arguments) => serve::once(async { revisions::run(access.client()?, arguments).await }),
        Command::Credentials(arguments) => serve::once(async { credentials::run(access.client()?, arguments).await }),
        Command::Tokens(arguments) => serve::once(async { tokens::run(access.client()?, arguments).await }),
        Command::Audit(arguments) => serve::once(async { audit::run(access.client()?, arguments).await }),
        Command::LogLevel(arguments) => serve::once(async { log_level::run(access.client()?, arguments).await }),
        Command::Healthcheck(arguments) => serve::once(healthcheck::run(access, arguments)),
        Command::Sample(arguments) => sample::run(arguments),
        Command::Completions(Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut parser(), "portico", &mut script);
            crate::output::print(&String::from_utf8_lossy(&script))
        }
    }
}

fn parse<T: CommandFactory + FromArgMatches>() -> Result<T, Failure> {
    // clap prints help, the version and its own errors, and ends the process with 0 or 2.
    let mut matches = T::command().get_matches();
    T::from_arg_matches_mut(&mut matches).map_err(|error| Failure::Usage(error.to_string()))
}

fn end(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is_told() {
                tell(&format!("error: {failure}"));
            }
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        parser().debug_assert();
        control_plane_parser().debug_assert();
        node_parser().debug_assert();
    }

    #[test]
    fn a_token_in_the_environment_is_not_in_the_help() {
        let help = parser().render_long_help().to_string();
        assert!(help.contains("PORTICO_TOKEN") && !help.contains("PORTICO_TOKEN="), "{help}");
    }
}
