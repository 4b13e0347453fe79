//! Colours follow the terminal, and text of a document cannot bring its own.

use crate::{SMALL, command, err, out, run, run_on, small, text};

const ESCAPE: char = '\u{1b}';

/// Every command that prints for people.
fn asked(file: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["info", file],
        vec!["tree", file],
        vec!["find", file, "c1"],
        vec!["programs", file],
        vec!["validate", file],
    ]
}

#[test]
fn a_pipe_gets_plain_text_and_whoever_asks_gets_colours() {
    let (_folder, file) = small();
    for arguments in asked(text(&file)) {
        let plain = out(&run(&arguments), 0);
        assert!(!plain.contains(ESCAPE), "{arguments:?}");
        let coloured = out(&command(&arguments).env("CLICOLOR_FORCE", "1").output().unwrap(), 0);
        assert!(coloured.contains(ESCAPE), "{arguments:?}");
        let refused = command(&arguments).env("CLICOLOR_FORCE", "0").env("NO_COLOR", "1").output().unwrap();
        assert_eq!(out(&refused, 0), plain, "{arguments:?}");
    }
}

#[test]
fn errors_are_coloured_alike_and_documents_never() {
    let (_folder, file) = small();
    let file = text(&file);
    let plain = run(&["find", file, "nowhere"]);
    let coloured = command(&["find", file, "nowhere"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(!err(&plain).contains(ESCAPE));
    assert!(err(&coloured).contains(ESCAPE));

    let edited = command(&["insert", file, "<Description>d</Description>", "--parent", "m1"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(!out(&edited, 0).contains(ESCAPE), "a document is no text for people");
    let source = command(&["find", file, "m1", "--source"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(!out(&source, 0).contains(ESCAPE));
}

#[test]
fn what_a_terminal_would_obey_is_shown_not_sent() {
    // A C1 control, which some terminals take for an escape sequence, and an override of the writing direction.
    let hostile = SMALL
        .replace(r#"Name="Conveyor""#, "Name=\"Con&#x9b;2Jvey\u{202e}or\"")
        .replace(">42.5<", ">4\u{9b}31m&#10;2<")
        .replace(r#"ID="p1""#, "ID=\"p\u{9b}1\"")
        .replace("ID=\"m1\"", "ID=\"p\u{9b}1\"");
    let mut seen = String::new();
    for arguments in asked("-") {
        for colours in ["0", "1"] {
            let output = {
                let mut command = command(&arguments);
                command.env("CLICOLOR_FORCE", colours);
                piped(command, &hostile)
            };
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(!said.contains(['\u{9b}', '\u{202e}']), "{arguments:?}: {said}");
            seen.push_str(&said);
        }
    }
    assert!(seen.contains(r"Con\u{9b}2Jvey\u{202e}or"), "it is shown all the same");
    assert!(seen.contains(r"4\u{9b}31m\n2"), "on one line");
    let exact = run_on(&hostile, &["find", "-", "c1/Attribute[Speed]/Value", "--source"]);
    assert_eq!(out(&exact, 0), "<Value>4\u{9b}31m&#10;2</Value>", "who asks for bytes gets bytes");
}

fn piped(mut command: std::process::Command, input: &str) -> std::process::Output {
    use std::io::Write as _;
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
