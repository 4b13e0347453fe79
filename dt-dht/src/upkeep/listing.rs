//! What nodes tell each other about what they hold: digests of ranges first, and lists where those differ.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Timestamp};

use crate::{Address, Key, Slot};

/// What can lie at an address, apart from its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Place {
    /// The state of its agreed records.
    Agreed,
    /// What may be settled next, or is already and nobody was told.
    Locked,
    /// The record in a slot.
    Record(Slot),
    /// Evidence against a writer of a slot.
    Evidence(Slot),
    /// A shard of the blob that has this address.
    Shard,
}

impl Place {
    /// The last place at an address.
    pub(crate) const LAST: Self = Self::Shard;
}

/// One thing that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Holding {
    /// Where.
    pub address: Address,
    /// What.
    pub place: Place,
    /// A record's version, the sequence number of what is agreed or locked; of a shard the time in milliseconds since which a quorum is
    /// proven to hold its shards, 0 if it is not; 0 for the rest.
    pub version: u64,
    /// A record's digest, also of one that is locked, or an agreed state's; zero for the rest.
    pub digest: Digest,
    /// Since when everything at the address is leased, as the node has it.
    pub leased: Timestamp,
}

/// What lies in a range of addresses, in sum.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Summary {
    /// The last address of the range, which starts after the one that was asked for; `None`: it goes on to the end.
    pub until: Option<Address>,
    /// Over all that is held in it: what two nodes that hold the same agree on.
    pub digest: Digest,
}

/// Holdings in a range, in order.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Listing {
    /// At most [`LISTING_HOLDINGS`].
    pub holdings: Vec<Holding>,
    /// Whether the range has more after the last of them.
    pub more: bool,
}

/// How many holdings a page of a listing has at most.
pub const LISTING_HOLDINGS: usize = 512;
/// How many addresses one digest covers at most.
pub(crate) const SUMMARY_ADDRESSES: usize = 1024;
/// How many weights of nodes are hashed for one page at most, unless there are more nodes than this divided by sixteen.
const PLACEMENT_WORK: usize = 1 << 18;

/// How many addresses a node looks at for one page, in a network of `nodes`: each costs placing it.
pub(crate) fn page_addresses(nodes: usize) -> usize {
    (PLACEMENT_WORK / nodes.max(1)).clamp(16, SUMMARY_ADDRESSES)
}

/// Folds addresses, in order, and what lies at each into a digest.
#[derive(Debug, Default)]
pub(crate) struct RangeDigest(Vec<u8>);

impl RangeDigest {
    /// Takes the next address: the sum of the marks of its rows, and the period in which its lease began.
    pub(crate) fn take(&mut self, address: &Address, marks: &[u8; 32], period: u64) {
        self.0.extend_from_slice(address.as_bytes());
        self.0.extend_from_slice(marks);
        self.0.extend_from_slice(&period.to_le_bytes());
    }

    pub(crate) fn finish(&self) -> Digest {
        Domain::new("dt/dht/range/v1").blake3(&[&self.0])
    }
}

/// What a node lacks, going by what another one lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    /// To fetch this: it is not held, or an older one is, or another one of that version.
    Fetch(Holding),
    /// To renew the lease of an address that is held, up to this time.
    Renew(Address, Timestamp),
    /// To fetch what was replaced in a slot.
    Past(Key),
}

/// What is to be done about `their` holding, when one's own in that place is `own`.
pub(crate) fn want(
    own: Option<&Holding>,
    their: &Holding,
    period: impl Fn(Timestamp) -> u64,
) -> Option<Want> {
    match own {
        // Whatever shard it is, there is no other to be had, but maybe a later proof.
        Some(own) if their.place == Place::Shard && own.version >= their.version => {
            renewal(own, their, period)
        }
        Some(own) if own.version > their.version => None,
        // A lock at a step that is settled here is over.
        Some(own) if own.version == their.version && their.place == Place::Locked => None,
        Some(own) if own.version == their.version && own.digest == their.digest => {
            renewal(own, their, period)
        }
        _ => Some(Want::Fetch(*their)),
    }
}

fn renewal(own: &Holding, their: &Holding, period: impl Fn(Timestamp) -> u64) -> Option<Want> {
    let is_later = period(their.leased) > period(own.leased);
    is_later.then_some(Want::Renew(their.address, their.leased))
}

/// Where a holding stands in a listing.
pub(crate) fn spot(holding: &Holding) -> (Address, Place) {
    (holding.address, holding.place)
}

/// Whether a page is in order and names nothing twice, all of it after `after` and up to `until`.
pub(crate) fn is_sorted(page: &[Holding], after: Option<(Address, Place)>, until: Option<Address>) -> bool {
    page.len() <= LISTING_HOLDINGS
        && page.windows(2).all(|pair| spot(&pair[0]) < spot(&pair[1]))
        && page.first().is_none_or(|first| after.is_none_or(|after| spot(first) > after))
        && page.last().is_none_or(|last| until.is_none_or(|until| last.address <= until))
}
