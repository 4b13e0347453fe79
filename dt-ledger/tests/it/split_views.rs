//! Validators that show two chains are convicted by what they signed, and nobody else is.

use dt_ledger::{Checkpoint, LogHead, MAX_SPLIT_VIEW_BYTES, SignedNote, Split, SplitView, SplitViewError};
use dt_model::testing::identity;
use dt_model::{Signer as _, codec};
use proptest::prelude::*;

use crate::notes::checkpoint;
use crate::support::digest;

const LIAR: u64 = 1;
const OTHER: u64 = 2;

fn note(checkpoint: &Checkpoint, signers: &[u64]) -> SignedNote {
    let sign = |seed: &u64| checkpoint.sign(&identity(*seed)).unwrap();
    checkpoint.note(signers.iter().map(sign).collect()).unwrap()
}

fn between(first: &Checkpoint, second: &Checkpoint) -> Option<SplitView> {
    SplitView::between(identity(LIAR).party(), &note(first, &[OTHER, LIAR]), &note(second, &[LIAR]))
}

/// The bytes of evidence that nobody has checked.
fn claimed(seed: u64, first: &SignedNote, second: &SignedNote) -> SplitView {
    let bytes = codec::encode(&(identity(seed).party(), first.to_string(), second.to_string()));
    codec::decode(&bytes, MAX_SPLIT_VIEW_BYTES).unwrap()
}

#[test]
fn two_checkpoints_that_no_chain_has_both_convict_their_signer() {
    let one = checkpoint();
    let log = |size, root| LogHead { size, root: digest(root) };
    let cases = [
        ("another block", Checkpoint { block: digest(9), ..one }),
        ("another log", Checkpoint { log: log(1234, 9), ..one }),
        ("another length", Checkpoint { log: log(1235, 9), ..one }),
        ("another state", Checkpoint { state_root: digest(9), ..one }),
        ("other receipts", Checkpoint { receipts_root: digest(9), ..one }),
        ("a log that shrank", Checkpoint { height: 57, block: digest(9), log: log(1233, 9), ..one }),
        ("a log that changed", Checkpoint { height: 57, block: digest(9), log: log(1234, 9), ..one }),
        ("a block at two heights", Checkpoint { height: 57, ..one }),
    ];
    for (what, other) in cases {
        for (first, second) in [(one, other), (other, one)] {
            let found = between(&first, &second).unwrap_or_else(|| panic!("{what}"));
            let bytes = codec::encode(&found);
            let received: SplitView = codec::decode(&bytes, MAX_SPLIT_VIEW_BYTES).unwrap();
            let heights = [first.height, second.height];
            let split = Split { validator: identity(LIAR).party(), chain: digest(0xc1), heights };
            assert_eq!(received.verify(), Ok(split), "{what}");
        }
    }
}

#[test]
fn what_one_chain_may_have_convicts_nobody() {
    let one = checkpoint();
    let later = Checkpoint { height: 57, block: digest(9), state_root: digest(8), ..one };
    let grown = Checkpoint { log: LogHead { size: 1235, root: digest(9) }, ..later };
    let elsewhere = Checkpoint { chain: digest(0xc2), block: digest(9), ..one };
    for other in [one, later, grown, elsewhere] {
        assert_eq!(between(&one, &other), None);
        assert_eq!(between(&other, &one), None);
        let evidence = claimed(LIAR, &note(&one, &[LIAR]), &note(&other, &[LIAR]));
        assert_eq!(evidence.verify(), Err(SplitViewError::NoContradiction));
    }
}

#[test]
fn nobody_is_framed() {
    let (one, other) = (checkpoint(), Checkpoint { block: digest(9), ..checkpoint() });
    let both = |signers: [&[u64]; 2]| (note(&one, signers[0]), note(&other, signers[1]));
    // Two signers, one of each; and one who signed neither.
    for signers in [[&[LIAR][..], &[OTHER][..]], [&[OTHER], &[LIAR]], [&[OTHER], &[OTHER]]] {
        let (first, second) = both(signers);
        assert_eq!(SplitView::between(identity(LIAR).party(), &first, &second), None);
        let evidence = claimed(LIAR, &first, &second);
        assert!(matches!(evidence.verify(), Err(SplitViewError::Signature(_))));
    }
    // His signature under another text.
    let (first, second) = both([&[LIAR], &[LIAR]]);
    let forged = second.to_string().replace("height 56", "height 57");
    let evidence = claimed(LIAR, &first, &SignedNote::parse(forged.as_bytes()).unwrap());
    assert!(matches!(evidence.verify(), Err(SplitViewError::Signature(_))));
    // What is no checkpoint.
    let text = SignedNote::new("hello\n", second.signatures().to_vec()).unwrap();
    assert!(matches!(claimed(LIAR, &first, &text).verify(), Err(SplitViewError::Checkpoint(_))));
}

/// The bytes of evidence against the identity of seed 1.
#[test]
fn evidence_has_one_encoding() {
    let found = between(&checkpoint(), &Checkpoint { block: digest(9), ..checkpoint() }).unwrap();
    let bytes = codec::encode(&found);
    let hash = dt_model::ContentHash::of(&bytes);
    assert_eq!((bytes.len(), hash.to_string().as_str()), GOLDEN);
    let longer = [&bytes[..], &[0]].concat();
    assert!(codec::decode::<SplitView>(&longer, MAX_SPLIT_VIEW_BYTES).is_err());
    assert!(codec::decode::<SplitView>(&bytes, bytes.len() - 1).is_err());
}

/// Length and SHA-256.
const GOLDEN: (usize, &str) = (968, "245c2f826747a915a027cd9ba0445c7a1d9d0aaa3f67f1a469c6c7c18a141ce4");

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(at: prop::sample::Index, value: u8, is_cut: bool) {
        let found = between(&checkpoint(), &Checkpoint { block: digest(9), ..checkpoint() }).unwrap();
        let mut bytes = codec::encode(&found);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if is_cut {
            bytes.truncate(at);
        }
        if let Ok(read) = codec::decode::<SplitView>(&bytes, MAX_SPLIT_VIEW_BYTES) {
            prop_assert_eq!(codec::encode(&read), bytes);
            prop_assert!(read == found || read.verify().is_err(), "altered evidence convicts nobody");
        }
    }
}
