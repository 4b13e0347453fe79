//! A chain, four DHT nodes, the lifecycle parties of a press, and its machine: all in one process, with a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dt_acl::{AclValidator, DataValidator};
use dt_dht::testing::{Fault, Faulty};
use dt_dht::{
    InProcess, Membership, MemoryStore, Pace, Rate, RecordStore as _, Replica as DhtReplica, Transport,
    Upkeep, Validator,
};
use dt_feed::BatchPolicy;
use dt_ledger::{
    Approval, Argument, Call, CallRecord, Certificate, Consensus, CreateTwin, Credential, Genesis,
    MAINTAINER, Organisation, Policy, ProgramCall, Proposal, Replica, Snapshot, Solo, State as _, TwinCall,
    Uri,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{ComponentId, Identity, Name, PartyId, Signed, Signer, Timestamp, TwinId};
use dt_sync::{Agent, Client, DhtNode, Draft, Journal, Ledger};

use crate::asset::{Asset, PROGRAM};
use crate::fuse::{Fuse, FusedConsensus, FusedTransport};

/// A press with two sensors (of which one has limits), a pump, and a program whose parameter has limits.
pub(crate) const PRESS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<CAEXFile SchemaVersion="3.0" FileName="press.aml" xmlns="http://www.dke.de/CAEX">
  <SuperiorStandardVersion>AutomationML 2.10</SuperiorStandardVersion>
  <SourceDocumentInformation OriginName="Test" OriginID="test" OriginVersion="1" LastWritingDateTime="2024-01-01T00:00:00Z"/>
  <InstanceHierarchy Name="Works">
    <InternalElement Name="Press" ID="press">
      <InternalElement Name="Temperature" ID="temperature">
        <Attribute Name="Value" AttributeDataType="xs:decimal" Unit="degC">
          <Constraint Name="Range">
            <OrdinalScaledType>
              <RequiredMaxValue>90</RequiredMaxValue>
              <RequiredMinValue>0</RequiredMinValue>
            </OrdinalScaledType>
          </Constraint>
        </Attribute>
      </InternalElement>
      <InternalElement Name="Pressure" ID="pressure">
        <Attribute Name="Value" AttributeDataType="xs:decimal" Unit="bar"/>
      </InternalElement>
      <InternalElement Name="Pump" ID="pump"/>
      <InternalElement Name="SetForce" ID="set-force">
        <ExternalInterface Name="Force" ID="set-force.force" RefBaseClassPath="Logic/VariableInterface">
          <Attribute Name="Force" AttributeDataType="xs:decimal" Unit="kN">
            <Constraint Name="Safety">
              <OrdinalScaledType>
                <RequiredMaxValue>50</RequiredMaxValue>
                <RequiredMinValue>1</RequiredMinValue>
              </OrdinalScaledType>
            </Constraint>
          </Attribute>
        </ExternalInterface>
        <RoleRequirements RefBaseRoleClassPath="PressRoles/Program"/>
      </InternalElement>
    </InternalElement>
  </InstanceHierarchy>
</CAEXFile>
"#;

/// 2024-01-01T00:00:00Z.
const BEGINNING: u64 = 1_704_067_200_000;
const VALIDATOR: u64 = 1 << 40;
const AUTHORITIES: u64 = 1 << 41;
const NODES: u64 = 1 << 42;

/// Who there is. The stranger takes part in the chain, not in the twin; the outsider in neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Owner = 1,
    Manufacturer,
    Maintainer,
    Auditor,
    Agent,
    Stranger,
    Outsider,
}
use Who::*;

/// Those who have a part in the twin.
pub(crate) const LIFECYCLE: [Who; 5] = [Owner, Manufacturer, Maintainer, Auditor, Who::Agent];

pub(crate) struct World {
    pub(crate) twin: TwinId,
    pub(crate) asset: Arc<Asset>,
    pub(crate) faulty: Arc<Faulty>,
    pub(crate) nodes: Vec<Arc<Identity>>,
    clock: Arc<AtomicU64>,
    replica: Arc<Replica>,
    solo: Arc<Solo>,
    membership: Membership,
    pub(crate) in_process: Arc<InProcess>,
    stores: Mutex<Vec<Arc<MemoryStore>>>,
    seed: AtomicU64,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn component(text: &str) -> ComponentId {
    ComponentId::new(text).unwrap()
}

pub(crate) fn uri(text: &str) -> Uri {
    Uri::new(text).unwrap()
}

pub(crate) fn key(who: Who) -> Arc<Identity> {
    Arc::new(identity(who as u64))
}

pub(crate) fn party(who: Who) -> PartyId {
    key(who).party()
}

impl World {
    /// The chain, the nodes and the twin, with the paper's default rights.
    pub(crate) async fn new() -> Self {
        let organisation = |number| Organisation {
            name: name(&format!("organisation {number}")),
            authority: identity(AUTHORITIES + number).party(),
            validators: if number == 0 { vec![identity(VALIDATOR).party()] } else { Vec::new() },
        };
        let genesis = Genesis {
            name: name("works"),
            time: Timestamp::from_millis(BEGINNING),
            organisations: (0..2).map(organisation).collect(),
            approval: Approval::Majority,
            seats: 1,
        };
        let clock = Arc::new(AtomicU64::new(BEGINNING));
        let time = Arc::clone(&clock);
        let now: dt_ledger::Clock = Arc::new(move || Timestamp::from_millis(time.load(Ordering::SeqCst)));
        let replica = Arc::new(Replica::open(Arc::new(dt_ledger::MemoryStore::default()), &genesis).unwrap());
        let solo = Arc::new(Solo::new(Arc::clone(&replica), Arc::new(identity(VALIDATOR)), Arc::clone(&now)));
        let nodes: Vec<_> = (0..4).map(|number| Arc::new(identity(NODES + number))).collect();
        for (number, node) in (0..).zip(&nodes) {
            let certificate = certify(&replica, node, number);
            let endpoints = vec![uri(&format!("test://node/{number}"))];
            for call in [Call::Register { certificate }, Call::RegisterNode { endpoints }] {
                dt_ledger::execute(&*solo, &replica, &**node, vec![call]).await.unwrap();
            }
        }
        for who in LIFECYCLE.into_iter().chain([Stranger]) {
            let certificate = certify(&replica, &key(who), who as u64);
            let calls = vec![Call::Register { certificate }];
            dt_ledger::execute(&*solo, &replica, &*key(who), calls).await.unwrap();
        }
        found(&solo, &replica).await;
        let membership = dt_sync::membership(&replica.snapshot().unwrap(), replica.chain(), now()).unwrap();
        let in_process = Arc::new(InProcess::new([], now));
        let faulty = Arc::new(Faulty::new(Arc::clone(&in_process) as _));
        let (twin, asset) = (TwinId::from([0; 32]), Arc::new(Asset::new()));
        let seed = AtomicU64::new(0);
        let stores = Mutex::new(Vec::new());
        let mut world =
            Self { twin, asset, faulty, nodes, clock, replica, solo, membership, in_process, stores, seed };
        world.go_on_with(world.nodes.iter().map(|_| Arc::default()).collect());
        world.twin = world.client(Owner).create_twin(press("press 1")).await.unwrap();
        world
    }

    /// What all nodes have stored.
    pub(crate) fn stored(&self) -> Vec<Arc<MemoryStore>> {
        let copy = |store: &Arc<MemoryStore>| {
            let copy = MemoryStore::new();
            copy.put(&store.scan(&[], None, usize::MAX).unwrap()).unwrap();
            Arc::new(copy)
        };
        self.stores.lock().unwrap().iter().map(copy).collect()
    }

    /// All nodes go on with what is in these stores, whatever they have stored since.
    pub(crate) fn go_on_with(&self, stores: Vec<Arc<MemoryStore>>) {
        let validators = validators();
        for (node, store) in self.nodes.iter().zip(&stores) {
            let (membership, validators) = (self.membership.clone(), validators.clone());
            let replica = DhtReplica::new(node.clone(), store.clone(), membership, validators);
            self.in_process.add(Arc::new(replica));
        }
        *self.stores.lock().unwrap() = stores;
    }

    /// The party of a further node takes part; its node is not registered yet. Its number.
    pub(crate) async fn enrol_node(&mut self) -> usize {
        let number = self.nodes.len();
        let node = Arc::new(identity(NODES + number as u64));
        let certificate = certify(&self.replica, &node, number as u64);
        let calls = vec![Call::Register { certificate }];
        dt_ledger::execute(&*self.solo, &self.replica, &*node, calls).await.unwrap();
        self.nodes.push(node);
        self.stores.lock().unwrap().push(Arc::default());
        number
    }

    /// Node number `at` as its party runs it, newly started from its store.
    pub(crate) fn run(&self, at: usize) -> DhtNode {
        let (signer, store) = (self.nodes[at].clone(), self.stores.lock().unwrap()[at].clone());
        let membership = dt_sync::membership(&self.state(), self.replica.chain(), self.now()).unwrap();
        let replica = Arc::new(DhtReplica::new(signer.clone(), store, membership, validators()));
        self.in_process.add(replica.clone());
        let transport = Arc::clone(&self.faulty) as Arc<dyn Transport>;
        let rng = SeedRng::new(self.seed.fetch_add(1, Ordering::SeqCst));
        let rate = Rate { per_second: 1 << 30, burst: 1 << 30 };
        let pace = Pace { requests: rate, bytes: rate, pause: Duration::from_secs(60) };
        let upkeep = Upkeep::new(replica.clone(), transport, rng, pace);
        DhtNode::new(self.ledger_of(at), replica, upkeep)
    }

    /// The ledger as the party of node number `at` uses it.
    pub(crate) fn ledger_of(&self, at: usize) -> Ledger {
        Ledger::new(self.consensus(), Arc::clone(&self.replica), self.nodes[at].clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    /// What tells the time.
    pub(crate) fn clock(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)))
    }

    /// Lets time pass; the time then.
    pub(crate) fn wait(&self, seconds: u64) -> Timestamp {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
        self.now()
    }

    pub(crate) fn state(&self) -> Snapshot {
        self.replica.snapshot().unwrap()
    }

    pub(crate) fn consensus(&self) -> Arc<dyn Consensus> {
        Arc::clone(&self.solo) as _
    }

    /// A party's client, newly started.
    pub(crate) fn client(&self, who: Who) -> Client {
        self.client_over(who, self.consensus(), Arc::clone(&self.faulty) as _)
    }

    /// A party's client that dies after `steps` steps; its fuse.
    pub(crate) fn mortal(&self, who: Who, steps: u64) -> (Client, Arc<Fuse>) {
        let fuse = Fuse::of(steps);
        let consensus = FusedConsensus { inner: self.consensus(), fuse: Arc::clone(&fuse) };
        let inner = Arc::clone(&self.faulty) as Arc<dyn Transport>;
        let transport = FusedTransport { inner, fuse: Arc::clone(&fuse) };
        (self.client_over(who, Arc::new(consensus), Arc::new(transport)), fuse)
    }

    /// The client of a party whose keys are not those that its name gives.
    pub(crate) fn client_of(&self, keys: Arc<Identity>) -> Client {
        self.client_with(keys, self.consensus(), Arc::clone(&self.faulty) as _)
    }

    fn client_over(&self, who: Who, consensus: Arc<dyn Consensus>, transport: Arc<dyn Transport>) -> Client {
        self.client_with(key(who), consensus, transport)
    }

    fn client_with(
        &self,
        keys: Arc<Identity>,
        consensus: Arc<dyn Consensus>,
        transport: Arc<dyn Transport>,
    ) -> Client {
        let mut rng = SeedRng::new(self.seed.fetch_add(1, Ordering::SeqCst));
        let ledger = Ledger::new(consensus, Arc::clone(&self.replica), keys.clone());
        let dht = dt_dht::Client::new(keys, transport, self.membership.clone(), rng.clone());
        rand_core::Rng::next_u64(&mut rng);
        Client::new(ledger, Arc::new(dht), &mut rng)
    }

    /// The device agent with nothing to remember. It publishes each batch at once.
    pub(crate) async fn agent(&self) -> Agent {
        self.agent_as(self.client(Who::Agent), Journal::in_memory(self.twin, 0)).await
    }

    pub(crate) async fn agent_as(&self, client: Client, journal: Journal) -> Agent {
        self.agent_with(client, journal, Duration::ZERO).await
    }

    /// The agent, which publishes a batch when its first reading has waited for `delay`.
    pub(crate) async fn agent_with(&self, client: Client, journal: Journal, delay: Duration) -> Agent {
        let policy = BatchPolicy::new(256, 1024 * 1024, delay).unwrap();
        let device = Arc::clone(&self.asset) as _;
        Agent::start(client, self.twin, device, journal, policy, self.now()).await.unwrap()
    }

    /// The agent, with a feed for the temperature.
    pub(crate) async fn connected(&self) -> Agent {
        let mut agent = self.agent().await;
        agent.connect(&[component("temperature")], self.now()).await.unwrap();
        agent
    }

    /// The temperature is measured, a second later, and published.
    pub(crate) async fn measure(&self, agent: &mut Agent, value: &str) -> dt_sync::Reading {
        let now = self.wait(1);
        let reading = self.asset.measures("temperature", now, value, Some("degC"));
        agent.pull(now).await.unwrap();
        reading
    }

    /// All readings of the temperature as `who` gets them.
    pub(crate) async fn temperatures(&self, who: Who) -> Result<Vec<dt_sync::Reading>, dt_sync::ClientError> {
        let (client, sensor) = (self.client(who), component("temperature"));
        let feed = client.feed(&self.twin, &sensor)?;
        let mut readings = client.readings(&self.twin, &sensor, &feed, self.now()).await?;
        let head = readings.head(self.now()).await?;
        readings.range(0..head.map_or(0, |head| head.size()), self.now()).await
    }

    /// Shares a text as a document at the press.
    pub(crate) async fn share(
        &self,
        client: &Client,
        title: &str,
        content: &str,
    ) -> Result<dt_ledger::DocumentId, dt_sync::ClientError> {
        let (title, media_type, press) = (name(title), name("text/plain"), component("press"));
        let content = content.as_bytes();
        let draft = Draft { title: &title, media_type: &media_type, component: Some(&press), content };
        client.write_document(self.twin, draft, self.now()).await
    }

    /// The newest version of a document as `who` reads it.
    pub(crate) async fn read(
        &self,
        who: Who,
        document: dt_ledger::DocumentId,
    ) -> Result<String, dt_sync::ClientError> {
        let content = self.client(who).read_document(self.twin, document, None, self.now()).await?;
        Ok(String::from_utf8(content.bytes).unwrap())
    }

    /// Somebody does something to the twin that the client has no function for.
    pub(crate) async fn call(
        &self,
        who: Who,
        call: TwinCall,
    ) -> Result<dt_ledger::Executed, dt_ledger::ExecuteError> {
        self.client(who).ledger().execute_on(self.twin, [call]).await
    }

    /// The item that holds the newest version of a document.
    pub(crate) fn item(&self, document: dt_ledger::DocumentId) -> dt_acl::ItemId {
        let state = self.state();
        let versions = state.document(&self.twin, &document).unwrap().unwrap().versions;
        let version = state.document_version(&self.twin, &document, versions).unwrap().unwrap();
        dt_acl::ItemId::from(*version.version.item.as_bytes())
    }

    /// The item that holds the keys of the temperature's feed.
    pub(crate) fn keys_item(&self) -> dt_acl::ItemId {
        let feed = self.state().feed(&self.twin, &component("temperature")).unwrap().unwrap();
        dt_sync::feed_keys(&feed.reference)
    }

    /// The list of an item, as its owner or a reader sees it.
    pub(crate) async fn list(&self, who: Who, item: dt_acl::ItemId) -> dt_acl::Acl {
        self.client(who).items().acl(item, None, self.now()).await.unwrap()
    }

    /// The version of an item's list that `who` has anchored; 0 if none.
    pub(crate) fn anchored(&self, who: Who, item: dt_acl::ItemId) -> u64 {
        let item = dt_model::Digest::from(*item.as_bytes());
        let anchor = self.state().acl_anchor(&self.twin, &item, &party(who)).unwrap();
        anchor.map_or(0, |anchor| anchor.version)
    }

    pub(crate) fn height(&self) -> u64 {
        self.consensus().status().height
    }

    pub(crate) fn call_record(&self, number: u64) -> CallRecord {
        self.state().call(&self.twin, number).unwrap()
    }

    /// Makes node number `node` lie.
    pub(crate) fn corrupt(&self, node: usize, fault: Fault) {
        self.faulty.corrupt(self.nodes[node].clone(), fault);
    }

    pub(crate) fn heal(&self, node: usize) {
        self.faulty.heal(&self.nodes[node].party());
    }

    pub(crate) fn certificate(&self, who: Who) -> Credential {
        certify(&self.replica, &key(who), who as u64)
    }

    /// A call of the program, valid for a minute.
    pub(crate) fn force(&self, value: &str) -> ProgramCall {
        let argument = Argument { value: dt_model::Text::new(value).unwrap(), unit: Some(name("kN")) };
        ProgramCall {
            program: component(PROGRAM),
            parameters: BTreeMap::from([(name("Force"), argument)]),
            valid_until: self.now().saturating_add(Duration::from_secs(60)),
            guard: None,
        }
    }
}

/// A press to be created as the owner's twin.
pub(crate) fn press(device_id: &str) -> CreateTwin {
    let roles = [(Maintainer, MAINTAINER), (Manufacturer, "manufacturer"), (Auditor, "auditor")];
    CreateTwin {
        device_name: name("press"),
        device_id: name(device_id),
        aml: PRESS.into(),
        policy: Policy::paper_default(),
        roles: roles.into_iter().map(|(who, role)| (party(who), vec![name(role)])).collect(),
        agent: Some(party(Who::Agent)),
    }
}

/// The organisations agree that there is a DHT, of whose nodes one may be malicious.
async fn found(solo: &Solo, replica: &Replica) {
    let proposal = Proposal::FoundStorage { replicas: 4, max_faulty: 1 };
    let call = Call::Propose { proposal, millis: 1000 };
    let [first, second] = [0, 1].map(|number| identity(AUTHORITIES + number));
    let proposed = dt_ledger::execute(solo, replica, &first, vec![call]).await.unwrap();
    let vote = Call::Vote { proposal: dt_ledger::proposal_id(&proposed.transaction, 0) };
    dt_ledger::execute(solo, replica, &second, vec![vote]).await.unwrap();
}

fn validators() -> Vec<Arc<dyn Validator>> {
    let mut validators: Vec<Arc<dyn Validator>> = vec![Arc::new(AclValidator), Arc::new(DataValidator)];
    validators.extend(dt_feed::validators());
    validators
}

fn certify(replica: &Replica, party: &Identity, organisation: u64) -> Credential {
    let certificate = Certificate {
        chain: replica.chain(),
        party: party.party(),
        name: name("a party"),
        encryption_key: party.encryption_key(),
        not_before: Timestamp::from_millis(BEGINNING),
        not_after: Timestamp::MAX,
    };
    Signed::new(certificate, &identity(AUTHORITIES + organisation % 2)).unwrap().into_envelope().into()
}
