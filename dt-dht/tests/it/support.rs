//! What several tests need.

use std::sync::Arc;

use dt_dht::testing::Network;
use dt_dht::{
    Call, Client, Key, Kind, OwnedRecords, Record, Refusal, ReplyBody, RequestBody, Resilience, Site,
    StoreReport, Validator, verify_store,
};
use dt_model::testing::identity;
use dt_model::{Identity, Signed, Signer};

pub(crate) const WRITER: u64 = 1;
pub(crate) const READER: u64 = 2;
pub(crate) const STRANGER: u64 = 3;

/// n = 3k + 1 nodes that serve writer and reader.
pub(crate) fn network(max_faulty: u16) -> Network {
    let resilience = Resilience::tolerating(max_faulty).unwrap();
    with_nodes(resilience, resilience.replicas(), &[Arc::new(OwnedRecords)])
}

pub(crate) fn with_nodes(resilience: Resilience, nodes: usize, validators: &[Arc<dyn Validator>]) -> Network {
    let parties = [identity(WRITER).party(), identity(READER).party()];
    Network::new(resilience, nodes, parties, validators)
}

pub(crate) fn client(network: &Network, seed: u64) -> Client {
    network.client(Arc::new(identity(seed)))
}

/// The writer's record of this name and version.
pub(crate) fn owned(name: &str, version: u64, value: &'static str) -> Signed<Record> {
    let writer = identity(WRITER);
    let record = OwnedRecords::record(writer.party(), name.parse().unwrap(), version, value.as_bytes());
    Signed::new(record, &writer).unwrap()
}

/// A record of a kind that has no structure.
pub(crate) fn plain(kind: Kind, writer: &Identity, version: u64, body: &'static str) -> Signed<Record> {
    let key = Key::new([9; 32].into(), kind, 0);
    Signed::new(Record { key, version, body: body.as_bytes().into() }, writer).unwrap()
}

/// A request of `seed` to one node, and its answer.
pub(crate) fn ask(network: &Network, seed: u64, node: &Identity, body: RequestBody) -> ReplyBody {
    let call = call(network, seed, node, body);
    let reply = network.replica(&node.party()).handle(call.bytes(), network.now());
    call.read(&reply).unwrap()
}

pub(crate) fn call(network: &Network, seed: u64, node: &Identity, body: RequestBody) -> Call {
    Call::new(&identity(seed), network.membership(), node.party(), [5; 16], network.now(), body).unwrap()
}

/// Whether the answer says that all shards are stored which are the node's own.
pub(crate) fn is_stored(reply: &ReplyBody) -> bool {
    matches!(reply, ReplyBody::ShardStored { receipt: Some(_) })
}

pub(crate) fn refused(refusal: Refusal) -> ReplyBody {
    ReplyBody::Refused { refusal }
}

/// What `node` shows the reader at `key`.
pub(crate) fn held(network: &Network, node: &Identity, key: Key) -> Option<Signed<Record>> {
    match ask(network, READER, node, RequestBody::Get { key }) {
        ReplyBody::Record { record } => record.map(|record| record.open().unwrap()),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn put(record: &Signed<Record>) -> RequestBody {
    RequestBody::Put { record: record.envelope().clone() }
}

pub(crate) fn report(network: &Network, node: &Identity) -> StoreReport {
    verify_store(&**network.replica(&node.party()).store()).unwrap()
}

/// A kind whose records must follow each other without a gap; anybody may write.
pub(crate) struct Chained;

impl Chained {
    pub(crate) const KIND: Kind = Kind::new(*b"chai");
}

impl Validator for Chained {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
}

/// A kind that only its writer may read.
pub(crate) struct Private;

impl Private {
    pub(crate) const KIND: Kind = Kind::new(*b"priv");
}

impl Validator for Private {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn admit(&self, _: &Site<'_>, _: &Signed<Record>) -> Result<(), Refusal> {
        Ok(())
    }

    fn serve(
        &self,
        _: &Site<'_>,
        reader: &dt_model::PartyId,
        stored: &Signed<Record>,
    ) -> Result<(), Refusal> {
        if *reader == stored.signer() { Ok(()) } else { Err(Refusal::NotPermitted) }
    }
}

/// A kind that is admitted only beside a record of kind [`Private`] at the same address.
pub(crate) struct Dependent;

impl Dependent {
    pub(crate) const KIND: Kind = Kind::new(*b"depd");
}

impl Validator for Dependent {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn admit(&self, site: &Site<'_>, _: &Signed<Record>) -> Result<(), Refusal> {
        let beside = dt_dht::Slot { kind: Private::KIND, index: 0 };
        site.neighbours.record(beside).map(drop).ok_or(Refusal::Superseded)
    }
}
