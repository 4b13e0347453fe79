//! Records that parties make: as they should, late, without the right to it, and altered field by field or byte by byte.

use std::sync::OnceLock;

use dt_acl::testing::{member, role, sign_acl, sign_data};
use dt_acl::{
    ACL_KIND, Acl, AclRecord, AclRef, Change, Data, DataRef, Entry, Epoch, Grantee, Group, History, ItemName,
    Keyring, Rights, SealedContent,
};
use dt_dht::{BlobRef, Record, Resilience};
use dt_model::testing::{Choices, SeedRng, identity};
use dt_model::{Digest, EncryptionKey, Identity, PartyId, Secret, Signed, Signer, Timestamp, codec};

/// How many parties there are. The first one owns the item.
pub const PARTIES: usize = 6;

pub fn party(number: usize) -> &'static Identity {
    static IDENTITIES: OnceLock<Vec<Identity>> = OnceLock::new();
    &IDENTITIES.get_or_init(|| (0..PARTIES as u64).map(identity).collect())[number]
}

/// A record, and whether it was made as it should be.
pub struct Offer {
    pub signed: Signed<Record>,
    pub is_honest: bool,
}

impl Offer {
    const fn honest(signed: Signed<Record>) -> Self {
        Self { signed, is_honest: true }
    }

    const fn forged(signed: Signed<Record>) -> Self {
        Self { signed, is_honest: false }
    }
}

fn end(choices: &mut Choices<'_>, now: Timestamp) -> Timestamp {
    match choices.below(4) {
        0 => Timestamp::from_millis(now.as_millis().saturating_add(choices.number())),
        1 => Timestamp::from_millis(choices.number()),
        _ => Timestamp::MAX,
    }
}

fn rights(choices: &mut Choices<'_>) -> Rights {
    Rights { write: choices.is(), manage: choices.below(3) == 0 }
}

fn grantee(choices: &mut Choices<'_>, now: Timestamp) -> Grantee {
    let party = party(choices.below(PARTIES));
    Grantee::new(party.party(), party.encryption_key(), rights(choices)).until(end(choices, now))
}

/// A first list, for which anybody may sign.
pub fn first(choices: &mut Choices<'_>, now: Timestamp, rng: &mut SeedRng) -> Option<Offer> {
    let grantees: Vec<_> = (0..choices.below(4)).map(|_| grantee(choices, now)).collect();
    let owner = party(if choices.below(8) == 0 { choices.below(PARTIES) } else { 0 });
    let record = AclRecord::first(owner, ItemName::from("fuzzed"), &grantees, now, rng).ok()?;
    Some(Offer::honest(sign_acl(&record, owner)))
}

/// The list after `acl`, by anybody who has its keys.
pub fn next(choices: &mut Choices<'_>, acl: &Acl, now: Timestamp, rng: &mut SeedRng) -> Option<Offer> {
    let author = party(choices.below(PARTIES));
    let keys = Keyring::open(acl, author).ok()?;
    let whom = party(choices.below(PARTIES)).party();
    let history = if choices.is() { History::Full } else { History::Omitted };
    let grantees: Vec<_> = (0..=choices.below(2)).map(|_| grantee(choices, now)).collect();
    let group =
        Group { role: role(choices.below(3) as u64), rights: Rights { manage: false, ..rights(choices) } };
    let members: Vec<_> = (0..choices.below(4)).map(|_| member(party(choices.below(PARTIES)))).collect();
    let change = match choices.below(5) {
        0 | 1 => Change::Grant { grantees: &grantees, history },
        2 => Change::Revoke { party: whom },
        3 => Change::SyncGroup { group: &group, members: &members, history },
        _ => {
            let own = party(choices.below(PARTIES)).encryption_key();
            Change::Rotate { party: whom, encryption_key: own }
        }
    };
    let record = acl.change(author, &keys, &change, now, rng).ok()?;
    Some(Offer::honest(sign_acl(&record, author)))
}

/// Data after `previous`, by anybody who has the list's keys.
pub fn data(
    choices: &mut Choices<'_>,
    acl: &Acl,
    previous: Option<DataRef>,
    now: Timestamp,
    rng: &mut SeedRng,
) -> Option<Offer> {
    let writer = party(choices.below(PARTIES));
    let key = Keyring::open(acl, writer).ok()?.key(acl.epoch()).ok()?;
    let sealed = SealedContent::seal(acl, &key, writer.party(), previous, CONTENT, rng).ok()?;
    let resilience = Resilience::tolerating(1).expect("four replicas");
    let blob = BlobRef::of(sealed.ciphertext(), resilience).expect("short content");
    Some(Offer::honest(sign_data(&sealed.record(blob, now), writer)))
}

pub const CONTENT: &[u8] = b"fuzzed content";

/// A list, field by field.
type RawAcl =
    (PartyId, ItemName, u64, Digest, Timestamp, Vec<Group>, u64, Vec<Epoch>, EncryptionKey, Vec<Entry>);
/// A data record up to its epoch, and the rest.
type RawDataHead = (Digest, u64, Digest, AclRef, u64);

/// What a record would be with something else in it, signed by anybody.
pub fn forged(choices: &mut Choices<'_>, offer: &Offer, now: Timestamp) -> Option<Offer> {
    let mut record = offer.signed.value().clone();
    let body = match choices.below(3) {
        0 => flipped(choices, &record.body),
        _ if record.key.slot.kind == ACL_KIND => altered_list(choices, &record.body, now)?,
        _ => altered_data(choices, &record.body)?,
    };
    record.body = body.into();
    match choices.below(16) {
        0 => record.version = choices.number(),
        1 => record.key.slot.index = choices.number(),
        2 => record.key.address = [choices.byte(); 32].into(),
        3 => record.key.slot.kind = dt_dht::Kind::new([choices.byte(); 4]),
        _ => {
            let version = codec::decode::<AclRecord>(&record.body, usize::MAX).map(|acl| acl.version());
            record.version = version.unwrap_or(record.version);
        }
    }
    let number = choices.below(PARTIES + 4);
    let same = (0..PARTIES).find(|number| party(*number).party() == offer.signed.signer());
    let signer = party(if number < PARTIES { number } else { same? });
    Some(Offer::forged(Signed::new(record, signer).ok()?))
}

fn flipped(choices: &mut Choices<'_>, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=choices.below(3) {
        let place = (choices.below(256) * 256 + choices.below(256)) % body.len();
        body[place] ^= choices.byte();
    }
    body
}

fn altered_list(choices: &mut Choices<'_>, body: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let mut raw: RawAcl = borsh::from_slice(body).ok()?;
    for _ in 0..=choices.below(2) {
        match choices.below(12) {
            0 => raw.0 = party(choices.below(PARTIES)).party(),
            1 => raw.2 = choices.number(),
            2 => raw.3 = Digest::from([choices.byte(); 32]),
            3 => raw.4 = end(choices, now),
            4 => drop(raw.5.pop()),
            5 => raw.6 = choices.number(),
            6 => alter_epochs(choices, &mut raw.7),
            7 => raw.8 = EncryptionKey::from([choices.byte(); 32]),
            8 => drop(raw.9.remove(choices.below(raw.9.len()))),
            9 => {
                let at = choices.below(raw.9.len());
                raw.9.swap(0, at);
            }
            _ => {
                let at = choices.below(raw.9.len());
                alter_entry(choices, &mut raw.9[at], now);
            }
        }
        if raw.9.is_empty() || raw.7.is_empty() {
            break;
        }
    }
    Some(codec::encode(&raw))
}

fn alter_epochs(choices: &mut Choices<'_>, epochs: &mut Vec<Epoch>) {
    let at = choices.below(epochs.len());
    match choices.below(5) {
        0 => epochs[at].first_version = choices.number(),
        1 => epochs[at].commitment = Digest::from([choices.byte(); 32]),
        2 => epochs[at].link = None,
        3 => drop(epochs.remove(at)),
        _ => epochs.push(epochs[at].clone()),
    }
}

fn alter_entry(choices: &mut Choices<'_>, entry: &mut Entry, now: Timestamp) {
    match choices.below(8) {
        0 => entry.party = party(choices.below(PARTIES)).party(),
        1 => entry.encryption_key = EncryptionKey::from([choices.byte(); 32]),
        2 => entry.grant = None,
        3 => entry.since = choices.number(),
        4 => entry.mandate = None,
        5 => entry.wrap = vec![choices.byte(); entry.wrap.len()],
        6 => entry.groups.clear(),
        _ => {
            let (rights, not_after) = (rights(choices), end(choices, now));
            entry.grant = Some(dt_acl::Grant { rights, not_after });
        }
    }
}

fn altered_data(choices: &mut Choices<'_>, body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut head = <RawDataHead as borsh::BorshDeserialize>::deserialize(&mut rest).ok()?;
    match choices.below(6) {
        0 => head.0 = Digest::from([choices.byte(); 32]),
        1 => head.1 = choices.number(),
        2 => head.2 = Digest::from([choices.byte(); 32]),
        3 => head.3.version = choices.number(),
        4 => head.3.digest = Digest::from([choices.byte(); 32]),
        _ => head.4 = choices.number(),
    }
    Some([&codec::encode(&head)[..], rest].concat())
}

/// The keys that everybody on an honest list has: each opens, and they are the same for all.
pub fn keys_agree(acl: &Acl) {
    let mut known: Vec<Option<Secret>> = vec![None; acl.epochs().len()];
    for number in 0..PARTIES {
        let party = party(number);
        let Some(entry) = acl.entry(&party.party()) else { continue };
        // Somebody may have been given another's encryption key.
        let Ok(keys) = Keyring::open(acl, party) else {
            assert_ne!(entry.encryption_key, party.encryption_key(), "the key of party {number} opens");
            continue;
        };
        for (known, epoch) in known.iter_mut().zip(acl.oldest_epoch()..) {
            match keys.key(epoch) {
                Ok(key) => assert!(known.get_or_insert_with(|| key.clone()) == &key, "one key for an epoch"),
                Err(_) => assert!(epoch < entry.since, "party {number} has the key of epoch {epoch}"),
            }
        }
    }
}

/// Whether an honest record of data opens for somebody who is on its list.
pub fn is_open(acl: &Acl, data: &Data, reader: &Identity) -> bool {
    let Ok(key) = Keyring::open(acl, reader).and_then(|keys| keys.key(data.epoch())) else { return false };
    data.content_hash(data.writer(), &key) == Ok(dt_model::ContentHash::of(CONTENT))
}
