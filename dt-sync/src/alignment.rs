//! Bringing the lists of a twin's items in line with the ledger, where the two have drifted apart.
//!
//! The ledger says who may read what, and under which encryption key; an item's list says it again, in wrapped keys. [`Client::grant`] and
//! [`Client::revoke`] change both. Other things change the ledger alone: a party rotates its encryption key or renews its certificate, a
//! twin gets another owner, a role ends, somebody else assigns a role. Whoever manages the lists follows.

use dt_acl::{Acl, Grant, Grantee, Group, History, ItemId, Member, Revocation};
use dt_ledger::State as _;
use dt_model::{PartyId, Timestamp, TwinId};

use crate::rights::Audience;
use crate::sharing::{Outcomes, Shared};
use crate::{Client, ClientError};

impl Client {
    /// Makes the list of every item of `twin` that this party manages say what the ledger says: who no longer may read goes, who may is
    /// let in, keys are wrapped for the encryption keys that parties have now, and the twin's owner may manage. The items whose lists
    /// were changed; each new list is anchored.
    ///
    /// Where a policy names roles, their members are on the list as groups, from its first version on, and in one version for each role
    /// that has changed; who was named besides, as [`Client::grant`] does, stays by name as well, as long as it may read.
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
        let (state, class, component) = (self.ledger().state()?, shared.class, shared.component.as_ref());
        let audience = Audience::new(&state, &twin, class, component, &acl.owner(), now)?;
        let mut list = self.admit_audience(&acl, twin, &audience, history, now).await?;
        let own_key = state.party(&acl.owner())?.map(|party| party.encryption_key);
        let own_key =
            own_key.filter(|key| acl.entry(&acl.owner()).is_some_and(|own| own.encryption_key != *key));
        if let Some(key) = own_key {
            let mut rng = self.rng();
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

    /// Makes `acl` a list of `audience` and nobody else, as far as this party may; the new list, if it was not so already.
    pub(crate) async fn admit_audience(
        &self,
        acl: &Acl,
        twin: TwinId,
        audience: &Audience,
        history: History,
        now: Timestamp,
    ) -> Result<Option<Acl>, ClientError> {
        let steps = Steps::between(acl, &twin, audience, self.party(), history);
        let (item, mut rng, mut list) = (acl.item(), self.rng(), None);
        for party in steps.gone {
            let revoked = self.items().revoke(item, party, Revocation::Lazy, now, &mut rng).await?;
            list = Some(revoked.state.acl);
        }
        for (grantees, history) in [(steps.full, History::Full), (steps.later, History::Omitted)] {
            if !grantees.is_empty() {
                list = Some(self.items().grant(item, &grantees, history, now, &mut rng).await?.acl);
            }
        }
        for (group, members, history) in steps.groups {
            let synced = self.items().sync_group(item, &group, &members, history, now, &mut rng).await?;
            list = Some(synced.acl);
        }
        Ok(list)
    }
}

/// What leads from a list to what the ledger says.
struct Steps {
    gone: Vec<PartyId>,
    /// Those that are given all that there is to read.
    full: Vec<Grantee>,
    /// Those that keep the past they had, or are given none.
    later: Vec<Grantee>,
    /// Roles whose members on the list are others than on the ledger: who they are, and what newcomers among them are given.
    groups: Vec<(Group, Vec<Member>, History)>,
}

impl Steps {
    /// The steps from `acl` to a list of `audience`, as far as `by` may take them.
    fn between(acl: &Acl, twin: &TwinId, audience: &Audience, by: PartyId, history: History) -> Self {
        let Audience { readers, roles } = audience;
        let appoints = by == acl.owner();
        let mut steps = Self { gone: Vec::new(), full: Vec::new(), later: Vec::new(), groups: Vec::new() };
        for entry in acl.entries() {
            let party = entry.party;
            let stays = party == acl.owner() || readers.iter().any(|reader| reader.party == party);
            // Who is there by roles of this twin only, goes with them.
            let by_role = entry.grant.is_none() && entry.groups.iter().all(|by| is_of(acl, by.group, twin));
            if !stays && !by_role && (appoints || entry.management().is_none()) {
                steps.gone.push(party);
            }
        }
        for reader in readers {
            let known = acl.entry(&reader.party);
            if !appoints && known.is_some_and(|entry| entry.management().is_some()) {
                continue;
            }
            let is_member = |(_, members): &(Group, Vec<Member>)| {
                members.iter().any(|member| member.party == reader.party)
            };
            // Where some of a role are kept from the past, its newcomers are given it by name.
            let by_role = roles.iter().any(is_member);
            let needs_name = known.is_none() && history == History::Full;
            if by_role
                && !(needs_name
                    && roles.iter().filter(|role| is_member(role)).all(|(_, of)| is_kept(acl, of)))
            {
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
        steps.groups(acl, twin, roles, history);
        steps
    }

    /// The steps for roles: those that the policy names, and those that it names no longer.
    fn groups(&mut self, acl: &Acl, twin: &TwinId, roles: &[(Group, Vec<Member>)], history: History) {
        let former = acl.groups().iter().filter(|group| group.role.twin == *twin);
        let former = former.filter(|group| roles.iter().all(|(of, _)| of.role != group.role));
        let ended: Vec<_> = former.map(|group| (group.clone(), Vec::new(), History::Omitted)).collect();
        for (group, members) in roles {
            if !is_in_order(acl, group, members) {
                let history = if is_kept(acl, members) { History::Omitted } else { history };
                self.groups.push((group.clone(), members.clone(), history));
            }
        }
        self.groups.extend(ended);
    }
}

/// Whether the list's group number `group` is a role of `twin`.
fn is_of(acl: &Acl, group: u8, twin: &TwinId) -> bool {
    acl.groups().get(usize::from(group)).is_some_and(|group| group.role.twin == *twin)
}

/// Whether some of `members` are on the list, and kept from a part of the past.
fn is_kept(acl: &Acl, members: &[Member]) -> bool {
    let beginning = acl.entry(&acl.owner()).map(|owner| owner.since);
    let known = members.iter().filter_map(|member| acl.entry(&member.party));
    known.into_iter().any(|entry| Some(entry.since) != beginning)
}

/// Whether exactly `members` are on the list by `group`, with the keys and until when they are to be.
fn is_in_order(acl: &Acl, group: &Group, members: &[Member]) -> bool {
    let at = acl.groups().iter().position(|known| known == group);
    let Some(at) = at.and_then(|at| u8::try_from(at).ok()) else { return members.is_empty() };
    let mut listed: Vec<Member> = Vec::new();
    for entry in acl.entries() {
        let by = entry.groups.iter().find(|by| by.group == at);
        listed.extend(by.map(|by| Member {
            party: entry.party,
            encryption_key: entry.encryption_key,
            not_after: by.not_after,
        }));
    }
    let mut members = members.to_vec();
    members.sort_by_key(|member| member.party);
    listed == members
}
