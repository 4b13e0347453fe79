//! Every decoder: the first byte says of which type.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use dt_dht::{
    AddressState, Carries, Checkpoint, Equivocation, FoundShard, HandOver, HandOverCertificate, Key, Listing,
    Lock, LockCertificate, MAX_MESSAGE_BYTES, OwnedRecords, Parcel, Promise, QuorumCertificate, Receipt,
    Record, Refusal, Reply, ReplyBody, Request, RequestBody, Resilience, SettlementCertificate, Shard,
    Summary, UpkeepReply, UpkeepRequest, Usage, Vote, decode_stripe,
};
use dt_model::{Envelope, Message, codec};

use super::replica::membership;

/// Any bytes are a value in its only form, or an error; and what is asked of a value does not fail either.
pub fn messages(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 32 {
        0 => parcel::<Request>(bytes),
        1 => parcel::<Reply>(bytes),
        2 => drop(read::<Request>(bytes)),
        3 => drop(read::<Reply>(bytes)),
        4 => drop(read::<RequestBody>(bytes)),
        5 => drop(read::<ReplyBody>(bytes)),
        6 => drop(read::<UpkeepRequest>(bytes)),
        7 => drop(read::<UpkeepReply>(bytes)),
        8 => drop(read::<Record>(bytes)),
        9 => drop(read::<Receipt>(bytes)),
        10 => drop(read::<Vote>(bytes)),
        11 => drop(read::<Promise>(bytes)),
        12 => drop(read::<HandOver>(bytes)),
        13 => record(bytes),
        14 => envelope::<Receipt>(bytes),
        15 => envelope::<Vote>(bytes),
        16 => envelope::<Promise>(bytes),
        17 => envelope::<HandOver>(bytes),
        18 => lock(bytes),
        19 => settlement(bytes),
        20 => quorum(bytes),
        21 => hand_over(bytes),
        22 => state(bytes),
        23 => blob(bytes),
        24 => drop(read::<Checkpoint>(bytes).map(|checkpoint| checkpoint.length())),
        25 => drop(read::<Equivocation>(bytes).map(|evidence| evidence.verify())),
        26 => drop((read::<Listing>(bytes), read::<Summary>(bytes))),
        27 => drop((read::<FoundShard>(bytes), read::<Shard>(bytes))),
        28 => drop(read::<Lock>(bytes)),
        29 => drop((read::<Refusal>(bytes), read::<Usage>(bytes))),
        30 => drop(read::<Resilience>(bytes).map(|resilience| assert!(resilience.quorum() > 0))),
        _ => drop(read::<Key>(bytes).map(|key| key.to_string())),
    }
}

/// The value that `bytes` are, if they are one: then they are its bytes.
fn read<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode::<T>(bytes, MAX_MESSAGE_BYTES).ok()?;
    assert_eq!(codec::encode(&value), bytes, "one encoding for each value");
    Some(value)
}

fn parcel<T: Carries>(bytes: &[u8]) {
    let Ok(parcel) = Parcel::<T>::decode(bytes) else { return };
    assert_eq!(parcel.encode(), bytes);
    let _opened = (parcel.signer(), parcel.open());
}

fn envelope<T: Message>(bytes: &[u8]) {
    let Some(envelope) = read::<Envelope<T>>(bytes) else { return };
    let digest = envelope.digest();
    if let Ok(signed) = envelope.open() {
        assert_eq!(signed.digest(), digest);
    }
}

fn record(bytes: &[u8]) {
    envelope::<Record>(bytes);
    if let Some(Ok(record)) = read::<Envelope<Record>>(bytes).map(Envelope::open) {
        let _value = OwnedRecords::value(&record);
    }
}

fn lock(bytes: &[u8]) {
    let Some(lock) = read::<LockCertificate>(bytes) else { return };
    if let Some(claim) = lock.claim() {
        let verdict = lock.verify(&membership(), &claim.address);
        assert!(verdict.is_err() || verdict == Ok(claim));
    }
    let _current = lock.is_current(&membership());
}

fn settlement(bytes: &[u8]) {
    let Some(settlement) = read::<SettlementCertificate>(bytes) else { return };
    let _verdict = (settlement.epoch(), settlement.verify(&membership()));
}

fn quorum(bytes: &[u8]) {
    let Some(certificate) = read::<QuorumCertificate>(bytes) else { return };
    if let Some(first) = certificate.receipts.first().and_then(|receipt| receipt.clone().open().ok()) {
        let _verdict = (certificate.verify(&membership()), first.agrees_with(&first));
    }
}

fn hand_over(bytes: &[u8]) {
    let Some(certificate) = read::<HandOverCertificate>(bytes) else { return };
    let _verdict = certificate.verify(&membership());
}

fn state(bytes: &[u8]) {
    let Some(state) = read::<AddressState>(bytes) else { return };
    let _digest = state.digest();
    for entry in state.entries() {
        assert_eq!(state.entry(entry.slot), Some(entry));
    }
}

/// Whatever a reference says, what follows from it is bounded, and nothing restores it.
fn blob(bytes: &[u8]) {
    let Some(blob) = read::<dt_dht::BlobRef>(bytes) else { return };
    let root = blob.root_bytes();
    assert!(root <= dt_dht::STRIPE_BYTES.max(dt_dht::MAX_INDEX_BYTES));
    assert!(blob.shard_bytes() * blob.data_shards() >= root);
    let _address = blob.address();
    assert!(!blob.has_shard(0, &[]) && !blob.names(0, &Bytes::new().into()));
    assert!(decode_stripe(&blob, []).is_err());
}
