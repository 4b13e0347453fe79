//! What a replica accepts into a feed. The replicas are witnesses: they receipt a head only where the log they know has grown into it.
//!
//! # Invariants
//! Of each feed a replica MUST hold, at any time:
//! - the segments it has accepted as a chain: each follows on the one before it ([`SignedSegment::follows`]);
//! - every segment that its head covers unchanged for ever. Only the last segment, and only while no head covers it, may be replaced. One that
//!   was lost here returns as what the next one names, or as what the head names;
//! - a head that covers the last segment of that chain, or an earlier one of them.
//!
//! Hence a replica that missed some heads need not see them: once it has the missing segments, which prove growth step by step, it
//! accepts the newest head, which commits to the last of them.

use std::sync::Arc;

use dt_dht::{Kind, Neighbours, Record, Refusal, Site, Slot, Validator};
use dt_model::{Digest, Signed};

use crate::head::{Head, HeadError, SignedHead, contradiction};
use crate::segment::{SegmentError, SignedSegment, previous_slot};
use crate::{FeedId, HEAD, MANIFEST, Manifest, SEGMENT};

/// What a node needs in order to hold feeds: to be given to [`dt_dht::Replica::new`].
#[must_use]
pub fn validators() -> Vec<Arc<dyn Validator>> {
    vec![Arc::new(ManifestValidator), Arc::new(SegmentValidator), Arc::new(HeadValidator)]
}

/// Judges manifests: one per address, which is its digest, signed by the owner that it names.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManifestValidator;

/// Judges segment descriptions: they form a chain by the owner, in which what a head covers never changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SegmentValidator;

/// Judges heads: each covers the next segments of the chain, and nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadValidator;

impl Validator for ManifestValidator {
    fn kind(&self) -> Kind {
        MANIFEST
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        check_manifest(offered)?;
        match site.stored {
            Some(_) => Err(Refusal::Conflict),
            None => Ok(()),
        }
    }
}

impl Validator for SegmentValidator {
    fn kind(&self) -> Kind {
        SEGMENT
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let manifest = stored_manifest(site.neighbours)?;
        let segment = SignedSegment::verify(&manifest, offered.clone())?;
        let head = stored_head(&manifest, site.neighbours)?;
        let covered = head.as_ref().map_or(0, |head| head.segments);
        let next = segment.index.checked_add(1).and_then(|index| site.neighbours.record(segment_slot(index)));
        match site.stored {
            Some(stored) if stored.version > offered.version => {
                return Err(Refusal::Stale { stored: stored.version });
            }
            // What a head covers, and what another segment is chained to, stays.
            Some(_) if segment.index < covered || next.is_some() => return Err(Refusal::Conflict),
            Some(stored) if stored.version == offered.version => return Err(Refusal::Conflict),
            Some(_) => {}
            // A segment that was lost here comes back only if what is left is chained to it.
            None if segment.index < covered || next.is_some() => {
                restore(&manifest, &segment, head.as_ref(), next)?;
            }
            None => {}
        }
        let previous = previous_slot(segment.index).and_then(|slot| site.neighbours.record(slot));
        match previous {
            None if segment.index == 0 || segment.index < covered => Ok(()),
            None => Err(Refusal::Gap { stored: covered }),
            Some(previous) => {
                // An attempt that was given up lies here; the one that took its place is still to come.
                if segment.index > covered && previous.digest() != segment.previous {
                    return Err(Refusal::Gap { stored: covered });
                }
                let previous = SignedSegment::verify(&manifest, previous)?;
                if segment.follows(Some(&previous)) { Ok(()) } else { Err(Refusal::Inconsistent) }
            }
        }
    }
}

impl Validator for HeadValidator {
    fn kind(&self) -> Kind {
        HEAD
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let manifest = stored_manifest(site.neighbours)?;
        let head = SignedHead::verify(&manifest, offered.clone())?;
        let stored = site.stored.map(|stored| SignedHead::verify(&manifest, stored.clone())).transpose()?;
        let covered = stored.as_ref().map_or(0, |stored| stored.segments);
        if head.segments < covered {
            return Err(Refusal::Stale { stored: covered });
        }
        if head.segments == covered {
            return Err(Refusal::Conflict);
        }
        let at = |index| site.neighbours.record(segment_slot(index));
        // It is missing, or an attempt that was given up lies in its place.
        let Some(last) = at(head.segments - 1).filter(|last| last.digest() == head.segment) else {
            return Err(Refusal::Gap { stored: covered });
        };
        let last = SignedSegment::verify(&manifest, last)?;
        let first_time = match &stored {
            Some(stored) => stored.first_time,
            None if last.index == 0 => last.first_time,
            None => SignedSegment::verify(&manifest, at(0).ok_or(Refusal::Gap { stored: 0 })?)?.first_time,
        };
        // The chain of segments proves that the stored head's log has grown into this one; where it has a gap, two heads that contradict each
        // other are still told apart.
        let follows = stored.as_ref().is_none_or(|stored| contradiction(stored, &head).is_none());
        let expected = Head::covering(&last, head.previous, first_time);
        if follows && expected.as_ref() == Some(&*head) { Ok(()) } else { Err(Refusal::Inconsistent) }
    }
}

/// The manifest that `record` publishes, if it is one, by its owner and at its own address.
pub(crate) fn check_manifest(record: &Signed<Record>) -> Result<Manifest, Refusal> {
    let manifest = Manifest::decode(&record.body).map_err(|_| Refusal::Malformed)?;
    if record.key != manifest.feed().manifest_key() {
        return Err(Refusal::WrongAddress);
    }
    if record.signer() != manifest.owner {
        return Err(Refusal::NotPermitted);
    }
    if record.version != 1 {
        return Err(Refusal::Malformed);
    }
    Ok(manifest)
}

fn stored_manifest(neighbours: &dyn Neighbours) -> Result<Manifest, Refusal> {
    let record = neighbours.record(Slot { kind: MANIFEST, index: 0 }).ok_or(Refusal::Gap { stored: 0 })?;
    check_manifest(&record)
}

fn stored_head(manifest: &Manifest, neighbours: &dyn Neighbours) -> Result<Option<SignedHead>, Refusal> {
    let record = neighbours.record(Slot { kind: HEAD, index: 0 });
    Ok(record.map(|record| SignedHead::verify(manifest, record)).transpose()?)
}

/// Whether the `next` segment, or the head that covers `segment`, commits to it.
fn restore(
    manifest: &Manifest,
    segment: &SignedSegment,
    head: Option<&SignedHead>,
    next: Option<Signed<Record>>,
) -> Result<(), Refusal> {
    let committed: Option<Digest> = match (next, head) {
        (Some(next), _) => Some(SignedSegment::verify(manifest, next)?.previous),
        (None, Some(head)) if head.segments - 1 == segment.index => Some(head.segment),
        _ => None,
    };
    match committed {
        Some(digest) if digest == segment.record().digest() => Ok(()),
        Some(_) => Err(Refusal::Conflict),
        None => Err(Refusal::Superseded),
    }
}

const fn segment_slot(index: u64) -> Slot {
    Slot { kind: SEGMENT, index }
}

impl From<SegmentError> for Refusal {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Malformed => Self::Malformed,
            SegmentError::WrongKey => Self::WrongAddress,
            SegmentError::NotOwner => Self::NotPermitted,
        }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::Malformed,
            HeadError::WrongFeed => Self::WrongAddress,
            HeadError::NotOwner => Self::NotPermitted,
        }
    }
}

/// Reads a record as the manifest of `feed`: what a reader gives [`dt_dht::Client::get`].
pub(crate) fn manifest_of(feed: FeedId, record: &Signed<Record>) -> Result<Manifest, Refusal> {
    let manifest = check_manifest(record)?;
    if manifest.feed() == feed { Ok(manifest) } else { Err(Refusal::WrongAddress) }
}
