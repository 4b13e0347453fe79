//! Quorum operations as state machines without I/O: they say what to send, are told what came back, and know when they are done.

use dt_model::PartyId;

use crate::{ReplyBody, RequestBody};

/// A request to one node.
pub(crate) type Outgoing = (PartyId, RequestBody);

/// One exchange of requests and replies with the replicas of an address. A node has at most one request outstanding.
pub(crate) trait Operation {
    /// What it comes to.
    type Outcome;

    /// What is to be sent now; each request is given once.
    fn requests(&mut self) -> Vec<Outgoing>;

    /// Takes what `node` replied; `None` if it did not, or nothing that counts.
    fn answer(&mut self, node: PartyId, reply: Option<ReplyBody>);

    /// The outcome, once no further answer is needed. More answers may be given afterwards, and improve it.
    fn outcome(&mut self) -> Option<Self::Outcome>;

    /// The outcome when no more answers come.
    fn unfinished(&mut self) -> Self::Outcome;
}
