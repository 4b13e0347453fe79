//! Following what happens on the ledger: typed, in order, and from any point on again.
//!
//! # Invariant
//! A follower is told each event that passes its filter once and in the chain's order, in whatever pages, and however often it was begun
//! anew. The [`EventCursor`] of the last event that it has dealt with is all there is to keep:
//!
//! - kept in one step with what the event made the follower do, each event takes effect exactly once;
//! - kept after it, at least once: what was at work in a crash is told again;
//! - kept before it, at most once.

use std::collections::BTreeSet;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{DataClass, Timestamp, TwinId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{CommittedBlock, MAX_BLOCK_BYTES};
use crate::consensus::{Consensus, ConsensusError};
use crate::history::query::MAX_PAGE;
use crate::receipt::{Event, EventKind, TwinEvent};
use crate::record::Resource;
use crate::replica::opening::{TIP, read_meta};
use crate::replica::{Replica, Tip};
use crate::store::StoreError;

/// Blocks that are read for one page.
const MAX_BLOCKS: u32 = 256;

/// A point in the stream of all events, between one and the next.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct EventCursor {
    /// All events of the blocks below this height are before it,
    pub height: u64,
    /// and so are this many of the block's own.
    pub index: u32,
}

impl EventCursor {
    /// Before all events.
    pub const BEGINNING: Self = Self { height: 0, index: 0 };

    /// After all events of the block at `height`.
    #[must_use]
    pub const fn after_block(height: u64) -> Self {
        Self { height: height.saturating_add(1), index: 0 }
    }
}

/// An event, and where and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Occurrence {
    /// The point directly after it: kept once it is dealt with, it is where to go on.
    pub cursor: EventCursor,
    /// The block's time.
    pub time: Timestamp,
    /// The event.
    pub event: Event,
}

/// Which events somebody wants to be told. The default is all of them.
///
/// An event passes if it happened to one of the twins or resources that are named (where any is), and to data of one of the classes that
/// are named (where any is).
#[derive(Debug, Clone, PartialEq, Eq, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EventFilter {
    twins: BTreeSet<TwinId>,
    resources: BTreeSet<Resource>,
    classes: BTreeSet<DataClass>,
}

impl EventFilter {
    /// What happened to one of `twins`, too.
    #[must_use]
    pub fn twins(mut self, twins: impl IntoIterator<Item = TwinId>) -> Self {
        self.twins.extend(twins);
        self
    }

    /// What happened to one of `resources`, too. To an element happens also what happens to its documents, sources, feed and policy, and
    /// to calls of it.
    #[must_use]
    pub fn resources(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        self.resources.extend(resources);
        self
    }

    /// Only what happened to data of one of `classes` (or of those named before).
    #[must_use]
    pub fn classes(mut self, classes: impl IntoIterator<Item = DataClass>) -> Self {
        self.classes.extend(classes);
        self
    }

    /// Whether `event` passes.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let of_class =
            self.classes.is_empty() || event.class().is_some_and(|class| self.classes.contains(&class));
        let everywhere = self.twins.is_empty() && self.resources.is_empty();
        of_class && (everywhere || self.is_at(event))
    }

    fn is_at(&self, event: &Event) -> bool {
        let element = |resource: &Resource| {
            let (twin, component) = resource.component()?;
            Some(Resource::Element(twin, component.clone()))
        };
        let named = |resource: &Resource| {
            self.resources.contains(resource)
                || element(resource).is_some_and(|element| self.resources.contains(&element))
        };
        event.twin().is_some_and(|twin| self.twins.contains(&twin))
            || (!self.resources.is_empty() && event.resources.iter().any(named))
    }
}

impl Event {
    /// The twin that it happened to, if it was one.
    #[must_use]
    pub const fn twin(&self) -> Option<TwinId> {
        match &self.kind {
            EventKind::TwinCreated(twin) | EventKind::Twin(twin, _) => Some(*twin),
            _ => None,
        }
    }

    /// The class of the data that it happened to; `None` for a twin as a whole, and for who takes part in the chain.
    #[must_use]
    pub const fn class(&self) -> Option<DataClass> {
        let EventKind::Twin(_, event) = &self.kind else { return None };
        match event {
            TwinEvent::Decommissioned => None,
            TwinEvent::OwnershipTransferred(_)
            | TwinEvent::AgentChanged(_)
            | TwinEvent::RoleAssigned(..)
            | TwinEvent::RoleUnassigned(..)
            | TwinEvent::PolicyChanged(_)
            | TwinEvent::AclAnchored(..) => Some(DataClass::Policy),
            TwinEvent::DocumentAdded(_)
            | TwinEvent::DocumentVersionAdded(..)
            | TwinEvent::DocumentRemoved(_) => Some(DataClass::Document),
            TwinEvent::SourceAdded(_) | TwinEvent::SourceRemoved(_) => Some(DataClass::ExternalSource),
            TwinEvent::FeedAdded(..) | TwinEvent::FeedRemoved(..) | TwinEvent::HeadAnchored(..) => {
                Some(DataClass::Sensor)
            }
            TwinEvent::SpecificationChanged(_) => Some(DataClass::Specification),
            TwinEvent::CallQueued(_)
            | TwinEvent::CallCancelled(_)
            | TwinEvent::CallsClaimed(_)
            | TwinEvent::CallStarted(_)
            | TwinEvent::CallCompleted(..)
            | TwinEvent::CallRejected(..)
            | TwinEvent::CallExpired(_)
            | TwinEvent::ValuesReported(_)
            | TwinEvent::SafetyRulesChanged(_) => Some(DataClass::Program),
        }
    }
}

/// A part of the stream of events.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EventPage {
    /// The events that pass, in order.
    pub events: Vec<Occurrence>,
    /// Where to go on; the same that was asked from if the chain has no more blocks for now.
    pub next: EventCursor,
}

/// Why events were not told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The replica keeps that block's events no longer: whoever asks has missed some, and starts again from the state.
    #[error("the events of block {height} are not kept any more")]
    Pruned {
        /// The block.
        height: u64,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Replica {
    /// The events from `from` on that pass `filter`, `limit` (1 to [`MAX_PAGE`]) of them at most.
    ///
    /// A page reads at most 256 blocks, and no more after it has read as many bytes as one block may have: a short page, even one without
    /// events, ends the stream only if its `next` is `from`.
    ///
    /// # Errors
    /// [`EventsError`].
    pub fn events(
        &self,
        from: EventCursor,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<EventPage, EventsError> {
        let view = self.snapshot()?.view;
        let tip = read_meta::<Tip>(&*view, TIP)?.map_or(0, |tip| tip.height);
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let mut page = EventPage { events: Vec::new(), next: from };
        let (mut blocks, mut bytes) = (0, 0);
        loop {
            let height = page.next.height.max(1);
            if height > tip || blocks >= MAX_BLOCKS || bytes >= MAX_BLOCK_BYTES {
                return Ok(page);
            }
            let block = CommittedBlock::load(&*view, height)?.ok_or(EventsError::Pruned { height })?;
            blocks += 1;
            bytes += block.block.transactions.iter().map(bytes::Bytes::len).sum::<usize>();
            while let Some(occurrence) = step(&block, &mut page.next, filter) {
                page.events.push(occurrence);
                if page.events.len() == limit {
                    return Ok(page);
                }
            }
        }
    }
}

/// The first event of `block` at or after `cursor` that passes. The cursor moves behind it, or to the next block if there is none.
fn step(block: &CommittedBlock, cursor: &mut EventCursor, filter: &EventFilter) -> Option<Occurrence> {
    let height = block.block.header.height;
    if cursor.height != height {
        *cursor = EventCursor { height, index: 0 };
    }
    for event in block.events.iter().skip(cursor.index as usize) {
        cursor.index = cursor.index.saturating_add(1);
        if filter.matches(event) {
            return Some(Occurrence { cursor: *cursor, time: block.block.header.time, event: event.clone() });
        }
    }
    *cursor = EventCursor::after_block(height);
    None
}

/// Somebody who follows the chain's events as its blocks are committed.
///
/// # Examples
/// ```
/// # use std::sync::Arc;
/// # use dt_ledger::testing::Fixture;
/// use dt_ledger::{EventCursor, EventFilter, EventKind, Follower};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let chain = Fixture::default();
/// # let consensus = Arc::new(chain.solo());
/// # let owner = chain.enrol(1);
/// # let twin = chain.twin(&owner, None, &[]);
/// # let consensus = Arc::new(chain.solo());
///
/// let mut follower = Follower::new(consensus.clone(), EventCursor::BEGINNING, EventFilter::default());
/// let first = follower.next().await?;
///
/// // After a crash, from what was kept:
/// let mut follower = Follower::new(consensus, first.cursor, EventFilter::default().twins([twin]));
/// assert_eq!(follower.next().await?.event.kind, EventKind::TwinCreated(twin));
/// # Ok::<(), dt_ledger::ConsensusError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    consensus: Arc<dyn Consensus>,
    filter: EventFilter,
    cursor: EventCursor,
    /// The block that was looked into last.
    block: Option<Arc<CommittedBlock>>,
}

impl Follower {
    /// Follows `consensus` from `from` on, for what passes `filter`. A cursor beyond the tip waits for the chain to come there.
    #[must_use]
    pub fn new(consensus: Arc<dyn Consensus>, from: EventCursor, filter: EventFilter) -> Self {
        Self { consensus, filter, cursor: from, block: None }
    }

    /// How far it has come: behind the last event that it was told, and behind what it has passed over since.
    #[must_use]
    pub const fn cursor(&self) -> EventCursor {
        self.cursor
    }

    /// The next event that passes, as soon as its block is committed. Whoever drops this while it waits loses nothing.
    ///
    /// # Errors
    /// [`ConsensusError`]; the next call goes on from the same point.
    pub async fn next(&mut self) -> Result<Occurrence, ConsensusError> {
        loop {
            let block = self.block_at(self.cursor.height.max(1)).await?;
            if let Some(occurrence) = step(&block, &mut self.cursor, &self.filter) {
                return Ok(occurrence);
            }
        }
    }

    /// The next event that passes of the blocks that are committed by now, if there is one.
    ///
    /// # Errors
    /// [`ConsensusError`]; the next call goes on from the same point.
    pub async fn next_committed(&mut self) -> Result<Option<Occurrence>, ConsensusError> {
        while self.cursor.height.max(1) <= self.consensus.status().height {
            let block = self.block_at(self.cursor.height.max(1)).await?;
            if let Some(occurrence) = step(&block, &mut self.cursor, &self.filter) {
                return Ok(Some(occurrence));
            }
        }
        Ok(None)
    }

    async fn block_at(&mut self, height: u64) -> Result<Arc<CommittedBlock>, ConsensusError> {
        if let Some(block) = self.block.as_ref().filter(|block| block.block.header.height == height) {
            return Ok(Arc::clone(block));
        }
        let block = self.consensus.committed(height).await?;
        self.block = Some(Arc::clone(&block));
        Ok(block)
    }
}
