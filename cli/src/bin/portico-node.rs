//! The program `portico-node`.

fn main() -> std::process::ExitCode {
    portico::command::node()
}
