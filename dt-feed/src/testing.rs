//! Proptest strategies for the crate's types.

use dt_dht::testing::blob;
use dt_model::Digest;
use dt_model::merkle::subtrees;
pub use dt_model::testing::tree;
use dt_model::testing::{component, digest, party, text, timestamp, twin};
use proptest::prelude::*;

use crate::{Entry, EntryProof, FeedId, Floor, Head, Manifest, Segment};

/// Any feed.
pub fn feed() -> impl Strategy<Value = FeedId> {
    any::<[u8; 32]>().prop_map(FeedId::from)
}

/// Any manifest, of any owner.
pub fn manifest() -> impl Strategy<Value = Manifest> {
    (twin(), component(), party(), text(), text()).prop_map(|(twin, component, owner, topic, media_type)| {
        Manifest { twin, component, owner, topic, media_type }
    })
}

/// Any entry with a short payload.
pub fn entry() -> impl Strategy<Value = Entry> {
    (timestamp(), prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(timestamp, payload)| Entry::new(timestamp, payload))
}

/// Any floor.
pub fn floor() -> impl Strategy<Value = Floor> {
    (any::<u64>(), digest()).prop_map(|(size, root)| Floor { size, root })
}

/// Any head, sound or not.
pub fn head() -> impl Strategy<Value = Head> {
    (feed(), any::<u64>(), digest(), digest(), tree(), timestamp(), timestamp(), timestamp(), any::<u64>())
        .prop_map(|(feed, segments, previous, segment, tree, first_time, last_time, time, epoch)| Head {
            feed,
            segments,
            previous,
            segment,
            tree,
            first_time,
            last_time,
            time,
            epoch,
        })
}

/// Any segment description, sound or not.
pub fn segment() -> impl Strategy<Value = Segment> {
    let times = (timestamp(), timestamp(), timestamp());
    (feed(), any::<u64>(), digest(), tree(), any::<u32>(), times, any::<u64>(), any::<[u8; 32]>(), blob())
        .prop_map(|(feed, index, previous, before, count, times, epoch, salt, (blob, _))| {
            let end = before.size().saturating_add(u64::from(count));
            let added =
                subtrees(before.size(), end).map(|part| Digest::from([part.level() as u8; 32])).collect();
            let (first_time, last_time, time) = times;
            Segment {
                feed,
                index,
                previous,
                before,
                count,
                added,
                first_time,
                last_time,
                time,
                epoch,
                salt,
                blob,
            }
        })
}

/// Any proof, most likely of nothing.
pub fn entry_proof() -> impl Strategy<Value = EntryProof> {
    (any::<u64>(), entry(), any::<[u8; 32]>(), prop::collection::vec(digest(), 0..65))
        .prop_map(|(index, entry, blinding, path)| EntryProof { index, entry, blinding, path })
}
