//! One replica, and whatever registered parties, other nodes and strangers send it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_dht::{
    Ballot, Kind, Membership, MemoryStore, Node, Order, OwnedRecords, Phase, Record, RecordStore, Refusal,
    Replica, Reply, ReplyBody, Request, Resilience, Site, Validator, request_digest, verify_store,
};
use dt_model::testing::{Choices, identity, trust_own_signatures};
use dt_model::{Digest, Domain, Envelope, Identity, Message, PartyId, Signed, Signer, Timestamp, codec};

use super::actions::{self, Action};

/// When a run begins.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// How many requests a run makes at most.
const STEPS: usize = 24;

/// Who there is: two registered parties, a stranger, and four nodes, the first of which is the replica.
pub fn party(number: usize) -> &'static Arc<Identity> {
    static PARTIES: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    &PARTIES.get_or_init(|| (0..7).map(|seed| Arc::new(identity(seed))).collect())[number]
}

pub const FIRST_NODE: usize = 3;

/// One tolerated fault, so the four nodes hold everything.
pub fn membership() -> Membership {
    static MEMBERSHIP: OnceLock<Membership> = OnceLock::new();
    let made = || {
        let node = |number| Node { party: party(number).party(), endpoints: Vec::new() };
        let nodes = (FIRST_NODE..FIRST_NODE + 4).map(node).collect();
        let parties = BTreeSet::from([party(0).party(), party(1).party()]);
        let resilience = Resilience::tolerating(1).expect("four replicas");
        Membership::new(Digest::from([0x11; 32]), 7, resilience, nodes, parties).expect("four nodes")
    };
    MEMBERSHIP.get_or_init(made).clone()
}

/// Registers that both parties may advance by one, the second one with the higher rank.
pub struct Shared;

impl Shared {
    pub const KIND: Kind = Kind::new(*b"shrd");
}

impl Validator for Shared {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn order(&self) -> Order {
        Order::Agreed
    }

    fn rank(&self, _: &Site<'_>, asking: &PartyId) -> Option<u8> {
        (0u8..2).find(|number| party(usize::from(*number)).party() == *asking).map(|number| number + 1)
    }

    fn admit(&self, site: &Site<'_>, offered: &Signed<Record>) -> Result<(), Refusal> {
        let stored = site.stored.map_or(0, |stored| stored.version);
        if self.rank(site, &offered.signer()).is_none() {
            return Err(Refusal::NotPermitted);
        }
        if offered.version == stored + 1 { Ok(()) } else { Err(Refusal::Gap { stored }) }
    }
}

/// Bytes that are signed as if they were a request.
#[derive(Debug)]
pub struct AnyRequest(pub Vec<u8>);

impl Message for AnyRequest {
    const DOMAIN: Domain = Request::DOMAIN;
    const MAX_BYTES: usize = Request::MAX_BYTES;
}

impl BorshSerialize for AnyRequest {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        writer.write_all(&self.0)
    }
}

impl BorshDeserialize for AnyRequest {
    fn deserialize_reader<R: borsh::io::Read>(_: &mut R) -> borsh::io::Result<Self> {
        Err(borsh::io::ErrorKind::Unsupported.into())
    }
}

/// What the replica has said, and never may contradict.
#[derive(Default)]
struct Word {
    votes: BTreeMap<(u64, Option<Ballot>, Phase), Digest>,
    promised: BTreeMap<u64, Ballot>,
    settled: u64,
}

impl Word {
    fn take(&mut self, body: &ReplyBody) {
        match body {
            ReplyBody::Voted { vote } => {
                let vote = vote.clone().open().expect("it signs its votes").into_value();
                let known = self.votes.entry((vote.sequence, vote.ballot, vote.phase)).or_insert(vote.state);
                assert_eq!(*known, vote.state, "one state under a ballot");
                assert!(vote.ballot >= self.promised.get(&vote.sequence).copied(), "it keeps its promises");
                assert_eq!(vote.sequence, self.settled + 1, "it votes for the next step");
            }
            ReplyBody::Promised { promise, .. } => {
                let promise = promise.clone().open().expect("it signs its promises").into_value();
                let before = self.promised.insert(promise.sequence, promise.ballot);
                assert!(before.is_none_or(|before| before <= promise.ballot), "promises go up");
            }
            ReplyBody::Adopted { sequence } => {
                assert!(*sequence >= self.settled, "what is settled stays");
                self.settled = *sequence;
            }
            ReplyBody::State { settled, records, promised, title, .. } => {
                if let Some(title) = title {
                    let title = title.clone().open().expect("it shows sound titles").into_value();
                    assert!(promised.is_some_and(|promised| title.ballot.rank <= promised.rank));
                    assert_eq!(title.sequence, self.settled + 1, "a title is to the next step");
                }
                let state = settled.as_ref().map(|settled| settled.state().clone());
                assert_eq!(state.as_ref().map_or(0, |state| state.sequence()), self.settled);
                assert_eq!(state.map_or(0, |state| state.entries().len()), records.len());
            }
            _ => {}
        }
    }
}

/// The replica and its store, which outlives it.
pub struct World {
    pub now: Timestamp,
    store: Arc<MemoryStore>,
    replica: Replica,
    word: Word,
    received: usize,
}

fn open(store: &Arc<MemoryStore>) -> Replica {
    let validators: Vec<Arc<dyn Validator>> = vec![Arc::new(OwnedRecords), Arc::new(Shared)];
    Replica::new(party(FIRST_NODE).clone(), store.clone(), membership(), validators)
}

impl World {
    /// Sends bytes, and gives what is answered.
    fn send(&mut self, request: &[u8]) -> ReplyBody {
        self.received += request.len();
        let reply = self.replica.handle(request, self.now);
        // The signature is left unchecked here: it costs as much as everything else.
        let parcel = codec::decode::<(Envelope<Reply>, Bytes)>(&reply, Reply::MAX_BYTES);
        let (envelope, _) = parcel.expect("a reply comes, whatever was sent");
        assert_eq!(envelope.signer(), self.replica.party());
        let reply: Reply = codec::decode(envelope.body(), Reply::MAX_BYTES).expect("it can be read");
        assert_eq!(reply.request, request_digest(request));
        self.word.take(&reply.body);
        reply.body
    }

    /// The settled sequence, as far as it was told.
    pub const fn settled(&self) -> u64 {
        self.word.settled
    }

    /// The same replica after a restart, which forgets everything but its store.
    fn restart(&mut self) {
        self.replica = open(&self.store);
    }
}

/// Whatever is sent, the replica answers, keeps its word, holds a bounded store that is sound, and a restart changes nothing.
pub fn replica(data: &[u8]) {
    // What this thread signed, as every party there is, is not what is looked for.
    trust_own_signatures();
    let mut choices = Choices::new(data);
    let store = Arc::new(MemoryStore::new());
    let (replica, word) = (open(&store), Word::default());
    let mut world = World { now: START, store, replica, word, received: 0 };
    let mut base = actions::Base::default();
    let mut steps = 0;
    while steps < STEPS && !choices.is_empty() {
        steps += 1;
        match actions::next(&mut choices, &base, &world) {
            Action::Send(request) => {
                world.send(&request);
            }
            Action::Settle(request, state) => {
                let settles = state.sequence() > world.settled();
                if world.send(&request) == (ReplyBody::Adopted { sequence: state.sequence() }) && settles {
                    base = actions::Base(Some(state));
                }
            }
            Action::Wait(time) => world.now = world.now.saturating_add(time),
            Action::Restart => world.restart(),
        }
    }
    let rows = world.store.scan(&[], None, usize::MAX).expect("it is in memory");
    let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(rows.len() <= 1 + 8 * steps, "{} rows after {steps} steps", rows.len());
    assert!(bytes <= 2048 * (1 + steps) + 4 * world.received, "{bytes} bytes after {} ", world.received);
    verify_store(&*world.store).expect("rows and books are sound");
    let ask = |replica: &Replica| -> Vec<Bytes> {
        actions::questions(START).iter().map(|question| replica.handle(question, START)).collect()
    };
    let before = ask(&world.replica);
    assert!(before == ask(&open(&world.store)), "a restart changes no answer");
}
