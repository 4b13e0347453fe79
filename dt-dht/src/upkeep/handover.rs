//! Hand-over between memberships: when is every address with its new replicas?
//!
//! In a joint epoch every quorum is one of the old replicas and one of the new, so nothing that is written then has to be handed over.
//! What was written before lies with at least k + 1 honest old replicas of its address. A new replica compares itself with every old
//! node and fetches what is its own; when it has done so with all but *k* of them, it holds everything that was ever certified. Then it goes
//! through its own addresses, for the shards and the former versions that it lacks, and says that it is done: it signs a
//! [`HandOver`]. A node answers in the joint epoch only after it has left the former one, so what it lists is final.
//!
//! Of blobs it waits for those whose put was acknowledged. A client whose shards a quorum holds has their receipts, and gives them, as a
//! [`crate::QuorumCertificate`], to the holders; when a quorum of these keeps it, the put is acknowledged. So at least k + 1 honest old replicas
//! list the blob as proven, one of which is among all but *k*; and k + 1 honest ones have their shards, so that waiting has an end. A listing
//! that leads nowhere holds up the comparison with the node that gave it, and no other. What is not proven is taken over if it is to be had.
//!
//! What replicas were locked on when they left the former epoch may be decided: the new ones have it decided again in the joint one, by whose
//! locks alone anything is committed then ([`crate::SettlementCertificate`]), so that it binds the new group.
//!
//! The statements of all nodes but *k* make a [`HandOverCertificate`]. At most *k* of those lie and *k* are missing, so at every address
//! n − 2k ≥ k + 1 honest replicas hold everything, which every quorum of the new group meets. Then the joint epoch may end.
//!
//! # Limits
//! - Of former versions of agreed records ([`crate::Client::past`]) the last 1,024 of a slot are handed over, as far as n − k of the old replicas
//!   have them: no change waits for what is lost.
//! - The proof of a blob lapses when a lease does that began with it. To renew a blob is to put it again, which makes a new proof; where a
//!   lease alone was renewed, the blob is taken over if it is to be had. Nodes SHOULD keep leases of one length, or they lapse at different times.
//! - A proof of an epoch that the membership has forgotten is none: an epoch MUST NOT be forgotten before a lease has ended since
//!   ([`Membership::without_epochs_before`]).
//! - A client may give the proof to one node alone, and a change may pass by without that node being heard, and with *k* others withholding their
//!   shards. Then nobody can make the blob any more, and this one node still lists it. It takes more than *k* such nodes, each with a blob of its
//!   own, to hold up a later change, for as long as the proofs last.
//! - A node that is started again MUST NOT go by an older membership than it did before: what it listed in a joint epoch would not be final.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use dt_model::{Digest, Domain, Envelope, Message, OpenError, PartyId, Timestamp};
use thiserror::Error;

use crate::Membership;

/// A node's word that it holds everything that is its own in a joint epoch.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HandOver {
    /// The ledger's chain ID.
    pub network: Digest,
    /// The joint epoch.
    pub epoch: u64,
    /// The node's time.
    pub time: Timestamp,
}

impl Message for HandOver {
    const DOMAIN: Domain = Domain::new("dt/dht/hand-over/v1");
    const MAX_BYTES: usize = 64;
}

/// Why statements do not show that the hand-over is complete.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandOverError {
    /// There are fewer statements than all nodes but *k*.
    #[error("{statements} statements, where {needed} are needed")]
    TooFew {
        /// Statements given.
        statements: usize,
        /// Statements needed.
        needed: usize,
    },
    /// A statement stands there twice.
    #[error("the statement of {} is repeated", .0.short())]
    DuplicateNode(PartyId),
    /// The signer is no node of the new group.
    #[error("{} is no node of the new group", .0.short())]
    NotANode(PartyId),
    /// A statement is of another network or epoch.
    #[error("a statement of another network or epoch")]
    OtherMembership,
    /// A statement's signature or body is not acceptable.
    #[error("a statement does not open")]
    Statement(#[from] OpenError),
}

/// The statements that let a joint epoch end.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HandOverCertificate {
    /// One of each node.
    pub statements: Vec<Envelope<HandOver>>,
}

impl HandOverCertificate {
    /// How many statements are needed: of all nodes that `membership` will have, but *k*.
    #[must_use]
    pub fn needed(membership: &Membership) -> usize {
        membership.next_nodes().len().saturating_sub(membership.resilience().max_faulty())
    }

    /// Checks that the nodes of `membership`, which is joint, have taken over.
    ///
    /// # Errors
    /// [`HandOverError`].
    pub fn verify(&self, membership: &Membership) -> Result<(), HandOverError> {
        let (statements, needed) = (self.statements.len(), Self::needed(membership));
        if statements < needed {
            return Err(HandOverError::TooFew { statements, needed });
        }
        let mut nodes = BTreeSet::new();
        for statement in &self.statements {
            let node = statement.signer();
            if membership.next_nodes().iter().all(|next| next.party != node) {
                return Err(HandOverError::NotANode(node));
            }
            if !nodes.insert(node) {
                return Err(HandOverError::DuplicateNode(node));
            }
            let statement = statement.clone().open()?;
            if (statement.network, statement.epoch) != (membership.network(), membership.epoch()) {
                return Err(HandOverError::OtherMembership);
            }
        }
        Ok(())
    }
}
