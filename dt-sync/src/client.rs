//! The client: what a participant does with twins (paper, section 4.2: the client application, without its face).

use std::sync::{Arc, Mutex, PoisonError};

use dt_acl::{Acl, AclError, AclRef, Floor, Founders, History, ItemId, ItemName, Items};
use dt_dht::Timer;
use dt_ledger::{
    AclAnchor, Call, CreateTwin, Credential, EventKind, Executed, FeedReference, ProgramCall, Snapshot,
    State as _, TwinCall, TwinEvent, Uri, twin_id,
};
use dt_model::{ComponentId, Digest, PartyId, Timestamp, TwinId};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};

use crate::rights::{Audience, feed_keys};
use crate::{ClientError, Ledger};

/// One party's access to twins, over its ledger and the DHT.
pub struct Client {
    ledger: Ledger,
    items: Items,
    rng: Mutex<ChaCha20Rng>,
    timer: Option<Arc<dyn Timer>>,
}

impl Client {
    /// The client of the party of `ledger`, over `dht`. `rng` seeds a random source of the client's own.
    pub fn new(ledger: Ledger, dht: Arc<dt_dht::Client>, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let (items, rng) = (Items::new(dht), Mutex::new(ChaCha20Rng::from_seed(seed)));
        Self { ledger, items, rng, timer: None }
    }

    /// With `timer`, which lets it wait for nodes that do not answer, such as while they go from one epoch to the next.
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The items on the DHT.
    #[must_use]
    pub const fn items(&self) -> &Items {
        &self.items
    }

    pub(crate) fn timer(&self) -> Option<&dyn Timer> {
        self.timer.as_deref()
    }

    /// The party.
    #[must_use]
    pub fn party(&self) -> PartyId {
        self.ledger.party()
    }

    /// Takes part in the chain, with what an organisation's authority has certified.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn register(&self, certificate: impl Into<Credential>) -> Result<Executed, ClientError> {
        let certificate = certificate.into();
        Ok(self.ledger.execute(vec![Call::Register { certificate }]).await?)
    }

    /// Creates a twin (section 4.5), whose owner the party becomes.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn create_twin(&self, create: CreateTwin) -> Result<TwinId, ClientError> {
        let twin = twin_id(&self.ledger.replica().chain(), &self.party(), &create.device_id);
        self.ledger.execute(vec![Call::CreateTwin(create)]).await?;
        Ok(twin)
    }

    /// Edits the specification, by the root of it that the party has seen: if somebody was faster, nothing happens.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn edit_specification(
        &self,
        twin: TwinId,
        edits: Vec<dt_aml::Edit>,
    ) -> Result<Executed, ClientError> {
        let expected = Some(self.ledger.state()?.specification_state(&twin)?.root);
        Ok(self.ledger.execute_on(twin, [TwinCall::EditAml { edits, expected }]).await?)
    }

    /// Registers data that stays with the party.
    ///
    /// # Errors
    /// [`ClientError::Ledger`].
    pub async fn add_source(
        &self,
        twin: TwinId,
        uri: Uri,
        component: Option<ComponentId>,
    ) -> Result<Executed, ClientError> {
        Ok(self.ledger.execute_on(twin, [TwinCall::AddExternalSource { uri, component }]).await?)
    }

    /// Calls a program of the machine; the call's number, by which its progress is found.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] with [`dt_ledger::ExecuteError::Refused`] names the rule if the contract refuses.
    pub async fn call_program(&self, twin: TwinId, call: ProgramCall) -> Result<u64, ClientError> {
        let executed = self.ledger.execute_on(twin, [TwinCall::CallProgram(call)]).await?;
        let queued = executed.events.iter().find_map(|event| match event {
            EventKind::Twin(_, TwinEvent::CallQueued(number)) => Some(*number),
            _ => None,
        });
        queued.ok_or(ClientError::UnknownTwin(twin))
    }

    /// Puts a list's version under the ledger's protection, unless it is already.
    pub(crate) async fn anchor(&self, twin: TwinId, item: ItemId, list: AclRef) -> Result<(), ClientError> {
        if let Some(call) = anchor_call(&self.ledger.state()?, twin, item, list, &self.party())? {
            self.ledger.execute_on(twin, [call]).await?;
        }
        Ok(())
    }

    /// The list of the party's item `name`, to which nothing on the ledger refers yet: a new one of `audience`, or what an earlier attempt
    /// left, for those who are to read it now.
    pub(crate) async fn ensure_item(
        &self,
        twin: TwinId,
        name: impl Into<ItemName>,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Acl, ClientError> {
        let (grantees, mut rng) = (audience.named(), self.rng());
        let founders = Founders { grantees: &grantees, groups: &audience.roles };
        match self.items.create(name.into(), founders, now, &mut rng).await {
            Ok(state) => Ok(state.acl),
            Err(AclError::AlreadyExists(item)) => {
                let left = self.items.acl(item, None, now).await?;
                let changed = self.admit_audience(&left, twin, audience, History::Full, now).await?;
                Ok(changed.unwrap_or(left))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The keys of a feed's epochs that the party has.
    ///
    /// # Errors
    /// [`ClientError::Item`] if it is no reader (any more).
    pub async fn feed_keyring(
        &self,
        twin: &TwinId,
        feed: &FeedReference,
        now: Timestamp,
    ) -> Result<dt_acl::Keyring, ClientError> {
        self.following(now, async || self.feed_keys(twin, feed, now).await).await
    }

    /// One attempt at [`Client::feed_keyring`].
    pub(crate) async fn feed_keys(
        &self,
        twin: &TwinId,
        feed: &FeedReference,
        now: Timestamp,
    ) -> Result<dt_acl::Keyring, ClientError> {
        let item = feed_keys(feed);
        let floor = floor(&self.ledger.state()?, twin, &Digest::from(*item.as_bytes()), &feed.publisher)?;
        Ok(self.items.keys(item, floor, now).await?)
    }

    /// A random source for one operation, so that none is held while the network is waited for.
    pub(crate) fn rng(&self) -> ChaCha20Rng {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seed = [0; 32];
        rand_core::Rng::fill_bytes(&mut *rng, &mut seed);
        ChaCha20Rng::from_seed(seed)
    }
}

/// The rollback floor of an item: the newest list that its author or the twin's owner has anchored.
pub(crate) fn floor(
    state: &Snapshot,
    twin: &TwinId,
    item: &Digest,
    author: &PartyId,
) -> Result<Option<Floor>, ClientError> {
    let mut floor: Option<AclRef> = None;
    for by in [*author, state.twin(twin)?.owner] {
        if let Some(AclAnchor { version, digest }) = state.acl_anchor(twin, item, &by)? {
            let newest = floor.map_or(0, |floor| floor.version);
            floor = if version > newest { Some(AclRef { version, digest }) } else { floor };
        }
    }
    Ok(floor.map(Floor::from))
}

/// The call by which `by` anchors `list`, unless it has anchored that version or a later one.
pub(crate) fn anchor_call(
    state: &Snapshot,
    twin: TwinId,
    item: ItemId,
    list: AclRef,
    by: &PartyId,
) -> Result<Option<TwinCall>, ClientError> {
    let item = Digest::from(*item.as_bytes());
    let anchored = state.acl_anchor(&twin, &item, by)?.map_or(0, |anchor| anchor.version);
    let AclRef { version, digest } = list;
    Ok((version > anchored).then_some(TwinCall::AnchorAcl { item, version, digest }))
}
