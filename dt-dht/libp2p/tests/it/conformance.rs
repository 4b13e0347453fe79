//! The suite of the seam, over TCP with Noise and over QUIC; and adapters that are broken in one way, which it has to notice.

use core::time::Duration;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dt_dht::testing::{Setting, Started, transport_suite};
use dt_dht::{Answer, Parcel, Request, Transport, TransportError};
use dt_dht_libp2p::Libp2pTransport;
use dt_model::{PartyId, Signer};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::support::*;

/// Starts what the suite asks for; `conduct` may wrap what a node answers. The party knows where the first nodes are, as the ledger tells it.
async fn start(
    wire: Wire,
    setting: Setting,
    conduct: impl Fn(Answer) -> Answer,
) -> Started<With<Vec<Libp2pTransport>>> {
    let mut life = Vec::new();
    let mut nodes = Vec::new();
    for node in setting.nodes {
        let answer = Some(conduct(node.answer));
        let node_transport =
            Libp2pTransport::start(&node.identity, &setting.membership, answer, node_config(wire));
        let node_transport = node_transport.await.unwrap();
        nodes.push(dt_dht::Node {
            party: node.identity.party(),
            endpoints: addresses(&node_transport)
                .await
                .iter()
                .map(|at| at.to_string().parse().unwrap())
                .collect(),
        });
        life.push(node_transport);
    }
    let is_first = |node: &&dt_dht::Node| setting.membership.node(&node.party).is_some();
    let membership = dt_dht::Membership::new(
        setting.membership.network(),
        setting.membership.epoch(),
        setting.membership.resilience(),
        nodes.iter().filter(is_first).cloned().collect(),
        setting.membership.parties().clone(),
    );
    let membership = membership.unwrap();
    let transport = Libp2pTransport::start(&setting.party, &membership, None, client_config()).await.unwrap();
    Started { transport: With { transport, life }, nodes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp() {
    let patience = sleep(Duration::from_secs(120));
    transport_suite(async |setting| start(Wire::Tcp, setting, |answer| answer).await, patience).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic() {
    let patience = sleep(Duration::from_secs(120));
    transport_suite(async |setting| start(Wire::Quic, setting, |answer| answer).await, patience).await;
}

/// What is wrong with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It takes the next reply that comes, to whatever request.
    CrossesReplies,
    /// It sends again what has failed.
    SendsAgain,
    /// It asks several nodes, and takes what comes first, whoever says it.
    TakesAnybodysReply,
    /// It waits for ever for what was lost.
    WaitsForEver,
    /// Its nodes carry out each request twice.
    AnswersTwice,
    /// It goes by the membership that it began with.
    IgnoresMemberships,
}

/// Each fault, and what the suite says of it; of two things that it notices, either may come first.
const FAULTS: [(Fault, &[&str]); 6] = [
    (Fault::CrossesReplies, &["the reply is that of the node that was asked, to this request"]),
    (Fault::SendsAgain, &["a request arrives once"]),
    (Fault::TakesAnybodysReply, &["the reply is that of the node that was asked", "at its node alone"]),
    (Fault::WaitsForEver, &["every request ends"]),
    (Fault::AnswersTwice, &["a request arrives once"]),
    (Fault::IgnoresMemberships, &["a node that the last membership names is reached"]),
];

/// An adapter that is right but for one thing.
struct Broken {
    fault: Fault,
    inner: With<Vec<Libp2pTransport>>,
    nodes: Vec<PartyId>,
    replies: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Transport for Broken {
    async fn request(&self, node: &PartyId, request: Bytes) -> Result<Bytes, TransportError> {
        let result = match self.fault {
            Fault::TakesAnybodysReply if Parcel::<Request>::claimed_signer(&request).is_some() => {
                let other = self.nodes.iter().find(|other| *other != node).unwrap();
                let asked = [node, other].map(|node| self.inner.request(node, request.clone()));
                futures_util::future::select_all(asked).await.0
            }
            _ => self.inner.request(node, request.clone()).await,
        };
        match (self.fault, result) {
            (Fault::CrossesReplies, Ok(reply)) => {
                self.replies.lock().unwrap().push(reply);
                tokio::task::yield_now().await;
                Ok(self.replies.lock().unwrap().pop().unwrap())
            }
            (Fault::SendsAgain, Err(TransportError::TimedOut(_))) => self.inner.request(node, request).await,
            (Fault::WaitsForEver, Err(TransportError::TimedOut(_))) => core::future::pending().await,
            (_, result) => result,
        }
    }

    fn update_membership(&self, membership: &dt_dht::Membership) {
        if self.fault != Fault::IgnoresMemberships {
            self.inner.update_membership(membership);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_adapters_are_caught() {
    for (fault, reasons) in FAULTS {
        let twice = move |answer: Answer| -> Answer {
            Arc::new(move |request| {
                if fault == Fault::AnswersTwice {
                    drop(answer(request));
                }
                answer(request)
            })
        };
        let start = async |setting: Setting| {
            let members = setting.membership.nodes().iter().map(|node| node.party).collect();
            let Started { transport: inner, nodes } = start(Wire::Tcp, setting, twice).await;
            let transport = Broken { fault, inner, nodes: members, replies: Mutex::default() };
            Started { transport, nodes }
        };
        let suite = transport_suite(start, sleep(Duration::from_secs(25)));
        let result = timeout(Duration::from_secs(60), AssertUnwindSafe(suite).catch_unwind()).await.unwrap();
        let panic = result.expect_err(&format!("{fault:?} passes the suite"));
        let said =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let is_reason = said.is_some_and(|said| reasons.iter().any(|reason| said.contains(reason)));
        assert!(is_reason, "{fault:?} fails for another reason: {said:?}");
    }
}
