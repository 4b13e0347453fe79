//! Files may be packages.

use std::fs;
use std::io::{Cursor, Write as _};

use zip::write::{SimpleFileOptions, ZipWriter};

use crate::{SMALL, code, err, out, run, run_on, text};

fn package(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_package_answers_like_its_document() {
    let bytes = package(&[("Manifest.aml", SMALL), ("picture.svg", "<svg/>")]);
    for arguments in [&["tree", "-"][..], &["hash", "-"], &["find", "-", "m1"], &["programs", "-"]] {
        assert_eq!(out(&run_on(&bytes, arguments), 0), out(&run_on(SMALL, arguments), 0), "{arguments:?}");
    }
    let said = out(&run_on(&bytes, &["info", "-"]), 0);
    assert!(said.contains("package     Manifest.aml among 2 files"), "{said}");
}

#[test]
fn an_edit_gives_the_document_and_spares_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.mtp");
    let bytes = package(&[("Manifest.aml", SMALL)]);
    fs::write(&file, &bytes).unwrap();
    let arguments = ["remove", text(&file), "p1", "-o", text(&file)];
    let refused = run(&arguments);
    assert_eq!(code(&refused), 2);
    assert!(err(&refused).contains("would be overwritten"), "{}", err(&refused));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let edited = out(&run(&arguments[..3]), 0);
    assert_eq!(edited, out(&run_on(SMALL, &["remove", "-", "p1"]), 0));
}

#[test]
fn what_is_wrong_with_a_package_is_said() {
    let cases = [
        (package(&[("a.txt", "")]), "the package has no document"),
        (package(&[("a.aml", SMALL), ("b.aml", SMALL)]), "2 files could be the document: a.aml, b.aml"),
        (package(&[("a.aml", "<html/>")]), "a.aml: the root element is html"),
        (package(&[("../a.aml", SMALL)]), "leads out of the package"),
        (package(&[("a.aml", SMALL)])[..300].to_vec(), "not a package, or a damaged one"),
    ];
    for (bytes, message) in cases {
        let output = run_on(bytes, &["info", "-"]);
        assert_eq!(code(&output), 2, "{message}");
        assert!(err(&output).contains(message), "{message}: {}", err(&output));
    }
}
