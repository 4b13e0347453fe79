//! Records that parties make: as they should, late, without the right to it, and altered field by field or byte by byte.

use std::sync::OnceLock;

use dt_acl::testing::{member, role, sign_acl, sign_data};
use dt_acl::{
    ACL_KIND, Acl, AclRecord, AclRef, Change, Data, DataRef, Entry, Epoch, Grantee, Group, History, ItemName,
    Keyring, Rights, SealedContent,
};
use dt_dht::{BlobRef, Record, Resilience};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Digest, EncryptionKey, Identity, PartyId, Secret, Signed, Signer, Timestamp, codec};

use super::source::Source;

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

fn end(source: &mut Source<'_>, now: Timestamp) -> Timestamp {
    match source.below(4) {
        0 => Timestamp::from_millis(now.as_millis().saturating_add(source.number())),
        1 => Timestamp::from_millis(source.number()),
        _ => Timestamp::MAX,
    }
}

fn rights(source: &mut Source<'_>) -> Rights {
    Rights { write: source.is(), manage: source.below(3) == 0 }
}

fn grantee(source: &mut Source<'_>, now: Timestamp) -> Grantee {
    let party = party(source.below(PARTIES));
    Grantee::new(party.party(), party.encryption_key(), rights(source)).until(end(source, now))
}

/// A first list, for which anybody may sign.
pub fn first(source: &mut Source<'_>, now: Timestamp, rng: &mut SeedRng) -> Option<Offer> {
    let grantees: Vec<_> = (0..source.below(4)).map(|_| grantee(source, now)).collect();
    let owner = party(if source.below(8) == 0 { source.below(PARTIES) } else { 0 });
    let record = AclRecord::first(owner, ItemName::from("fuzzed"), &grantees, now, rng).ok()?;
    Some(Offer::honest(sign_acl(&record, owner)))
}

/// The list after `acl`, by anybody who has its keys.
pub fn next(source: &mut Source<'_>, acl: &Acl, now: Timestamp, rng: &mut SeedRng) -> Option<Offer> {
    let author = party(source.below(PARTIES));
    let keys = Keyring::open(acl, author).ok()?;
    let whom = party(source.below(PARTIES)).party();
    let history = if source.is() { History::Full } else { History::Omitted };
    let grantees: Vec<_> = (0..=source.below(2)).map(|_| grantee(source, now)).collect();
    let group =
        Group { role: role(source.below(3) as u64), rights: Rights { manage: false, ..rights(source) } };
    let members: Vec<_> = (0..source.below(4)).map(|_| member(party(source.below(PARTIES)))).collect();
    let change = match source.below(5) {
        0 | 1 => Change::Grant { grantees: &grantees, history },
        2 => Change::Revoke { party: whom },
        3 => Change::SyncGroup { group: &group, members: &members, history },
        _ => {
            let own = party(source.below(PARTIES)).encryption_key();
            Change::Rotate { party: whom, encryption_key: own }
        }
    };
    let record = acl.change(author, &keys, &change, now, rng).ok()?;
    Some(Offer::honest(sign_acl(&record, author)))
}

/// Data after `previous`, by anybody who has the list's keys.
pub fn data(
    source: &mut Source<'_>,
    acl: &Acl,
    previous: Option<DataRef>,
    now: Timestamp,
    rng: &mut SeedRng,
) -> Option<Offer> {
    let writer = party(source.below(PARTIES));
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
pub fn forged(source: &mut Source<'_>, offer: &Offer, now: Timestamp) -> Option<Offer> {
    let mut record = offer.signed.value().clone();
    let body = match source.below(3) {
        0 => flipped(source, &record.body),
        _ if record.key.slot.kind == ACL_KIND => altered_list(source, &record.body, now)?,
        _ => altered_data(source, &record.body)?,
    };
    record.body = body.into();
    match source.below(16) {
        0 => record.version = source.number(),
        1 => record.key.slot.index = source.number(),
        2 => record.key.address = [source.byte(); 32].into(),
        3 => record.key.slot.kind = dt_dht::Kind::new([source.byte(); 4]),
        _ => {
            let version = codec::decode::<AclRecord>(&record.body, usize::MAX).map(|acl| acl.version());
            record.version = version.unwrap_or(record.version);
        }
    }
    let number = source.below(PARTIES + 4);
    let same = (0..PARTIES).find(|number| party(*number).party() == offer.signed.signer());
    let signer = party(if number < PARTIES { number } else { same? });
    Some(Offer::forged(Signed::new(record, signer).ok()?))
}

fn flipped(source: &mut Source<'_>, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=source.below(3) {
        let place = (source.below(256) * 256 + source.below(256)) % body.len();
        body[place] ^= source.byte();
    }
    body
}

fn altered_list(source: &mut Source<'_>, body: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let mut raw: RawAcl = borsh::from_slice(body).ok()?;
    for _ in 0..=source.below(2) {
        match source.below(12) {
            0 => raw.0 = party(source.below(PARTIES)).party(),
            1 => raw.2 = source.number(),
            2 => raw.3 = Digest::from([source.byte(); 32]),
            3 => raw.4 = end(source, now),
            4 => drop(raw.5.pop()),
            5 => raw.6 = source.number(),
            6 => alter_epochs(source, &mut raw.7),
            7 => raw.8 = EncryptionKey::from([source.byte(); 32]),
            8 => drop(raw.9.remove(source.below(raw.9.len()))),
            9 => {
                let at = source.below(raw.9.len());
                raw.9.swap(0, at);
            }
            _ => {
                let at = source.below(raw.9.len());
                alter_entry(source, &mut raw.9[at], now);
            }
        }
        if raw.9.is_empty() || raw.7.is_empty() {
            break;
        }
    }
    Some(codec::encode(&raw))
}

fn alter_epochs(source: &mut Source<'_>, epochs: &mut Vec<Epoch>) {
    let at = source.below(epochs.len());
    match source.below(5) {
        0 => epochs[at].first_version = source.number(),
        1 => epochs[at].commitment = Digest::from([source.byte(); 32]),
        2 => epochs[at].link = None,
        3 => drop(epochs.remove(at)),
        _ => epochs.push(epochs[at].clone()),
    }
}

fn alter_entry(source: &mut Source<'_>, entry: &mut Entry, now: Timestamp) {
    match source.below(8) {
        0 => entry.party = party(source.below(PARTIES)).party(),
        1 => entry.encryption_key = EncryptionKey::from([source.byte(); 32]),
        2 => entry.grant = None,
        3 => entry.since = source.number(),
        4 => entry.mandate = None,
        5 => entry.wrap = vec![source.byte(); entry.wrap.len()],
        6 => entry.groups.clear(),
        _ => {
            let (rights, not_after) = (rights(source), end(source, now));
            entry.grant = Some(dt_acl::Grant { rights, not_after });
        }
    }
}

fn altered_data(source: &mut Source<'_>, body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut head = <RawDataHead as borsh::BorshDeserialize>::deserialize(&mut rest).ok()?;
    match source.below(6) {
        0 => head.0 = Digest::from([source.byte(); 32]),
        1 => head.1 = source.number(),
        2 => head.2 = Digest::from([source.byte(); 32]),
        3 => head.3.version = source.number(),
        4 => head.3.digest = Digest::from([source.byte(); 32]),
        _ => head.4 = source.number(),
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
