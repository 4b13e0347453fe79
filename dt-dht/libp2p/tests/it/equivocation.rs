//! Seven nodes of which two lie (k = 2), as the catalogue of misdeeds has it: one shows every party another face and its own company signs
//! two statements in one version; the other does whatever comes to its mind. No acknowledged write is out of anybody's reach, and what
//! the company did is proven by what honest nodes have kept.

use std::sync::Arc;

use bytes::Bytes;
use dt_dht::testing::simulator::{Malice, Misdeed};
use dt_dht::{
    Answer, Call, Client, Culprit, Equivocation, GetError, OwnedRecords, PutError, Receipt, Record, Refusal,
    Replica, ReplyBody, RequestBody, Transport,
};
use dt_dht_libp2p::Libp2pTransport;
use dt_model::testing::identity;
use dt_model::{PartyId, Signed, Signer, codec};

use crate::support::*;

/// The seed of the company whose node has two faces.
const COMPANY: u64 = NODES;

/// What the company says of the bearing: in both cases in version 1.
fn statement(value: &str) -> Signed<Record> {
    let company = identity(COMPANY);
    let name = "bearing".parse().unwrap();
    Signed::new(OwnedRecords::record(company.party(), name, 1, value.as_bytes().to_vec()), &company).unwrap()
}

fn conduct(at: usize, replica: Arc<Replica>, honest: Answer) -> Answer {
    let phantoms = [statement("worn"), statement("as new")];
    let malice = |misdeed| Malice { misdeed, validators: validators(), phantoms: phantoms.into(), seed: 7 };
    match at {
        0 => malice(Misdeed::TwoFaced).answering(replica, Arc::new(|| NOW)),
        1 => malice(Misdeed::Fickle).answering(replica, Arc::new(|| NOW)),
        _ => honest,
    }
}

/// A party, and how it reaches the nodes.
struct Participant {
    seed: u64,
    client: Client,
    transport: Libp2pTransport,
}

impl Participant {
    async fn of(network: &Network, seed: u64) -> Self {
        let transport = network.transport(seed).await;
        Self { seed, client: client(seed, transport.clone(), &network.membership), transport }
    }

    /// What one node answers, if it does.
    async fn ask(&self, node: &PartyId, nonce: u8, body: RequestBody) -> Option<ReplyBody> {
        let membership = self.client.membership();
        let call = Call::new(&identity(self.seed), &membership, *node, [nonce; 16], NOW, body).unwrap();
        let reply: Bytes = self.transport.request(node, call.bytes().clone()).await.ok()?;
        call.read(&reply).ok()
    }

    /// What a node says that it has stored.
    async fn receipt(&self, node: &PartyId, record: &Signed<Record>) -> Signed<Receipt> {
        let body = RequestBody::Put { record: record.envelope().clone() };
        match self.ask(node, 1, body).await {
            Some(ReplyBody::Stored { receipt }) => receipt.open().unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_liars_of_seven_over_tcp() {
    two_liars_of_seven(Wire::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_liars_of_seven_over_quic() {
    two_liars_of_seven(Wire::Quic).await;
}

async fn two_liars_of_seven(wire: Wire) {
    let network = Network::with_conduct(wire, 2, &conduct).await;
    let parties = [Participant::of(&network, WRITER).await, Participant::of(&network, READER).await];
    let face = |seed: u64| identity(seed).party().as_bytes()[0] & 1;
    assert_ne!(face(WRITER), face(READER), "each of the two sees another face");
    everything_is_readable(&parties, "before").await;
    the_company_is_convicted(&network, &parties).await;
    everything_is_readable(&parties, "after").await;
}

/// Both write, and both read whatever either of them was told is written.
async fn everything_is_readable(parties: &[Participant; 2], name: &str) {
    let [writer, reader] = [&parties[0].client, &parties[1].client];
    for version in 1..=10 {
        let record = owned(name, version, format!("{version} cm").as_bytes());
        writer.put(&record, NOW).await.unwrap();
        for client in [reader, writer] {
            let found = client.get(record.key, OwnedRecords::check(), NOW).await.unwrap();
            assert_eq!(found.as_ref(), Some(&record));
        }
    }
    let state = reader.state(Shared::record(WRITER, 1).key.address, NOW).await.unwrap();
    let settled = state.map_or(0, |state| state.state().sequence());
    for version in settled + 1..=settled + 6 {
        let (seed, who) = if version % 2 == 0 { (READER, reader) } else { (WRITER, writer) };
        let record = Shared::record(seed, version);
        let settled = who.settle(&record, NOW).await.unwrap();
        assert_eq!(settled.state().sequence(), version);
        for client in [reader, writer] {
            let found = client.state(record.key.address, NOW).await.unwrap().unwrap();
            assert_eq!(found.state(), settled.state());
        }
    }
    let content: Vec<u8> = name.bytes().cycle().take(2 << 20).collect();
    let blob = writer.put_blob(&content, NOW).await.unwrap();
    for client in [reader, writer] {
        assert!(client.get_blob(&blob, NOW).await.unwrap() == content);
    }
}

async fn the_company_is_convicted(network: &Network, [writer, reader]: &[Participant; 2]) {
    let company = identity(COMPANY).party();
    let (one, other) = (statement("worn"), statement("as new"));
    let certificate = writer.client.put(&one, NOW).await.unwrap();
    certificate.verify_for(&network.membership, &one).unwrap();
    // Honest nodes have the first one; the company's own gives each party the receipt that it wants to see.
    let refused = reader.client.put(&other, NOW).await;
    assert!(matches!(refused, Err(PutError::Refused(Refusal::Conflict))), "{refused:?}");
    let shown = [writer.receipt(&company, &one).await, reader.receipt(&company, &other).await];
    for (receipt, record) in shown.iter().zip([&one, &other]) {
        assert_eq!(receipt.signer(), company);
        assert_eq!((receipt.key, receipt.version, receipt.record), (one.key, 1, record.digest()));
    }

    // Whoever asks an honest node gets the proof, and needs nobody to check it.
    let culprit = Culprit { writer: company, key: one.key, version: 1 };
    for node in &network.nodes[2..] {
        let kept = until_some("the evidence is served", async || {
            let body = RequestBody::GetEvidence { key: one.key };
            match reader.ask(&node.identity.party(), 2, body).await {
                Some(ReplyBody::Evidence { evidence }) => evidence,
                other => panic!("{other:?}"),
            }
        })
        .await;
        let portable = codec::encode(&kept);
        let read: Equivocation = codec::decode(&portable, portable.len()).unwrap();
        assert_eq!(read.verify(), Ok(culprit));
    }
    // Whoever reads gets what was acknowledged, or the same proof.
    for party in [writer, reader] {
        match party.client.get(one.key, OwnedRecords::check(), NOW).await {
            Ok(found) => assert_eq!(found, Some(one.clone())),
            Err(GetError::Equivocation(evidence)) => assert_eq!(evidence.verify(), Ok(culprit)),
            Err(error) => panic!("{error:?}"),
        }
    }
}
