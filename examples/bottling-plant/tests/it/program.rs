//! The story told, reproduced, cut off and taken up again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::{audit, code, command, run, said, story, text};

/// The state's root after the story of seed 42 with 600 readings. It changes when a wire format, a contract, the plant or the order of
/// the story changes: then say so in the changelog.
const GOLDEN_ROOT: &str = "337ecdc3d1f50350a0873a935e21f91a17bdd894197963583860356bf7caffff";

fn steps(output: &std::process::Output) -> BTreeMap<String, Value> {
    let lines = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let parsed =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON for each step"));
    parsed.map(|step| (step["step"].as_str().expect("a name").to_owned(), step)).collect()
}

#[test]
fn a_seeded_story_is_the_same_every_time() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let runs = folders.each_ref().map(|folder| story(folder.path(), &["--seed", "42", "--json"]));
    for output in &runs {
        assert_eq!(code(output), 0, "{}", said(output));
    }
    assert_eq!(runs[0].stdout, runs[1].stdout, "word for word");
    let told = steps(&runs[0]);
    assert_eq!(told["end"]["state_root"], GOLDEN_ROOT);
    for step in
        ["set-up", "connect", "failure", "exchange", "stream", "report", "programs", "audit", "insight"]
    {
        assert!(!told[step]["proven"].as_array().expect("a list").is_empty(), "{step} proves something");
    }
    for step in ["revocation", "outsider", "resilience"] {
        assert!(told[step]["proven"].as_array().expect("a list").len() >= 2, "{step} proves something");
    }
    assert!(told["stream"]["readings"].as_u64() >= Some(600));
    let other = story(tempfile::tempdir().unwrap().path(), &["--seed", "43", "--json"]);
    assert_ne!(steps(&other)["end"]["state_root"], GOLDEN_ROOT, "another seed is another story");
}

/// Kills the run ever later, takes it up again each time, and lets it end at last.
#[test]
fn a_run_that_is_killed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for kill in [0, 3, 10, 20, 40, 80, 160, 320, 640, 1280, 2560] {
        let mut child = command(&["--data", text(folder.path()), "--readings", "600"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let audited = audit(folder.path());
        // Killed before anything was written down, it is told that there is no run; else whatever there is is in order.
        assert!([0, 3].contains(&code(&audited)), "{}", said(&audited));
    }
    let ended = story(folder.path(), &[]);
    assert_eq!(code(&ended), 0, "{}", said(&ended));
    let audited = audit(folder.path());
    assert_eq!(code(&audited), 0, "{}", said(&audited));
    assert!(said(&audited).contains("Everything is in order"));
    let again = story(folder.path(), &[]);
    assert!(code(&again) == 0 && said(&again).contains("audited instead"), "{}", said(&again));
}

#[test]
fn piped_output_is_plain() {
    let output = story(tempfile::tempdir().unwrap().path(), &[]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(!said(&output).contains('\u{1b}'), "no colours where nobody sees them");
}

#[test]
fn exit_codes_mean_something() {
    let help = run(&["--help"]);
    assert!(code(&help) == 0 && said(&help).contains("Exit codes"), "{}", said(&help));
    assert_eq!(code(&run(&["--no-such-thing"])), 2);
    assert_eq!(code(&run(&["--readings", "0"])), 2);

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(&audit(folder.path())), 3, "an empty folder holds no run");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    assert_eq!(code(&story(&file, &[])), 3);
    let aml = folder.path().join("page.aml");
    std::fs::write(&aml, "<html><body>not found</body></html>").unwrap();
    let refused = story(&folder.path().join("run"), &["--aml", text(&aml)]);
    assert_eq!(code(&refused), 3, "{}", said(&refused));
    assert_eq!(code(&story(&folder.path().join("other"), &["--aml", "/no/such/file"])), 3);
}

#[test]
fn a_folder_keeps_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        command(&["--data", text(folder.path()), "--readings", "600", "--seed", "1"]).spawn().unwrap();
    while !folder.path().join("story.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let refused = story(folder.path(), &["--seed", "2"]);
    assert_eq!(code(&refused), 3, "{}", said(&refused));
    assert!(said(&refused).contains("another seed"));
}
