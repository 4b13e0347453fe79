//! A validator that votes twice: a node that knows its key, speaks the engine's own protocol, and has no engine that would keep it honest.

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_ledger::{Commit, Consensus as _};
use dt_ledger_malachite::{Act, Equivocation};
use dt_model::{
    ContentHash, Digest, Domain, Identity, Message, PartyId, Signature, Signed, Signer as _, codec,
};
use malachite_network::handle::Handle;
use malachite_network::{Channel, Config, DiscoveryConfig, NetworkIdentity};

use crate::cluster::*;

/// Every vote but a precommit for a block, as a validator signs it.
#[derive(BorshSerialize, BorshDeserialize)]
struct Ballot {
    chain: Digest,
    height: u64,
    round: u32,
    is_precommit: bool,
    block: Option<Digest>,
}

impl Message for Ballot {
    const DOMAIN: Domain = Domain::new("dt/ledger-malachite/ballot/v1");
    const MAX_BYTES: usize = 128;
}

/// A vote as it is sent, behind the number of its kind of message.
#[derive(BorshSerialize)]
struct Sent {
    kind: u8,
    is_precommit: bool,
    height: u64,
    round: Option<u32>,
    block: Option<Digest>,
    voter: PartyId,
    signature: Signature,
}

/// The validator's votes in the first round of a height: for a block that there is not, and for none.
fn votes(keys: &Identity, chain: Digest, height: u64, is_precommit: bool) -> [Bytes; 2] {
    let made_up = Digest::from(*ContentHash::of(b"a block").as_bytes());
    [Some(made_up), None].map(|block| {
        let signature = match block {
            Some(block) if is_precommit => {
                *Signed::new(Commit { chain, height, round: 0, block }, keys).unwrap().envelope().signature()
            }
            _ => {
                let ballot = Ballot { chain, height, round: 0, is_precommit, block };
                *Signed::new(ballot, keys).unwrap().envelope().signature()
            }
        };
        let voter = keys.party();
        let vote = Sent { kind: 0, is_precommit, height, round: Some(0), block, voter, signature };
        codec::encode(&vote).into()
    })
}

/// A node of the engine's network without an engine, which knows the first member alone.
async fn join(plan: &Plan, member: usize) -> Handle {
    let config = plan.config(member, dt_ledger_malachite::Start::Watch);
    let network = Config {
        listen_addr: config.consensus,
        persistent_peers: vec![config.peers[0].consensus.clone()],
        persistent_peers_only: false,
        discovery: DiscoveryConfig { enabled: false, ..DiscoveryConfig::default() },
        idle_connection_timeout: Duration::from_secs(60),
        transport: malachite_network::TransportProtocol::Tcp,
        gossipsub: Default::default(),
        pubsub_protocol: Default::default(),
        channel_names: Default::default(),
        rpc_max_size: 1 << 20,
        pubsub_max_size: 1 << 20,
        pubsub_max_size_per_topic: Default::default(),
        sync_request_timeout: Duration::from_secs(10),
        sync_max_request_size: 1 << 20,
        sync_parallel_requests: 1,
        enable_consensus: true,
        enable_sync: true,
        protocol_names: Default::default(),
    };
    let identity = NetworkIdentity::new(config.name, config.node_key, None);
    malachite_network::spawn(identity, network, malachite_metrics::SharedRegistry::global().clone())
        .await
        .unwrap()
}

/// Contradictions of a kind that the members have seen.
fn seen(cluster: &Cluster, act: Act) -> Option<Equivocation> {
    let mut all = (0..3).flat_map(|member| cluster.member(member).equivocations());
    all.find(|found| found.act == act)
}

#[test]
fn a_validator_that_votes_twice_is_reported_and_changes_nothing() {
    run(300, async {
        // The fourth validator has no node but this one.
        let cluster = Cluster::of(4, 3, 5).await;
        let (keys, chain) = (cluster.plan.keys().validator(3), cluster.plan.genesis().chain());
        let (mut network, traitor) = join(&cluster.plan, 4).await.split();
        // What comes must be taken, or nothing goes.
        let listening = tokio::spawn(async move { while network.recv().await.is_some() {} });
        let mut height = cluster.member(0).status().height;
        // Votes for a height that is not begun wait for it: so they count, whoever is fast or slow.
        while seen(&cluster, Act::Prevote).is_none() || seen(&cluster, Act::Precommit).is_none() {
            for vote in [false, true].iter().flat_map(|kind| votes(&keys, chain, height + 2, *kind)) {
                traitor.publish(Channel::Consensus, vote).await.unwrap();
            }
            height += 1;
            cluster.member(0).committed(height).await.unwrap();
        }
        for found in [seen(&cluster, Act::Prevote), seen(&cluster, Act::Precommit)].into_iter().flatten() {
            assert_eq!(found.validator, keys.party());
            assert!(found.holds(chain), "it is proven to whoever knows the chain");
            assert!(!found.holds(Digest::ZERO));
            let mut same = found;
            same.said[1] = same.said[0];
            assert!(!same.holds(chain), "saying the same thing twice is none");
            let mut framed = found;
            framed.validator = cluster.plan.keys().validator(0).party();
            assert!(!framed.holds(chain));
        }
        // The chain is what it would be, and so are those who vote.
        assert_eq!(cluster.member(0).replica().tip().validators.len(), 4);
        cluster.agree(height + 2).await;
        traitor.wait_shutdown().await.unwrap();
        listening.await.unwrap();
    });
}
