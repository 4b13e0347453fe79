//! Bringing the lists of a twin's items in line with the ledger, where the two have drifted apart.
//!
//! The ledger says who may read what, and under which encryption key; an item's list says it again, in wrapped keys. [`Client::grant`] and
//! [`Client::revoke`] change both. Other things change the ledger alone: a party rotates its encryption key or renews its certificate, a
//! twin gets another owner, a role ends, somebody else assigns a role. Whoever manages the lists follows.

use dt_acl::{Acl, Grant, Grantee, History, ItemId, Revocation};
use dt_ledger::State as _;
use dt_model::{PartyId, Timestamp, TwinId};

use crate::rights::readers;
use crate::sharing::{Outcomes, Shared};
use crate::{Client, ClientError};

impl Client {
    /// Makes the list of every item of `twin` that this party manages say what the ledger says: who no longer may read goes, who may is
    /// let in, keys are wrapped for the encryption keys that parties have now, and the twin's owner may manage. The items whose lists
    /// were changed; each new list is anchored.
    ///
    /// Newcomers are given what `history` says; what others could read before, they go on reading. Data that is there stays under the key
    /// that it is under, as after [`Revocation::Lazy`]. Only the owner of an item appoints and dismisses its managers, so where another
    /// manages, managers stay as they are and a new owner of the twin reads and writes only, until the item's owner aligns it.
    ///
    /// # Errors
    /// [`ClientError`]: the first of them; the other items are aligned nevertheless. Made again, it finishes what it began.
    pub async fn align(
        &self,
        twin: TwinId,
        history: History,
        now: Timestamp,
    ) -> Result<Vec<ItemId>, ClientError> {
        let mut aligned = Outcomes::default();
        for shared in self.shared(&twin)? {
            let align = async || self.align_item(twin, &shared, history, now).await;
            aligned.note(shared.item, self.following(now, align).await);
        }
        aligned.end()
    }

    /// Aligns one item; whether its list was changed.
    async fn align_item(
        &self,
        twin: TwinId,
        shared: &Shared,
        history: History,
        now: Timestamp,
    ) -> Result<bool, ClientError> {
        let Some(acl) = self.managed(shared, now).await? else { return Ok(false) };
        let state = self.ledger().state()?;
        let readers = readers(&state, &twin, shared.class, shared.component.as_ref(), &acl.owner(), now)?;
        let steps = Steps::between(&acl, &readers, self.party(), history);
        let own_key = state.party(&acl.owner())?.map(|party| party.encryption_key);
        let own_key =
            own_key.filter(|key| acl.entry(&acl.owner()).is_some_and(|own| own.encryption_key != *key));
        let (mut rng, mut list) = (self.rng(), None);
        for party in steps.gone {
            let revoked = self.items().revoke(shared.item, party, Revocation::Lazy, now, &mut rng).await?;
            list = Some(revoked.state.acl);
        }
        for (grantees, history) in [(steps.full, History::Full), (steps.later, History::Omitted)] {
            if !grantees.is_empty() {
                list = Some(self.items().grant(shared.item, &grantees, history, now, &mut rng).await?.acl);
            }
        }
        if let Some(key) = own_key {
            list = Some(self.items().rotate(shared.item, acl.owner(), key, now, &mut rng).await?.acl);
        }
        let changed = list.is_some();
        // A list that an earlier attempt left unanchored is this party's, too.
        let list = list.or_else(|| (acl.signer() == self.party()).then_some(acl));
        if let Some(list) = list {
            self.anchor(twin, shared.item, list.reference()).await?;
        }
        Ok(changed)
    }
}

/// What leads from a list to what the ledger says.
struct Steps {
    gone: Vec<PartyId>,
    /// Those that are given all that there is to read.
    full: Vec<Grantee>,
    /// Those that keep the past they had, or are given none.
    later: Vec<Grantee>,
}

impl Steps {
    /// The steps from `acl` to `readers`, as far as `by` may take them.
    fn between(acl: &Acl, readers: &[Grantee], by: PartyId, history: History) -> Self {
        let appoints = by == acl.owner();
        let mut steps = Self { gone: Vec::new(), full: Vec::new(), later: Vec::new() };
        for entry in acl.entries() {
            let party = entry.party;
            let stays = party == acl.owner() || readers.iter().any(|reader| reader.party == party);
            if !stays && (appoints || entry.management().is_none()) {
                steps.gone.push(party);
            }
        }
        for reader in readers {
            let known = acl.entry(&reader.party);
            if !appoints && known.is_some_and(|entry| entry.management().is_some()) {
                continue;
            }
            let mut wanted = *reader;
            wanted.rights.manage &= appoints;
            let granted = Grant { rights: wanted.rights, not_after: wanted.not_after };
            let is_so = known.is_some_and(|entry| {
                (entry.grant, entry.encryption_key) == (Some(granted), wanted.encryption_key)
            });
            if is_so {
                continue;
            }
            // A manager has to be given all that it is to hand on.
            let full = wanted.rights.manage || (known.is_none() && history == History::Full);
            if full { &mut steps.full } else { &mut steps.later }.push(wanted);
        }
        steps
    }
}
