//! Every decoder: the first byte says of which type.

use borsh::{BorshDeserialize, BorshSerialize};
use dt_acl::testing::{sign_acl, sign_data};
use dt_acl::{
    Acl, AclRecord, AclRef, Data, DataRecord, DataRef, Entry, Epoch, Grant, Group, GroupGrant, Keyring,
    MAX_ACL_BYTES, Rights, Role,
};
use dt_model::{Secret, codec};

use super::records::party;

/// Any bytes are a value in its only form, or an error; and what is asked of a value does not fail either.
pub fn decoders(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 11 {
        0 => list(bytes),
        1 => record(bytes),
        2 => drop(read::<Entry>(bytes).map(|entry| entry.management())),
        3 => drop(read::<Epoch>(bytes)),
        4 => drop(read::<Group>(bytes)),
        5 => drop(read::<GroupGrant>(bytes)),
        6 => drop(read::<Role>(bytes)),
        7 => drop(read::<Grant>(bytes)),
        8 => drop(read::<Rights>(bytes).map(|rights| rights.to_string())),
        9 => drop(read::<AclRef>(bytes)),
        _ => drop(read::<DataRef>(bytes)),
    }
}

/// The value that `bytes` are, if they are one: then they are its bytes.
fn read<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode::<T>(bytes, MAX_ACL_BYTES).ok()?;
    assert_eq!(codec::encode(&value), bytes, "one encoding for each value");
    Some(value)
}

/// A list that decodes keeps its invariants, whoever signs it, and its wraps give a right key or none.
fn list(bytes: &[u8]) {
    let Some(record) = read::<AclRecord>(bytes) else { return };
    assert!(record.entry(&record.owner()).is_some_and(|owner| record.rights_of(owner) == Rights::ALL));
    assert!(record.entries().windows(2).all(|pair| pair[0].party < pair[1].party));
    assert!(record.epoch_at(record.epoch()).is_some() && record.epoch_at(record.epoch() + 1).is_none());
    for number in 0..4 {
        let signer = party(number);
        if let Ok(acl) = Acl::open(&sign_acl(&record, signer)) {
            assert!(record.entry(&acl.signer()).is_some(), "who has authority is on the list");
        }
        if let Ok(keys) = Keyring::open(&record, signer) {
            // A key that is given is the one that is committed to, so it is the same by whatever way.
            for epoch in record.oldest_epoch()..=record.epoch() {
                let _key = keys.key(epoch);
            }
        }
    }
}

/// A data record that decodes opens nothing by itself.
fn record(bytes: &[u8]) {
    let Some(record) = read::<DataRecord>(bytes) else { return };
    let data = Data::open(&sign_data(&record, party(0))).expect("it lies where it says");
    let key = Secret::from_bytes([7; 32]);
    assert!(data.content_hash(data.writer(), &key).is_err() && data.opener(data.writer(), &key).is_err());
}
