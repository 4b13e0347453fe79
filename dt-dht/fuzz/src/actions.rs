//! What is done to the replica: requests from any bytes to well-made ones, of few keys, versions and ballots, so that they meet.

use core::time::Duration;
use std::sync::OnceLock;

use bytes::Bytes;
use dt_dht::{
    Address, AddressState, Ballot, Bid, BlobRef, Former, Key, LockCertificate, OwnedRecords, Parcel, Phase,
    Place, Promise, QuorumCertificate, Receipt, Record, Request, RequestBody, Resilience,
    SettlementCertificate, Slot, UpkeepRequest, Vote, encode_stripe,
};
use dt_model::testing::Choices;
use dt_model::{Envelope, Signed, Signer, Timestamp, codec};

use super::replica::{AnyRequest, FIRST_NODE, Shared, World, membership, party};

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

pub fn next(choices: &mut Choices<'_>, base: &Base, world: &World) -> Action {
    let body = match choices.below(21) {
        0 => return Action::Send(Bytes::copy_from_slice(choices.bytes())),
        1 => {
            let request = Signed::new(AnyRequest(choices.bytes().to_vec()), &**party(choices.below(7)));
            let envelope = request.expect("it signs").into_envelope();
            return Action::Send(codec::encode(&(envelope, Bytes::copy_from_slice(choices.bytes()))).into());
        }
        2 => match borsh::from_slice::<RequestBody>(choices.bytes()) {
            Ok(body) => body,
            Err(_) => return Action::Restart,
        },
        3 | 4 => RequestBody::Put { record: owned(choices).into_envelope() },
        5 => RequestBody::Get { key: key(choices) },
        6 => RequestBody::GetEvidence { key: key(choices) },
        7 => put_shard(choices),
        8 => RequestBody::GetShard { blob: blob(choices).0.address(), index: choices.number() as u16 },
        9 => RequestBody::RenewShard { blob: blob(choices).0.address(), index: choices.number() as u16 },
        10 | 11 => propose(choices, base),
        12 => promise(choices, base, world.now),
        13 => commit(choices, base),
        14 | 15 => return settle(choices, base, world),
        16 => RequestBody::GetState { address: address() },
        17 => RequestBody::GetPast { key: key(choices), version: choices.number() },
        18 => RequestBody::Upkeep { request: upkeep(choices, base) },
        19 => keep_certificate(choices, world),
        _ => {
            return match choices.below(4) {
                0 => Action::Restart,
                1 => Action::Wait(Duration::from_millis(choices.number())),
                2 => Action::Wait(Duration::from_secs(11)),
                _ => Action::Wait(Duration::from_secs(401 * 24 * 60 * 60)),
            };
        }
    };
    Action::Send(request(choices, world, body))
}

/// A request of somebody, mostly one that is in order.
fn request(choices: &mut Choices<'_>, world: &World, body: RequestBody) -> Bytes {
    let mut request = made(world.now, body);
    // A ballot is the sender's, as a rule.
    let proposer = match &request.body {
        RequestBody::Propose { ballot: Some(ballot), .. } => Some(ballot.proposer),
        RequestBody::Promise { bid, .. } => Some(bid.signer()),
        _ => None,
    };
    let number = |proposer| (0..7).find(|number| party(*number).party() == proposer);
    let sender =
        proposer.and_then(number).filter(|_| choices.below(16) > 0).unwrap_or_else(|| choices.below(7));
    match choices.below(32) {
        0 => request.epoch = choices.number(),
        1 => request.node = party(choices.below(7)).party(),
        2 => request.time = Timestamp::from_millis(choices.number()),
        3 => request.network = dt_model::Digest::ZERO,
        _ => request.nonce[0] = choices.byte(),
    }
    Parcel::new(request, &**party(sender)).expect("it signs").encode()
}

fn made(time: Timestamp, body: RequestBody) -> Request {
    let (network, epoch) = (membership().network(), membership().epoch());
    Request { network, epoch, node: party(FIRST_NODE).party(), nonce: [0; 16], time, body }
}

const NAMES: [&str; 2] = ["a", "b"];
const VALUES: [&[u8]; 3] = [b"", b"one", b"another, which is longer"];

fn owned(choices: &mut Choices<'_>) -> Signed<Record> {
    let (owner, name) = (party(choices.below(3)), NAMES[choices.below(2)].parse().expect("a name"));
    let signer = if choices.below(8) == 0 { party(choices.below(7)) } else { owner };
    let record = OwnedRecords::record(owner.party(), name, choices.number(), VALUES[choices.below(3)]);
    Signed::new(record, &**signer).expect("it signs")
}

fn key(choices: &mut Choices<'_>) -> Key {
    match choices.below(4) {
        0 => Key { address: address(), slot: slot(choices) },
        1 => Key::new(
            Address::from([choices.byte(); 32]),
            dt_dht::Kind::new([choices.byte(); 4]),
            choices.number(),
        ),
        _ => OwnedRecords::key(
            &party(choices.below(3)).party(),
            &NAMES[choices.below(2)].parse().expect("a name"),
        ),
    }
}

fn blob(choices: &mut Choices<'_>) -> (BlobRef, Vec<Bytes>) {
    let content = VALUES[choices.below(3)];
    encode_stripe(content, Resilience::tolerating(1).expect("four replicas")).expect("short content")
}

fn put_shard(choices: &mut Choices<'_>) -> RequestBody {
    let (blob, shards) = blob(choices);
    let index = choices.below(6);
    let shard = match shards.get(index) {
        Some(shard) if choices.below(8) > 0 => shard.clone(),
        _ => Bytes::copy_from_slice(choices.bytes()),
    };
    RequestBody::PutShard { blob, index: index as u16, shard: shard.into() }
}

/// Mostly what a quorum of the others has said about now.
fn keep_certificate(choices: &mut Choices<'_>, world: &World) -> RequestBody {
    let (blob, named) = (blob(choices).0.address(), blob(choices).0.address());
    let (network, epoch) = (membership().network(), membership().epoch());
    let time = if choices.below(8) == 0 { Timestamp::from_millis(choices.number()) } else { world.now };
    let receipt = Receipt::of_shards(network, epoch, &named, time);
    let mut receipts = by_others(&receipt);
    if choices.below(8) == 0 {
        receipts.rotate_left(choices.below(3));
        receipts.truncate(choices.below(4));
    }
    RequestBody::KeepCertificate { blob, certificate: QuorumCertificate { receipts } }
}

fn slot(choices: &mut Choices<'_>) -> Slot {
    Slot { kind: Shared::KIND, index: choices.below(3) as u64 }
}

/// A record for the agreed address: mostly one that may come next in its slot.
fn step(choices: &mut Choices<'_>, base: &Base) -> Signed<Record> {
    let slot = slot(choices);
    let stored = base.state().entry(slot).map_or(0, |entry| entry.version);
    let version = if choices.below(8) == 0 { choices.number() } else { stored.saturating_add(1) };
    let body = VALUES[choices.below(3)].into();
    let signer = party(if choices.below(8) == 0 { choices.below(7) } else { choices.below(2) });
    Signed::new(Record { key: Key { address: address(), slot }, version, body }, &**signer).expect("it signs")
}

fn sequence(choices: &mut Choices<'_>, base: &Base) -> u64 {
    let next = base.state().sequence().saturating_add(1);
    if choices.below(8) == 0 { choices.number() } else { next }
}

fn ballot(choices: &mut Choices<'_>) -> Ballot {
    let proposer = party(if choices.below(8) == 0 { choices.below(7) } else { choices.below(2) }).party();
    Ballot { rank: choices.below(4) as u8, round: choices.number(), proposer }
}

fn any_ballot(choices: &mut Choices<'_>) -> Option<Ballot> {
    choices.is().then(|| ballot(choices))
}

/// A bid by the hand of its proposer, as a rule, made now, as a rule.
fn bid(choices: &mut Choices<'_>, base: &Base, now: Timestamp) -> Envelope<Bid> {
    let (sequence, ballot) = (sequence(choices, base), ballot(choices));
    let time = if choices.below(8) == 0 { Timestamp::from_millis(choices.number()) } else { now };
    let bid = Bid { network: membership().network(), address: address(), sequence, ballot, time };
    let number = (0..7).find(|number| party(*number).party() == ballot.proposer);
    let signer = number.filter(|_| choices.below(16) > 0).unwrap_or_else(|| choices.below(7));
    Signed::new(bid, &**party(signer)).expect("it signs").into_envelope()
}

fn promise(choices: &mut Choices<'_>, base: &Base, now: Timestamp) -> RequestBody {
    let titles = (0..choices.below(6)).map(|_| bid(choices, base, now)).collect();
    RequestBody::Promise { bid: bid(choices, base, now), titles }
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

fn lock(choices: &mut Choices<'_>, base: &Base, record: &Signed<Record>) -> LockCertificate {
    let ballot = any_ballot(choices);
    let mut votes = votes(&after(base, record), ballot, Phase::Accept);
    if choices.below(16) == 0 {
        votes.truncate(choices.below(3));
    }
    borsh::from_slice(&codec::encode(&votes)).expect("the same bytes")
}

fn propose(choices: &mut Choices<'_>, base: &Base) -> RequestBody {
    let (record, sequence, ballot) = (step(choices, base), sequence(choices, base), any_ballot(choices));
    let mut promises = Vec::new();
    if let Some(ballot) = ballot {
        let shown = choices.is().then(|| {
            let locked = if choices.is() { record.clone() } else { step(choices, base) };
            lock(choices, base, &locked)
        });
        let (network, epoch) = (membership().network(), membership().epoch());
        promises = by_others(&Promise { network, epoch, address: address(), sequence, ballot, lock: shown });
    }
    RequestBody::Propose { sequence, ballot, record: record.into_envelope(), promises }
}

fn commit(choices: &mut Choices<'_>, base: &Base) -> RequestBody {
    let record = step(choices, base);
    let certificate = lock(choices, base, &record);
    RequestBody::Commit { record: record.into_envelope(), certificate }
}

/// The next state, or one some steps further.
fn settle(choices: &mut Choices<'_>, base: &Base, world: &World) -> Action {
    let mut state = base.state();
    let mut records = Vec::new();
    for _ in 0..=choices.below(3) {
        let record = step(choices, &Base(Some(state.clone())));
        state = state.after(&record).unwrap_or(state);
        records.push(record.into_envelope());
    }
    if choices.below(8) == 0 {
        records.truncate(choices.below(2));
    }
    let ballot = any_ballot(choices);
    let votes = votes(&state, ballot, Phase::Commit);
    let certificate: SettlementCertificate =
        borsh::from_slice(&codec::encode(&(&state, votes))).expect("the same bytes");
    let body = RequestBody::Adopt { certificate, records };
    Action::Settle(request(choices, world, body), state)
}

/// What the state names as replaced in a slot, or anything.
fn former(choices: &mut Choices<'_>, base: &Base, slot: Slot) -> Former {
    let named = base.state().entry(slot).and_then(|entry| entry.former);
    match named {
        Some(former) if choices.below(4) > 0 => former,
        _ => Former { version: choices.number(), digest: dt_model::Digest::from([choices.byte(); 32]) },
    }
}

fn upkeep(choices: &mut Choices<'_>, base: &Base) -> UpkeepRequest {
    let any = |choices: &mut Choices<'_>| choices.is().then(|| Address::from([choices.byte(); 32]));
    match choices.below(6) {
        0 => UpkeepRequest::Summarise { after: any(choices) },
        1 => UpkeepRequest::List { after: any(choices).map(|at| (at, Place::Agreed)), until: any(choices) },
        2 => UpkeepRequest::FetchShard { blob: blob(choices).0.address(), index: choices.below(5) as u16 },
        3 => {
            let slot = slot(choices);
            let former = former(choices, base, slot);
            UpkeepRequest::FetchPast { key: Key { address: address(), slot }, former }
        }
        4 => UpkeepRequest::FetchCertificate { blob: blob(choices).0.address() },
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
