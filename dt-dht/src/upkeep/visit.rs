//! Where a node's comparison with another one stands.

use std::collections::VecDeque;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{PartyId, Timestamp};

use super::listing::{Want, spot};
use super::{Listing, Place};
use crate::Address;

/// Prefix of the row of a visit: `'c' party`.
pub(crate) const CURSORS: u8 = b'c';

/// What a restart goes on from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct CursorRow {
    /// The membership epoch.
    pub(crate) epoch: u64,
    /// Up to where the addresses are compared in this pass.
    pub(crate) after: Option<Address>,
    /// How much of this pass could not be fetched.
    pub(crate) unresolved: u64,
    /// How many passes reached the end with nothing unresolved.
    pub(crate) passes: u64,
    /// In a node's own row: whether it holds all that is its own.
    pub(crate) complete: bool,
}

/// A listing that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) after: Option<(Address, Place)>,
    pub(crate) until: Option<Address>,
}

/// A visit to one node: pass after pass over all addresses.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) cursor: CursorRow,
    /// The range that differs, while it is listed.
    pub(crate) reading: Option<Reading>,
    /// The last address of the range that is compared.
    pub(crate) until: Option<Address>,
    /// What is to be fetched, and how often that was put off.
    pub(crate) wants: VecDeque<(Want, u8)>,
    /// What was put off to the end of the range, since it may only have come before what it needs.
    pub(crate) late: VecDeque<(Want, u8)>,
    /// Not to be asked before.
    pub(crate) due: Timestamp,
}

/// How long a node that did not answer is left alone.
pub(crate) const SILENCE: core::time::Duration = core::time::Duration::from_secs(10);

impl Visit {
    pub(crate) fn new(cursor: CursorRow) -> Self {
        let due = Timestamp::from_millis(0);
        Self { cursor, reading: None, until: None, wants: VecDeque::new(), late: VecDeque::new(), due }
    }

    /// Takes a page of the listing: where it goes on, or `None` after its end.
    pub(crate) fn read_on(&mut self, listing: &Listing) {
        let last = listing.holdings.last().map(spot);
        self.reading = match (self.reading, last) {
            (Some(reading), Some(last)) if listing.more => Some(Reading { after: Some(last), ..reading }),
            _ => None,
        };
    }

    /// Whether nothing of the range is left to be done; what was put off has its turn before that.
    pub(crate) fn is_done(&mut self) -> bool {
        if self.wants.is_empty() && self.reading.is_none() {
            core::mem::swap(&mut self.wants, &mut self.late);
            return self.wants.is_empty();
        }
        false
    }

    /// The range is done. Whether the pass is, and if so, whether nothing was left open in it.
    pub(crate) fn advance(&mut self) -> Option<bool> {
        self.cursor.after = self.until;
        if self.until.is_some() {
            return None;
        }
        let is_clean = self.cursor.unresolved == 0;
        self.cursor.passes = self.cursor.passes.saturating_add(u64::from(is_clean));
        self.cursor.unresolved = 0;
        Some(is_clean)
    }
}

/// The row key of a visit to `node`.
pub(crate) fn cursor_key(node: &PartyId) -> bytes::Bytes {
    [&[CURSORS], &node.as_bytes()[..]].concat().into()
}
