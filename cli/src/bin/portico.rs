//! The program `portico`.

fn main() -> std::process::ExitCode {
    portico::command::portico()
}
