//! The whole: four processes, the story over them, one of them killed.

use crate::house::{code, run, said, text};

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
