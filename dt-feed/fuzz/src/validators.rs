//! One feed, and whatever its owner and strangers offer to a replica that holds it, and at times has lost something of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dt_dht::{Neighbours, Record, Refusal, Site, Slot, Validator};
use dt_feed::{HEAD, MANIFEST, SEGMENT, SignedHead, SignedSegment};
use dt_model::testing::Choices;
use dt_model::{Digest, Signed, Signer, Timestamp};

use super::feed::{self, manifest, party};

/// How many records a run offers at most.
const STEPS: usize = 24;

/// What a replica holds of the feed.
#[derive(Clone, Default)]
struct Shelf(BTreeMap<Slot, Signed<Record>>);

impl Neighbours for Shelf {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        self.0.get(&slot).cloned()
    }
}

impl Shelf {
    /// As a replica judges: what is stored already only renews.
    fn judge(&self, offered: &Signed<Record>) -> Result<(), Refusal> {
        static VALIDATORS: OnceLock<Vec<Arc<dyn Validator>>> = OnceLock::new();
        let slot = offered.key.slot;
        let validators = VALIDATORS.get_or_init(dt_feed::validators);
        let validator = validators.iter().find(|validator| validator.kind() == slot.kind);
        let now = Timestamp::from_millis(0);
        let site = Site { now, stored: self.0.get(&slot), neighbours: self };
        validator.map_or(Err(Refusal::UnknownKind), |validator| validator.admit(&site, offered))
    }

    fn head(&self) -> Option<SignedHead> {
        let record = self.0.get(&Slot { kind: HEAD, index: 0 })?.clone();
        Some(SignedHead::verify(manifest(), record).expect("it was admitted"))
    }

    fn segment(&self, index: u64) -> Option<SignedSegment> {
        let record = self.0.get(&Slot { kind: SEGMENT, index })?.clone();
        Some(SignedSegment::verify(manifest(), record).expect("it was admitted"))
    }

    fn indexes(&self) -> Vec<u64> {
        self.0.keys().filter(|slot| slot.kind == SEGMENT).map(|slot| slot.index).collect()
    }
}

struct World {
    shelf: Shelf,
    /// The digests of segments that a head covers: they are what they are for ever.
    covered: BTreeMap<u64, Digest>,
    offered: Vec<Signed<Record>>,
}

/// Whatever is offered, the validators admit a log that only grows: what a head covers never changes, and a head covers what was shown.
pub fn validators(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut world = World { shelf: Shelf::default(), covered: BTreeMap::new(), offered: Vec::new() };
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        let offered = world.make(&mut choices);
        world.offer(&offered);
        world.offered.push(offered);
        if choices.below(16) == 0 {
            world.lose(&mut choices);
        }
    }
}

impl World {
    fn make(&self, choices: &mut Choices<'_>) -> Signed<Record> {
        let signer = usize::from(choices.below(16) == 0);
        match choices.below(16) {
            0 if !self.offered.is_empty() => self.offered[choices.below(self.offered.len())].clone(),
            1 => feed::sign(self.any(choices), signer),
            2 | 3 => {
                let of = feed::manifest_of(choices.below(8) / 7).record();
                let version = if choices.below(8) == 0 { choices.number() } else { 1 };
                feed::sign(Record { version, ..of }, signer)
            }
            4..=9 => self.segment(choices, signer),
            _ => self.head(choices, signer).unwrap_or_else(|| feed::sign(manifest().record(), signer)),
        }
    }

    /// A body of any bytes at a place of the feed.
    fn any(&self, choices: &mut Choices<'_>) -> Record {
        let feed = manifest().feed();
        let keys = [feed.manifest_key(), feed.head_key(), feed.segment_key(choices.number())];
        let key = keys[choices.below(3)];
        Record { key, version: choices.number(), body: Bytes::copy_from_slice(choices.bytes()) }
    }

    /// Mostly one that follows on the last segment, or on an earlier one.
    fn segment(&self, choices: &mut Choices<'_>, signer: usize) -> Signed<Record> {
        let last = self.shelf.indexes().last().copied();
        let back = choices.below(8).saturating_sub(5) as u64;
        let previous = last.and_then(|last| self.shelf.segment(last.saturating_sub(back)));
        let mut segment = feed::segment(choices, previous.as_ref());
        if choices.below(6) == 0 {
            feed::damage_segment(choices, &mut segment);
        }
        feed::sign(feed::segment_record(&segment, choices.number().max(1)), signer)
    }

    /// Mostly one that covers the next segment, or a later one.
    fn head(&self, choices: &mut Choices<'_>, signer: usize) -> Option<Signed<Record>> {
        let before = self.shelf.head();
        let next = before.as_ref().map_or(0, |before| before.segments);
        let last = self.shelf.segment(next.saturating_add(choices.below(8).saturating_sub(5) as u64))?;
        let first_time = match &before {
            Some(before) => before.first_time,
            None => self.shelf.segment(0).map_or(last.first_time, |first| first.first_time),
        };
        let mut head = feed::head(&last, before.as_ref(), first_time);
        if choices.below(6) == 0 {
            feed::damage_head(choices, &mut head);
        }
        Some(feed::sign(feed::head_record(&head), signer))
    }

    /// The replica lacks a segment, covered or not.
    fn lose(&mut self, choices: &mut Choices<'_>) {
        let indexes = self.shelf.indexes();
        if !indexes.is_empty() {
            let index = indexes[choices.below(indexes.len())];
            self.shelf.0.remove(&Slot { kind: SEGMENT, index });
        }
    }

    fn offer(&mut self, offered: &Signed<Record>) {
        let slot = offered.key.slot;
        if self.shelf.0.get(&slot).is_some_and(|stored| stored.digest() == offered.digest()) {
            return;
        }
        if offered.signer() == party(1).party() && offered.value() == &feed::manifest_of(1).record() {
            return; // His own feed, at its own address.
        }
        let verdict = self.shelf.judge(offered);
        assert_eq!(self.shelf.judge(offered), verdict, "judged again, the same");
        if verdict.is_err() {
            return;
        }
        assert_eq!(offered.signer(), party(0).party(), "only the owner extends it");
        assert_eq!(offered.key.address, manifest().feed().address());
        let before = self.shelf.clone();
        self.shelf.0.insert(slot, offered.clone());
        match slot.kind {
            MANIFEST => assert!(!before.0.contains_key(&slot) && offered.value() == &manifest().record()),
            HEAD => self.check_head(&before),
            _ => self.check_segment(slot.index, &before),
        }
        assert!(self.shelf.judge(offered).is_err(), "nothing is admitted twice");
    }

    fn check_segment(&mut self, index: u64, before: &Shelf) {
        let segment = self.shelf.segment(index).expect("it was admitted");
        if let Some(known) = self.covered.get(&index) {
            assert_eq!(*known, segment.record().digest(), "what a head covers stays what it is");
        }
        if let Some(replaced) = before.segment(index) {
            assert!(replaced.record().version < segment.record().version);
        }
        let previous = index.checked_sub(1).and_then(|previous| self.shelf.segment(previous));
        if index == 0 || previous.is_some() {
            assert!(segment.follows(previous.as_ref()), "a chain");
        }
        if let Some(next) = self.shelf.segment(index + 1) {
            assert!(next.follows(Some(&segment)), "what is chained to it still is");
        }
    }

    fn check_head(&mut self, before: &Shelf) {
        let head = self.shelf.head().expect("it was admitted");
        let last = self.shelf.segment(head.segments - 1).expect("a head covers what is here");
        assert_eq!((last.record().digest(), last.after()), (head.segment, &head.tree));
        if let Some(before) = before.head() {
            assert!(before.segments < head.segments && before.size() < head.size());
            assert!(before.tree.agrees_with(&head.tree) && before.first_time == head.first_time);
        }
        // What it commits to, as far as the chain down from its last segment is here.
        let mut committed = Some(last);
        while let Some(segment) = committed {
            let digest = segment.record().digest();
            assert_eq!(
                *self.covered.entry(segment.index).or_insert(digest),
                digest,
                "what a head covers stays"
            );
            let below = segment.index.checked_sub(1).and_then(|index| self.shelf.segment(index));
            assert!(below.is_none() || segment.follows(below.as_ref()), "a chain");
            committed = below;
        }
    }
}
