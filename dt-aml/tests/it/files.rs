//! Real files: what is read is written back, and edits keep hash and bytes together.

use dt_aml::{Document, Edit, Kind, Limits, ParseError, RemovePolicy};

use crate::support::{Lcg, assert_consistent, documents, parse, real_files};

/// Edits per file, and how often the document is parsed anew beside it.
const EDITS: usize = 240;
const CHECK_EVERY: usize = 40;

#[test]
fn bytes_come_back_unchanged() {
    for (name, bytes) in documents() {
        let document = Document::parse(&bytes, &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(document.to_bytes(), bytes, "{name}");
        assert_consistent(&document);
    }
}

#[test]
fn what_is_not_automationml_is_refused() {
    for (name, bytes) in real_files() {
        if name.starts_with("BAD_") {
            let error = Document::parse(&bytes, &Limits::default()).expect_err(&name);
            assert!(matches!(error, ParseError::Dtd { .. } | ParseError::NotCaex { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn every_address_leads_back() {
    for (name, bytes) in documents() {
        let document = parse(&bytes);
        let mut addressed = 0;
        for element in document.elements() {
            if let Some(address) = element.address() {
                assert_eq!(document.find(&address), Ok(element), "{name}: {address}");
                addressed += 1;
            }
        }
        assert!(addressed > 0, "{name}");
    }
}

#[test]
fn positions_are_where_the_tags_are() {
    let document = parse(crate::support::PLANT_215);
    let lines: Vec<&str> = crate::support::PLANT_215.lines().collect();
    for element in document.elements() {
        let position = element.position();
        let line = lines[position.line as usize - 1];
        let rest: String = line.chars().skip(position.column as usize - 1).collect();
        assert!(rest.starts_with(&format!("<{}", element.tag())), "{position}: {rest}");
    }
}

#[test]
fn random_edits_keep_hash_and_bytes_together() {
    for (name, bytes) in documents() {
        let mut document = parse(&bytes);
        let mut random = Lcg(bytes.len() as u64);
        let mut done = 0;
        for step in 0..EDITS {
            let edit = random_edit(&document, &mut random, step);
            let before = document.root_hash();
            match document.apply(std::slice::from_ref(&edit)) {
                Ok(_) => {
                    done += 1;
                    assert_ne!(document.root_hash(), before, "{name}: {edit:?}");
                }
                Err(_) => assert_eq!(document.root_hash(), before, "{name}: {edit:?}"),
            }
            if step % CHECK_EVERY == 0 {
                assert_consistent(&document);
            }
        }
        assert_consistent(&document);
        assert!(done > EDITS / 10, "{name}: only {done} edits were accepted");
    }
}

#[test]
fn an_insertion_taken_back_leaves_no_trace() {
    for (name, bytes) in documents() {
        let mut document = parse(&bytes);
        let before = document.root_hash();
        let mut random = Lcg(7);
        let mut done = 0;
        for step in 0..EDITS / 3 {
            let edit = random_insertion(&document, &mut random, step);
            let Ok(changes) = document.apply(&[edit]) else { continue };
            let Some(address) = changes[0].address.clone() else { panic!("{name}: {changes:?}") };
            document.remove(&address).unwrap_or_else(|e| panic!("{name}: {address}: {e}"));
            assert_eq!(document.root_hash(), before, "{name}: {changes:?}");
            done += 1;
        }
        assert_eq!(document.to_bytes(), bytes, "{name}");
        assert!(done > 5, "{name}: only {done} insertions were accepted");
    }
}

#[test]
fn proofs_hold_for_what_is_there_and_nothing_else() {
    for (name, bytes) in documents() {
        let document = parse(&bytes);
        let limits = document.limits();
        let mut random = Lcg(3);
        let addresses: Vec<String> = document.elements().filter_map(|element| element.address()).collect();
        for _ in 0..20 {
            let address = &addresses[random.below(addresses.len())];
            let source = document.find(address).expect("an address").source().into_owned();
            let proof = document.prove(address).expect("an address");
            assert_eq!(proof.verify(document.root_hash(), &source, limits), Ok(()), "{name}: {address}");
            let other = source.replacen('<', "< ", 1);
            assert!(proof.verify(document.root_hash(), &other, limits).is_err());
            assert!(proof.verify(document.root().hash(), &source, limits).is_err());
        }
    }
}

fn random_edit(document: &Document, random: &mut Lcg, step: usize) -> Edit {
    if random.below(3) > 0 {
        return random_insertion(document, random, step);
    }
    let elements: Vec<_> = document.elements().collect();
    let element = elements[random.below(elements.len())];
    let policy = if random.below(2) == 0 { RemovePolicy::Restrict } else { RemovePolicy::OpenLinks };
    let address = element.address().unwrap_or_else(|| "/".to_owned());
    // A library takes half the document along: spare the upper levels, or little is left to edit.
    let address = if element.ancestors().count() < 4 { "/".to_owned() } else { address };
    Edit::Remove { address, policy }
}

fn random_insertion(document: &Document, random: &mut Lcg, step: usize) -> Edit {
    const FRAGMENTS: [&str; 5] = [
        r#"<InternalElement Name="New" ID="new-#"/>"#,
        "<InternalElement Name='N' ID='new-#'>\n  <!-- \u{e9} --><Attribute Name='A&amp;B'><Value>1</Value></Attribute></InternalElement>",
        r#"<Attribute Name="new-#" AttributeDataType="xs:int"><Value>1</Value></Attribute>"#,
        r#"<ExternalInterface Name="Port" ID="new-#"></ExternalInterface>"#,
        r#"<Description>about #</Description>"#,
    ];
    let fragment = FRAGMENTS[random.below(FRAGMENTS.len())].replace('#', &step.to_string());
    let hosts: Vec<_> = document
        .elements()
        .filter(|element| {
            matches!(
                element.kind(),
                Kind::InternalElement
                    | Kind::InstanceHierarchy
                    | Kind::SystemUnitClass
                    | Kind::RoleClass
                    | Kind::RoleClassLib
                    | Kind::Attribute
                    | Kind::AttributeType
                    | Kind::InterfaceClass
            )
        })
        .collect();
    let host = hosts[random.below(hosts.len())];
    let children: Vec<_> = host.children().collect();
    let after = if children.is_empty() || random.below(2) == 0 {
        None
    } else {
        children[random.below(children.len())].address()
    };
    Edit::Insert { fragment, parent: host.address().unwrap_or_else(|| "/".to_owned()), after }
}
