//! Agreement on records that have several writers, or that are judged by each other: order [`crate::Order::Agreed`].
//!
//! Each address is a small replicated state machine whose proposers are the clients. Its quorums and certificates are those of PBFT (Castro
//! and Liskov, OSDI 1999); that clients drive it is HQ replication's idea (Cowling et al., OSDI 2006); its ballots and promises are Paxos
//! (Lamport, 1998). Of n ≥ 3k + 1 replicas k may lie; a quorum is q = ⌈(n + k + 1) / 2⌉, so two quorums share an honest replica.
//!
//! # Terms
//! - A *sequence* counts the steps of an address; each puts one record in one slot and leads to an [`AddressState`].
//! - A [`Ballot`] is one attempt at a step: rank, round, proposer, ordered so. `None`, whoever comes first, is below all.
//! - A *lock* is a record with its [`LockCertificate`] P: a quorum's votes to accept it under one ballot.
//! - A *settlement* is a [`SettlementCertificate`] S: a quorum's votes to commit it under one ballot. It is the decision, for anybody.
//!
//! # Messages
//! 1. `GetState` shows what is settled, with its S, and the lock on what comes next, if there is one.
//! 2. `Propose` asks to accept a record. First come needs no more than the validator's word, which judges by the settled state alone. A
//!    ballot needs a quorum's promises, and if any shows a lock, the record of the newest one. q votes are P.
//! 3. `Commit` shows P. The replica locks on the record and votes. q votes are S.
//! 4. `Adopt` shows S. The replica takes the state over from whatever lower sequence it was at, and its ballots and locks are void.
//! 5. `Promise` asks to vote under no older ballot. The replica answers with its lock.
//!
//! A vote or promise is about what is on disk already, so a replica that restarts contradicts nothing that it signed.
//!
//! # Safety: one state per sequence
//! Under one ballot a replica accepts one record, and two quorums share an honest replica: so there is at most one P for a ballot. If S
//! exists at ballot b, a quorum is locked on its state. Every quorum of promises for a later ballot has an honest replica of that quorum.
//! It committed before it promised, for after the promise it refuses b: so it shows P(b), or a later P. By induction over the ballots from b
//! on, every later P is for the same state; so the newest lock shown is too, and a liar cannot show a newer one for another, since P is not
//! his to make. So every later proposal that can be justified is for that state, and there is no S for another.
//!
//! A revoked writer: once S stands for the list without him, every later S of that sequence is for that list. His record can only come after
//! it, where the validators of honest replicas judge by the new list. Votes that he gathered before name the old sequence, and are void.
//!
//! # Liveness
//! A higher rank outbids a lower one, so whoever dismisses a writer is not held up by him. Among equals the higher round wins; those that
//! were outbid read a varying number of times before they try again. Rank 0 may only take over what stood still for ten seconds, by the replica's
//! clock; so nothing stays blocked by a proposer who is gone, and a reader cannot obstruct. Rounds rise by at most [`MAX_ROUND_STEP`].
//! As in all such algorithms, a decision needs a time in which one proposer is not outbid.
//!
//! # Epochs
//! While membership changes, every quorum is one in the old group and in the new one. Promises and votes name their epoch; certificates are
//! checked against the replicas of theirs. A lock outlives its epoch ([`LockCertificate::is_current`]) as long as the argument above has
//! a group that its epoch shares with the present one: from one joint epoch through the next. So a change MUST be completed only when the new replicas have finished and adopted what the
//! old ones were locked on, which is what [`crate::HandOver`] states; what was accepted by an old group and never decided binds nobody then.

mod certificate;
mod client;
mod course;
mod justify;
mod past;
mod poll;
mod read;
mod remembered;
mod row;
mod state;
mod vote;

pub use certificate::{LockCertificate, SettlementCertificate};
pub(crate) use justify::Attempt;
pub(crate) use remembered::Remembered;
pub(crate) use row::{AgreedRow, Place};
pub use state::{AddressState, MAX_AGREED_SLOTS, Settled, StateEntry};
pub use vote::{Ballot, MAX_ROUND_STEP, Phase, Promise, Vote};
