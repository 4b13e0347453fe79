//! One feed, its owner and a stranger, and what they sign.

use std::sync::{Arc, OnceLock};

use dt_dht::{BlobRef, Record, Resilience};
use dt_feed::{Head, Manifest, Segment, SignedHead, SignedSegment, Tree};
use dt_model::merkle::subtrees;
use dt_model::testing::{Choices, identity};
use dt_model::{Digest, Identity, Signed, Signer, Timestamp, TwinId, codec};

/// When it begins.
const START: u64 = 1_700_000_000_000;

/// The owner, and a stranger.
pub fn party(number: usize) -> &'static Arc<Identity> {
    static PARTIES: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    &PARTIES.get_or_init(|| (0..2).map(|seed| Arc::new(identity(seed))).collect())[number]
}

pub fn manifest() -> &'static Manifest {
    static MANIFEST: OnceLock<Manifest> = OnceLock::new();
    MANIFEST.get_or_init(|| manifest_of(0))
}

pub fn manifest_of(owner: usize) -> Manifest {
    Manifest {
        twin: TwinId::from([7; 32]),
        component: "filler".parse().expect("a name"),
        owner: party(owner).party(),
        topic: "pressure".parse().expect("a name"),
        media_type: "text/plain".parse().expect("a name"),
    }
}

pub fn sign(record: Record, number: usize) -> Signed<Record> {
    Signed::new(record, &**party(number)).expect("it signs")
}

fn blob() -> BlobRef {
    static BLOB: OnceLock<BlobRef> = OnceLock::new();
    let resilience = || Resilience::tolerating(1).expect("four replicas");
    BLOB.get_or_init(|| BlobRef::of(b"sealed", resilience()).expect("short content")).clone()
}

/// A segment that follows on `previous`.
pub fn segment(choices: &mut Choices<'_>, previous: Option<&SignedSegment>) -> Segment {
    let count = 1 + choices.below(5) as u32;
    let before = previous.map_or_else(Tree::empty, |previous| previous.after().clone());
    let end = before.size().saturating_add(u64::from(count));
    let added = subtrees(before.size(), end).map(|part| Digest::from([part.level() as u8; 32])).collect();
    let first_time = previous.map_or(Timestamp::from_millis(START), |previous| previous.last_time);
    Segment {
        feed: manifest().feed(),
        index: previous.map_or(0, |previous| previous.index.saturating_add(1)),
        previous: previous.map_or(Digest::ZERO, |previous| previous.record().digest()),
        before,
        count,
        added,
        first_time,
        last_time: Timestamp::from_millis(first_time.as_millis().saturating_add(choices.number() % 8)),
        time: previous.map_or(first_time, |previous| previous.time),
        epoch: previous.map_or(1, |previous| previous.epoch),
        salt: [choices.byte(); 32],
        blob: blob(),
    }
}

/// The head that covers `last` and follows on `before`.
pub fn head(last: &SignedSegment, before: Option<&SignedHead>, first_time: Timestamp) -> Head {
    Head {
        feed: last.feed,
        segments: last.index.saturating_add(1),
        previous: before.map_or(Digest::ZERO, |before| before.record().digest()),
        segment: last.record().digest(),
        tree: last.after().clone(),
        first_time,
        last_time: last.last_time,
        time: last.time,
        epoch: last.epoch,
    }
}

/// One field of it is another.
pub fn damage_segment(choices: &mut Choices<'_>, segment: &mut Segment) {
    let (digest, time) = (Digest::from([choices.byte(); 32]), Timestamp::from_millis(choices.number()));
    match choices.below(11) {
        0 => segment.feed = [choices.byte(); 32].into(),
        1 => segment.index = choices.number(),
        2 => segment.previous = digest,
        3 => segment.before = Tree::new(1, vec![digest]).unwrap_or_else(Tree::empty),
        4 => segment.count = choices.number() as u32,
        5 => segment.added.push(digest),
        6 => drop(segment.added.pop()),
        7 => segment.first_time = time,
        8 => segment.last_time = time,
        9 => segment.time = time,
        _ => segment.epoch = choices.number(),
    }
}

/// One field of it is another.
pub fn damage_head(choices: &mut Choices<'_>, head: &mut Head) {
    let (digest, time) = (Digest::from([choices.byte(); 32]), Timestamp::from_millis(choices.number()));
    match choices.below(9) {
        0 => head.feed = [choices.byte(); 32].into(),
        1 => head.segments = choices.number(),
        2 => head.previous = digest,
        3 => head.segment = digest,
        4 => head.tree = Tree::new(1, vec![digest]).unwrap_or_else(Tree::empty),
        5 => head.first_time = time,
        6 => head.last_time = time,
        7 => head.time = time,
        _ => head.epoch = choices.number(),
    }
}

/// The description as a record, at the place that it says.
pub fn segment_record(segment: &Segment, version: u64) -> Record {
    Record { key: segment.feed.segment_key(segment.index), version, body: codec::encode(segment).into() }
}

pub fn head_record(head: &Head) -> Record {
    Record { key: head.feed.head_key(), version: head.segments, body: codec::encode(head).into() }
}
