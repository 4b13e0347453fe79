//! What travels: every value has one encoding, and nothing else is taken for one.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::Record;
use dt_feed::testing::{entry, entry_proof, floor, head, manifest, segment, tree};
use dt_feed::{
    Entry, EntryProof, Floor, Fork, Head, MAX_HEAD_BYTES, MAX_MANIFEST_BYTES, Manifest, Segment, SignedHead,
    SignedSegment, Tree,
};
use dt_model::{Envelope, codec};
use proptest::prelude::*;

use crate::common;

const LIMIT: usize = 128 * 1024;

/// Encodes and decodes, and damages the encoding: what still decodes must be another value, in its one encoding.
fn damage<T>(value: &T, bit: prop::sample::Index, cut: prop::sample::Index) -> Result<(), TestCaseError>
where
    T: BorshSerialize + BorshDeserialize + PartialEq + core::fmt::Debug,
{
    let bytes = codec::encode(value);
    let back = codec::decode::<T>(&bytes, LIMIT);
    prop_assert_eq!(back.as_ref(), Ok(value));
    prop_assert!(codec::decode::<T>(&bytes[..cut.index(bytes.len())], LIMIT).is_err());
    let mut longer = bytes.clone();
    longer.push(0);
    prop_assert!(codec::decode::<T>(&longer, LIMIT).is_err());
    let mut flipped = bytes;
    let at = bit.index(flipped.len() * 8);
    flipped[at / 8] ^= 1 << (at % 8);
    if let Ok(other) = codec::decode::<T>(&flipped, LIMIT) {
        prop_assert_ne!(&other, value);
        prop_assert_eq!(codec::encode(&other), flipped);
    }
    Ok(())
}

proptest! {
    #[test]
    fn manifests(value in manifest(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Manifest>(&value, bit, cut)?;
        prop_assert!(codec::encode(&value).len() <= MAX_MANIFEST_BYTES);
    }

    #[test]
    fn entries(value in entry(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Entry>(&value, bit, cut)?;
    }

    #[test]
    fn trees(value in tree(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Tree>(&value, bit, cut)?;
    }

    #[test]
    fn floors(value in floor(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Floor>(&value, bit, cut)?;
    }

    #[test]
    fn heads(value in head(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Head>(&value, bit, cut)?;
        prop_assert!(codec::encode(&value).len() <= MAX_HEAD_BYTES);
    }

    #[test]
    fn segments(value in segment(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<Segment>(&value, bit, cut)?;
    }

    #[test]
    fn proofs(value in entry_proof(), bit: prop::sample::Index, cut: prop::sample::Index) {
        damage::<EntryProof>(&value, bit, cut)?;
        let head = common::steps(None, &[3], 0).remove(0).head;
        prop_assert!(value.verify(&common::manifest(), head.record()).is_err());
    }

}

proptest! {
    // Each case signs several times.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever an owner signs, judging it ends, with a verdict and without a panic.
    #[test]
    fn anything_signed_is_judged(head in head(), segment in segment(), own: bool) {
        let feed = common::manifest().feed();
        let (mut head, mut segment) = (head, segment);
        if own {
            head.feed = feed;
            segment.feed = feed;
        }
        let index = segment.index;
        let heads = Record {
            key: feed.head_key(), version: head.segments, body: codec::encode(&head).into()
        };
        let segments = Record { key: feed.segment_key(index), version: 1, body: codec::encode(&segment).into() };
        let (heads, segments) = (common::sign(heads), common::sign(segments));
        if let Ok(signed) = SignedHead::verify(&common::manifest(), heads.clone()) {
            prop_assert!(own && signed.size() >= signed.segments);
        }
        if let Ok(signed) = SignedSegment::verify(&common::manifest(), segments.clone()) {
            prop_assert!(own && signed.after().size() == signed.end());
        }
        let mut shelf = common::Shelf::with_manifest();
        let before = shelf.0.len();
        prop_assert!(shelf.offer(&heads).is_err(), "no segment is there");
        prop_assert_eq!(shelf.offer(&segments).is_ok(), shelf.0.len() > before);
    }

    /// A damaged record is refused or is another party's word; a damaged fork convicts nobody.
    #[test]
    fn signed_bytes_do_not_bend(bit: prop::sample::Index, cut: prop::sample::Index) {
        let (a, b) = (common::steps(None, &[3], 1).remove(0), common::steps(None, &[3], 2).remove(0));
        let fork = Fork::between(&a.head, &b.head).unwrap();
        damage(&fork, bit, cut)?;
        let mut bytes = codec::encode(&fork);
        let at = bit.index(bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        if let Ok(fork) = codec::decode::<Fork>(&bytes, LIMIT) {
            prop_assert!(fork.verify(&common::manifest()).is_err());
        }
        let mut bytes = codec::encode(a.segment.record().envelope());
        let at = bit.index(bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        let opened = codec::decode::<Envelope<Record>>(&bytes, LIMIT).ok().and_then(|it| it.open().ok());
        prop_assert!(opened.is_none());
    }
}
