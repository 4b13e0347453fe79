//! What a participant runs: the client over ledger and DHT, and the device agent between twin and asset.
//!
//! ```text
//!            Client ───────────────┐                 Agent (a Client with a Device)
//!     write: seal, store off-chain,│       asset ──readings──▶ feeds
//!            wait for the quorum,  │       asset ──exchange──▶ one ledger transaction
//!            then register         │       asset ◀──calls────── the ledger's queue, at most once
//!     read:  believe the ledger,   │
//!            check the DHT by it   │
//!                ┌─────────────────┴──────┐
//!                ▼                        ▼
//!     Ledger: consensus, replica    Items, feeds: dt-acl, dt-feed over dt-dht
//!                ▲                        ▲
//!                └── DhtNode: a node of the DHT, in whatever epoch the ledger says
//! ```
//!
//! # Invariants
//! - The ledger says who may read; lists on the DHT follow it ([`readers`]), and only a quorum changes either.
//! - Nothing that a node says is believed: content is held against the ledger's hash, lists and heads against its anchors.
//! - A crash between two steps loses nothing: the same call made again finishes what it began.
//! - A machine is actuated at most once for each call (see [`Agent`]).
//!
//! # Example
//!
//! An owner shares a pump with its maintainer: a chain, four DHT nodes, the machine and the two parties, all in one process.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use dt_acl::{AclValidator, DataValidator, Revocation};
//! use dt_dht::{InProcess, Membership, MemoryStore, Node, Resilience, Validator};
//! use dt_feed::BatchPolicy;
//! use dt_ledger::{Approval, Certificate, CreateTwin, Genesis, Organisation, Policy, Replica, Solo, Uri};
//! use dt_model::{ComponentId, Identity, Name, Signed, Signer, Text, Timestamp};
//! use dt_sync::{Agent, Client, Device, DeviceError, Draft, Exchange, Journal, Ledger, Reading};
//! # use dt_ledger::Argument;
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//!
//! /// A pump that has measured its temperature once, and has no programs.
//! struct Pump(Reading);
//!
//! #[async_trait::async_trait]
//! impl Device for Pump {
//!     async fn read(&self, _: &ComponentId) -> Result<Option<Reading>, DeviceError> {
//!         Ok(Some(self.0.clone()))
//!     }
//!     async fn samples(&self, _: &ComponentId, after: Timestamp) -> Result<Vec<Reading>, DeviceError> {
//!         Ok(Some(self.0.clone()).filter(|reading| reading.time > after).into_iter().collect())
//!     }
//!     async fn call(&self, program: &ComponentId, _: &BTreeMap<Name, Argument>) -> Result<Text<1024>, DeviceError> {
//!         Err(DeviceError::UnknownProgram(program.clone()))
//!     }
//!     async fn exchanges(&self) -> Result<Vec<Exchange>, DeviceError> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! # let mut seed = rng.clone();
//! # let mut key = || Arc::new(Identity::generate(&mut rng));
//! let (validator, authority) = (key(), key());
//! let (owner, maintainer, gateway) = (key(), key(), key());
//! let nodes = [key(), key(), key(), key()];
//! let now = Timestamp::from_millis(1_700_000_000_000);
//!
//! // The ledger: one organisation certifies the parties, one validator orders.
//! let organisation = Organisation {
//!     name: "Pumps Ltd".parse()?,
//!     authority: authority.party(),
//!     validators: vec![validator.party()],
//! };
//! let genesis = Genesis {
//!     name: "pumps".parse()?,
//!     time: now,
//!     organisations: vec![organisation],
//!     approval: Approval::Majority,
//!     seats: 1,
//! };
//! let replica = Arc::new(Replica::open(Arc::new(dt_ledger::MemoryStore::default()), &genesis)?);
//! let consensus = Arc::new(Solo::new(replica.clone(), validator, Arc::new(move || now)));
//!
//! // The DHT: four nodes, of which one may be malicious. (Where the ledger knows the DHT, `membership` makes this of it, and clients and nodes follow.)
//! let parties = [&owner, &maintainer, &gateway].map(|key| key.party());
//! let stations = nodes.iter().map(|node| Node { party: node.party(), endpoints: vec![] }).collect();
//! let resilience = Resilience::tolerating(1)?;
//! let membership = Membership::new(replica.chain(), 0, resilience, stations, parties.into())?;
//! let mut validators: Vec<Arc<dyn Validator>> = vec![Arc::new(AclValidator), Arc::new(DataValidator)];
//! validators.extend(dt_feed::validators());
//! let network = Arc::new(InProcess::new(nodes.iter().map(|node| {
//!     let store = Arc::new(MemoryStore::new());
//!     Arc::new(dt_dht::Replica::new(node.clone(), store, membership.clone(), validators.clone()))
//! }), Arc::new(move || now)));
//!
//! // The parties, each with a client of its own.
//! let mut client = |key: &Arc<Identity>| {
//!     let ledger = Ledger::new(consensus.clone(), replica.clone(), key.clone());
//!     let rng = ChaCha20Rng::from_rng(&mut seed);
//!     let dht = dt_dht::Client::new(key.clone(), network.clone(), membership.clone(), rng);
//!     Client::new(ledger, Arc::new(dht), &mut seed)
//! };
//! let (owners, maintainers, gateways) = (client(&owner), client(&maintainer), client(&gateway));
//! for (client, key) in [(&owners, &owner), (&maintainers, &maintainer), (&gateways, &gateway)] {
//!     let certificate = Certificate {
//!         chain: replica.chain(),
//!         party: key.party(),
//!         name: "a party".parse()?,
//!         encryption_key: key.encryption_key(),
//!         not_before: now,
//!         not_after: Timestamp::MAX,
//!     };
//!     client.register(Signed::new(certificate, &*authority)?.into_envelope()).await?;
//! }
//!
//! // The twin, and its feed.
//! let aml = r#"<CAEXFile><InstanceHierarchy Name="Site"><InternalElement Name="Pump" ID="pump">
//!     <InternalElement Name="Temperature" ID="t1"/></InternalElement></InstanceHierarchy></CAEXFile>"#;
//! let twin = owners.create_twin(CreateTwin {
//!     device_name: "pump".parse()?,
//!     device_id: "4711".parse()?,
//!     aml: aml.into(),
//!     policy: Policy::paper_default(),
//!     roles: BTreeMap::from([(maintainer.party(), vec![dt_ledger::MAINTAINER.parse()?])]),
//!     agent: Some(gateway.party()),
//! }).await?;
//! let sensor: ComponentId = "t1".parse()?;
//! let reading = Reading { time: now, value: "61.5".parse()?, unit: Some("degC".parse()?) };
//! let (device, journal) = (Arc::new(Pump(reading.clone())), Journal::in_memory(twin, 0));
//! let mut agent = Agent::start(gateways, twin, device, journal, BatchPolicy::default(), now).await?;
//! agent.connect(&[sensor.clone()], now).await?;
//! agent.pull(now).await?;
//! agent.flush(now).await?;
//!
//! // What the machine measured, the maintainer reads; what the maintainer writes, the owner reads.
//! let feed = maintainers.feed(&twin, &sensor)?;
//! let mut readings = maintainers.readings(&twin, &sensor, &feed, now).await?;
//! assert_eq!(readings.latest(now).await?, [reading]);
//! let (title, media_type) = ("report".parse()?, "text/plain".parse()?);
//! let draft = Draft { title: &title, media_type: &media_type, component: Some(&sensor), content: b"bearing worn" };
//! let report = maintainers.write_document(twin, draft, now).await?;
//! assert_eq!(owners.read_document(twin, report, None, now).await?.bytes, b"bearing worn");
//! let drawings = Uri::new("https://pumps.example/4711")?;
//! owners.add_source(twin, drawings, None).await?;
//!
//! // The contract ends: what is measured and written from now on is out of the maintainer's reach.
//! let rekeyed = owners.revoke(twin, maintainer.party(), Revocation::Lazy, now).await?;
//! assert_eq!(rekeyed.len(), 1, "the feed's keys; the report is the maintainer's own");
//! assert!(maintainers.readings(&twin, &sensor, &feed, now).await.is_err());
//! # Ok(())
//! # }
//! ```

mod agent;
mod alignment;
mod anomaly;
mod client;
mod device;
mod documents;
mod error;
mod feeds;
mod following;
mod journal;
mod ledger;
mod membership;
mod node;
mod rights;
mod sharing;
#[cfg(feature = "testing")]
pub mod testing;

pub use agent::{Agent, AgentError, Pulled, Served};
pub use anomaly::{Anomaly, MEASURED_VALUE, check as check_reading};
pub use client::Client;
pub use device::{Device, DeviceError, Exchange, READING_MEDIA_TYPE, Reading};
pub use documents::{Content, DocumentReader, Draft, Heading, Source};
pub use error::ClientError;
pub use feeds::{FeedKeys, Readings};
pub use journal::{InFlight, Journal, JournalError, Memory};
pub use ledger::Ledger;
pub use membership::membership;
pub use node::{DhtNode, NodeError};
pub use rights::{feed_keys, readers};
