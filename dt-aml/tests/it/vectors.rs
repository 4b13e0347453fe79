//! Golden values: whoever changes these changes what other parties have signed.

use dt_aml::{Edit, RemovePolicy};

use crate::support::{PLANT_30, PLANT_215, parse};

/// BLAKE3 keyed with a context, over pieces that are put together by hand.
fn keyed(context: &str, pieces: &[&[u8]]) -> [u8; 32] {
    let key = blake3::hash(context.as_bytes());
    blake3::keyed_hash(key.as_bytes(), &pieces.concat()).into()
}

#[test]
fn the_root_hash_is_the_documented_one() {
    let document = parse("\u{feff}<CAEXFile>\n <InstanceHierarchy Name='H'/><!-- c --></CAEXFile>\n");
    let root =
        keyed("dt/aml/element/v3", &[b"<CAEXFile>\n <InstanceHierarchy Name='H'/><!-- c --></CAEXFile>"]);
    assert_eq!(document.root().hash().as_bytes(), &root);
    let whole = keyed("dt/aml/document/v3", &["\u{feff}".as_bytes(), &[0xFF], &root, b"\n"]);
    assert_eq!(document.root_hash().as_bytes(), &whole);
}

#[test]
fn elements_of_4096_bytes_are_the_longest_that_are_hashed_as_they_are() {
    for length in [4096, 4097] {
        let (open, close) = ("<CAEXFile>\n <InstanceHierarchy Name='H'/><!--", "--></CAEXFile>");
        let filler = "c".repeat(length - open.len() - close.len());
        let document = parse([open, &filler, close].concat());
        let hierarchy = keyed("dt/aml/element/v3", &[b"<InstanceHierarchy Name='H'/>"]);
        let root = if length == 4096 {
            keyed("dt/aml/element/v3", &[open.as_bytes(), filler.as_bytes(), close.as_bytes()])
        } else {
            let pieces: [&[u8]; 6] =
                [b"<CAEXFile>\n ", &[0xFF], &hierarchy, b"<!--", filler.as_bytes(), close.as_bytes()];
            keyed("dt/aml/element/v3", &pieces)
        };
        assert_eq!(document.root().hash().as_bytes(), &root, "{length}");
        let inner = document.find("/InstanceHierarchy[H]").expect("a hierarchy");
        assert_eq!(inner.hash().as_bytes(), &hierarchy, "{length}");
    }
}

#[test]
fn runs_of_children_are_the_documented_ones() {
    let children: Vec<String> = (0..1000).map(|n| format!("<InternalElement Name='{n}'/>")).collect();
    let hierarchy = format!("<InstanceHierarchy Name='H'>\n{}</InstanceHierarchy>", children.join("\n"));
    let document = parse(format!("<CAEXFile>{hierarchy}</CAEXFile>"));
    let (mut expected, mut run, mut runs) = (b"<InstanceHierarchy Name='H'>".to_vec(), Vec::new(), 0);
    for child in &children {
        let hash = keyed("dt/aml/element/v3", &[child.as_bytes()]);
        run.extend(b"\n");
        run.push(0xFF);
        run.extend(hash);
        if hash[0] & 0b0011_1111 == 0 {
            expected.push(0xFE);
            expected.extend(keyed("dt/aml/run/v3", &[&run]));
            run.clear();
            runs += 1;
        }
    }
    assert!(runs > 5, "only {runs} runs");
    expected.extend(run);
    expected.extend(b"</InstanceHierarchy>");
    let hierarchy = document.find("/InstanceHierarchy[H]").expect("a hierarchy");
    assert_eq!(hierarchy.hash().as_bytes(), &keyed("dt/aml/element/v3", &[&expected]));
}

#[test]
fn root_hashes_of_the_fixtures() {
    assert_eq!(
        parse(PLANT_215).root_hash().to_string(),
        "014bb497fa743e9d163d4121575c87a80b8b630d5a22c0cb70b0c72a09eb737f"
    );
    assert_eq!(
        parse(PLANT_30).root_hash().to_string(),
        "91dc801aa26c19df66fb839eafd1ada4ce677f78fa13d1f32c82ebdf856299de"
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

#[test]
fn the_semantic_hash_is_the_documented_one() {
    let document = parse(
        "\u{feff}<CAEXFile>\n <InstanceHierarchy Name = 'H' ID='&#104;'/><AdditionalInformation> <x:a xmlns:x='u' x:b='c'/></AdditionalInformation></CAEXFile>\n",
    );
    let element = "dt/aml/semantic/element/v1";
    let hierarchy: [&[u8]; 3] = [b"\xFFInstanceHierarchy\xFF", b"\xFE\xFFID\xFFh\xFE\xFFName\xFFH", b"\xFD"];
    let free = keyed(element, &[b"u\xFFa\xFF", b"\xFEu\xFFb\xFFc", b"\xFD"]);
    let information = keyed(element, &[b"\xFFAdditionalInformation\xFF", b"\xFD \xFF", &free]);
    let root = keyed(
        element,
        &[b"\xFFCAEXFile\xFF", b"\xFD\xFF", &keyed(element, &hierarchy), b"\xFF", &information],
    );
    assert_eq!(document.root().semantic_hash().as_bytes(), &root);
    assert_eq!(document.semantic_hash().as_bytes(), &keyed("dt/aml/semantic/document/v1", &[&root]));
}

#[test]
fn semantic_hashes_of_the_fixtures() {
    assert_eq!(
        parse(PLANT_215).semantic_hash().to_string(),
        "1d7b9a323390ce4b30186f2d476a06869c2be2b301d7af861b63e13964a34d7a"
    );
    assert_eq!(
        parse(PLANT_30).semantic_hash().to_string(),
        "a3afd83d45efea4dcc4820eb5f93d231145ee5ccd3bbd6977e6e59fbdbddb543"
    );
}
