//! Other parties' requests, from the moment that they are read until their replies are sent.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dt_dht::{Answer, MAX_MESSAGE_BYTES, Parcel, Request, TransportError};
use dt_model::PartyId;
use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::account::{Account, Offence};
use crate::frame::Frame;
use crate::outbox::Outcome;

/// A request that came from a peer.
pub(crate) struct Inquiry {
    pub(crate) peer: PeerId,
    pub(crate) id: InboundRequestId,
    pub(crate) party: PartyId,
    pub(crate) account: Arc<Account>,
    pub(crate) request: Frame,
    pub(crate) channel: ResponseChannel<Frame>,
}

/// A reply that is to be sent.
pub(crate) struct Ready {
    pub(crate) peer: PeerId,
    pub(crate) id: InboundRequestId,
    pub(crate) channel: ResponseChannel<Frame>,
    pub(crate) reply: Frame,
}

/// Works on requests, off the threads that move bytes: answering waits for the disk.
pub(crate) struct Desk {
    answer: Option<Answer>,
    own: PartyId,
    patience: Duration,
    places: Arc<Semaphore>,
    tasks: JoinSet<Option<Ready>>,
}

impl Desk {
    pub(crate) fn new(answer: Option<Answer>, own: PartyId, patience: Duration, at_once: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.max(1)));
        Self { answer, own, patience, places, tasks: JoinSet::new() }
    }

    /// Whether there is anybody to answer.
    pub(crate) const fn serves(&self) -> bool {
        self.answer.is_some()
    }

    /// Works on a peer's request.
    pub(crate) fn take(&mut self, inquiry: Inquiry) {
        let Some(answer) = self.answer.clone() else { return };
        let (places, patience) = (self.places.clone(), self.patience);
        self.tasks.spawn(async move {
            let Inquiry { peer, id, party, account, request, channel } = inquiry;
            // First the peer's own limit, so that who asks much waits for himself.
            let held = account.work().await;
            let place = places.acquire_owned().await;
            let bytes = request.bytes.clone();
            let reply = spawn_blocking(move || judge(&answer, &account, &party, &bytes)).await;
            drop((place, request));
            match reply {
                Ok(Some(reply)) => Some(Ready { peer, id, channel, reply: Frame::holding(reply, held) }),
                // The stream stays open, and silent, until whoever waits has no more patience.
                Ok(None) | Err(_) => {
                    drop(held);
                    sleep(patience).await;
                    drop(channel);
                    None
                }
            }
        });
    }

    /// Works on a request of our own to ourselves.
    pub(crate) fn take_own(&mut self, request: Bytes, outcome: oneshot::Sender<Outcome>) {
        let own = self.own;
        let Some(answer) = self.answer.clone() else {
            drop(outcome.send(Err(TransportError::UnknownNode(own))));
            return;
        };
        let places = self.places.clone();
        self.tasks.spawn(async move {
            let place = places.acquire_owned().await;
            let reply = spawn_blocking(move || answer(&request)).await;
            drop(place);
            drop(outcome.send(match reply {
                Ok(Some(reply)) if reply.len() > MAX_MESSAGE_BYTES => Err(TransportError::TooLarge(own)),
                Ok(Some(reply)) => Ok(reply),
                Ok(None) | Err(_) => Err(TransportError::TimedOut(own)),
            }));
            None
        });
    }

    /// The next reply; never, while nothing is worked on.
    pub(crate) async fn ready(&mut self) -> Ready {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Some(ready))) => return ready,
                Some(_) => {}
                None => core::future::pending().await,
            }
        }
    }

    /// Whether nothing is worked on.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// The answer to a request of `party`, if it is his: the connection proves who sends, so nobody is heard in another's name, and nobody
/// repeats what another has sent.
fn judge(answer: &Answer, account: &Account, party: &PartyId, request: &[u8]) -> Option<Bytes> {
    match Parcel::<Request>::claimed_signer(request) {
        Some(signer) if signer != *party => {
            account.offend(Offence::Impersonation);
            return None;
        }
        Some(_) => {}
        None => account.offend(Offence::Malformed),
    }
    answer(request)
}
