//! `dev`: both planes in one process, on loopback, with SQLite; the state stays in one folder.

mod demo;
mod ports;

use crate::{
    client::{Client, Token, server::Server},
    explainer::node_code,
    failure::Failure,
    output::{print, tell},
    serve::multi_thread,
    stop::stop,
};
use clap::Args;
use data_plane::settings::{AccessLog, Listen};
use ports::{PortSettings, Ports};
use proto::{log_level::LogLevel, quantity::Share};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Start two small sample services and routes to them.
    #[arg(long)]
    demo: bool,
    /// Where the state is kept.
    #[arg(long, default_value = ".portico", value_name = "FOLDER")]
    data_dir: PathBuf,
    #[command(flatten)]
    ports: PortSettings,
    /// Where the access log goes: `off`, `stdout` or a file.
    #[arg(long, default_value = "off", value_name = "WHERE")]
    access_log: String,
    #[command(flatten)]
    otel: otel::Settings,
    /// What is logged: a level, or `target=level` and commas between.
    #[arg(long, env = "PORTICO_LOG", default_value = "warn")]
    log: String,
}

/// Runs `portico dev`.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let log_level = crate::log::start_text(&arguments.log).map_err(Failure::Usage)?;
    crate::files::allow();
    multi_thread()?.block_on(dev(arguments, log_level))
}

async fn dev(arguments: Arguments, log_level: Arc<dyn LogLevel>) -> Result<(), Failure> {
    let stop = stop()?;
    let ports = arguments.ports.find()?;

    let control_plane =
        control_plane::app::build(control_plane_settings(&arguments, &ports), node_code(), log_level.clone())
            .await
            .map_err(Failure::of_start)?;
    let discovery = control_plane.discovery_url();
    let admin = control_plane.admin_address();
    let node = data_plane::app::build(node_settings(&arguments, &ports, discovery), log_level)
        .await
        .map_err(Failure::of_start)?;
    let status = node.status_address();
    let traffic = node
        .addresses()
        .first()
        .map(|(_, address)| *address)
        .ok_or_else(|| Failure::Runtime("the node has no listener".to_string()))?;

    // The node drains first: until it is done it may still want the control plane.
    let (node_is_done, node_done) = tokio::sync::oneshot::channel::<()>();
    let planes = async move {
        let mut control_plane = std::pin::pin!(control_plane.run(async { drop(node_done.await) }));
        tokio::select! {
            ended = &mut control_plane => ended,
            ended = node.run(stop) => {
                drop(node_is_done);
                ended.and(control_plane.await)
            }
        }
    };
    let told = welcome(&arguments, Addresses { traffic, admin, status });
    let mut planes = std::pin::pin!(planes);
    tokio::select! {
        ended = &mut planes => return Ok(ended?),
        // The sample services live as long as the planes.
        told = told => {
            let _demo = told?;
            planes.await?;
        }
    }
    tell("stopped");
    Ok(())
}

struct Addresses {
    traffic: SocketAddr,
    admin: SocketAddr,
    status: SocketAddr,
}

fn control_plane_settings(arguments: &Arguments, ports: &Ports) -> control_plane::settings::Settings {
    control_plane::settings::Settings {
        admin_listen: ports.admin,
        discovery_listen: ports.discovery,
        data_dir: arguments.data_dir.clone(),
        otel: arguments.otel.clone(),
        ..control_plane::settings::Settings::default()
    }
}

fn node_settings(arguments: &Arguments, ports: &Ports, discovery: String) -> data_plane::settings::Settings {
    data_plane::settings::Settings {
        listen: vec![Listen::http("http", ports.traffic)],
        status_listen: ports.status,
        control_plane: vec![discovery],
        join_token_file: Some(arguments.data_dir.join("join.token")),
        data_dir: arguments.data_dir.join("node"),
        // A developer's issuer is on the same machine.
        fetch_allow: ["127.0.0.0/8", "::1/128"].iter().filter_map(|block| block.parse().ok()).collect(),
        // Nobody balances over a developer's machine.
        shutdown_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(5),
        access_log: match arguments.access_log.as_str() {
            "off" => AccessLog::Off,
            "stdout" => AccessLog::Stdout,
            file => AccessLog::File(file.into()),
        },
        // What a developer tries is to be seen.
        trace_sample: Share::ALL,
        otel: arguments.otel.clone(),
        ..data_plane::settings::Settings::default()
    }
}

/// Waits until both planes answer, sets up the demo, and prints where everything is.
async fn welcome(arguments: &Arguments, addresses: Addresses) -> Result<Option<demo::Demo>, Failure> {
    let token_file = arguments.data_dir.join("admin.token");
    let token = Token::from_file(&token_file)?;
    let client = Client::new(Server::parse(&format!("http://{}", addresses.admin))?, Some(token), None)?;
    let status = Client::new(Server::parse(&format!("http://{}", addresses.status))?, None, None)?;
    // A node with a kept configuration may be ready before the control plane is.
    ready(&client, "control plane").await?;
    ready(&status, "node").await?;
    let demo = match arguments.demo {
        true => Some(demo::Demo::start(&client).await?),
        false => None,
    };
    let Addresses { traffic, admin, status } = addresses;
    let token_file = quoted(&token_file.display().to_string());
    let mut text = format!(
        "Portico {} is up.\n\n  traffic    http://{traffic}\n  admin API  http://{admin}  (description: /docs)\n  \
         status     http://{status}/metrics\n  token      in {token_file}\n\nTry:\n\n",
        env!("CARGO_PKG_VERSION"),
    );
    match &demo {
        Some(demo) => text.push_str(&demo.commands(traffic)),
        None => text.push_str(&first_route(admin, traffic, &token_file)),
    }
    text.push_str("\nCtrl-C stops.\n");
    print(&text)?;
    Ok(demo)
}

/// Waits until a plane is ready.
async fn ready(plane: &Client, name: &str) -> Result<(), Failure> {
    let asked = async {
        loop {
            match plane.get("/readyz").await {
                Ok(answer) if answer.status.is_success() => return,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(15), asked).await;
    waited.map_err(|_| Failure::Runtime(format!("the {name} did not become ready within 15 s")))
}

fn first_route(admin: SocketAddr, traffic: SocketAddr, token_file: &str) -> String {
    format!(
        "  curl -X PUT 'http://{admin}/v1/routes/hello?wait=all' \\\n    -H \"Authorization: Bearer $(cat {token_file})\" \
         -H 'Content-Type: application/json' \\\n    -d '{{\"match\": {{\"path\": {{\"exact\": \"/hello\"}}}}, \
         \"respond\": {{\"body\": \"hello\\n\"}}}}'\n  curl http://{traffic}/hello\n"
    )
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    match path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        true => path.to_string(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_printed_as_a_shell_takes_them() {
        assert_eq!(quoted(".portico/admin.token"), ".portico/admin.token");
        assert_eq!(quoted("my dir/it's"), r"'my dir/it'\''s'");
    }
}
