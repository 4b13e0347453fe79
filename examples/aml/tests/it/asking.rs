//! Commands that ask: info, tree, find, programs, hash, validate.

use std::process::Stdio;

use dt_aml::{Document, Limits};

use crate::{SMALL, code, command, err, out, plant, run, run_on, small, text};

/// A line's words, so that tests do not depend on how columns are aligned.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines(said: &str) -> Vec<String> {
    said.lines().map(words).collect()
}

#[test]
fn info_says_what_a_file_is() {
    let document = Document::parse(SMALL, &Limits::default()).unwrap();
    let said = out(&run_on(SMALL, &["info", "-"]), 0);
    let said = lines(&said);
    let facts = [
        "standard input".to_owned(),
        "version CAEX 2.15".to_owned(),
        "origin Editor, 4.7, 2018-05-30T12:25:45".to_owned(),
        format!("bytes {}", SMALL.len()),
        format!("root hash {}", document.root_hash()),
        "IDs 6".to_owned(),
        "programs 1".to_owned(),
        "library PlantRoles (RoleClassLib, 1 class)".to_owned(),
        "issues 0".to_owned(),
        format!("elements {}", document.elements().count()),
        "3 InternalElement".to_owned(),
        "4 not of CAEX".to_owned(),
    ];
    for fact in facts {
        assert!(said.contains(&fact), "{fact}: {said:#?}");
    }
    let said = lines(&out(&run(&["info", text(&plant())]), 0));
    for fact in ["version CAEX 3.0", "standard AutomationML 2.10"] {
        assert!(said.iter().any(|line| line == fact), "{fact}: {said:#?}");
    }
    let origin = "origin Plant engineering export, 4.2.0, Bottling line 1, 2024-04-02T08:00:00Z";
    assert!(said.iter().any(|line| line == origin), "{said:#?}");
}

#[test]
fn tree_shows_structure_and_attributes_if_asked() {
    let whole = out(&run_on(SMALL, &["tree", "-"]), 0);
    let expected = "\
CAEXFile
├─ InstanceHierarchy Plant
│  ├─ InternalElement Conveyor  c1
│  │  ├─ ExternalInterface Out  c1.out
│  │  └─ InternalElement Motor  m1
│  │     └─ ExternalInterface In  m1.in
│  └─ InternalElement SetSpeed  p1
│     └─ ExternalInterface Speed  p1.speed
└─ RoleClassLib PlantRoles
   └─ RoleClass Program
";
    assert_eq!(whole, expected);
    let part = out(&run_on(SMALL, &["tree", "-", "c1", "--depth", "1", "--attributes"]), 0);
    let expected = "\
InternalElement Conveyor  c1
├─ Attribute Speed = 42.5 m/min
├─ ExternalInterface Out  c1.out
└─ InternalElement Motor  m1
   └─ … 1 more
";
    assert_eq!(part, expected);
    assert_eq!(out(&run_on(SMALL, &["tree", "-", "--depth", "0"]), 0), "CAEXFile\n└─ … 2 more\n");
}

#[test]
fn find_shows_one_element() {
    let document = Document::parse(SMALL, &Limits::default()).unwrap();
    let conveyor = document.find("c1").unwrap();
    let said = out(&run_on(SMALL, &["find", "-", "c1"]), 0);
    let (facts, source) = said.split_once("\n\n").unwrap();
    let expected = [
        "InternalElement Conveyor".to_owned(),
        "address c1".to_owned(),
        "parent /InstanceHierarchy[Plant]".to_owned(),
        "position 11:5".to_owned(),
        format!("hash {}", conveyor.hash()),
        "attribute Speed = 42.5 m/min (decimal, default 30, Safety: 0 to 60)".to_owned(),
    ];
    assert_eq!(lines(facts), expected);
    assert_eq!(source.trim_end(), conveyor.source());

    let bare = run_on(SMALL, &["find", "-", "c1/Attribute[Speed]/Value", "--source"]);
    assert_eq!(out(&bare, 0), "<Value>42.5</Value>", "byte for byte, to be piped on");
}

#[test]
fn programs_show_parameters_and_limits() {
    let said = out(&run_on(SMALL, &["programs", "-"]), 0);
    assert_eq!(said, "SetSpeed  p1\n  Speed: decimal, in m/min, Safety: at most 60\n");
    let said = out(&run(&["programs", text(&plant())]), 0);
    assert!(said.contains("StartLine  PRG-StartLine\n  takes no parameters\n"), "{said}");
    assert!(said.contains("AllowedValues: one of Rinse, Caustic, Acid, Full"), "{said}");
    let none = out(&run_on("<CAEXFile SchemaVersion=\"2.15\"/>", &["programs", "-"]), 0);
    assert_eq!(none, "no programs\n");
}

#[test]
fn hash_is_that_of_the_library() {
    let document = Document::parse(SMALL, &Limits::default()).unwrap();
    assert_eq!(out(&run_on(SMALL, &["hash", "-"]), 0), format!("{}\n", document.root_hash()));
    assert_eq!(out(&run_on(SMALL, &["hash", "-", "/"]), 0), format!("{}\n", document.root().hash()));
    let motor = document.find("m1").unwrap().hash();
    assert_eq!(out(&run_on(SMALL, &["hash", "-", "m1"]), 0), format!("{motor}\n"));
}

#[test]
fn validate_names_places_and_ends_with_1() {
    let sound = run(&["validate", text(&plant())]);
    assert!(out(&sound, 0).ends_with("plant.aml: no issues\n"));

    let (folder, file) = small();
    let broken = SMALL.replace(r#"Name="Motor" ID="m1""#, r#"Name="Motor" ID="c1""#);
    std::fs::write(&file, broken).unwrap();
    let said = out(&run(&["validate", text(&file)]), 1);
    let name = text(&file);
    let issues: Vec<_> = said.lines().collect();
    assert_eq!(issues[0], format!("{name}:11:5: issue: the ID c1 names 2 elements"));
    assert_eq!(issues[1], format!("{name}:23:7: issue: the ID c1 names 2 elements"));
    drop(folder);
}

#[test]
fn what_cannot_be_done_says_why_and_ends_with_2() {
    let (_folder, file) = small();
    let file = text(&file);
    let cases: [(&[&str], &str, &str); 6] = [
        (&["find", file, "nowhere"], "small.aml: nowhere: no element has this address", "aml tree"),
        (&["hash", file, ""], "not an address: give an ID, or a path", ""),
        (&["tree", file, "c1/Attribute[Nothing]"], "no element has this address", ""),
        (&["info", "/no/such/file.aml"], "/no/such/file.aml: cannot be read", ""),
        (&["info"], "required arguments were not provided", "Usage"),
        (&["paint", file], "unrecognized subcommand", "Usage"),
    ];
    for (arguments, message, hint) in cases {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(err(&output).contains(message), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(hint), "{arguments:?}: {}", err(&output));
    }
    let cases = [
        ("<CAEXFile>\n  <InstanceHierarchy>\n</CAEXFile>", "standard input:3:1: "),
        ("<!DOCTYPE html><html/>", "standard input:1:1: a document type declaration is not accepted"),
        ("<html/>", "standard input: the root element is html, not CAEXFile"),
        ("", "exactly one root element is expected"),
    ];
    for (document, message) in cases {
        let output = run_on(document, &["info", "-"]);
        assert_eq!(code(&output), 2, "{document}");
        assert!(err(&output).contains(message), "{document}: {}", err(&output));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child =
        command(&["tree", text(&plant()), "--attributes"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, String::new()));
}

#[test]
fn find_lists_what_has_something_in_common() {
    let (_folder, file) = small();
    let file = text(&file);
    assert_eq!(out(&run(&["find", file, "--name", "Motor"]), 0), "InternalElement Motor  m1\n");
    assert_eq!(
        out(&run(&["find", file, "--role", "PlantRoles/Program"]), 0),
        "InternalElement SetSpeed  p1\n"
    );
    assert_eq!(out(&run(&["find", file, "p1", "--name", "Motor"]), 1), "");
    assert_eq!(out(&run(&["find", file, "--class", "No/Class"]), 1), "");
    assert_eq!(code(&run(&["find", file])), 2);
}

#[test]
fn a_path_of_names_finds_too() {
    let (_folder, file) = small();
    let file = text(&file);
    let by_path = out(&run(&["find", file, "Plant/Conveyor/Motor"]), 0);
    assert_eq!(by_path, out(&run(&["find", file, "m1"]), 0));
}

#[test]
fn the_semantic_hash_is_that_of_what_is_said() {
    let compact = SMALL.replace("\n    <InternalElement", " <InternalElement").replace("\"", "'");
    let semantic = |aml: &str| out(&run_on(aml, &["hash", "-", "--semantic"]), 0);
    assert_eq!(semantic(SMALL), semantic(&compact));
    assert_ne!(out(&run_on(SMALL, &["hash", "-"]), 0), out(&run_on(&compact, &["hash", "-"]), 0));
    assert_ne!(semantic(SMALL), semantic(&SMALL.replace("42.5", "42.50")));
}
