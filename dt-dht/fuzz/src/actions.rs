//! What is done to the replica: requests from any bytes to well-made ones, of few keys, versions and ballots, so that they meet.

use core::time::Duration;
use std::sync::OnceLock;

use bytes::Bytes;
use dt_dht::{
    Address, AddressState, Ballot, BlobRef, Key, LockCertificate, OwnedRecords, Parcel, Phase, Place,
    Promise, Record, Request, RequestBody, Resilience, SettlementCertificate, Slot, UpkeepRequest, Vote,
    encode_stripe,
};
use dt_model::{Envelope, Signed, Signer, Timestamp, codec};

use super::replica::{AnyRequest, FIRST_NODE, Shared, World, membership, party};
use super::source::Source;

/// What happens next.
pub enum Action {
    Send(Bytes),
    /// To have it adopt a state.
    Settle(Bytes, AddressState),
    Wait(Duration),
    Restart,
}

/// The state that the replica has adopted.
#[derive(Default)]
pub struct Base(pub Option<AddressState>);

impl Base {
    fn state(&self) -> AddressState {
        self.0.clone().unwrap_or_else(|| AddressState::empty(address()))
    }
}

/// Where everything agreed lies.
fn address() -> Address {
    Address::from([9; 32])
}

pub fn next(source: &mut Source<'_>, base: &Base, world: &World) -> Action {
    let body = match source.below(20) {
        0 => return Action::Send(Bytes::copy_from_slice(source.bytes())),
        1 => {
            let request = Signed::new(AnyRequest(source.bytes().to_vec()), &**party(source.below(7)));
            let envelope = request.expect("it signs").into_envelope();
            return Action::Send(codec::encode(&(envelope, Bytes::copy_from_slice(source.bytes()))).into());
        }
        2 => match borsh::from_slice::<RequestBody>(source.bytes()) {
            Ok(body) => body,
            Err(_) => return Action::Restart,
        },
        3 | 4 => RequestBody::Put { record: owned(source).into_envelope() },
        5 => RequestBody::Get { key: key(source) },
        6 => RequestBody::GetEvidence { key: key(source) },
        7 => put_shard(source),
        8 => RequestBody::GetShard { blob: blob(source).0.address(), index: source.number() as u16 },
        9 => RequestBody::RenewShard { blob: blob(source).0.address(), index: source.number() as u16 },
        10 | 11 => propose(source, base),
        12 => RequestBody::Promise {
            address: address(),
            sequence: sequence(source, base),
            ballot: ballot(source),
        },
        13 => commit(source, base),
        14 | 15 => return settle(source, base, world),
        16 => RequestBody::GetState { address: address() },
        17 => RequestBody::GetPast { key: key(source), version: source.number() },
        18 => RequestBody::Upkeep { request: upkeep(source) },
        _ => {
            return match source.below(4) {
                0 => Action::Restart,
                1 => Action::Wait(Duration::from_millis(source.number())),
                2 => Action::Wait(Duration::from_secs(11)),
                _ => Action::Wait(Duration::from_secs(401 * 24 * 60 * 60)),
            };
        }
    };
    Action::Send(request(source, world, body))
}

/// A request of somebody, mostly one that is in order.
fn request(source: &mut Source<'_>, world: &World, body: RequestBody) -> Bytes {
    let mut request = made(world.now, body);
    // A ballot is the sender's, as a rule.
    let proposer = match &request.body {
        RequestBody::Propose { ballot: Some(ballot), .. } | RequestBody::Promise { ballot, .. } => {
            (0..7).find(|number| party(*number).party() == ballot.proposer)
        }
        _ => None,
    };
    let sender = proposer.filter(|_| source.below(16) > 0).unwrap_or_else(|| source.below(7));
    match source.below(32) {
        0 => request.epoch = source.number(),
        1 => request.node = party(source.below(7)).party(),
        2 => request.time = Timestamp::from_millis(source.number()),
        3 => request.network = dt_model::Digest::ZERO,
        _ => request.nonce[0] = source.byte(),
    }
    Parcel::new(request, &**party(sender)).expect("it signs").encode()
}

fn made(time: Timestamp, body: RequestBody) -> Request {
    let (network, epoch) = (membership().network(), membership().epoch());
    Request { network, epoch, node: party(FIRST_NODE).party(), nonce: [0; 16], time, body }
}

const NAMES: [&str; 2] = ["a", "b"];
const VALUES: [&[u8]; 3] = [b"", b"one", b"another, which is longer"];

fn owned(source: &mut Source<'_>) -> Signed<Record> {
    let (owner, name) = (party(source.below(3)), NAMES[source.below(2)].parse().expect("a name"));
    let signer = if source.below(8) == 0 { party(source.below(7)) } else { owner };
    let record = OwnedRecords::record(owner.party(), name, source.number(), VALUES[source.below(3)]);
    Signed::new(record, &**signer).expect("it signs")
}

fn key(source: &mut Source<'_>) -> Key {
    match source.below(4) {
        0 => Key { address: address(), slot: slot(source) },
        1 => Key::new(
            Address::from([source.byte(); 32]),
            dt_dht::Kind::new([source.byte(); 4]),
            source.number(),
        ),
        _ => OwnedRecords::key(
            &party(source.below(3)).party(),
            &NAMES[source.below(2)].parse().expect("a name"),
        ),
    }
}

fn blob(source: &mut Source<'_>) -> (BlobRef, Vec<Bytes>) {
    let content = VALUES[source.below(3)];
    encode_stripe(content, Resilience::tolerating(1).expect("four replicas")).expect("short content")
}

fn put_shard(source: &mut Source<'_>) -> RequestBody {
    let (blob, shards) = blob(source);
    let index = source.below(6);
    let shard = match shards.get(index) {
        Some(shard) if source.below(8) > 0 => shard.clone(),
        _ => Bytes::copy_from_slice(source.bytes()),
    };
    RequestBody::PutShard { blob, index: index as u16, shard: shard.into() }
}

fn slot(source: &mut Source<'_>) -> Slot {
    Slot { kind: Shared::KIND, index: source.below(3) as u64 }
}

/// A record for the agreed address: mostly one that may come next in its slot.
fn step(source: &mut Source<'_>, base: &Base) -> Signed<Record> {
    let slot = slot(source);
    let stored = base.state().entry(slot).map_or(0, |entry| entry.version);
    let version = if source.below(8) == 0 { source.number() } else { stored.saturating_add(1) };
    let body = VALUES[source.below(3)].into();
    let signer = party(if source.below(8) == 0 { source.below(7) } else { source.below(2) });
    Signed::new(Record { key: Key { address: address(), slot }, version, body }, &**signer).expect("it signs")
}

fn sequence(source: &mut Source<'_>, base: &Base) -> u64 {
    let next = base.state().sequence().saturating_add(1);
    if source.below(8) == 0 { source.number() } else { next }
}

fn ballot(source: &mut Source<'_>) -> Ballot {
    let proposer = party(if source.below(8) == 0 { source.below(7) } else { source.below(2) }).party();
    Ballot { rank: source.below(4) as u8, round: source.number(), proposer }
}

fn any_ballot(source: &mut Source<'_>) -> Option<Ballot> {
    source.is().then(|| ballot(source))
}

/// What the other three nodes sign, sorted by node.
fn by_others<T: dt_model::Message + Clone>(value: &T) -> Vec<Envelope<T>> {
    let signed = |number| Signed::new(value.clone(), &**party(number)).expect("it signs").into_envelope();
    let mut all: Vec<_> = (FIRST_NODE + 1..FIRST_NODE + 4).map(signed).collect();
    all.sort_by_key(Envelope::signer);
    all
}

fn votes(state: &AddressState, ballot: Option<Ballot>, phase: Phase) -> Vec<Envelope<Vote>> {
    let (network, epoch) = (membership().network(), membership().epoch());
    let (address, sequence, state) = (state.address(), state.sequence(), state.digest());
    by_others(&Vote { network, epoch, address, sequence, ballot, state, phase })
}

/// The state that `record` would lead to, or none that follows.
fn after(base: &Base, record: &Signed<Record>) -> AddressState {
    base.state().after(record).unwrap_or_else(|| base.state())
}

fn lock(source: &mut Source<'_>, base: &Base, record: &Signed<Record>) -> LockCertificate {
    let ballot = any_ballot(source);
    let mut votes = votes(&after(base, record), ballot, Phase::Accept);
    if source.below(16) == 0 {
        votes.truncate(source.below(3));
    }
    borsh::from_slice(&codec::encode(&votes)).expect("the same bytes")
}

fn propose(source: &mut Source<'_>, base: &Base) -> RequestBody {
    let (record, sequence, ballot) = (step(source, base), sequence(source, base), any_ballot(source));
    let mut promises = Vec::new();
    if let Some(ballot) = ballot {
        let shown = source.is().then(|| {
            let locked = if source.is() { record.clone() } else { step(source, base) };
            lock(source, base, &locked)
        });
        let (network, epoch) = (membership().network(), membership().epoch());
        promises = by_others(&Promise { network, epoch, address: address(), sequence, ballot, lock: shown });
    }
    RequestBody::Propose { sequence, ballot, record: record.into_envelope(), promises }
}

fn commit(source: &mut Source<'_>, base: &Base) -> RequestBody {
    let record = step(source, base);
    let certificate = lock(source, base, &record);
    RequestBody::Commit { record: record.into_envelope(), certificate }
}

/// The next state, or one some steps further.
fn settle(source: &mut Source<'_>, base: &Base, world: &World) -> Action {
    let mut state = base.state();
    let mut records = Vec::new();
    for _ in 0..=source.below(3) {
        let record = step(source, &Base(Some(state.clone())));
        state = state.after(&record).unwrap_or(state);
        records.push(record.into_envelope());
    }
    if source.below(8) == 0 {
        records.truncate(source.below(2));
    }
    let ballot = any_ballot(source);
    let votes = votes(&state, ballot, Phase::Commit);
    let certificate: SettlementCertificate =
        borsh::from_slice(&codec::encode(&(&state, votes))).expect("the same bytes");
    let body = RequestBody::Adopt { certificate, records };
    Action::Settle(request(source, world, body), state)
}

fn upkeep(source: &mut Source<'_>) -> UpkeepRequest {
    let any = |source: &mut Source<'_>| source.is().then(|| Address::from([source.byte(); 32]));
    match source.below(4) {
        0 => UpkeepRequest::Summarise { after: any(source) },
        1 => UpkeepRequest::List { after: any(source).map(|at| (at, Place::Agreed)), until: any(source) },
        2 => UpkeepRequest::FetchShard { blob: blob(source).0.address(), index: source.below(5) as u16 },
        _ => UpkeepRequest::HandOver,
    }
}

/// Requests of another node at `now` for all that there may be, of which a listing has the digests.
pub fn questions(now: Timestamp) -> &'static [Bytes] {
    static QUESTIONS: OnceLock<Vec<Bytes>> = OnceLock::new();
    QUESTIONS.get_or_init(|| {
        let key = OwnedRecords::key(&party(0).party(), &NAMES[0].parse().expect("a name"));
        let past = Key::new(address(), Shared::KIND, 0);
        let bodies = [
            RequestBody::GetState { address: address() },
            RequestBody::Upkeep { request: UpkeepRequest::List { after: None, until: None } },
            RequestBody::GetEvidence { key },
            RequestBody::GetPast { key: past, version: 1 },
        ];
        let sign = |body| Parcel::new(made(now, body), &**party(FIRST_NODE + 1)).expect("it signs").encode();
        bodies.into_iter().map(sign).collect()
    })
}
