//! The whole: four processes, the story over them, one of them killed.

use std::process::Stdio;
use std::time::Duration;

use crate::house::{api_address, code, command, run, said, text};

#[test]
fn the_story_over_four_processes_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["devnet", "--nodes", "4", "--json", "--folder", text(folder.path())]);
    let logs = || {
        let names = ["owner", "manufacturer", "maintainer", "auditor"];
        let logs = names.map(|name| {
            let log = std::fs::read_to_string(folder.path().join(name).join("node.log")).unwrap_or_default();
            format!("--- {name}\n{log}")
        });
        logs.concat()
    };
    assert_eq!(code(&output), 0, "{}\n{}", said(&output), logs());
    let told = String::from_utf8(output.stdout).unwrap();
    let steps: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.len() >= 8, "{told}");
    for step in &steps {
        assert!(!step["proven"].as_array().unwrap().is_empty(), "{step}");
        assert!(step["wrong"].as_array().unwrap().is_empty(), "{step}");
    }
}

/// Whoever kills the story (kill -9) leaves no node behind.
#[test]
fn no_node_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut story =
        command(&["devnet", "--folder", text(folder.path())]).stdout(Stdio::null()).spawn().unwrap();
    let homes = ["owner", "manufacturer", "maintainer", "auditor"].map(|name| folder.path().join(name));
    let answers = || {
        let answering = homes.iter().filter(|home| {
            home.join("founding.json").exists() && std::net::TcpStream::connect(api_address(home)).is_ok()
        });
        answering.count()
    };
    let wait_for = |count: usize| {
        for _ in 0..600 {
            if answers() == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} nodes answer, not {count}", answers());
    };
    wait_for(4);
    story.kill().unwrap();
    story.wait().unwrap();
    wait_for(0);
}
