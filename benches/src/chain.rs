//! A chain with a twin on which several parties work, and blocks of what they do that its replica has not seen.
#![expect(clippy::expect_used, reason = "a benchmark's set-up reports by panicking")]

use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use dt_ledger::testing::{Fixture, PLANT};
use dt_ledger::{
    Block, Call, CommitCertificate, CreateTwin, Document, FeedReference, Header, LedgerStore, MAINTAINER,
    MemoryStore, Policy, Replica, Transaction, TwinCall, Version, twin_id, validators_digest,
};
use dt_model::{
    ComponentId, ContentHash, Digest, Domain, Envelope, Identity, Name, Signer as _, TwinId, codec, merkle,
};

use crate::Numbers;

/// Calls in each transaction of [`Chain::fill`]: as many as one takes.
pub const CALLS: u64 = dt_ledger::MAX_CALLS as u64;
/// Transactions in each block of [`Chain::fill`].
const FILLING: u64 = 10;
/// Members of a chain where nothing asks for more: one for each component.
pub const MEMBERS: u64 = COMPONENTS.len() as u64;
/// Elements of the twin that documents and feeds belong to.
const COMPONENTS: [&str; 8] = ["line", "tank", "level", "valve", "conveyor", "motor", "set-speed", "weigh"];
/// What a document's content and a feed's entries are named by.
const CONTENT: Domain = Domain::new("dt/benches/content/v1");

/// A chain of two organisations and one validator, with a twin and its owner and maintainers. Each of the first eight publishes the feed
/// of one component. All follows from numbers: two chains of as many members are the same, and what is signed for one is good on the other.
pub struct Chain {
    /// The chain.
    pub fixture: Fixture,
    /// The owner, and the maintainers.
    pub members: Vec<Identity>,
    /// The twin.
    pub twin: TwinId,
    numbers: Numbers,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new(Arc::new(MemoryStore::default()), MEMBERS)
    }
}

impl Chain {
    /// A new chain in `store`, with at least eight members.
    ///
    /// # Panics
    /// If the chain refuses what is needed.
    #[must_use]
    pub fn new(store: Arc<dyn LedgerStore>, members: u64) -> Self {
        let fixture = Fixture::new(store, 2, 1);
        let members: Vec<Identity> = (1..=members).map(|seed| fixture.enrol(seed)).collect();
        let twin = create(&fixture, &members, PLANT);
        let chain = Self { fixture, members, twin, numbers: Numbers::default() };
        for (member, component) in chain.members.iter().zip(COMPONENTS) {
            let feed = FeedReference { feed: digest(component.as_bytes()), publisher: member.party() };
            let call = TwinCall::AddSensorFeed { component: self::component(component), feed };
            chain.fixture.call(member, chain.twin, call).expect("a maintainer links a feed");
        }
        chain
    }

    /// This chain, whose replica works on one thread alone.
    ///
    /// # Panics
    /// If somebody else holds the replica already.
    #[must_use]
    pub fn on_one_thread(self) -> Self {
        Self { fixture: self.fixture.on_threads(NonZero::<usize>::MIN), ..self }
    }

    /// The replica.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        self.fixture.replica()
    }

    /// Who owns the twins.
    ///
    /// # Panics
    /// Never: a chain has members.
    #[must_use]
    pub fn owner(&self) -> &Identity {
        self.members.first().expect("a chain has members")
    }

    /// One more twin with this specification, of the same owner and maintainers.
    ///
    /// # Panics
    /// If the chain refuses it.
    #[must_use]
    pub fn twin_of(&self, aml: &str) -> TwinId {
        create(&self.fixture, &self.members, aml)
    }

    /// The next `count` transactions, of all members in turn: each registers one document, half of these for a component.
    #[must_use]
    pub fn documents(&self, count: u64) -> Vec<Envelope<Transaction>> {
        self.sign(count, |member, _| vec![self.document(member)])
    }

    /// The next `count` transactions, of all members in turn: one half registers documents, the other anchors the heads of feeds.
    #[must_use]
    pub fn mixed(&self, count: u64) -> Vec<Envelope<Transaction>> {
        let kind = |member, round: u64| {
            vec![if round.is_multiple_of(2) { self.document(member) } else { self.anchor(member) }]
        };
        self.sign(count, kind)
    }

    /// Commits `count` documents, in as few blocks as quickly done: the transactions that hold them, each with its height. Of the blocks nothing
    /// is kept, as in a replica that runs: else they would leave holes all over its memory.
    ///
    /// # Panics
    /// If the chain refuses one.
    pub fn fill(&self, count: u64) -> Vec<(u64, Digest)> {
        let mut filled = Vec::new();
        let mut left = count;
        while left > 0 {
            let calls = CALLS.min(left);
            let transactions = (left / calls).min(FILLING);
            let filling =
                self.sign(transactions, |member, _| (0..calls).map(|_| self.document(member)).collect());
            let committed = self.fixture.commit(&filling);
            let height = committed.block.header.height;
            filled.extend(committed.receipts.iter().map(|receipt| (height, receipt.transaction)));
            left -= calls * transactions;
        }
        filled
    }

    /// The block of `transactions` that comes next, and the votes for it. The replica neither made it nor verified any of it.
    ///
    /// # Panics
    /// If the store does not answer.
    #[must_use]
    pub fn block(&self, transactions: &[Envelope<Transaction>]) -> (Block, CommitCertificate) {
        let tip = self.replica().tip();
        let transactions = encoded(transactions);
        let header = Header {
            chain: self.replica().chain(),
            height: tip.height + 1,
            time: self.fixture.now().max(tip.time),
            previous: tip.block,
            transactions_root: merkle::root(transactions.iter().map(|bytes| merkle::leaf_hash(&[bytes]))),
            state_root: tip.state_root,
            receipts_root: tip.receipts_root,
            log: tip.log,
            next_validators: validators_digest(&tip.validators),
            round: 0,
            resting: tip.resting_after(0),
        };
        let certificate = self.fixture.certify(&header);
        (Block { header, transactions }, certificate)
    }

    /// Lets the replica verify the signatures of `transactions`, as it does when they are submitted.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn authenticate(&self, transactions: &[Envelope<Transaction>]) {
        for transaction in encoded(transactions) {
            self.replica().authenticate(&transaction).expect("it is authentic");
        }
    }

    /// `calls(member, round)` of each member in turn, until there are `count` transactions.
    fn sign(&self, count: u64, calls: impl Fn(usize, u64) -> Vec<Call>) -> Vec<Envelope<Transaction>> {
        let rounds = (0..).flat_map(|round| (0..self.members.len()).map(move |member| (member, round)));
        let signed = rounds.zip(0..count).filter_map(|((member, round), _)| {
            let signer = self.members.get(member)?;
            Some(self.fixture.sign_ahead(signer, calls(member, round), round))
        });
        signed.collect()
    }

    fn document(&self, member: usize) -> Call {
        let number = self.numbers.next();
        let content = ContentHash::of(&number.to_le_bytes());
        let of_a_component = COMPONENTS.get(member % COMPONENTS.len()).filter(|_| member.is_multiple_of(2));
        let document = Document {
            title: name(&format!("calibration sheet {number}")),
            media_type: name("application/pdf"),
            component: of_a_component.map(|id| component(id)),
            version: Version {
                size: 120_000,
                content,
                item: Digest::from(*content.as_bytes()),
                provenance: None,
            },
        };
        Call::Twin { twin: self.twin, call: TwinCall::AddDocument(document) }
    }

    /// The feed of the member's component, longer than before.
    fn anchor(&self, member: usize) -> Call {
        let number = self.numbers.next();
        let component = component(COMPONENTS.get(member).expect("the first members publish feeds"));
        let call = TwinCall::AnchorHead { component, size: number + 1, root: digest(&number.to_le_bytes()) };
        Call::Twin { twin: self.twin, call }
    }
}

/// A twin of the first of `members`, in which the others are maintainers.
fn create(fixture: &Fixture, members: &[Identity], aml: &str) -> TwinId {
    let (owner, maintainers) = members.split_first().expect("a chain has members");
    let (chain, height) = (fixture.replica().chain(), fixture.replica().tip().height);
    let role = |member: &Identity| (member.party(), vec![name(MAINTAINER)]);
    let create = CreateTwin {
        device_name: name("plant"),
        device_id: name(&format!("plant {height}")),
        aml: aml.into(),
        policy: Policy::paper_default(),
        roles: maintainers.iter().map(role).collect(),
        agent: None,
    };
    let twin = twin_id(&chain, &owner.party(), &create.device_id);
    fixture.apply(owner, vec![Call::CreateTwin(create)]).expect("a member creates a twin");
    twin
}

/// Transactions as they travel.
#[must_use]
pub fn encoded(transactions: &[Envelope<Transaction>]) -> Vec<Bytes> {
    transactions.iter().map(|transaction| Bytes::from(codec::encode(transaction))).collect()
}

fn digest(of: &[u8]) -> Digest {
    CONTENT.sha256(&[of])
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a name")
}

fn component(id: &str) -> ComponentId {
    ComponentId::new(id).expect("an ID")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_made_is_applied() {
        let chain = Chain::default();
        assert_eq!(chain.fill(1_000).len(), 4);
        let mixed = chain.mixed(100);
        let (block, certificate) = chain.block(&mixed);
        let mixed = chain.replica().commit(block, certificate).unwrap();
        let blocks = [mixed, chain.fixture.commit(&chain.documents(20))];
        let receipts: Vec<_> = blocks.iter().flat_map(|block| &block.receipts).collect();
        for receipt in &receipts {
            receipt.result().unwrap();
        }
        assert_eq!(receipts.len(), 100 + 20);
        let documents = chain.fixture.state().documents(&chain.twin).unwrap().len();
        // Of 12 rounds of 8 every second one, and the 4 of the last.
        assert_eq!(documents, 1_000 + 52 + 20);
    }

    #[test]
    fn two_chains_are_the_same() {
        let [one, other] = [(); 2].map(|()| Chain::default());
        assert_eq!(one.replica().tip(), other.replica().tip());
        let (block, certificate) = one.block(&one.mixed(50));
        other.replica().commit(block, certificate).unwrap();
    }
}
