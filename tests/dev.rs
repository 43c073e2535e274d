//! `portico dev`: one command in an empty folder, and the commands it prints work as they are.

use crate::harness::{process::Process, stack::folder, wait::eventually};
use rustix::process::Signal;
use std::{path::Path, process::Command};

struct Dev {
    process: Process,
    commands: Vec<String>,
}

/// Starts it on free ports, and reads the commands that it prints to try.
fn start(folder: &Path, arguments: &[&str]) -> Dev {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command.arg("dev").args(arguments).current_dir(folder);
    let ports = ["--http-port", "0", "--admin-port", "0", "--discovery-port", "0", "--status-port", "0"];
    // What an earlier one printed is not this one's.
    let _ = std::fs::remove_file(folder.join("dev.log"));
    let mut process = Process::start("dev", command.args(ports), folder);
    let text = eventually("dev is up", || {
        assert!(process.is_running(), "dev ended");
        let log = process.log();
        log.contains("Ctrl-C stops").then_some(log)
    });
    let (_, tried) = text.rsplit_once("Try:\n").unwrap();
    let (tried, _) = tried.split_once("\nCtrl-C").unwrap();
    let tried = tried.replace("\\\n", " ");
    let commands = tried.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty());
    Dev { process, commands: commands.collect() }
}

/// Runs a line as a shell does.
#[track_caller]
fn shell(folder: &Path, line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_demo_answers_the_printed_commands() {
    let folder = folder();
    let mut dev = start(folder.path(), &["--demo"]);
    let answers: Vec<String> = dev.commands.iter().map(|command| shell(folder.path(), command)).collect();
    let [order, customers, page, mobile] = answers.as_slice() else { panic!("{:?}", dev.commands) };
    assert!(order.contains("lamp") && customers.contains("Ada"), "{answers:?}");
    // One answer of all four services, and of one that fails it says so.
    assert!(page.contains("portico-incomplete: offers;reason=status;state=fallback"), "{page}");
    assert!(page.contains(r#"{"sku":"bulb","count":3,"stock":{"sku":"bulb","available":120}}"#), "{page}");
    let expect = r#"{"order":{"id":1,"total":39.00,"entry":9007199254740993123456789},"customer":{"name":"Ada"}}"#;
    assert_eq!(mobile, expect);

    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.wait().code(), Some(0), "{}", dev.process.log());
    // Everything it wrote is in its folder.
    let kept: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(kept.iter().all(|name| name == ".portico" || name == "dev.log"), "{kept:?}");
}

#[test]
fn the_printed_commands_make_a_first_route() {
    let folder = folder();
    let dev = start(folder.path(), &[]);
    let answers: Vec<String> = dev.commands.iter().map(|command| shell(folder.path(), command)).collect();
    assert_eq!(answers.last().map(String::as_str), Some("hello\n"), "{answers:?}");
    drop(dev);

    // The state is there again at the next start.
    let dev = start(folder.path(), &[]);
    assert_eq!(shell(folder.path(), dev.commands.last().unwrap()), "hello\n");
}

#[test]
fn two_of_them_do_not_get_in_each_others_way() {
    let (first, second) = (folder(), folder());
    let one = start(first.path(), &["--demo"]);
    let two = start(second.path(), &["--demo"]);
    for (dev, folder) in [(&one, &first), (&two, &second)] {
        assert!(shell(folder.path(), &dev.commands[0]).contains("lamp"));
    }
}
