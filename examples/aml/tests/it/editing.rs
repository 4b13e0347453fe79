//! insert and remove: what they write, and that it is all or nothing.

use std::fs;

use dt_aml::{Document, Limits};

use crate::{SMALL, code, err, out, run, run_on, small, text};

const VALVE: &str = r#"<InternalElement Name="Valve" ID="v1"/>"#;

/// The names of the files in a folder.
fn files(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_inserted_and_removed_leaves_no_trace() {
    let inserted = run_on(SMALL, &["insert", "-", VALVE, "--parent", "c1", "--after", "m1"]);
    let edited = out(&inserted, 0);
    assert!(err(&inserted).contains("inserted v1 in c1"), "{}", err(&inserted));
    let mut document = Document::parse(SMALL, &Limits::default()).unwrap();
    document.insert(VALVE, "c1", Some("m1")).unwrap();
    assert_eq!(edited.as_bytes(), document.to_bytes());

    let removed = run_on(&edited, &["remove", "-", "v1"]);
    assert_eq!(out(&removed, 0), SMALL);
    assert!(err(&removed).contains("removed v1 from c1"), "{}", err(&removed));
}

#[test]
fn a_fragment_may_come_from_standard_input() {
    let (_folder, file) = small();
    let file = text(&file);
    let given = out(&run(&["insert", file, VALVE, "--parent", "c1"]), 0);
    let read = out(&run_on(format!("{VALVE}\n"), &["insert", file, "-", "--parent", "c1"]), 0);
    assert_eq!(given, read);
    let both = run(&["insert", "-", "-", "--parent", "c1"]);
    assert_eq!(code(&both), 2);
    assert!(err(&both).contains("cannot both come from standard input"), "{}", err(&both));
    let latin = run_on(b"<InternalElement Name=\"\xe4\"/>", &["insert", file, "-", "--parent", "c1"]);
    assert_eq!(code(&latin), 2);
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_permissions() {
    let (folder, file) = small();
    let there = text(&file);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let output = run(&["insert", there, VALVE, "--parent", "c1", "-o", there]);
    assert_eq!(out(&output, 0), "", "it goes to the file, nowhere else");
    assert!(fs::read_to_string(&file).unwrap().contains(VALVE));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }
    let new = folder.path().join("new.aml");
    out(&run(&["remove", there, "v1", "--output", text(&new)]), 0);
    assert_eq!(fs::read_to_string(&new).unwrap(), SMALL);
    assert_eq!(files(folder.path()), ["new.aml", "small.aml"], "nothing is left over");
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let (folder, file) = small();
    let link = folder.path().join("link.aml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    out(&run(&["insert", text(&link), VALVE, "--parent", "c1", "-o", text(&link)]), 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().contains(VALVE));
    let device = run(&["insert", text(&link), VALVE, "--parent", "m1", "-o", "/dev/null"]);
    assert_eq!(code(&device), 2, "a device is not renamed over");
}

#[test]
fn what_is_refused_changes_nothing() {
    let (folder, file) = small();
    let file = text(&file);
    let cases: [(&[&str], &str); 7] = [
        (&["insert", file, "<Bogus/>", "--parent", "c1"], "Bogus is not allowed in InternalElement"),
        (&["insert", file, "<a><b></a>", "--parent", "c1"], "fragment, 1:7: "),
        (&["insert", file, VALVE, "--parent", "x1"], "x1: no element has this address"),
        (&["insert", file, VALVE, "--parent", "c1", "--after", "p1"], "p1 is not a child of c1"),
        (
            &["insert", file, r#"<InternalElement Name="M" ID="m1"/>"#, "--parent", "c1"],
            "the ID m1 exists already",
        ),
        (&["remove", file, "/"], "the root element stays"),
        (&["remove", file, "m1"], "c1/InternalLink[Drive]: RefPartnerSideB=\"m1:In\""),
    ];
    for (arguments, message) in cases {
        let output = run(&[arguments, &["-o", file]].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(err(&output).contains(message), "{arguments:?}: {}", err(&output));
        assert_eq!(fs::read_to_string(file).unwrap(), SMALL, "{arguments:?}");
        assert!(run(arguments).stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(files(folder.path()), ["small.aml"]);
}

#[test]
fn links_may_be_left_open() {
    let refused = run_on(SMALL, &["remove", "-", "m1"]);
    assert_eq!(code(&refused), 2);
    assert!(err(&refused).contains("--policy open-links"), "the way out is named: {}", err(&refused));
    let opened = run_on(SMALL, &["remove", "-", "m1", "--policy", "open-links"]);
    let edited = out(&opened, 0);
    assert!(!edited.contains("Motor") && edited.contains("Drive"));
    assert!(
        err(&opened).contains("open: c1/InternalLink[Drive]: RefPartnerSideB=\"m1:In\""),
        "{}",
        err(&opened)
    );
    assert!(out(&run_on(edited, &["validate", "-"]), 1).contains("RefPartnerSideB refers to m1:In"));
}

#[test]
fn what_refers_to_it_may_go_with_it() {
    let refused = run_on(SMALL, &["remove", "-", "m1"]);
    assert_eq!(code(&refused), 2);
    assert!(err(&refused).contains("cascade"), "{}", err(&refused));
    let removed = run_on(SMALL, &["remove", "-", "m1", "--policy", "cascade"]);
    let edited = out(&removed, 0);
    assert!(!edited.contains("InternalLink") && !edited.contains("Motor"), "{edited}");
    let said = err(&removed);
    assert!(said.contains("removed m1 from c1"), "{said}");
    assert!(said.contains("with it: what refers to it at c1/InternalLink[Drive]"), "{said}");
}

#[test]
fn a_difference_is_told_line_by_line() {
    let (_folder, file) = small();
    let file = text(&file);
    assert_eq!(out(&run_on(SMALL, &["diff", "-", file]), 0), "");
    let faster = SMALL.replace("<Value>42.5</Value>", "<Value>43</Value>").replace("ID=\"m1\"", "ID='m1'");
    let told = out(&run_on(faster, &["diff", file, "-"]), 1);
    let expected = "\
m1 start tag
- <InternalElement Name=\"Motor\" ID=\"m1\">
+ <InternalElement Name=\"Motor\" ID='m1'>
c1/Attribute[Speed]/Value content
- 42.5
+ 43
2 differences
";
    assert_eq!(told, expected);
    let other = run_on("<CAEXFile", &["diff", file, "-"]);
    assert_eq!(code(&other), 2);
}
