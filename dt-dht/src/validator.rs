//! The validator seam: which records a replica accepts and serves. `dt-acl` and `dt-feed` implement it; the DHT knows neither.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{PartyId, Signed, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Kind, Record, Slot};

/// Judges the records of one kind.
///
/// What an implementer may get wrong: every honest replica MUST reach the same verdict from the same stored records, so a validator
/// is a pure function of its arguments (no clock, no randomness, no floats, no state of its own, no panic on any input). It MUST
/// check that the address is bound to whoever signed, or anybody can write there. The signature itself has been checked. It runs
/// under the lock of one address, so it is quick: no I/O.
pub trait Validator: Send + Sync {
    /// The kind of record that it judges.
    fn kind(&self) -> Kind;

    /// How replicas come to hold the same record of this kind.
    fn order(&self) -> Order {
        Order::Newest
    }

    /// The standing of `party` at an address of order [`Order::Agreed`]: who has more is not held up by who has less; `None` for those
    /// who have no business here. `site` has the settled records, `stored` the one in slot 0 of this kind.
    ///
    /// 0 is for those who may read and not write: they take over what others left undone, but only after a while.
    ///
    /// It is asked for the present, and for the time at which a [`crate::Bid`] was made that somebody shows later: only `site.now` differs.
    fn rank(&self, site: &Site<'_>, party: &PartyId) -> Option<u8> {
        let _ = (site, party);
        Some(1)
    }

    /// Whether `offered` may be stored in its slot. Byte-identical records never get here: they renew the lease.
    ///
    /// # Errors
    /// [`Refusal`] says why not; the stored records stay as they are.
    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal>;

    /// Whether `reader` may be given what is stored. A lying replica ignores this, so what is secret is encrypted besides.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    fn serve(&self, site: &Site<'_>, reader: &PartyId, stored: &Signed<Record>) -> Result<(), Refusal> {
        let _ = (site, reader, stored);
        Ok(())
    }
}

/// How the replicas of an address come to hold the same record in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each takes the newest that it sees, by version: for slots with one writer. Written by [`crate::Client::put`].
    ///
    /// # Limit
    /// Where a kind refuses gaps ([`Refusal::Gap`]), an honest replica that missed two records stays behind if nobody puts the first again: the others keep the
    /// newest alone. With *k* silent liars besides, a put of the next and a get are stuck then. It cannot take the second on others' word: k + 1 that
    /// show it may be one honest replica that was behind itself, and *k* liars, while a quorum holds what the record contradicts. Replicas that
    /// believed those would complete both. So whoever writes such a kind keeps what he wrote and puts again what replicas lack, as `dt-feed` does;
    /// or the kind is of order [`Order::Agreed`], whose replicas take over what was decided.
    Newest,
    /// They agree on one record after the other, together for all such slots of an address: for slots with several writers, and for
    /// records that are judged by each other. Written by [`crate::Client::settle`]. The validator then sees settled records only, which
    /// are the same at all honest replicas, and judges direct successors.
    Agreed,
}

/// What a replica knows when it judges a record.
pub struct Site<'a> {
    /// The replica's time.
    pub now: Timestamp,
    /// What is stored in the record's slot.
    pub stored: Option<&'a Signed<Record>>,
    /// What is stored in the other slots of the same address.
    pub neighbours: &'a dyn Neighbours,
}

/// The other slots of an address, as one replica holds them.
pub trait Neighbours {
    /// The record in `slot`, if there is one.
    fn record(&self, slot: Slot) -> Option<Signed<Record>>;
}

/// Why a replica does not accept or serve a record.
#[derive(
    Debug,
    Error,
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
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The body is no value of its kind.
    #[error("the body is not a value of its kind")]
    Malformed,
    /// The address does not belong to what the record says.
    #[error("the address is not bound to this content")]
    WrongAddress,
    /// The signer has no right to write or read here.
    #[error("not permitted")]
    NotPermitted,
    /// What is stored is newer.
    #[error("version {stored} is stored already")]
    Stale {
        /// The stored version.
        stored: u64,
    },
    /// The record does not follow directly on what is stored.
    #[error("it does not follow version {stored}, which is stored")]
    Gap {
        /// The stored version; 0 if nothing is.
        stored: u64,
    },
    /// Another record of the same version is stored. If one party signed both, the replica keeps the two as evidence.
    #[error("another record of this version is stored")]
    Conflict,
    /// It refers to another record at this address (an ACL, a manifest) that is absent here, or not the current one.
    #[error("it refers to a record that is absent or not current")]
    Superseded,
    /// It contradicts what its owner signed before (a log that does not extend its former head).
    #[error("it contradicts what was signed before")]
    Inconsistent,
    /// Nobody judges this kind here.
    #[error("unknown kind of record")]
    UnknownKind,
    /// The sender is not registered.
    #[error("the sender is not registered")]
    UnknownParty,
    /// This node is not among the replicas of the address in the current membership epoch.
    #[error("this node is not a replica of the address")]
    NotAReplica,
    /// The request was made for another membership epoch or is too old.
    #[error("the request is outdated")]
    Outdated,
    /// Records of this kind are written and read in the other way: see [`Order`].
    #[error("records of this kind are in the other order")]
    OtherOrder,
    /// The address is settled at this sequence already, or further.
    #[error("the address is settled at sequence {sequence} already")]
    Settled {
        /// The replica's settled sequence.
        sequence: u64,
    },
    /// The replica is behind: it has to adopt what was settled since.
    #[error("the replica has settled only sequence {sequence}")]
    Behind {
        /// The replica's settled sequence; 0 if nothing is settled.
        sequence: u64,
    },
    /// The replica stands by another proposal: only a higher ballot goes ahead.
    #[error("outbid by round {round} of rank {rank}")]
    Outbid {
        /// The rank of the ballot that the replica has promised.
        rank: u8,
        /// Its round; 0 if there was no ballot.
        round: u64,
    },
    /// The ballot claims a rank that the party has not, or not yet: what has stood for a while may be taken over.
    #[error("the rank does not allow this ballot now")]
    Rank,
    /// The proposal or the certificate does not show what has to precede it.
    #[error("what has to precede it is not shown")]
    Unproven,
    /// As much is stored for the party that pays for this as the node allows.
    #[error("the node stores no more for who pays for this")]
    QuotaExceeded,
    /// The node has too much to do, or has done as much for the sender as it allows. To a client it did not answer in time.
    #[error("the node is busy for {retry_after_millis} ms")]
    Busy {
        /// In how many milliseconds it makes sense to ask again.
        retry_after_millis: u64,
    },
    /// The store failed; the replica cannot answer.
    #[error("the replica's store failed")]
    Unavailable,
}

impl Refusal {
    /// Whether it says something of the record that was offered, and not only of who asked, when, or how the replica is.
    pub(crate) const fn is_about_the_record(self) -> bool {
        match self {
            Self::Malformed
            | Self::WrongAddress
            | Self::NotPermitted
            | Self::Stale { .. }
            | Self::Gap { .. }
            | Self::Conflict
            | Self::Superseded
            | Self::Inconsistent => true,
            Self::UnknownKind
            | Self::UnknownParty
            | Self::NotAReplica
            | Self::Outdated
            | Self::OtherOrder
            | Self::Settled { .. }
            | Self::Behind { .. }
            | Self::Outbid { .. }
            | Self::Rank
            | Self::Unproven
            | Self::QuotaExceeded
            | Self::Busy { .. }
            | Self::Unavailable => false,
        }
    }
}
