//! Agreement on records that have several writers, or that are judged by each other: order [`crate::Order::Agreed`].
//!
//! Each address is a small replicated state machine whose proposers are the clients. Its quorums and certificates are those of PBFT (Castro
//! and Liskov, OSDI 1999); that clients drive it is HQ replication's idea (Cowling et al., OSDI 2006); its ballots and promises are Paxos
//! (Lamport, 1998). Of n ≥ 3k + 1 replicas k may lie; a quorum is q = ⌈(n + k + 1) / 2⌉, so two quorums share an honest replica.
//!
//! # Terms
//! - A *sequence* counts the steps of an address; each puts one record in one slot and leads to an [`AddressState`].
//! - A [`Ballot`] is one attempt at a step: rank, round, proposer, ordered so. `None`, whoever comes first, is below all.
//! - A [`Bid`] is a ballot by the hand of its proposer. A *title* is the bid of one who has its rank by right.
//! - A *lock* is a record with its [`LockCertificate`] P: a quorum's votes to accept it under one ballot.
//! - A *settlement* is a [`SettlementCertificate`] S: a quorum's votes to commit it under one ballot. It is the decision, for anybody.
//!
//! # Messages
//! 1. `GetState` shows what is settled, with its S, and the lock on what comes next, if there is one.
//! 2. `Propose` asks to accept a record. First come needs no more than the validator's word, which judges by the settled state alone. A
//!    ballot needs a quorum's promises, and if any shows a lock, the record of the newest one. q votes are P.
//! 3. `Commit` shows P. The replica locks on the record and votes. q votes are S. (For a P of a former epoch: see Epochs.)
//! 4. `Adopt` shows S. The replica takes the state over from whatever lower sequence it was at, and its ballots and locks are void.
//! 5. `Promise` asks, by a bid, to vote under no older ballot. The replica answers with its lock.
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
//! clock; so nothing stays blocked by a proposer who is gone, and a reader cannot obstruct. Among those who take over, too, the higher round
//! wins. Rounds rise by at most [`MAX_ROUND_STEP`]. As in all such algorithms, a decision needs a time in which one proposer is not outbid.
//!
//! **Who is gone.** A party of a higher rank may have the promise of a single honest replica, and be gone. That replica votes for nothing lower,
//! and the others let nobody go on in a rank of which they have not seen that it was due to anybody. So the one shows the title that it
//! promised by, and whoever has no quorum without it carries it to the others. They heed it as if its proposer had sent it, and after ten
//! seconds all of them let go. A replica heeds each rank once at a step, by the rank that the proposer had when he made the bid. So whoever
//! carries old bids about puts off what is lower by ten seconds for each rank, which their proposers could do as well; he gains no rank himself.
//!
//! A limit: who votes under a ballot that it was not asked to promise has no title to show; those have whose promises justified the proposal. If
//! nodes change twice before anything is settled, so that none of those is left, it holds up lower ranks until somebody of that rank comes back.
//!
//! # Epochs
//! While membership changes, every quorum is one in the old group and in the new one. Promises and votes name their epoch; certificates are
//! checked against the replicas of theirs, and a replica that has entered an epoch says nothing in a former one any more.
//!
//! **A lock of a former epoch binds, and does not decide.** Promises and states show it, and whoever proposes has to respect it; but a replica
//! commits by a lock of its own epoch alone. Shown another by `Commit`, it only accepts the record again, under the same ballot, and votes so in
//! its epoch: q such votes are a P of this epoch. Under one ballot a replica accepts one record, in whatever epoch, so the argument above
//! goes through for any two epochs that share a group, ordered by ballot and then by epoch.
//!
//! A lock binds as long as its epoch shares a group with the present one ([`LockCertificate::is_current`]): from one joint epoch through the next.
//! Epochs e, e + 1 (joint) and e + 2 are linked so: what was decided in e has a quorum of the old group locked. Those of them that answer in e + 1 commit
//! no more by locks of e, so what they list is final; and before the new replicas state that they have taken over ([`crate::HandOver`]), they have had it settled by
//! a lock of e + 1, which binds in e + 2. What was only accepted in e, and by then nowhere committed, can be decided by a lock of e + 1 alone, and
//! so binds in e + 2 as well; or never.
//!
//! If a lock of e could be committed in e + 1, a client might do so when the new replicas have stated already, keep the decision to himself, and show it
//! when others have decided otherwise in e + 2, where the lock counts no more.

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
pub use state::{AddressState, Former, MAX_AGREED_SLOTS, Settled, StateEntry};
pub use vote::{Ballot, Bid, MAX_ROUND_STEP, Phase, Promise, Vote};
