//! The device agent (paper, sections 4.2 and 4.4): the bridge between the twin and the asset.
//!
//! ```text
//!   asset ──readings──▶ feeds (encrypted, on the DHT)         pull, flush
//!   asset ──exchange──▶ one transaction on the ledger         follow_exchanges
//!   asset ◀──calls───── the ledger's queue                    serve_calls
//! ```
//!
//! # Invariants
//! - At most once: before a call is started the journal says so, durably; what is found there after a crash is settled by looking at the
//!   asset, never by trying again.
//! - Immediately before actuation, expiry, the caller's rights, the guard, the limits and the twin's safety rules are judged again, by the
//!   contract, and here by what the device reads.
//! - A feed goes on under a new key as soon as the ledger says that its list has changed.

mod calls;
mod safety;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dt_feed::{BatchPolicy, Entry, EpochKey, Manifest, PublishError, Publisher};
use dt_ledger::{
    ConsensusError, EventCursor, EventFilter, EventKind, FeedReference, State as _, TwinCall, TwinEvent,
};
use dt_model::{ComponentId, DataClass, Digest, Name, Timestamp, TwinId, codec};
use thiserror::Error;

pub use self::calls::Served;
#[cfg(feature = "testing")]
pub(crate) use self::calls::same_value;

use crate::anomaly::{self, Anomaly};
use crate::client::anchor_call;
use crate::device::{Device, DeviceError, Exchange, READING_MEDIA_TYPE};
use crate::journal::{Journal, JournalError};
use crate::rights::{Audience, feed_keys, feed_keys_name};
use crate::{Client, ClientError};

/// Why the agent could not go on. What it did before stands, and doing it again goes on from there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Something about ledger or DHT.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A feed was not extended.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A reading was not taken: time went back, or too many wait.
    #[error(transparent)]
    Append(#[from] dt_feed::AppendError),
    /// A key does not follow the one in use.
    #[error(transparent)]
    Epoch(#[from] dt_feed::EpochError),
    /// The asset did not answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The journal was not written: nothing is actuated without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pulled {
    /// How many readings were taken.
    pub readings: u64,
    /// Sensors that have left what the specification allows since the last pull: the first such reading of each.
    pub anomalies: Vec<Anomaly>,
    /// Sensors that are back within it.
    pub recovered: Vec<ComponentId>,
    /// Sensors that did not answer, and why: they are asked again by the next pull.
    pub failed: Vec<(ComponentId, DeviceError)>,
}

/// The party that acts for a device.
pub struct Agent {
    client: Client,
    twin: TwinId,
    device: Arc<dyn Device>,
    journal: Journal,
    policy: BatchPolicy,
    feeds: BTreeMap<ComponentId, Publisher>,
    anomalous: BTreeSet<ComponentId>,
    /// What was found since the last pull that came to its end.
    found: Pulled,
}

impl Agent {
    /// The agent of `twin`, which acts through `client` on `device`. It takes up the feeds that the ledger says it publishes.
    ///
    /// # Errors
    /// [`AgentError::Client`], [`AgentError::Publish`].
    pub async fn start(
        client: Client,
        twin: TwinId,
        device: Arc<dyn Device>,
        journal: Journal,
        policy: BatchPolicy,
        now: Timestamp,
    ) -> Result<Self, AgentError> {
        let (feeds, anomalous, found) = (BTreeMap::new(), BTreeSet::new(), Pulled::default());
        let mut agent = Self { client, twin, device, journal, policy, feeds, anomalous, found };
        agent.follow_links(now).await?;
        Ok(agent)
    }

    /// Its client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// How many readings of `component` are published, if it has a feed.
    #[must_use]
    pub fn published(&self, component: &ComponentId) -> Option<u64> {
        self.feeds.get(component).map(Publisher::size)
    }

    /// Gives each of `components` a feed and links them on the ledger, in one transaction; those that have one are left as they are.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn connect(&mut self, components: &[ComponentId], now: Timestamp) -> Result<(), AgentError> {
        self.follow(now).await?;
        let (mut calls, mut opened) = (Vec::new(), BTreeMap::new());
        for component in components {
            if self.feeds.contains_key(component) || opened.contains_key(component) {
                continue;
            }
            let (publisher, feed) = self.open_feed(component, component, now).await?;
            opened.insert(component.clone(), publisher);
            calls.extend(self.anchor_of(&feed, now).await?);
            calls.push(TwinCall::AddSensorFeed { component: component.clone(), feed });
        }
        if !calls.is_empty() {
            self.execute(calls).await?;
        }
        self.feeds.append(&mut opened);
        Ok(())
    }

    /// Takes what the sensors have measured, holds it against the specification, and publishes the batches that are due.
    ///
    /// One sensor that fails, or one feed that is not extended, does not keep the others back.
    ///
    /// # Errors
    /// [`AgentError`]: the first of them; a reading that was not taken is asked for again, and what was found already is told by the next
    /// pull. That a sensor did not answer is no error but told in [`Pulled::failed`].
    pub async fn pull(&mut self, now: Timestamp) -> Result<Pulled, AgentError> {
        self.follow(now).await?;
        self.found.failed.clear();
        let specification = self.client.ledger().specification(&self.twin)?;
        let mut failed = None;
        for component in self.feeds.keys().cloned().collect::<Vec<_>>() {
            if let Err(error) = self.pull_one(&specification, &component, now).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or_else(|| Ok(std::mem::take(&mut self.found)), Err)
    }

    /// Takes what one sensor has measured.
    async fn pull_one(
        &mut self,
        specification: &dt_aml::Document,
        component: &ComponentId,
        now: Timestamp,
    ) -> Result<(), AgentError> {
        let Some(publisher) = self.feeds.get_mut(component) else { return Ok(()) };
        match self.device.samples(component, publisher.last_time()).await {
            Ok(readings) => {
                for reading in readings {
                    publisher.append(Entry::new(reading.time, codec::encode(&reading)), now)?;
                    self.found.readings += 1;
                    match anomaly::check(specification, component, &reading) {
                        Some(anomaly) if self.anomalous.insert(component.clone()) => {
                            self.found.anomalies.push(anomaly);
                        }
                        None if self.anomalous.remove(component) => {
                            self.found.recovered.push(component.clone());
                        }
                        _ => {}
                    }
                }
            }
            Err(error) => self.found.failed.push((component.clone(), error)),
        }
        let mut rng = self.client.rng();
        let dht = self.client.items().client();
        let publish = async || -> Result<(), AgentError> {
            while publisher.publish(dht, now, &mut rng).await?.is_some() {}
            Ok(())
        };
        self.client.following(now, publish).await
    }

    /// Publishes what waits, whether or not a batch is full.
    ///
    /// # Errors
    /// [`AgentError`]: the first of them; the other feeds are published nevertheless.
    pub async fn flush(&mut self, now: Timestamp) -> Result<(), AgentError> {
        self.follow(now).await?;
        let (mut rng, mut failed) = (self.client.rng(), None);
        for publisher in self.feeds.values_mut() {
            let dht = self.client.items().client();
            let flush = async || Ok::<_, AgentError>(publisher.flush(dht, now, &mut rng).await?);
            if let Err(error) = self.client.following(now, flush).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Puts the heads of all feeds under the ledger's protection, in one transaction.
    ///
    /// # Errors
    /// [`AgentError::Client`].
    pub async fn anchor(&mut self) -> Result<(), AgentError> {
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        let mut calls = Vec::new();
        for (component, publisher) in &self.feeds {
            let Some(head) = publisher.head() else { continue };
            let feed = reference(publisher.manifest());
            let anchored = state.head_anchor(&self.twin, &feed).map_err(ClientError::from)?;
            if anchored.is_none_or(|anchor| anchor.size < head.size()) {
                let (component, size, root) = (component.clone(), head.size(), head.root());
                calls.push(TwinCall::AnchorHead { component, size, root });
            }
        }
        if !calls.is_empty() {
            self.execute(calls).await?;
        }
        Ok(())
    }

    /// Brings the specification up to what was exchanged at the asset (section 5.2): for each exchange one transaction that takes the old
    /// component and its feed, if it has one, out and puts the new ones in its place. Those that the specification shows already are
    /// passed over.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn follow_exchanges(&mut self, now: Timestamp) -> Result<Vec<Exchange>, AgentError> {
        self.follow(now).await?;
        let mut done = Vec::new();
        for exchange in self.device.exchanges().await? {
            let specification = self.client.ledger().specification(&self.twin)?;
            let Ok(old) = specification.find(exchange.old.as_str()) else { continue };
            let unknown = || DeviceError::UnknownComponent(exchange.old.clone());
            let parent = old.parent().and_then(|parent| parent.address()).ok_or_else(unknown)?;
            // Where nothing stands before it that could be named, its successor goes to the end of its kind.
            let after = old.previous_sibling().and_then(|before| before.address());
            let edits = vec![
                dt_aml::Edit::Remove {
                    address: exchange.old.to_string(),
                    policy: dt_aml::RemovePolicy::Restrict,
                },
                dt_aml::Edit::Insert { fragment: exchange.fragment.clone(), parent, after },
            ];
            let expected = Some(Digest::from(*specification.root_hash().as_bytes()));
            let mut calls = vec![TwinCall::EditAml { edits, expected }];
            let mut opened = None;
            if let Some(publisher) = self.feeds.get_mut(&exchange.old) {
                let mut rng = self.client.rng();
                let dht = self.client.items().client();
                let flush = async || Ok::<_, AgentError>(publisher.flush(dht, now, &mut rng).await?);
                self.client.following(now, flush).await?;
                let (publisher, feed) = self.open_feed(&exchange.new, &exchange.old, now).await?;
                opened = Some(publisher);
                // An element cannot go while a feed is linked to it.
                calls.insert(0, TwinCall::RemoveSensorFeed { component: exchange.old.clone() });
                calls.push(TwinCall::AddSensorFeed { component: exchange.new.clone(), feed });
                calls.extend(self.anchor_of(&feed, now).await?);
            }
            self.execute(calls).await?;
            self.feeds.remove(&exchange.old);
            self.anomalous.remove(&exchange.old);
            self.feeds.extend(opened.map(|publisher| (exchange.new.clone(), publisher)));
            done.push(exchange);
        }
        Ok(done)
    }

    /// Deals with what happened on the ledger: feeds that were linked or unlinked, which this agent need not have done itself, or may
    /// have done without learning that it came to pass; and where the list of a feed's keys has changed, the feed goes on under the
    /// current key.
    async fn follow(&mut self, now: Timestamp) -> Result<(), AgentError> {
        let from = EventCursor::after_block(self.journal.memory().height);
        let filter =
            EventFilter::default().twins([self.twin]).classes([DataClass::Sensor, DataClass::Policy]);
        let mut follower = self.client.ledger().follow(from, filter);
        let (mut is_relinked, mut changed) = (false, BTreeSet::new());
        while let Some(occurrence) = follower.next_committed().await.map_err(from_consensus)? {
            match occurrence.event.kind {
                EventKind::Twin(_, TwinEvent::FeedAdded(..) | TwinEvent::FeedRemoved(..)) => {
                    is_relinked = true
                }
                EventKind::Twin(_, TwinEvent::AclAnchored(item, _)) => {
                    changed.insert(item);
                }
                _ => {}
            }
        }
        if is_relinked {
            self.follow_links(now).await?;
        }
        for publisher in self.feeds.values_mut() {
            let feed = reference(publisher.manifest());
            if changed.contains(&Digest::from(*feed_keys(&feed).as_bytes())) {
                let keyring = self.client.feed_keyring(&self.twin, &feed, now).await?;
                let current = epoch_key(&keyring)?;
                if current.epoch > publisher.epoch() {
                    publisher.set_key(current)?;
                }
            }
        }
        let followed = follower.cursor().height.saturating_sub(1);
        if followed > self.journal.memory().height {
            self.journal.followed(followed)?;
        }
        Ok(())
    }

    /// Takes up the feeds that the ledger says this party publishes, and lets go of all others.
    async fn follow_links(&mut self, now: Timestamp) -> Result<(), AgentError> {
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        let mut linked: BTreeMap<_, _> =
            state.feeds(&self.twin).map_err(ClientError::from)?.into_iter().collect();
        linked.retain(|_, feed| feed.reference.publisher == self.client.party());
        self.feeds.retain(|component, publisher| {
            linked.get(component).is_some_and(|feed| feed.reference == reference(publisher.manifest()))
        });
        self.anomalous.retain(|component| linked.contains_key(component));
        for (component, feed) in linked {
            let manifest = self.manifest(&component)?;
            // A feed that another program of this party publishes is left to it.
            if !self.feeds.contains_key(&component) && reference(&manifest) == feed.reference {
                let publisher = self.publisher(manifest, now).await?;
                self.feeds.insert(component, publisher);
            }
        }
        Ok(())
    }

    /// A feed for `component`, readable by whoever may read sensor data at `scope`; what an earlier attempt left is taken up.
    async fn open_feed(
        &self,
        component: &ComponentId,
        scope: &ComponentId,
        now: Timestamp,
    ) -> Result<(Publisher, FeedReference), AgentError> {
        let manifest = self.manifest(component)?;
        let feed = reference(&manifest);
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        let (owner, class) = (self.client.party(), DataClass::Sensor);
        let audience = Audience::new(&state, &self.twin, class, Some(scope), &owner, now)?;
        let name = feed_keys_name(&feed.feed);
        let ensure = async || self.client.ensure_item(self.twin, name, &audience, now).await;
        self.client.following(now, ensure).await?;
        let publisher = self.publisher(manifest, now).await?;
        Ok((publisher, feed))
    }

    /// The publisher of a feed, which goes on where the feed ends.
    async fn publisher(&self, manifest: Manifest, now: Timestamp) -> Result<Publisher, AgentError> {
        let feed = reference(&manifest);
        let keyring = self.client.feed_keyring(&self.twin, &feed, now).await?;
        let key = epoch_key(&keyring)?;
        let dht = self.client.items().client();
        let create =
            async || Ok(Publisher::create(dht, manifest.clone(), self.policy, key.clone(), now).await?);
        self.client.following(now, create).await
    }

    fn manifest(&self, component: &ComponentId) -> Result<Manifest, AgentError> {
        let name = |text: &str| Name::new(text).map_err(ClientError::from);
        Ok(Manifest {
            twin: self.twin,
            component: component.clone(),
            owner: self.client.party(),
            topic: name("measured value")?,
            media_type: name(READING_MEDIA_TYPE)?,
        })
    }

    /// The call that anchors the list of a feed's keys, unless it is anchored.
    async fn anchor_of(&self, feed: &FeedReference, now: Timestamp) -> Result<Option<TwinCall>, AgentError> {
        let item = feed_keys(feed);
        let list = async || Ok::<_, ClientError>(self.client.items().acl(item, None, now).await?);
        let list = self.client.following(now, list).await?;
        let state = self.client.ledger().state().map_err(ClientError::from)?;
        Ok(anchor_call(&state, self.twin, item, list.reference(), &self.client.party())?)
    }

    async fn execute(&self, calls: Vec<TwinCall>) -> Result<(), AgentError> {
        self.client.ledger().execute_on(self.twin, calls).await.map_err(ClientError::from)?;
        Ok(())
    }
}

fn from_consensus(error: ConsensusError) -> AgentError {
    ClientError::Ledger(error.into()).into()
}

fn reference(manifest: &Manifest) -> FeedReference {
    FeedReference { feed: Digest::from(*manifest.feed().as_bytes()), publisher: manifest.owner }
}

fn epoch_key(keyring: &dt_acl::Keyring) -> Result<EpochKey, AgentError> {
    let epoch = keyring.epoch();
    let key = keyring.key(epoch).map_err(|error| ClientError::Item(error.into()))?;
    Ok(EpochKey::new(epoch, key))
}
