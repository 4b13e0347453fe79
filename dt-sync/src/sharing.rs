//! Letting parties in and shutting them out (paper, section 4.4): first on the ledger, then on the list of every item.
//!
//! # Invariants
//! - An item is opened only if its list belongs to whoever registered it: nobody can have another's items opened by registering them.
//! - One item that cannot be read MUST NOT keep a revocation from the others.
//! - Each new list is anchored before the next item is dealt with, also if a crash came between the two.

use dt_acl::{Acl, AclError, History, ItemId, Revocation};
use dt_ledger::{State as _, TwinCall};
use dt_model::{ComponentId, DataClass, Name, PartyId, Timestamp, TwinId};

use crate::rights::{feed_keys, readers};
use crate::{Client, ClientError};

impl Client {
    /// Gives `party` a role, and opens to it what the role may read: the items whose lists this party may manage.
    ///
    /// `history` says whether it is given what was written before, too.
    ///
    /// # Errors
    /// [`ClientError`]: the first of them; the other items are opened nevertheless. Made again, it finishes what it began.
    pub async fn grant(
        &self,
        twin: TwinId,
        party: PartyId,
        role: Name,
        history: History,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        if !self.ledger().state()?.roles(&twin, &party)?.contains(&role) {
            self.ledger().execute_on(twin, [TwinCall::AssignRole { party, role }]).await?;
        }
        let mut failed = None;
        for shared in self.shared(&twin)? {
            let grant = async || self.grant_item(twin, &shared, party, history, now).await;
            if let Err(error) = self.following(now, grant).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Opens one item to `party`, if it may read it; a list that an earlier attempt left unanchored is anchored.
    async fn grant_item(
        &self,
        twin: TwinId,
        shared: &Shared,
        party: PartyId,
        history: History,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        let state = self.ledger().state()?;
        let readers = readers(&state, &twin, shared.class, shared.component.as_ref(), &self.party(), now)?;
        let Some(grantee) = readers.into_iter().find(|grantee| grantee.party == party) else { return Ok(()) };
        let Some(acl) = self.managed(shared, now).await? else { return Ok(()) };
        let list = if acl.rights_at(&party, now).is_none() {
            let mut rng = self.rng();
            self.items().grant(shared.item, &[grantee], history, now, &mut rng).await?.acl
        } else if acl.signer() == self.party() {
            acl
        } else {
            return Ok(());
        };
        self.anchor(twin, shared.item, list.reference()).await
    }

    /// Takes all its roles from `party`, and everything out of its reach that this party may manage: each item goes on under a new key,
    /// and its new list is anchored, so that no replica can show the old one.
    ///
    /// What the party has read, or could have read, it keeps: nothing recalls a copy.
    ///
    /// # Errors
    /// [`ClientError`]: the first of them; the other items are taken out of its reach nevertheless, so that nobody can stay by keeping
    /// an item that cannot be read. Made again, it finishes what it began.
    pub async fn revoke(
        &self,
        twin: TwinId,
        party: PartyId,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<Vec<ItemId>, ClientError> {
        let roles = self.ledger().state()?.roles(&twin, &party)?;
        if !roles.is_empty() {
            let calls: Vec<_> =
                roles.into_iter().map(|role| TwinCall::UnassignRole { party, role }).collect();
            self.ledger().execute_on(twin, calls).await?;
        }
        let mut rekeyed = Outcomes::default();
        for shared in self.shared(&twin)? {
            let revoke = async || self.revoke_item(twin, &shared, party, revocation, now).await;
            rekeyed.note(shared.item, self.following(now, revoke).await);
        }
        rekeyed.end()
    }

    /// Takes one item out of reach of `party`; whether it was on the list. What an earlier attempt left undone behind the new list, its
    /// anchor and the encryption anew, is done.
    async fn revoke_item(
        &self,
        twin: TwinId,
        shared: &Shared,
        party: PartyId,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<bool, ClientError> {
        let Some(acl) = self.managed(shared, now).await? else { return Ok(false) };
        if acl.owner() == party {
            return Ok(false);
        }
        let (was_on_list, mut rng) = (acl.entry(&party).is_some(), self.rng());
        let list = if was_on_list {
            self.items().revoke(shared.item, party, Revocation::Lazy, now, &mut rng).await?.state.acl
        } else if acl.signer() == self.party() {
            acl
        } else {
            return Ok(false);
        };
        self.anchor(twin, shared.item, list.reference()).await?;
        if shared.class == DataClass::Document && revocation == Revocation::Eager {
            self.items().reencrypt(shared.item, now, &mut rng).await?;
        }
        Ok(was_on_list)
    }

    /// The lists of the twin's items, as the ledger names them.
    pub(crate) fn shared(&self, twin: &TwinId) -> Result<Vec<Shared>, ClientError> {
        let state = self.ledger().state()?;
        let mut shared = Vec::new();
        for (component, feed) in state.feeds(twin)? {
            let (item, owner) = (feed_keys(&feed.reference), feed.reference.publisher);
            shared.push(Shared { item, owner, class: DataClass::Sensor, component: Some(component) });
        }
        for (document, record) in state.documents(twin)? {
            for number in 1..=record.versions {
                let Some(version) = state.document_version(twin, &document, number)? else { continue };
                let (item, owner) = (ItemId::from(*version.version.item.as_bytes()), version.author);
                let component = record.component.clone();
                shared.push(Shared { item, owner, class: DataClass::Document, component });
            }
        }
        Ok(shared)
    }

    /// The list of an item, if this party may change it.
    ///
    /// Only if it belongs to whoever registered it: else an author could have others' items opened, by registering them as his own
    /// in a twin where he lets somebody in.
    pub(crate) async fn managed(&self, shared: &Shared, now: Timestamp) -> Result<Option<Acl>, ClientError> {
        match self.items().acl(shared.item, None, now).await {
            Ok(acl) => {
                let manages = acl.rights_at(&self.party(), now).is_some_and(|rights| rights.manage);
                Ok((manages && acl.owner() == shared.owner).then_some(acl))
            }
            Err(AclError::NotAReader(_) | AclError::NoSuchItem(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What came of dealing with one item after the other, of which none keeps the next from being dealt with.
#[derive(Default)]
pub(crate) struct Outcomes {
    changed: Vec<ItemId>,
    failed: Option<ClientError>,
}

impl Outcomes {
    /// Takes what came of `item`: whether it was changed.
    pub(crate) fn note(&mut self, item: ItemId, outcome: Result<bool, ClientError>) {
        match outcome {
            Ok(true) => self.changed.push(item),
            Ok(false) => {}
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// The items that were changed, or the first error.
    pub(crate) fn end(self) -> Result<Vec<ItemId>, ClientError> {
        self.failed.map_or(Ok(self.changed), Err)
    }
}

/// An item of a twin, and what decides who reads it.
pub(crate) struct Shared {
    pub(crate) item: ItemId,
    /// Who put it there by the ledger, and so has to be the owner of its list.
    owner: PartyId,
    pub(crate) class: DataClass,
    pub(crate) component: Option<ComponentId>,
}
