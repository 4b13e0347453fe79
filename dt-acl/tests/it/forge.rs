//! The bytes of the wire types without the checks of their own types: what an attacker can send.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_acl::testing::{Shelf, sign_acl};
use dt_acl::{
    Acl, AclRecord, AclRef, Change, Data, DataRecord, Entry, Epoch, Grant, Group, ItemId, ItemName, Keyring,
    MAX_ACL_BYTES, MAX_DATA_BYTES, Salt, SealedHash,
};
use dt_dht::{BlobRef, Record};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, EncryptionKey, Identity, PartyId, Signed, Signer as _, Timestamp, codec};

use crate::common::at;

/// The bytes of a list, field by field, without the checks of [`AclRecord`]: what an attacker can send.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct RawAcl {
    pub(crate) owner: PartyId,
    pub(crate) name: ItemName,
    pub(crate) version: u64,
    pub(crate) previous: Digest,
    pub(crate) time: Timestamp,
    pub(crate) groups: Vec<Group>,
    pub(crate) oldest: u64,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) ephemeral: EncryptionKey,
    pub(crate) entries: Vec<Entry>,
}

/// The bytes of a data record, likewise.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct RawData {
    pub(crate) item: ItemId,
    pub(crate) counter: u64,
    pub(crate) previous: Digest,
    pub(crate) acl: AclRef,
    pub(crate) epoch: u64,
    pub(crate) salt: Salt,
    pub(crate) blob: BlobRef,
    pub(crate) ciphertext: Digest,
    pub(crate) commitment: Digest,
    pub(crate) content_hash: SealedHash,
    pub(crate) length: u64,
    pub(crate) time: Timestamp,
}

impl RawAcl {
    pub(crate) fn of(acl: &Acl) -> Self {
        codec::decode(&codec::encode(acl.record()), MAX_ACL_BYTES).unwrap()
    }

    pub(crate) fn sign(&self, signer: &Identity) -> Signed<Record> {
        let key = ItemId::new(self.owner, self.name).acl_key();
        Signed::new(Record { key, version: self.version, body: codec::encode(self).into() }, signer).unwrap()
    }

    /// As a typed record, for those forgeries that are well-formed.
    pub(crate) fn record(&self) -> AclRecord {
        codec::decode(&codec::encode(self), MAX_ACL_BYTES).unwrap()
    }

    pub(crate) fn entry(&mut self, party: u64) -> &mut Entry {
        let party = identity(party).party();
        self.entries.iter_mut().find(|entry| entry.party == party).unwrap()
    }

    /// What the party with this number is granted by name.
    pub(crate) fn grant(&mut self, party: u64) -> &mut Grant {
        self.entry(party).grant.as_mut().unwrap()
    }
}

impl RawData {
    pub(crate) fn of(data: &Data) -> Self {
        codec::decode(&codec::encode(data.record()), MAX_DATA_BYTES).unwrap()
    }

    pub(crate) fn sign(&self, signer: &Identity) -> Signed<Record> {
        let (key, body) = (self.item.data_key(), codec::encode(self).into());
        Signed::new(Record { key, version: self.counter, body }, signer).unwrap()
    }

    pub(crate) fn record(&self) -> DataRecord {
        codec::decode(&codec::encode(self), MAX_DATA_BYTES).unwrap()
    }
}

/// The list after `acl`, by its owner, as raw bytes to be spoilt.
pub(crate) fn raw_next(acl: &Acl, change: &Change<'_>, rng: &mut SeedRng) -> RawAcl {
    let owner = identity(0);
    let keys = Keyring::open(acl, &owner).unwrap();
    let next = acl.change(&owner, &keys, change, at(0), rng).unwrap();
    RawAcl::of(&Acl::open(&sign_acl(&next, &owner)).unwrap())
}

pub(crate) fn opened(signed: &Signed<Record>) -> Acl {
    Acl::open(signed).unwrap()
}

pub(crate) fn shelf(acl: &Acl) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.offer(acl.signed(), at(0)).unwrap();
    shelf
}
