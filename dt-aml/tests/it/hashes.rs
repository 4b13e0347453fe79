//! Hashes of short and of long elements, and what lies between: elements that become one or the other by an edit.

use dt_aml::{Document, Edit, Element, Limits, Proof, RemovePolicy};
use proptest::prelude::*;

use crate::support::{Lcg, assert_consistent, parse};

/// Longest element that is hashed as one piece.
const SHORT: usize = 4096;

/// BLAKE3 keyed with a context.
fn keyed(context: &str, preimage: &[u8]) -> [u8; 32] {
    blake3::keyed_hash(blake3::hash(context.as_bytes()).as_bytes(), preimage).into()
}

/// The hash of an element as its definition says, from its bytes and those of its children.
fn defined(element: Element<'_>) -> [u8; 32] {
    let source = element.source().into_owned();
    if source.len() <= SHORT {
        return keyed("dt/aml/element/v3", source.as_bytes());
    }
    let (mut runs, mut rest, mut at) = (Vec::new(), Vec::new(), 0);
    let mut preimage = Vec::new();
    for (number, child) in element.children().enumerate() {
        let child_source = child.source();
        let start = at + source[at..].find(&*child_source).expect("a child is in its parent");
        let gap = &source[at..start];
        let gap = if number == 0 {
            let head = gap.find('>').expect("a start tag") + 1;
            preimage.extend_from_slice(&gap.as_bytes()[..head]);
            &gap[head..]
        } else {
            gap
        };
        let hash = defined(child);
        rest.extend_from_slice(gap.as_bytes());
        rest.push(0xFF);
        rest.extend_from_slice(&hash);
        if hash[0].trailing_zeros() >= 6 {
            runs.push(0xFE);
            runs.extend_from_slice(&keyed("dt/aml/run/v3", &rest));
            rest.clear();
        }
        at = start + child_source.len();
    }
    let tail = &source.as_bytes()[at..];
    keyed("dt/aml/element/v3", &[&preimage[..], &runs, &rest, tail].concat())
}

fn assert_defined(document: &Document) {
    for element in document.elements() {
        assert_eq!(element.hash().as_bytes(), &defined(element), "{element:?}");
    }
}

/// An element with a text of `padding` bytes in it.
fn part(number: usize, padding: usize, inner: &str) -> String {
    let text = "x".repeat(padding);
    format!(
        "<InternalElement Name='p{number}' ID='p{number}'><Description>{text}</Description>{inner}</InternalElement>"
    )
}

fn start_tag(element: Element<'_>) -> String {
    let source = element.source();
    source[..=source.find('>').expect("a start tag")].to_owned()
}

/// Three levels of elements, of which the upper ones are about as long as the longest short one.
fn plant(random: &mut Lcg) -> (Document, Vec<usize>) {
    let mut numbers = Vec::new();
    let next = |numbers: &mut Vec<usize>| {
        numbers.push(numbers.len());
        numbers.len() - 1
    };
    let mut inner = String::new();
    for _ in 0..3 {
        let leaves: String =
            (0..3).map(|_| part(next(&mut numbers), random.below(1500), "") + "\n").collect();
        inner.push_str(&part(next(&mut numbers), random.below(600), &leaves));
    }
    let hierarchy = format!("<InstanceHierarchy Name='H'>{inner}</InstanceHierarchy>");
    (parse(format!("<CAEXFile>\n{hierarchy}\n</CAEXFile>")), numbers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hashes_follow_elements_that_grow_and_shrink(seed in any::<u64>(), steps in 1..30_usize) {
        let mut random = Lcg(seed);
        let (mut document, mut numbers) = plant(&mut random);
        assert_defined(&document);
        for step in 0..steps {
            let (before, bytes) = (document.root_hash(), document.to_bytes());
            let mut batch = Vec::new();
            let victim = numbers[random.below(numbers.len())];
            if random.below(2) == 0 {
                batch.push(Edit::Remove { address: format!("p{victim}"), policy: RemovePolicy::Restrict });
            } else {
                let fragment = part(1000 + step, random.below(SHORT + 300), "");
                batch.push(Edit::Insert { fragment, parent: format!("p{victim}"), after: None });
            }
            // Every fourth batch is taken back by an edit that fails.
            if random.below(4) == 0 {
                batch.push(Edit::Remove { address: "nobody".into(), policy: RemovePolicy::Restrict });
            }
            if document.apply(&batch).is_err() {
                prop_assert_eq!((document.root_hash(), document.to_bytes()), (before, bytes));
            }
            numbers = document.ids().map(|id| id[1..].parse().expect("a number")).collect();
            assert_consistent(&document);
            assert_defined(&document);
            if numbers.is_empty() {
                break;
            }
        }
        let limits = Limits::default();
        for element in document.elements() {
            let Some(address) = element.address() else { continue };
            let proof = document.prove(&address).expect("an address");
            prop_assert_eq!(proof.verify(document.root_hash(), &element.source(), &limits), Ok(()));
            let heads: Vec<String> = element.ancestors().skip(1).map(start_tag).collect();
            prop_assert!(proof.ancestors().eq(heads.iter().map(String::as_str)));
        }
    }
}

#[test]
fn an_element_with_many_children_becomes_short_and_long_again() {
    let parts = "<Value/>".repeat(300);
    let mut document = parse(format!(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='E' ID='e'>{parts}</InternalElement></InstanceHierarchy></CAEXFile>"
    ));
    for round in 0..20 {
        document.insert(&part(1, SHORT, ""), "e", None).expect("it fits");
        assert_consistent(&document);
        document.remove("p1").expect("it is there");
        // Among what is short nobody looks after runs.
        document.insert(&part(100 + round, 5, ""), "e", None).expect("it fits");
        assert_consistent(&document);
        assert!(round > 12 || document.find("e").expect("it is there").source().len() < SHORT);
    }
    assert_defined(&document);
}

/// A document that is short as a whole, and has the text of an element where there is none, as long as one that is there.
fn with_comment() -> (Document, String) {
    let hidden = "<InternalElement Name='Fake' ID='fake'/>".to_owned();
    let document = parse(format!(
        "<CAEXFile><InstanceHierarchy Name='H'><InternalElement Name='Real' ID='real'/><!--{hidden}--></InstanceHierarchy></CAEXFile>"
    ));
    (document, hidden)
}

/// A proof of an element in a short document, made by hand: all that stands before it and behind it.
fn forged(heads: &[&str], before: &str, behind: &str) -> Proof {
    let levels: [u8; 4] = [0; 4];
    let within = Some((heads.to_vec(), before, behind));
    let bytes = borsh::to_vec(&("", within, levels, "")).expect("borsh");
    borsh::from_slice(&bytes).expect("a proof's encoding")
}

#[test]
fn a_proof_made_by_hand_holds_for_what_is_there() {
    let (document, _) = with_comment();
    let (text, source) = (document.root().source().into_owned(), "<InternalElement Name='Real' ID='real'/>");
    let (before, behind) = text.split_once(source).expect("the element");
    let proof = forged(&["<InstanceHierarchy Name='H'>", "<CAEXFile>"], before, behind);
    assert_eq!(proof, document.prove("real").expect("an element"));
    assert_eq!(proof.verify(document.root_hash(), source, &Limits::default()), Ok(()));
}

#[test]
fn a_proof_does_not_hold_for_text_that_is_no_element() {
    let (document, hidden) = with_comment();
    let text = document.root().source().into_owned();
    let (before, behind) = text.split_once(&hidden).expect("the comment");
    let (root, limits) = (document.root_hash(), Limits::default());
    let proof = forged(&["<InstanceHierarchy Name='H'>", "<CAEXFile>"], before, behind);
    assert!(proof.verify(root, &hidden, &limits).is_err());
    // Two elements at once, half of one, and nothing.
    for source in
        ["<InternalElement Name='Real' ID='real'/><!--", "<InternalElement Name='Real'", "", "<CAEXFile>"]
    {
        let (before, behind) = text.split_once(source).expect("a part");
        let proof = forged(&["<InstanceHierarchy Name='H'>", "<CAEXFile>"], before, behind);
        assert!(proof.verify(root, source, &limits).is_err(), "{source}");
    }
}

#[test]
fn a_proof_does_not_hold_with_other_ancestors() {
    let (document, _) = with_comment();
    let (text, source) = (document.root().source().into_owned(), "<InternalElement Name='Real' ID='real'/>");
    let (before, behind) = text.split_once(source).expect("the element");
    let (hierarchy, root) = ("<InstanceHierarchy Name='H'>", "<CAEXFile>");
    for heads in [&[][..], &[hierarchy], &[root, hierarchy], &["<InstanceHierarchy Name='I'>", root], &[root]]
    {
        let proof = forged(heads, before, behind);
        assert!(proof.verify(document.root_hash(), source, &Limits::default()).is_err(), "{heads:?}");
    }
}

#[test]
fn every_bit_of_a_proof_in_a_short_element_counts() {
    let padding = part(1, SHORT, "");
    let inner = part(2, 1000, &part(3, 100, "<ExternalInterface Name='I' ID='i'/>"));
    let document = parse(format!(
        "<CAEXFile><InstanceHierarchy Name='H'>{padding}\n{inner}</InstanceHierarchy></CAEXFile>"
    ));
    let (root, limits) = (document.root_hash(), Limits::default());
    let proof = document.prove("i").expect("an element");
    assert_eq!(proof.ancestors().count(), 4);
    let source = "<ExternalInterface Name='I' ID='i'/>";
    assert_eq!(proof.verify(root, source, &limits), Ok(()));
    let bytes = borsh::to_vec(&proof).expect("borsh");
    assert!(bytes.len() < 2000, "the proof holds the short element alone, not its siblings");
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bent) = borsh::from_slice::<Proof>(&bent) {
            assert!(bent.verify(root, source, &limits).is_err(), "bit {bit}");
        }
    }
}
