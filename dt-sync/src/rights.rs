//! From the ledger's policies to the access control lists of items: who may read what, under which key.

use dt_acl::{Grantee, Group, ItemId, Member, Rights, Role};
use dt_ledger::{CallError, FeedReference, Snapshot, State, Subject};
use dt_model::{ComponentId, DataClass, Digest, Domain, Operation, PartyId, Permission, Timestamp, TwinId};

use crate::ClientError;

/// The parties that may read data of `class` at `component` of `twin` at `now`, but for `except` (who owns the list and stands on it
/// anyway). The twin's owner may besides write and manage, so that it can revoke what others have shared.
///
/// # Errors
/// [`ClientError::UnknownTwin`] or [`ClientError::Store`].
pub fn readers(
    state: &Snapshot,
    twin: &TwinId,
    class: DataClass,
    component: Option<&ComponentId>,
    except: &PartyId,
    now: Timestamp,
) -> Result<Vec<Grantee>, ClientError> {
    let owner = state.twin(twin)?.owner;
    let mut readers = Vec::new();
    for (party, _) in state.participants(twin)? {
        let permission = Permission::new(Operation::Read, class);
        match state.authorize(twin, &party, permission, component, now) {
            Ok(()) if party != *except => {}
            Ok(()) | Err(CallError::Refused(_)) => continue,
            Err(error) => return Err(error.into()),
        }
        let Some(record) = state.party(&party)? else { continue };
        let rights = if party == owner { Rights::ALL } else { Rights::READ };
        // A list counts to the last moment, a certificate to the first that it no longer covers.
        let last = Timestamp::from_millis(record.not_after.as_millis().saturating_sub(1));
        readers.push(Grantee::new(party, record.encryption_key, rights).until(last));
    }
    Ok(readers)
}

/// Who is to be on an item's list, besides its owner, as the ledger says.
pub(crate) struct Audience {
    /// Whoever may read, and what else it may do.
    pub(crate) readers: Vec<Grantee>,
    /// The roles that may read by their names, and who of the readers holds each.
    pub(crate) roles: Vec<(Group, Vec<Member>)>,
}

impl Audience {
    /// Those who may read data of `class` at `component` of `twin` at `now`, where `owner` owns the list.
    ///
    /// # Errors
    /// [`ClientError::UnknownTwin`] or [`ClientError::Store`].
    pub(crate) fn new(
        state: &Snapshot,
        twin: &TwinId,
        class: DataClass,
        component: Option<&ComponentId>,
        owner: &PartyId,
        now: Timestamp,
    ) -> Result<Self, ClientError> {
        let readers = readers(state, twin, class, component, owner, now)?;
        let roles = role_readers(state, twin, class, component, &readers)?;
        Ok(Self { readers, roles })
    }

    /// Those who are on the list by name: because everyone may read, or because they manage.
    pub(crate) fn named(&self) -> Vec<Grantee> {
        let has_role = |reader: &&Grantee| {
            self.roles.iter().any(|(_, members)| members.iter().any(|of| of.party == reader.party))
        };
        self.readers.iter().filter(|reader| !has_role(reader)).copied().collect()
    }
}

/// The roles that may read data of `class` at `component` of `twin` by their names, and who of `readers` holds each. Who reads because
/// everyone does, or manages, is in none of them.
fn role_readers(
    state: &Snapshot,
    twin: &TwinId,
    class: DataClass,
    component: Option<&ComponentId>,
    readers: &[Grantee],
) -> Result<Vec<(Group, Vec<Member>)>, ClientError> {
    let policy = state.deciding_policy(twin, component)?;
    let read = Permission::new(Operation::Read, class);
    let mut groups = Vec::new();
    for (subject, permissions) in policy.grants() {
        let Subject::Role(name) = subject else { continue };
        if !permissions.contains(&read) {
            continue;
        }
        let mut members = Vec::new();
        for reader in readers.iter().filter(|reader| !reader.rights.manage) {
            if state.roles(twin, &reader.party)?.contains(name) {
                members.push(Member::from(reader));
            }
        }
        let role = Role { twin: *twin, name: name.clone() };
        groups.push((Group { role, rights: Rights::READ }, members));
    }
    Ok(groups)
}

/// The item whose access control list holds the keys of a feed: its publisher owns it, its name follows from the feed.
#[must_use]
pub fn feed_keys(feed: &FeedReference) -> ItemId {
    ItemId::new(feed.publisher, feed_keys_name(&feed.feed))
}

pub(crate) fn feed_keys_name(feed: &Digest) -> Digest {
    const FEED_KEYS: Domain = Domain::new("dt/sync/feed-keys/v1");
    FEED_KEYS.blake3(&[feed.as_bytes()])
}
