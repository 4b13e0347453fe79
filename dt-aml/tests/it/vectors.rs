//! Golden values: whoever changes these changes what other parties have signed.

use dt_aml::{Edit, RemovePolicy};

use crate::support::{PLANT_30, PLANT_215, parse};

/// BLAKE3 over the framed pieces, put together by hand.
fn element(head: &str, children: &[(&str, [u8; 32])], tail: &str, end: &str) -> [u8; 32] {
    let mut preimage = b"dt/aml/element/v1".to_vec();
    let frame = |preimage: &mut Vec<u8>, text: &str| {
        preimage.extend((text.len() as u64).to_le_bytes());
        preimage.extend(text.as_bytes());
    };
    frame(&mut preimage, head);
    preimage.extend((children.len() as u64).to_le_bytes());
    for (gap, hash) in children {
        frame(&mut preimage, gap);
        preimage.extend(hash);
    }
    frame(&mut preimage, tail);
    frame(&mut preimage, end);
    blake3::hash(&preimage).into()
}

#[test]
fn the_root_hash_is_the_documented_one() {
    let document = parse("\u{feff}<CAEXFile>\n <InstanceHierarchy Name='H'/><!-- c --></CAEXFile>\n");
    let hierarchy = element("<InstanceHierarchy Name='H'/>", &[], "", "");
    let root = element("<CAEXFile>", &[("\n ", hierarchy)], "<!-- c -->", "</CAEXFile>");
    assert_eq!(document.root().hash().as_bytes(), &root);
    let mut preimage = b"dt/aml/document/v1".to_vec();
    preimage.extend(3_u64.to_le_bytes());
    preimage.extend("\u{feff}".bytes());
    preimage.extend(root);
    preimage.extend(1_u64.to_le_bytes());
    preimage.extend(b"\n");
    assert_eq!(document.root_hash().as_bytes(), blake3::hash(&preimage).as_bytes());
}

#[test]
fn root_hashes_of_the_fixtures() {
    assert_eq!(
        parse(PLANT_215).root_hash().to_string(),
        "9222a1c5183b79a1eaa09ce523fc1d6849bfb0c7c6339daa27ac17c66bdc1813"
    );
    assert_eq!(
        parse(PLANT_30).root_hash().to_string(),
        "729e34418c8c7644819f75a9add4ce38bd93d10a722a365a1269cf0c660101a6"
    );
}

#[test]
fn every_byte_counts() {
    let document = parse(PLANT_30);
    let mut hashes = std::collections::BTreeSet::from([document.root_hash()]);
    for at in 0..PLANT_30.len() {
        let mut bytes = PLANT_30.as_bytes().to_vec();
        bytes[at] = if bytes[at].is_ascii_lowercase() { bytes[at] ^ 1 } else { continue };
        if let Ok(other) = dt_aml::Document::parse(&bytes, document.limits()) {
            assert!(hashes.insert(other.root_hash()), "byte {at}");
        }
    }
    assert!(hashes.len() > 100);
}

#[test]
fn edits_have_one_encoding() {
    let insert = Edit::Insert { fragment: "<a/>".into(), parent: "p".into(), after: None };
    let bytes = borsh::to_vec(&insert).expect("borsh");
    assert_eq!(bytes, [&[0, 4, 0, 0, 0][..], b"<a/>", &[1, 0, 0, 0], b"p", &[0]].concat());
    let remove = Edit::Remove { address: "x".into(), policy: RemovePolicy::OpenLinks };
    assert_eq!(borsh::to_vec(&remove).expect("borsh"), [1, 1, 0, 0, 0, b'x', 1]);
}
