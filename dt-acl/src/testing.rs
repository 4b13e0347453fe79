//! For those who test against these types: a replica's shelf for one item, and proptest strategies.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test's set-up reports by panicking")]

use bytes::Bytes;
use dt_dht::{BlobRef, Neighbours, Record, Refusal, Site, Slot, Validator};
use dt_model::testing::{SeedRng, digest, identity, timestamp};
use dt_model::{EncryptionKey, PartyId, Signed, Signer, Timestamp, TwinId, codec};
use proptest::prelude::*;

use crate::{
    ACL_KIND, Acl, AclRecord, AclRef, AclValidator, Change, Data, DataRecord, DataRef, DataValidator,
    Grantee, Group, History, ItemId, ItemName, Keyring, Member, Rights, Role, SealedContent,
};

/// What one replica holds of one item, and the two validators that judge what it is offered.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    acl: Option<Signed<Record>>,
    data: Option<Signed<Record>>,
}

impl Shelf {
    /// Offers `record`; it is kept if the validator of its kind admits it.
    ///
    /// # Errors
    /// The validator's [`Refusal`]; the shelf is then unchanged.
    pub fn offer(&mut self, record: &Signed<Record>, now: Timestamp) -> Result<(), Refusal> {
        let is_acl = record.key.slot.kind == ACL_KIND;
        let stored = if is_acl { &self.acl } else { &self.data };
        let site = Site { now, stored: stored.as_ref(), neighbours: &*self };
        if is_acl {
            AclValidator.admit(&site, record)?
        } else {
            DataValidator.admit(&site, record)?
        }
        *(if is_acl { &mut self.acl } else { &mut self.data }) = Some(record.clone());
        Ok(())
    }

    /// The rank of `party` here, which both validators give it.
    #[must_use]
    pub fn rank(&self, party: &PartyId, now: Timestamp) -> Option<u8> {
        let site = |stored| Site { now, stored, neighbours: self };
        let by_data = DataValidator.rank(&site(self.data.as_ref()), party);
        AclValidator.rank(&site(self.acl.as_ref()), party).filter(|rank| Some(*rank) == by_data)
    }

    /// Whether `reader` is served both records.
    ///
    /// # Errors
    /// The validators' [`Refusal`].
    pub fn serve(&self, reader: &PartyId, now: Timestamp) -> Result<(), Refusal> {
        let site = |stored| Site { now, stored, neighbours: self };
        if let Some(acl) = &self.acl {
            AclValidator.serve(&site(Some(acl)), reader, acl)?;
        }
        if let Some(data) = &self.data {
            DataValidator.serve(&site(Some(data)), reader, data)?;
        }
        Ok(())
    }

    /// The list, if there is one.
    #[must_use]
    pub fn acl(&self) -> Option<Acl> {
        self.acl.as_ref().map(|acl| Acl::open(acl).expect("it was admitted"))
    }

    /// The data, if there is any.
    #[must_use]
    pub fn data(&self) -> Option<Data> {
        self.data.as_ref().map(|data| Data::open(data).expect("it was admitted"))
    }
}

impl Neighbours for Shelf {
    fn record(&self, slot: Slot) -> Option<Signed<Record>> {
        if slot.kind == ACL_KIND { self.acl.clone() } else { self.data.clone() }
    }
}

/// `record`, signed and in its place.
#[must_use]
pub fn sign_acl(record: &AclRecord, signer: &dyn Signer) -> Signed<Record> {
    let body = Bytes::from(codec::encode(record));
    let record = Record { key: record.item().acl_key(), version: record.version(), body };
    Signed::new(record, signer).expect("a working signer")
}

/// `record`, signed and in its place.
#[must_use]
pub fn sign_data(record: &DataRecord, signer: &dyn Signer) -> Signed<Record> {
    let body = Bytes::from(codec::encode(record));
    let record = Record { key: record.item().data_key(), version: record.counter(), body };
    Signed::new(record, signer).expect("a working signer")
}

/// The data record and the ciphertext for `content`, written by `writer` under `acl`, cut for one tolerated fault.
#[must_use]
pub fn write(
    acl: &Acl,
    writer: &dyn Signer,
    previous: Option<DataRef>,
    content: &[u8],
    time: Timestamp,
    rng: &mut SeedRng,
) -> (Signed<Record>, Vec<u8>) {
    let key = Keyring::open(acl, writer).expect("on the list").key(acl.epoch()).expect("the current key");
    let sealed = SealedContent::seal(acl, &key, writer.party(), previous, content, rng).expect("a counter");
    let ciphertext = sealed.ciphertext().to_vec();
    let resilience = dt_dht::Resilience::tolerating(1).expect("four replicas");
    let blob = BlobRef::of(&ciphertext, resilience).expect("short content");
    (sign_data(&sealed.record(blob, time), writer), ciphertext)
}

/// Any rights.
pub fn rights() -> impl Strategy<Value = Rights> {
    any::<(bool, bool)>().prop_map(|(write, manage)| Rights { write, manage })
}

/// Any item of any of a thousand owners.
pub fn item() -> impl Strategy<Value = ItemId> {
    (dt_model::testing::party(), any::<[u8; 8]>()).prop_map(|(owner, name)| ItemId::new(owner, &name))
}

/// Any version of a list.
pub fn acl_ref() -> impl Strategy<Value = AclRef> {
    (any::<u64>(), digest()).prop_map(|(version, digest)| AclRef { version, digest })
}

/// Anybody, with any rights.
pub fn grantee() -> impl Strategy<Value = Grantee> {
    (0u64..1000, rights(), timestamp()).prop_map(|(seed, rights, not_after)| {
        let party = identity(seed);
        Grantee::new(party.party(), party.encryption_key(), rights).until(not_after)
    })
}

/// The role with this number, of a twin of its own.
#[must_use]
pub fn role(number: u64) -> Role {
    let name = format!("role {number}").parse().expect("a name");
    Role { twin: TwinId::from([number.to_le_bytes()[0]; 32]), name }
}

/// `identity` as a member of a role, without an end.
#[must_use]
pub fn member(identity: &dyn Signer) -> Member {
    let (party, encryption_key) = (identity.party(), identity.encryption_key());
    Member { party, encryption_key, not_after: Timestamp::MAX }
}

/// The history of a list, from its first version on: each version follows on the one before.
pub fn history() -> impl Strategy<Value = Vec<Acl>> {
    let change = (0u8..6, 0u64..6, rights(), prop::collection::vec(0u64..6, 0..4));
    (0u64..1000, prop::collection::vec(change, 0..6)).prop_map(|(seed, changes)| {
        let mut rng = SeedRng::new(seed);
        let owner = identity(seed);
        let first = AclRecord::first(&owner, ItemName::from("any"), &[], Timestamp::default(), &mut rng);
        let first = first.expect("a first list");
        let mut history = vec![Acl::open(&sign_acl(&first, &owner)).expect("well-formed")];
        for (kind, who, rights, members) in changes {
            let acl = &history[history.len() - 1];
            let known = |who| identity(1_000_000 + who);
            let (party, encryption_key) = (known(who).party(), known(who).encryption_key());
            let grantees = [Grantee::new(party, encryption_key, rights)];
            let fresh = EncryptionKey::from(*dt_model::Secret::generate(&mut rng).expose());
            let group = Group { role: role(who % 3), rights: Rights { manage: false, ..rights } };
            let members: Vec<_> = members.into_iter().map(|who| member(&known(who))).collect();
            let change = match kind {
                0 => Change::Grant { grantees: &grantees, history: History::Full },
                1 => Change::Grant { grantees: &grantees, history: History::Omitted },
                2 => Change::Revoke { party },
                3 => Change::SyncGroup { group: &group, members: &members, history: History::Full },
                4 => Change::SyncGroup { group: &group, members: &members, history: History::Omitted },
                _ => Change::Rotate { party, encryption_key: fresh },
            };
            let keys = Keyring::open(acl, &owner).expect("the owner's");
            // Some changes make no sense at this point, and are left out.
            if let Ok(next) = acl.change(&owner, &keys, &change, Timestamp::default(), &mut rng) {
                history.push(Acl::open(&sign_acl(&next, &owner)).expect("well-formed"));
            }
        }
        history
    })
}

/// Any list.
pub fn acl() -> impl Strategy<Value = Acl> {
    history().prop_map(|mut history| history.swap_remove(history.len() - 1))
}

/// Any data record of an owner, under a list of the owner's.
pub fn data() -> impl Strategy<Value = Data> {
    (0u64..1000, prop::collection::vec(any::<u8>(), 0..200), timestamp()).prop_map(|(seed, content, time)| {
        let mut rng = SeedRng::new(seed);
        let owner = identity(seed);
        let first = AclRecord::first(&owner, ItemName::from("any"), &[], Timestamp::default(), &mut rng);
        let first = first.expect("a first list");
        let acl = Acl::open(&sign_acl(&first, &owner)).expect("well-formed");
        Data::open(&write(&acl, &owner, None, &content, time, &mut rng).0).expect("well-formed")
    })
}
