//! Every decoder: the first byte says of which type.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_dht::{Key, Record};
use dt_feed::{
    Entry, EntryProof, Floor, Fork, Head, MAX_PROOF_BYTES, Manifest, Segment, SignedHead, SignedSegment, Tree,
};
use dt_model::codec;

use super::feed::{self, manifest};

/// Any bytes are a value in its only form, or an error; and what is asked of a value does not fail either.
pub fn decoders(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 10 {
        0 => drop(read::<Manifest>(bytes).map(|manifest| (manifest.feed(), manifest.record()))),
        1 => drop(read::<Entry>(bytes)),
        2 => tree(bytes),
        3 => drop(read::<Floor>(bytes)),
        4 => head(bytes),
        5 => segment(bytes),
        6 => proof(bytes),
        7 => drop(read::<Fork>(bytes).map(|fork| fork.verify(manifest()))),
        8 => body(bytes, manifest().feed().head_key()),
        _ => body(bytes, manifest().feed().segment_key(0)),
    }
}

/// The value that `bytes` are, if they are one: then they are its bytes.
fn read<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode::<T>(bytes, MAX_PROOF_BYTES).ok()?;
    assert_eq!(codec::encode(&value), bytes, "one encoding for each value");
    Some(value)
}

/// A tree that decodes has as many peaks as its size has ones, and grows into itself.
fn tree(bytes: &[u8]) {
    let Some(tree) = read::<Tree>(bytes) else { return };
    assert_eq!(tree.peaks().len(), tree.size().count_ones() as usize);
    assert!(tree.agrees_with(&tree));
    let _root = tree.root();
}

/// A head by whoever signs it is one of its owner's feed, or refused; and no contradiction of itself.
fn head(bytes: &[u8]) {
    let Some(head) = read::<Head>(bytes) else { return };
    assert_eq!(head.floor().size, head.size());
    let own = Head { feed: manifest().feed(), ..head };
    for number in 0..2 {
        let signed = SignedHead::verify(manifest(), feed::sign(feed::head_record(&own), number));
        if let Ok(signed) = signed {
            assert_eq!((number, &*signed), (0, &own));
            assert!((1..=signed.size()).contains(&signed.segments) && signed.first_time <= signed.last_time);
            assert!(Fork::between(&signed, &signed).is_none());
        }
    }
}

/// A description that is accepted adds as many entries as it says, and follows on none.
fn segment(bytes: &[u8]) {
    let Some(segment) = read::<Segment>(bytes) else { return };
    let own = Segment { feed: manifest().feed(), ..segment };
    let signed = SignedSegment::verify(manifest(), feed::sign(feed::segment_record(&own, 1), 0));
    if let Ok(signed) = signed {
        assert_eq!(signed.after().size(), own.first() + u64::from(own.count));
        assert_eq!((own.end(), own.after().as_ref()), (signed.after().size(), Some(signed.after())));
        assert!(!signed.follows(Some(&signed)));
    }
}

/// Nothing is proven by a head of which it is not.
fn proof(bytes: &[u8]) {
    let Some(proof) = read::<EntryProof>(bytes) else { return };
    let mut none = dt_model::testing::Choices::new(&[]);
    let segment = feed::sign(feed::segment_record(&feed::segment(&mut none, None), 1), 0);
    let segment = SignedSegment::verify(manifest(), segment).expect("it is the first one");
    let head = feed::head(&segment, None, segment.first_time);
    assert!(proof.verify(manifest(), &feed::sign(feed::head_record(&head), 0)).is_err());
}

/// Any bytes in a record's body, signed by the owner.
fn body(bytes: &[u8], key: Key) {
    let record = Record { key, version: 1, body: Bytes::copy_from_slice(bytes) };
    let record = feed::sign(record, 0);
    drop((SignedHead::verify(manifest(), record.clone()), SignedSegment::verify(manifest(), record)));
}
