//! Real files: what is read is written back, and edits keep hash and bytes together.

use dt_aml::{Document, Limits, ParseError};

use crate::fuzz::random;
use crate::support::{Lcg, assert_consistent, documents, parse, real_files};

/// Edits per file, and how often the document is parsed anew beside it.
const EDITS: usize = 1000;
const CHECK_EVERY: usize = 100;

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

/// All kinds of edits, one after the other; then their inverses, the last first.
#[test]
fn random_edits_and_their_inverses_lead_back_to_the_first_root() {
    for (name, bytes) in documents() {
        let mut document = parse(&bytes);
        let first = document.root_hash();
        let mut random = Lcg(bytes.len() as u64);
        let mut inverses = Vec::new();
        for step in 0..EDITS {
            let edit = random::edit(&document, &mut |bound| random.below(bound), step);
            let before = document.root_hash();
            match document.apply(std::slice::from_ref(&edit)) {
                Ok(outcome) => {
                    assert_eq!(outcome.inverse.to, before, "{name}: {edit:?}");
                    assert_eq!(outcome.inverse.from, document.root_hash(), "{name}: {edit:?}");
                    inverses.push(outcome.inverse);
                }
                Err(_) => assert_eq!(document.root_hash(), before, "{name}: {edit:?}"),
            }
            if step % CHECK_EVERY == 0 {
                assert_consistent(&document);
            }
        }
        assert_consistent(&document);
        assert!(inverses.len() > EDITS / 5, "{name}: only {} edits were accepted", inverses.len());
        for (step, inverse) in inverses.iter().rev().enumerate() {
            document.apply_patch(inverse).unwrap_or_else(|e| panic!("{name}: {e}: {inverse:?}"));
            if step % CHECK_EVERY == 0 {
                assert_consistent(&document);
            }
        }
        assert_eq!(document.root_hash(), first, "{name}");
        assert_eq!(document.to_bytes(), bytes, "{name}");
    }
}

#[test]
fn an_insertion_taken_back_leaves_no_trace() {
    for (name, bytes) in documents() {
        let mut document = parse(&bytes);
        let before = document.root_hash();
        let mut random = Lcg(7);
        let mut done = 0;
        for step in 0..80 {
            let edit = random::insertion(&document, &mut |bound| random.below(bound), step);
            let Ok(outcome) = document.apply(&[edit]) else { continue };
            let changes = outcome.changes;
            let address = &changes[0].address;
            document.remove(address).unwrap_or_else(|e| panic!("{name}: {address}: {e}"));
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
