//! The feed manifest (paper, section 4.3, after Ethereum Swarm): what a feed is about, and who alone extends it.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_dht::{Address, Key, Kind, Record};
use dt_model::{ComponentId, DecodeError, Domain, Name, PartyId, TwinId, codec};
use serde::{Deserialize, Serialize};

dt_model::fixed_bytes! {
    /// A feed: the digest of its [`Manifest`], and its address in the DHT. This is what the ledger's `sensorFeeds` refers to.
    pub struct FeedId(32);
}

/// The slot of the manifest, index 0.
pub const MANIFEST: Kind = Kind::new(*b"mani");
/// The slot of the latest head, index 0.
pub const HEAD: Kind = Kind::new(*b"head");
/// The slots of the segments, from index 0.
pub const SEGMENT: Kind = Kind::new(*b"segm");

/// The longest encoded manifest: the longest texts, and the fields around them.
pub const MAX_MANIFEST_BYTES: usize = 1024;

const FEED: Domain = Domain::new("dt/feed/manifest/v1");

impl FeedId {
    /// Where the feed's records lie.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(*self.as_bytes())
    }

    /// Where the manifest lies.
    #[must_use]
    pub fn manifest_key(&self) -> Key {
        Key::new(self.address(), MANIFEST, 0)
    }

    /// Where the latest head lies.
    #[must_use]
    pub fn head_key(&self) -> Key {
        Key::new(self.address(), HEAD, 0)
    }

    /// Where the description of the segment `index` lies.
    #[must_use]
    pub fn segment_key(&self, index: u64) -> Key {
        Key::new(self.address(), SEGMENT, index)
    }
}

/// What a feed is about. Its digest is the feed's address, so nothing in it can change, and nobody can take the address first.
///
/// # Invariant
/// Only `owner`, as a rule the device itself, MUST be able to extend the feed: every head and segment bears its signature.
#[derive(
    Debug,
    Clone,
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
pub struct Manifest {
    /// The twin that the readings belong to.
    pub twin: TwinId,
    /// The component that they come from.
    pub component: ComponentId,
    /// Who alone writes.
    pub owner: PartyId,
    /// What is measured; tells several feeds of one component apart.
    pub topic: Name,
    /// What a payload is, such as `application/json`.
    pub media_type: Name,
}

impl Manifest {
    /// The feed's name and address: BLAKE3 over the canonical encoding.
    #[must_use]
    pub fn feed(&self) -> FeedId {
        FeedId::from(*FEED.blake3_of(self).as_bytes())
    }

    /// The record that publishes it: there is one version only.
    #[must_use]
    pub fn record(&self) -> Record {
        Record { key: self.feed().manifest_key(), version: 1, body: codec::encode(self).into() }
    }

    /// Reads a record's body.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(body, MAX_MANIFEST_BYTES)
    }
}
