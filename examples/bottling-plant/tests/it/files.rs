//! The story on AutomationML files from many tools.

use std::path::PathBuf;

use crate::{audit, code, said, story, text};

/// Real files: in the folder that `DT_AML_DATA` names, or beside the project.
fn real_files() -> Vec<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/aml");
    let folder = std::env::var_os("DT_AML_DATA").map_or(beside, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("{} is not there: only the project's own files are tested", folder.display());
        return Vec::new();
    };
    let files = entries.map(|entry| entry.unwrap().path());
    let is_read = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["aml", "amlx", "mtp", "zip"].iter().any(|read| extension == *read))
    };
    let mut files: Vec<_> = files.filter(is_read).collect();
    files.sort();
    files
}

/// A file without anything that could be exchanged, and one with an element that has neighbours.
const OWN_FILES: [(&str, &str); 3] = [
    (
        "empty.aml",
        r#"<CAEXFile FileName="empty.aml" SchemaVersion="3.0" xmlns="http://www.dke.de/CAEX"></CAEXFile>"#,
    ),
    (
        "hierarchy.aml",
        r#"<CAEXFile FileName="h.aml" SchemaVersion="2.15"><InstanceHierarchy Name="Line"/></CAEXFile>"#,
    ),
    (
        "tank.aml",
        r#"<CAEXFile FileName="t.aml" SchemaVersion="2.15"><InstanceHierarchy Name="Line"><InternalElement Name="Tank" ID="T1"><InternalElement Name="Valve &lt;1&gt;" ID="V &amp; 1"/><InternalElement Name="Level" ID="L1"/></InternalElement></InstanceHierarchy></CAEXFile>"#,
    ),
];

#[test]
fn any_file_tells_the_story() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = real_files();
    for (name, content) in OWN_FILES {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        files.push(path);
    }
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let run = folder.path().join(format!("run-{name}"));
        let output = story(&run, &["--aml", text(&file)]);
        if name.starts_with("BAD_") {
            assert_eq!(code(&output), 3, "{name}: {}", said(&output));
            continue;
        }
        assert_eq!(code(&output), 0, "{name}: {}", said(&output));
        let is_said =
            ["plays the sensor", "the owner adds sensor"].iter().any(|says| said(&output).contains(says));
        assert!(is_said, "{name}: it says what it picked");
        assert_eq!(code(&audit(&run)), 0, "{name}");
        std::fs::remove_dir_all(&run).unwrap();
    }
}
