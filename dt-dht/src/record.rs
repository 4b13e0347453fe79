//! What the DHT stores: signed, versioned records in slots at an address.

use core::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_model::{Domain, Message};
use serde::{Deserialize, Serialize};

dt_model::fixed_bytes! {
    /// A place in the key space. Everything at one address lies on the same replicas.
    ///
    /// An address MUST be a digest that binds its owner (of an owner and a name, of a manifest, of content): then nobody can squat
    /// it first, and a [`crate::Validator`] can tell whose it is from the record alone.
    pub struct Address(32);
}

/// What sort of record lies in a slot: four ASCII characters. Each kind has one [`crate::Validator`].
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Kind([u8; 4]);

impl Kind {
    /// The kind with this tag.
    #[must_use]
    pub const fn new(tag: [u8; 4]) -> Self {
        Self(tag)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({self})")
    }
}

/// A place at an address: the kind of record, and a number for kinds of which an address has many (such as a feed's segments).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Slot {
    /// The sort of record.
    pub kind: Kind,
    /// Which one; 0 where there is only one.
    pub index: u64,
}

/// Where a record lies.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct Key {
    /// The address, which decides the replicas.
    pub address: Address,
    /// The slot at that address.
    pub slot: Slot,
}

impl Key {
    /// The slot `(kind, index)` at `address`.
    #[must_use]
    pub const fn new(address: Address, kind: Kind, index: u64) -> Self {
        Self { address, slot: Slot { kind, index } }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.address, self.slot.kind, self.slot.index)
    }
}

/// A record: a body at a key, in a version. It travels and is stored as a [`dt_model::Signed`] of its writer.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Record {
    /// Where it lies.
    pub key: Key,
    /// Which of several writes to that key it is: 1 for the first, and higher for later ones.
    pub version: u64,
    /// What its kind's validator understands.
    pub body: Bytes,
}

/// The longest record: bulk data goes into blobs, whose shards are not records.
pub const MAX_RECORD_BYTES: usize = 1536 * 1024;

impl Message for Record {
    const DOMAIN: Domain = Domain::new("dt/dht/record/v1");
    const MAX_BYTES: usize = MAX_RECORD_BYTES;
}
