//! The simulator's seam: a consensus that takes what happens at its node and answers what its node does.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dt_model::{Signer, SignerError, Timestamp};
use thiserror::Error;

use crate::{BlockError, Replica, StoreError};

/// What one node of a prototype is given when it starts, and again whenever it starts anew.
#[derive(Clone)]
pub struct Seat {
    /// Which node this is, counted from 0: its address in the network. Who the validators are, and in which order, the replica tells.
    pub node: usize,
    /// How many nodes there are.
    pub nodes: usize,
    /// The node's keys.
    pub signer: Arc<dyn Signer>,
    /// The node's copy of the ledger: what was committed is there again after a crash.
    pub replica: Arc<Replica>,
    /// What the last [`Action::Keep`] before the crash held; `None` if there was none.
    pub kept: Option<Bytes>,
}

/// What happens at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The node starts, for the first time or after a crash. It is the first event that a prototype is told, and comes once.
    Start,
    /// A message arrives. The network tells truly which node sent it; what it says is another matter.
    Message {
        /// Who sent it.
        from: usize,
        /// What was sent.
        bytes: Bytes,
    },
    /// A timer that [`Action::Wake`] set has run out.
    Timer(Bytes),
    /// A participant hands in a transaction. Nothing about it is verified, and it may have been handed in before.
    Submitted(Bytes),
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes its journal, whose former content is gone. It is durable before the next action is done.
    Keep(Bytes),
    /// Sends to one other node.
    Send {
        /// To whom.
        to: usize,
        /// What.
        bytes: Bytes,
    },
    /// Sends to all other nodes. A node does not hear itself.
    Broadcast(Bytes),
    /// Sets a timer. It is lost in a crash; it cannot be cleared, so its holder looks whether it still means anything.
    Wake {
        /// From now.
        after: Duration,
        /// Comes back with [`Event::Timer`].
        timer: Bytes,
    },
}

/// Why a node cannot go on. It is a decision of the last resort: no message of one faulty node may bring it about.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Stop {
    /// A quorum has committed what this node cannot follow: its state is another ([`BlockError::StateDiverges`]), for example.
    #[error("the chain cannot be followed")]
    Block(#[from] BlockError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// A consensus that is being tried out: the engine of one node, without clock, network, threads or disk.
///
/// It drives the [`Replica`] of its [`Seat`]: it asks [`Replica::prepare`] for a proposal, [`Replica::verify`] before it votes, and
/// hands [`Replica::commit`] what was decided with the votes for it. What the chain holds is what counts; the simulator reads it from
/// the replica.
///
/// What an implementer may get wrong:
///
/// - *The same input gives the same output.* No clock but `now`, no randomness that the seat does not give, no order of a hash map.
/// - *Actions are done in their order, and a crash may fall between two of them.* A vote is kept before it is sent: [`Action::Keep`]
///   stands before the [`Action::Broadcast`] of what it must remember. Whoever forgets a vote gives a second one.
/// - *A crash takes everything* but the replica's store and the journal: timers, pending transactions, votes that were heard.
/// - *Messages are lost, late, doubled and out of order.* Whatever others need to go on is sent again until they have gone on.
/// - *A message is what a traitor made it.* Decode it with a limit, verify signatures, bound what is remembered of each node.
/// - *A proposal that does not verify condemns its proposer, not us*, also where it says [`BlockError::StateDiverges`]. A decided one
///   that [`Replica::commit`] refuses in spite of its votes condemns us: then the node stops, with [`Stop`].
/// - *A [`crate::Commit`] is signed for one block of a height and round*, also over a crash. The simulator watches each signature that
///   leaves an honest node, so messages must hold envelopes as they are.
/// - *A node that was away asks for the blocks that it missed*; the others do not decide them a second time.
pub trait Prototype: Send {
    /// Takes one event at `now`, the node's clock; what is to be done about it, in order.
    ///
    /// Clocks of different nodes differ a little, and none goes back.
    ///
    /// # Errors
    /// [`Stop`], when the node cannot go on. It is not asked again.
    fn handle(&mut self, now: Timestamp, event: Event) -> Result<Vec<Action>, Stop>;
}

/// Makes the prototype of a node: when the simulation begins, and after each crash.
pub type Make<'a> = &'a dyn Fn(Seat) -> Box<dyn Prototype>;
