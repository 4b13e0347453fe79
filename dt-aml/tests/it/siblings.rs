//! Elements with very many children: hashes that follow edits run by run, and proofs that stay small.

use dt_aml::{Document, Edit, Limits, RemovePolicy};
use proptest::prelude::*;

use crate::support::{Lcg, assert_consistent, parse};

fn child(number: usize) -> String {
    format!("<InternalElement Name='n{number}' ID='e{number}'/>")
}

fn crowd(count: usize) -> Document {
    let children: Vec<String> = (0..count).map(child).collect();
    parse(format!(
        "<CAEXFile><InstanceHierarchy Name='H'>\n {}\n</InstanceHierarchy></CAEXFile>",
        children.join("\n ")
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Numbers around the one from which on runs are remembered, and far beyond.
    #[test]
    fn hashes_follow_edits_among_many_siblings(
        count in prop_oneof![150..250_usize, 1000..1500_usize],
        seed in any::<u64>(),
        edits in 1..60_usize,
    ) {
        let mut document = crowd(count);
        let mut random = Lcg(seed);
        let mut present: Vec<usize> = (0..count).collect();
        for step in 0..edits {
            let snapshot = document.clone();
            let before = document.root_hash();
            let batch: Vec<Edit> = (0..=random.below(3))
                .map(|part| {
                    let victim = random.below(present.len());
                    if random.below(2) == 0 && present.len() > 1 {
                        let number = present.remove(victim);
                        return Edit::Remove { address: format!("e{number}"), policy: RemovePolicy::Restrict };
                    }
                    let number = count + 10 * step + part;
                    let after = (random.below(8) > 0).then(|| format!("e{}", present[victim]));
                    present.push(number);
                    Edit::Insert { fragment: child(number), parent: "/InstanceHierarchy[H]".into(), after }
                })
                .collect();
            // Every fourth batch is taken back by an edit that fails.
            let fails = random.below(4) == 0;
            let mut batch = batch;
            if fails {
                batch.push(Edit::Remove { address: "nobody".into(), policy: RemovePolicy::Restrict });
            }
            let former = document.ids().collect::<Vec<_>>();
            let answer = document.apply(&batch);
            prop_assert_eq!(answer.is_err(), fails);
            if fails {
                prop_assert_eq!(document.root_hash(), before);
                present = former.iter().map(|id| id[1..].parse().expect("a number")).collect();
            }
            prop_assert_eq!(snapshot.root_hash(), before);
            prop_assert_eq!(parse(document.to_bytes()).root_hash(), document.root_hash());
        }
        assert_consistent(&document);
    }
}

#[test]
fn a_snapshot_is_not_moved_by_edits() {
    let mut document = crowd(5000);
    let (snapshot, bytes, root) = (document.clone(), document.to_bytes(), document.root_hash());
    for number in (0..5000).step_by(7) {
        document.remove(&format!("e{number}")).expect("an element");
        document.insert(&child(number + 5000), "/InstanceHierarchy[H]", None).expect("a fragment");
    }
    assert_eq!((snapshot.to_bytes(), snapshot.root_hash()), (bytes, root));
    assert_eq!(snapshot.ids().count(), 5000);
    assert!(snapshot.find("e7").is_ok() && document.find("e7").is_err());
    assert_consistent(&snapshot);
    assert_consistent(&document);
}

#[test]
fn proofs_among_many_siblings_are_small_and_cannot_be_bent() {
    let document = crowd(20_000);
    let limits = Limits::default();
    let root = document.root_hash();
    for number in [0, 1, 77, 9_999, 19_990, 19_998, 19_999] {
        let proof = document.prove(&format!("e{number}")).expect("an element");
        proof.verify(root, &child(number), &limits).expect("a proof");
        assert!(proof.verify(root, &child(number + 1), &limits).is_err());
        let bytes = borsh::to_vec(&proof).expect("borsh");
        assert!(bytes.len() < 60_000, "{} bytes, of {} in the document", bytes.len(), document.len());
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            if let Ok(bent) = borsh::from_slice::<dt_aml::Proof>(&bent) {
                assert!(bent.verify(root, &child(number), &limits).is_err(), "byte {at}");
            }
            if at > 3000 {
                break;
            }
        }
    }
}

#[test]
fn a_run_is_not_an_element_and_an_element_is_not_a_run() {
    // Somebody shows the bytes that were hashed for a run as if they were an element, or the other way round: the
    // marks are no text, so neither can be parsed, and the keys of the two hashes differ.
    let document = crowd(1000);
    let proof = document.prove("e5").expect("an element");
    let hierarchy = document.find("/InstanceHierarchy[H]").expect("a hierarchy").source().into_owned();
    assert!(proof.verify(document.root_hash(), &hierarchy, &Limits::default()).is_err());
}
