//! Differences: edits that lead from any document to any other, few where little differs.

use dt_aml::{Document, Edit, Limits, Patch, PatchError};
use proptest::prelude::*;

use crate::fuzz::random;
use crate::support::{Lcg, PLANT_30, PLANT_215, assert_consistent, documents, parse, text};

/// Applies the difference of two documents and takes it back.
fn assert_leads(from: &Document, to: &Document, what: &str) -> Patch {
    let patch = from.diff(to).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut document = from.clone();
    let outcome = document.apply_patch(&patch).unwrap_or_else(|e| panic!("{what}: {e}: {patch:#?}"));
    assert_eq!(document.to_bytes(), to.to_bytes(), "{what}");
    assert_consistent(&document);
    document.apply_patch(&outcome.inverse).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(document.to_bytes(), from.to_bytes(), "{what}");
    patch
}

/// Edits `document` at random.
fn wander(document: &mut Document, random: &mut Lcg, edits: usize, from: usize) {
    for step in from..from + edits {
        let edit = random::edit(document, &mut |bound| random.below(bound), step);
        let _taken = document.apply(&[edit]).is_ok();
    }
}

#[test]
fn versions_of_one_document_lead_to_each_other() {
    for (name, bytes) in documents() {
        let mut random = Lcg(bytes.len() as u64 + 5);
        let start = parse(&bytes);
        let (mut left, mut right) = (start.clone(), start.clone());
        for round in 0..6 {
            wander(&mut left, &mut random, 4, round * 100);
            wander(&mut right, &mut random, 1 + 5 * round, 10_000 + round * 100);
            assert_leads(&left, &right, &name);
            let patch = assert_leads(&right, &left, &name);
            let size: usize = patch.edits.iter().map(|edit| borsh::to_vec(edit).expect("borsh").len()).sum();
            assert!(size < bytes.len() + 10_000, "{name}: {size} bytes of edits");
        }
        assert_leads(&start, &left, &name);
    }
}

/// Whoever may edit may bring a document to another version: the ledger takes the edits, each held against the rules.
#[test]
fn edits_of_a_difference_are_taken_strictly() {
    for (name, bytes) in documents() {
        let mut random = Lcg(bytes.len() as u64 + 11);
        let start = parse(&bytes);
        for round in 0..8 {
            let mut end = start.clone();
            wander(&mut end, &mut random, 1 + 2 * round, round * 100);
            let patch = start.diff(&end).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut document = start.clone();
            let outcome = document.apply(&patch.edits).unwrap_or_else(|e| panic!("{name}: {e}: {patch:#?}"));
            assert_eq!(document.root_hash(), end.root_hash(), "{name}");
            assert_eq!(outcome.inverse.to, start.root_hash(), "{name}");
        }
    }
}

#[test]
fn strangers_lead_to_each_other() {
    let mut documents = documents();
    documents.truncate(6);
    documents.push(("2.15".into(), PLANT_215.into()));
    documents.push(("3.0".into(), PLANT_30.into()));
    documents.push(("least".into(), b"<CAEXFile/>".into()));
    documents.push(("empty".into(), b"<CAEXFile></CAEXFile >".into()));
    documents.push(("prefixed".into(), b"<?xml version='1.0'?><c:CAEXFile xmlns:c='http://www.dke.de/CAEX'><c:InstanceHierarchy Name='H'/></c:CAEXFile>\n".into()));
    for (from, left) in &documents {
        for (to, right) in &documents {
            assert_leads(&parse(left), &parse(right), &format!("{from} to {to}"));
        }
    }
}

#[test]
fn little_is_said_where_little_differs() {
    let one = parse(PLANT_215);
    let edits = |other: &str| one.diff(&parse(other)).expect("a difference").edits;
    assert_eq!(edits(PLANT_215), []);
    let other = PLANT_215.replacen("<Value>42.5</Value>", "<Value>31</Value>", 1);
    let [Edit::Splice { parent, content, .. }] = &edits(&other)[..] else { panic!("{:#?}", edits(&other)) };
    assert_eq!((parent.as_str(), content.as_str()), ("line/Attribute[Speed]/Value", "31"));
    let other = PLANT_215.replacen("Unit=\"m/min\"", "Unit='m/s'", 1);
    let [Edit::Retag { address, .. }] = &edits(&other)[..] else { panic!("{:#?}", edits(&other)) };
    assert_eq!(address, "line/Attribute[Speed]");
    let other = PLANT_215.replacen("<!-- the line -->", "<!-- that line -->", 1);
    let [Edit::Splice { content, .. }] = &edits(&other)[..] else { panic!("{:#?}", edits(&other)) };
    assert_eq!(content, "\n    <!-- that line -->\n    ");
    let other = format!("{PLANT_215}<!-- end -->");
    assert!(matches!(&edits(&other)[..], [Edit::Splice { parent, .. }] if parent.is_empty()));
}

#[test]
fn what_was_moved_makes_way_first() {
    let plant = |line: &str, tank: &str| {
        parse(format!(
            "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='L' ID='l'>{line}</InternalElement><InternalElement Name='T' ID='t'>{tank}</InternalElement></InstanceHierarchy></CAEXFile>"
        ))
    };
    let (a, b) = ("<InternalElement Name='A' ID='a'/>", "<InternalElement Name='B' ID='b'/>");
    let both = format!("{a}{b}");
    let attributes = ["<Attribute Name='x'/>", "<Attribute Name='y'/>", "<Attribute Name='z'/>"];
    let cases = [
        (plant(a, b), plant(b, a)),
        (plant(&both, ""), plant("", &both)),
        (plant("", &both), plant(&both, "")),
        (plant(&both, ""), plant(&format!("{b}{a}"), "")),
        (plant(&attributes.concat(), ""), plant(&[attributes[2], attributes[1], attributes[0]].concat(), "")),
        (plant(a, ""), plant("", &a.replace("/>", &format!(">{b}</InternalElement>")))),
    ];
    for (from, to) in cases {
        for (from, to) in [(&from, &to), (&to, &from)] {
            let patch = assert_leads(from, to, "moved");
            from.clone().apply(&patch.edits).unwrap_or_else(|e| panic!("{e}: {}", text(to)));
        }
    }
}

#[test]
fn long_content_comes_in_pieces() {
    let limits = Limits { fragment: 1000, ..Limits::default() };
    let elements: String = (0..200).map(|n| format!("\n<InternalElement Name='E{n}' ID='e{n}'/>")).collect();
    let plant = |content: &str| {
        let aml = format!("<CAEXFile><InstanceHierarchy Name='H'>{content}\n</InstanceHierarchy></CAEXFile>");
        Document::parse(aml, &limits).expect("a plant")
    };
    let (mut empty, full) = (plant(""), plant(&elements));
    let patch = empty.diff(&full).expect("a difference");
    assert!(patch.edits.len() > 5, "{} edits", patch.edits.len());
    empty.apply(&patch.edits).expect("none is too long");
    assert_eq!(empty.to_bytes(), full.to_bytes());
}

#[test]
fn a_patch_is_for_one_document_and_keeps_its_promise() {
    let (mut one, other) = (parse(PLANT_215), parse(PLANT_30));
    let patch = one.diff(&other).expect("a difference");
    let refused = other.clone().apply_patch(&patch);
    assert!(matches!(refused, Err(PatchError::OtherDocument { .. })), "{refused:?}");
    let mut bent = patch.clone();
    bent.to = one.root_hash();
    assert!(matches!(one.apply_patch(&bent), Err(PatchError::OtherResult { .. })));
    let mut bent = patch.clone();
    bent.edits.push(Edit::Remove { address: "nowhere".into(), policy: Default::default() });
    assert!(matches!(one.apply_patch(&bent), Err(PatchError::Edit(_))));
    assert_eq!(text(&one), PLANT_215);
    assert_consistent(&one);
    let bytes = borsh::to_vec(&patch).expect("borsh");
    assert_eq!(borsh::from_slice::<Patch>(&bytes).expect("borsh"), patch);
}

fn lists() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..14_u8, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Children that come, go, repeat and change places; with IDs, with names, and with neither.
    #[test]
    fn any_children_lead_to_any_others(left in lists(), right in lists(), line in prop::sample::select(vec!["", "\n", " <!-- c --> "])) {
        let plant = |numbers: &[u8]| {
            let child = |number: &u8| match number {
                0..=4 => format!("{line}<InternalElement Name='n{}' ID='e{number}'/>", number % 3),
                5..=8 => format!("{line}<Attribute Name='a{number}'><Value>{}</Value></Attribute>", numbers.len()),
                _ => format!("{line}<RoleRequirements x='{}'/>", number % 2),
            };
            let children: String = numbers.iter().map(child).collect();
            parse(format!("<CAEXFile><InstanceHierarchy Name='H'>{children}</InstanceHierarchy></CAEXFile>"))
        };
        assert_leads(&plant(&left), &plant(&right), "children");
    }
}
