//! Hostile documents and fragments, each in a process of its own: an error, and no more than 100 MB for it.

use std::process::Command;

use dt_aml::{Document, EditError, Limits, ParseError};

/// Most memory of the whole process, in kB.
const MOST: u64 = 100_000;
/// The variable that tells the child which case it is.
const CASE: &str = "DT_AML_HOSTILE_CASE";

/// The cases by name. Each is a document, and, put into an element, a fragment.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    let caex = |content: &str| format!("<CAEXFile>{content}</CAEXFile>").into_bytes();
    let attributes = many(100_000, &|n| format!(" a{n}='x'"));
    let prefixes = many(5_000, &|n| format!(" xmlns:p{n}='u{n}'"));
    let laughs = many(30, &|n| format!("<!ENTITY l{} '&l{n};&l{n};&l{n};&l{n};'>", n + 1));
    let utf16: Vec<u8> = "<CAEXFile/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let twice = "<InternalElement Name='x' ID='x'/>".repeat(1000);
    vec![
        ("depth", caex(&format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)))),
        ("depth, unclosed", "<CAEXFile>".repeat(1_000_000).into_bytes()),
        ("attributes", format!("<CAEXFile{attributes}/>").into_bytes()),
        ("prefixes", format!("<CAEXFile{prefixes}/>").into_bytes()),
        ("prefixes, nested", caex(&many(5_000, &|n| format!("<a xmlns:p{n}='u'>")))),
        (
            "billion laughs",
            format!("<!DOCTYPE a [<!ENTITY l0 'ha'>{laughs}]><CAEXFile>&l30;</CAEXFile>").into_bytes(),
        ),
        (
            "external entity",
            b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><CAEXFile>&e;</CAEXFile>".to_vec(),
        ),
        ("external subset", b"<!DOCTYPE a SYSTEM 'http://127.0.0.1/'><CAEXFile/>".to_vec()),
        ("NUL", caex("\0")),
        ("control characters", caex("<a b='\u{1}\u{8}\u{1f}'/>")),
        ("bad UTF-8", [b"<CAEXFile a='".as_slice(), &[0xC0, 0x80], b"'/>"].concat()),
        ("UTF-16", [vec![0xFF, 0xFE], utf16.clone()].concat()),
        ("UTF-16 without a mark", utf16),
        ("quotes that never end", format!("<CAEXFile a='{}", "x".repeat(10_000_000)).into_bytes()),
        ("a comment that never ends", format!("<CAEXFile><!--{}", "-".repeat(5_000_000)).into_bytes()),
        ("brackets", caex(&format!("<![CDATA[{}", "]".repeat(5_000_000)))),
        ("references", caex(&format!("{}&", "&amp;".repeat(1_000_000)))),
        ("the same name often", format!("<CAEXFile{}/>", " a=''".repeat(200)).into_bytes()),
        // A document may repeat IDs, since real ones do; a fragment may not.
        ("duplicate IDs", format!("<InternalElement Name='y' ID='y'>{twice}</InternalElement>").into_bytes()),
    ]
}

#[test]
fn each_ends_in_an_error_within_bounds() {
    for (name, _) in cases() {
        let child = Command::new(std::env::current_exe().expect("a test has a program"))
            .args(["hostile::child", "--exact", "--nocapture"])
            .env(CASE, name)
            .output()
            .expect("a child");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&child.stderr));
        match said.lines().find_map(|line| line.strip_prefix("peak ")?.parse::<u64>().ok()) {
            Some(peak) => assert!(peak < MOST, "{name}: {peak} kB"),
            None => eprintln!("not measured: this system does not tell the memory of a process"),
        }
    }
}

/// One case; does nothing unless it is told which.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (_, bytes) = cases().into_iter().find(|(name, _)| *name == case).expect("a case");
    let whole = Document::parse(&bytes, &Limits::default()).expect_err("a hostile document");
    assert!(!matches!(whole, ParseError::NotCaex { .. }) || case == "duplicate IDs", "{whole}");
    if let Ok(fragment) = std::str::from_utf8(&bytes) {
        let mut document =
            Document::parse("<CAEXFile><InstanceHierarchy Name='H'/></CAEXFile>", &Limits::default())
                .expect("a plant");
        let root = document.root_hash();
        let refused =
            document.insert(fragment, "/InstanceHierarchy[H]", None).expect_err("a hostile fragment");
        assert!(!matches!(refused, EditError::Find { .. }), "{refused}");
        assert_eq!(document.root_hash(), root);
    }
    // The most that this process ever had, as Linux tells it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("\npeak {}", peak.trim().trim_end_matches(" kB"));
    }
}

/// What many elements share is looked up once: else this would take hours.
#[test]
fn a_hundred_thousand_elements_of_one_id_and_name_are_examined() {
    let twin = "<InternalElement Name='x' ID='x'/><InternalLink Name='l' RefPartnerSideA='x:i' RefPartnerSideB='x'/>";
    let aml = format!(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='p' ID='p'>{}</InternalElement></InstanceHierarchy></CAEXFile>",
        twin.repeat(50_000)
    );
    let document = Document::parse(&aml, &Limits::default()).expect("a document");
    assert!(document.issues().len() > 50_000);
    assert_eq!(document.find("x").map(|_| ()), Err(dt_aml::FindError::Ambiguous { count: 50_000 }));
}
