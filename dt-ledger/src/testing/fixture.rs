//! A chain with organisations, parties and a twin in a few lines.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dt_model::testing::identity;
use dt_model::{Digest, Envelope, Identity, Name, PartyId, Signed, Signer as _, Timestamp, TwinId, codec};

use crate::{
    AdmissionError, Approval, Block, Call, Certificate, Commit, CommitCertificate, CommittedBlock,
    CreateTwin, Credential, Genesis, Header, LedgerStore, MemoryStore, Organisation, Policy, Reason, Receipt,
    Replica, Snapshot, Solo, State as _, Transaction, TwinCall, twin_id,
};

/// A small plant in CAEX 3.0. `line` holds `tank` (with `level` and `valve`), `conveyor` (with `motor`), and the program `set-speed` with
/// its parameters `Speed` (decimal, m/min, 5 to 60), `Mode` (one of `slow`, `fast`), and `Load` (of a type that cannot be checked) in the
/// program `weigh`.
pub const PLANT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<CAEXFile SchemaVersion="3.0" FileName="plant.aml" xmlns="http://www.dke.de/CAEX">
  <SuperiorStandardVersion>AutomationML 2.10</SuperiorStandardVersion>
  <SourceDocumentInformation OriginName="Test" OriginID="test" OriginVersion="1" LastWritingDateTime="2024-01-01T00:00:00Z"/>
  <InstanceHierarchy Name="Plant">
    <InternalElement Name="Line" ID="line">
      <InternalElement Name="Tank" ID="tank">
        <InternalElement Name="Level" ID="level"/>
        <InternalElement Name="Valve" ID="valve"/>
      </InternalElement>
      <InternalElement Name="Conveyor" ID="conveyor">
        <InternalElement Name="Motor" ID="motor"/>
      </InternalElement>
      <InternalElement Name="SetSpeed" ID="set-speed">
        <ExternalInterface Name="Speed" ID="set-speed.speed" RefBaseClassPath="Logic/VariableInterface">
          <Attribute Name="Speed" AttributeDataType="xs:decimal" Unit="m/min">
            <Constraint Name="Safety">
              <OrdinalScaledType>
                <RequiredMaxValue>60</RequiredMaxValue>
                <RequiredMinValue>5</RequiredMinValue>
              </OrdinalScaledType>
            </Constraint>
          </Attribute>
        </ExternalInterface>
        <ExternalInterface Name="Mode" ID="set-speed.mode" RefBaseClassPath="Logic/VariableInterface">
          <Attribute Name="Mode" AttributeDataType="xs:string">
            <Constraint Name="Modes">
              <NominalScaledType>
                <RequiredValue>slow</RequiredValue>
                <RequiredValue>fast</RequiredValue>
              </NominalScaledType>
            </Constraint>
          </Attribute>
        </ExternalInterface>
        <RoleRequirements RefBaseRoleClassPath="PlantRoles/Program"/>
      </InternalElement>
      <InternalElement Name="Weigh" ID="weigh">
        <ExternalInterface Name="Load" ID="weigh.load" RefBaseClassPath="Logic/VariableInterface">
          <Attribute Name="Load" AttributeDataType="xs:decimal">
            <Constraint Name="Judgement">
              <UnknownType><Requirements>what the foreman allows</Requirements></UnknownType>
            </Constraint>
          </Attribute>
        </ExternalInterface>
        <RoleRequirements RefBaseRoleClassPath="PlantRoles/Program"/>
      </InternalElement>
    </InternalElement>
  </InstanceHierarchy>
</CAEXFile>
"#;

/// Seeds of the organisations' authorities and of the validators; parties should have smaller ones.
const AUTHORITIES: u64 = 1 << 40;
const VALIDATORS: u64 = 1 << 41;
/// A chain has no more.
const MAX_VALIDATORS: u64 = 256;
/// When the chain begins: 2024-01-01T00:00:00Z.
const BEGINNING: u64 = 1_704_067_200_000;

/// A chain under a test's control: it makes blocks when told, at the time that it is told.
///
/// All keys follow from small numbers, so that two fixtures of the same shape make the same bytes.
///
/// # Examples
/// ```
/// use dt_ledger::testing::Fixture;
/// use dt_ledger::{MAINTAINER, State, TwinCall};
///
/// let chain = Fixture::default();
/// let (owner, maintainer, agent) = (chain.enrol(1), chain.enrol(2), chain.enrol(3));
/// let twin = chain.twin(&owner, Some(&agent), &[(&maintainer, MAINTAINER)]);
/// chain.call(&agent, twin, TwinCall::ClaimCalls { epoch: 1 }).unwrap();
/// let refused = chain.call(&maintainer, twin, TwinCall::ClaimCalls { epoch: 2 }).unwrap_err();
/// assert_eq!(refused.rule(), "authorization.not-the-agent");
/// assert_eq!(chain.state().twin(&twin).unwrap().epoch, 1);
/// ```
pub struct Fixture {
    replica: Arc<Replica>,
    organisations: u64,
    now: AtomicU64,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new(Arc::new(MemoryStore::default()), 2, 1)
    }
}

impl Fixture {
    /// A chain in `store` with so many organisations and validators: from its beginning, or as it was left.
    ///
    /// # Panics
    /// If the store does not open.
    #[must_use]
    pub fn new(store: Arc<dyn LedgerStore>, organisations: u64, validators: u64) -> Self {
        let genesis = Self::genesis(organisations, validators);
        let replica = Arc::new(Replica::open(store, &genesis).expect("the store opens"));
        let now = AtomicU64::new(replica.tip().time.as_millis());
        Self { replica, organisations, now }
    }

    /// This chain, whose replica works on a block on so many threads ([`Replica::on_threads`]).
    ///
    /// # Panics
    /// If somebody else holds the replica already.
    #[must_use]
    pub fn on_threads(self, threads: NonZero<usize>) -> Self {
        let replica = Arc::into_inner(self.replica).expect("nobody else holds the replica");
        Self { replica: Arc::new(replica.on_threads(threads)), ..self }
    }

    /// What a chain with so many organisations and validators begins with. The validators are dealt out to the organisations in turn;
    /// each may have as many as the first got, and two at least. A majority of the organisations decides.
    ///
    /// # Panics
    /// If there are more validators than organisations can have seats.
    #[must_use]
    pub fn genesis(organisations: u64, validators: u64) -> Genesis {
        let key = |number| identity(VALIDATORS + number).party();
        let organisation = |number: u64| Organisation {
            validators: (0..validators).filter(|v| v % organisations == number).map(key).collect(),
            ..Self::organisation(number).1
        };
        let most = validators.div_ceil(organisations.max(1)).max(2);
        Genesis {
            name: Name::new("test chain").expect("a name"),
            time: Timestamp::from_millis(BEGINNING),
            organisations: (0..organisations).map(organisation).collect(),
            approval: Approval::Majority,
            seats: u8::try_from(most).expect("few validators"),
        }
    }

    /// The replica.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// The state after the last block.
    ///
    /// # Panics
    /// If the store does not answer.
    #[must_use]
    pub fn state(&self) -> Snapshot {
        self.replica.snapshot().expect("the store answers")
    }

    /// The keys of organisation number `organisation`, modulo how many the chain began with.
    #[must_use]
    pub fn authority(&self, organisation: u64) -> Identity {
        identity(AUTHORITIES + organisation % self.organisations)
    }

    /// Organisation number `number`, which may be one that the chain does not have (yet), without validators.
    ///
    /// # Panics
    /// Never: the name is valid.
    #[must_use]
    pub fn organisation(number: u64) -> (Identity, Organisation) {
        let authority = identity(AUTHORITIES + number);
        let name = Name::new(format!("organisation {number}")).expect("a name");
        let organisation = Organisation { name, authority: authority.party(), validators: Vec::new() };
        (authority, organisation)
    }

    /// The keys of validator number `validator`.
    #[must_use]
    pub fn validator(&self, validator: u64) -> Identity {
        identity(VALIDATORS + validator)
    }

    /// What time it is: the time of the next block.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    /// Lets so many milliseconds pass.
    pub fn wait(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// A certificate of organisation number `organisation` for `party`, valid from now on and for ever.
    ///
    /// # Panics
    /// Never: the keys are in memory.
    #[must_use]
    pub fn certificate(&self, organisation: u64, party: &Identity) -> Credential {
        let certificate = Certificate {
            chain: self.replica.chain(),
            party: party.party(),
            name: Name::new(format!("party {}", party.party().short())).expect("a name"),
            encryption_key: party.encryption_key(),
            not_before: self.now(),
            not_after: Timestamp::MAX,
        };
        Signed::new(certificate, &self.authority(organisation)).expect("signs").into_envelope().into()
    }

    /// The party that `seed` gives, enrolled by organisation number `seed` modulo their count.
    ///
    /// # Panics
    /// If the chain refuses it.
    #[must_use]
    pub fn enrol(&self, seed: u64) -> Identity {
        let party = identity(seed);
        let certificate = self.certificate(seed, &party);
        self.apply(&party, vec![Call::Register { certificate }]).expect("a certified party is enrolled");
        party
    }

    /// A twin of [`PLANT`] with the paper's default policy, owned by `owner`, whose agent is `agent`, and in which each of `roles` holds
    /// one role.
    ///
    /// # Panics
    /// If the chain refuses it.
    #[must_use]
    pub fn twin(&self, owner: &Identity, agent: Option<&Identity>, roles: &[(&Identity, &str)]) -> TwinId {
        let device_id = Name::new(format!("device {}", self.replica.tip().height)).expect("a name");
        let name = |role: &str| Name::new(role).expect("a role's name");
        let create = CreateTwin {
            device_name: name("plant"),
            device_id: device_id.clone(),
            aml: PLANT.into(),
            policy: Policy::paper_default(),
            roles: roles.iter().map(|(party, role)| (party.party(), vec![name(role)])).collect(),
            agent: agent.map(Identity::party),
        };
        self.apply(owner, vec![Call::CreateTwin(create)]).expect("the owner creates a twin");
        twin_id(&self.replica.chain(), &owner.party(), &device_id)
    }

    /// `calls` as the next transaction of `signer`, after `ahead` others of his that wait.
    ///
    /// # Panics
    /// If the store does not answer.
    #[must_use]
    pub fn sign_ahead(&self, signer: &Identity, calls: Vec<Call>, ahead: u64) -> Envelope<Transaction> {
        let nonce = self.state().nonce(&signer.party()).expect("the store answers") + ahead;
        let transaction = Transaction { chain: self.replica.chain(), nonce, valid_until: u64::MAX, calls };
        Signed::new(transaction, signer).expect("signs").into_envelope()
    }

    /// `calls` as the next transaction of `signer`.
    #[must_use]
    pub fn sign(&self, signer: &Identity, calls: Vec<Call>) -> Envelope<Transaction> {
        self.sign_ahead(signer, calls, 0)
    }

    /// Whether `transaction` may be committed next; its digest.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn admit(&self, transaction: &Envelope<Transaction>) -> Result<Digest, AdmissionError> {
        self.replica.admit(&codec::encode(transaction).into(), self.now())
    }

    /// The next block, of these transactions.
    ///
    /// # Panics
    /// If one of them is not admissible.
    #[must_use]
    pub fn block(&self, transactions: &[Envelope<Transaction>]) -> Block {
        let bytes = transactions.iter().map(|transaction| Bytes::from(codec::encode(transaction))).collect();
        let (block, left) = self.replica.assemble(bytes, self.now()).expect("the store answers");
        if let Some((_, error)) = left.into_iter().next() {
            panic!("a transaction is not admissible: {error}");
        }
        block
    }

    /// The votes of all validators for the block of `header`, as far as they are [`Fixture::validator`]s.
    ///
    /// # Panics
    /// If the store does not answer.
    #[must_use]
    pub fn certify(&self, header: &Header) -> CommitCertificate {
        let vote = Commit { chain: header.chain, height: header.height, round: 0, block: header.digest() };
        let wanted = self.replica.validators(header.height).expect("the store answers");
        let wanted = wanted.unwrap_or_else(|| self.replica.tip().validators);
        let all = (0..MAX_VALIDATORS).map(|number| self.validator(number));
        let votes = all
            .filter(|validator| wanted.contains(&validator.party()))
            .take(wanted.len())
            .map(|validator| Signed::new(vote.clone(), &validator).expect("signs").into_envelope());
        CommitCertificate { round: 0, votes: votes.collect() }
    }

    /// Commits these transactions as one block.
    ///
    /// # Panics
    /// If one of them is not admissible, or the block is not accepted.
    pub fn commit(&self, transactions: &[Envelope<Transaction>]) -> Arc<CommittedBlock> {
        let block = self.block(transactions);
        let certificate = self.certify(&block.header);
        self.replica.commit(block, certificate).expect("a prepared and certified block is accepted")
    }

    /// Commits `calls` as one transaction of `signer` in a block of its own.
    ///
    /// # Errors
    /// The [`Reason`] for which the contracts refuse it.
    ///
    /// # Panics
    /// If it is not admissible: `signer` does not take part, for example.
    pub fn apply(&self, signer: &Identity, calls: Vec<Call>) -> Result<Receipt, Reason> {
        let committed = self.commit(&[self.sign(signer, calls)]);
        let receipt = committed.receipts.first().expect("one receipt for one transaction").clone();
        receipt.result().map(|()| receipt)
    }

    /// Commits one call to `twin` as one transaction of `signer` in a block of its own.
    ///
    /// # Errors
    /// The [`Reason`] for which the contracts refuse it.
    ///
    /// # Panics
    /// If it is not admissible: `signer` does not take part, for example.
    pub fn call(&self, signer: &Identity, twin: TwinId, call: TwinCall) -> Result<Receipt, Reason> {
        self.apply(signer, vec![Call::Twin { twin, call }])
    }

    /// The embedded consensus over this chain, for one with a single validator. Each block is a millisecond after the one before.
    #[must_use]
    pub fn solo(&self) -> Solo {
        let clock = AtomicU64::new(self.now().as_millis());
        let clock = Arc::new(move || Timestamp::from_millis(clock.fetch_add(1, Ordering::SeqCst)));
        Solo::new(Arc::clone(&self.replica), Arc::new(self.validator(0)), clock)
    }

    /// The roles of `party` in `twin`, for assertions.
    ///
    /// # Panics
    /// If the store does not answer.
    #[must_use]
    pub fn roles(&self, twin: &TwinId, party: &PartyId) -> Vec<String> {
        let roles = self.state().roles(twin, party).expect("the store answers");
        roles.iter().map(ToString::to_string).collect()
    }
}
