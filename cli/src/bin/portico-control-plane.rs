//! The program `portico-control-plane`.

fn main() -> std::process::ExitCode {
    portico::command::control_plane()
}
