//! Golden bytes: what other implementations have to produce and read.

use dt_acl::testing::{member, role, sign_acl, write};
use dt_acl::{
    Acl, AclRecord, Change, Data, Grantee, Group, History, ItemId, ItemName, Keyring, MAX_ENTRIES, Mandate,
    Rights,
};
use dt_model::testing::{SeedRng, identity};
use dt_model::{ContentHash, Digest, Domain, EncryptionKey, Secret, Signer, Timestamp, codec};

use crate::common::{at, grantee};

const GOLDEN: &str = include_str!("golden.txt");

/// The hex of the golden value called `name`.
fn golden(name: &str) -> &'static str {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("golden.txt has no {name}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(name: &str, bytes: &[u8]) {
    assert_eq!(hex(bytes), golden(name), "{name}");
}

/// The second version of a list with a manager, a reader for a time, and a reader who is not given the past.
fn lists() -> [Acl; 2] {
    let (owner, mut rng) = (identity(0), SeedRng::new(0));
    let grantees = [grantee(1, Rights::MANAGE), grantee(2, Rights::READ).until(at(1_700_000_000_000))];
    let first = AclRecord::first(&owner, ItemName::from("golden"), &grantees, at(7), &mut rng).unwrap();
    let first = Acl::open(&sign_acl(&first, &owner)).unwrap();
    let keys = Keyring::open(&first, &owner).unwrap();
    let late = [grantee(3, Rights::WRITE)];
    let change = Change::Grant { grantees: &late, history: History::Omitted };
    let second = first.change(&owner, &keys, &change, at(0), &mut rng).unwrap();
    let second = Acl::open(&sign_acl(&second, &owner)).unwrap();
    [first, second]
}

/// The third one, without the reader for a time, so that it has a link.
fn third(second: &Acl) -> Acl {
    let (owner, mut rng) = (identity(0), SeedRng::new(3));
    let keys = Keyring::open(second, &owner).unwrap();
    let change = Change::Revoke { party: identity(2).party() };
    let record = second.change(&owner, &keys, &change, at(8), &mut rng).unwrap();
    Acl::open(&sign_acl(&record, &owner)).unwrap()
}

/// The fourth one, with the members of a role: one who is on the list anyway, and a new one.
fn fourth(third: &Acl) -> Acl {
    let (owner, mut rng) = (identity(0), SeedRng::new(5));
    let keys = Keyring::open(third, &owner).unwrap();
    let group = Group { role: role(1), rights: Rights::WRITE };
    let members = [member(&identity(1)), member(&identity(4))];
    let change = Change::SyncGroup { group: &group, members: &members, history: History::Full };
    let record = third.change(&owner, &keys, &change, at(9), &mut rng).unwrap();
    Acl::open(&sign_acl(&record, &owner)).unwrap()
}

#[test]
fn lists_have_these_bytes() {
    let [first, second] = lists();
    check("item", first.item().as_bytes());
    check("name", first.name().digest().as_bytes());
    check("first list", &codec::encode(first.record()));
    check("first list's digest", first.reference().digest.as_bytes());
    check("second list", &codec::encode(second.record()));
    let third = third(&second);
    check("third list", &codec::encode(third.record()));
    check("list with a group", &codec::encode(fourth(&third).record()));
    let mandate = Mandate { item: first.item(), manager: identity(1).party(), not_after: Timestamp::MAX };
    check("mandate", &mandate.message());
}

#[test]
fn data_has_these_bytes() {
    let [_, second] = lists();
    let (signed, ciphertext) =
        write(&second, &identity(3), None, b"golden content", at(1_700_000_000_000), &mut SeedRng::new(4));
    let data = Data::open(&signed).unwrap();
    check("data", &codec::encode(data.record()));
    check("ciphertext", &ciphertext);
    check("data's digest", data.reference().digest.as_bytes());
}

#[test]
fn keys_have_these_bytes() {
    let [first, second] = lists();
    let third = third(&second);
    let keys = Keyring::open(&third, &identity(0)).unwrap();
    for epoch in 1..=3 {
        check(&format!("key {epoch}"), keys.key(epoch).unwrap().expose());
    }
    check("wrap", &first.entry(&identity(2).party()).unwrap().wrap);
    check("link", third.epoch_at(3).unwrap().link.unwrap().as_bytes());
}

/// The layout and the derivations once more, written down independently of the crate's own code.
#[test]
fn the_golden_values_follow_from_the_specification() {
    let [first, second] = lists();
    let owner = identity(0);
    let name = Domain::new("dt/acl/item-name/v1").blake3(&[b"golden"]);
    let item = Domain::new("dt/acl/item/v1").blake3(&[owner.party().as_bytes(), name.as_bytes()]);
    assert_eq!(first.item().as_bytes(), item.as_bytes());

    // A wrap: one X25519 agreement, one derivation over everything that names its place, one seal.
    let reader = identity(2);
    let entry = first.entry(&reader.party()).unwrap();
    let shared = reader.agree(&reader.encryption_key(), &first.ephemeral()).unwrap();
    let mut place = Vec::new();
    place.extend_from_slice(item.as_bytes());
    place.extend_from_slice(&1u64.to_le_bytes()); // version
    place.extend_from_slice(&1u64.to_le_bytes()); // epoch
    place.extend_from_slice(reader.party().as_bytes());
    place.extend_from_slice(reader.encryption_key().as_bytes());
    place.extend_from_slice(first.ephemeral().as_bytes());
    let key = shared.derive(Domain::new("dt/acl/wrap/v1"), &place).open_once(&[], &entry.wrap).unwrap();
    assert_eq!(hex(&key), golden("key 1"));

    // The commitment binds item, epoch and key.
    let key = Secret::from_bytes(key.as_slice().try_into().unwrap());
    let mut at_epoch = item.as_bytes().to_vec();
    at_epoch.extend_from_slice(&1u64.to_le_bytes());
    let commitment = key.derive(Domain::new("dt/acl/key-commitment/v1"), &at_epoch);
    assert_eq!(first.epoch_at(1).unwrap().commitment.as_bytes(), commitment.expose());

    // After the fence, those who were there before have two keys in their wrap, and the newcomer one.
    assert_eq!(second.entry(&reader.party()).unwrap().wrap.len(), 16 + 2 * 32);
    assert_eq!(second.entry(&identity(3).party()).unwrap().wrap.len(), 16 + 32);

    // Content: one key for each record, from which seal, hash and blinding have theirs.
    let (writer, content) = (identity(3), b"golden content");
    let (signed, ciphertext) =
        write(&second, &writer, None, content, at(1_700_000_000_000), &mut SeedRng::new(4));
    let data = Data::open(&signed).unwrap();
    let bytes = codec::encode(data.record());
    let salt = &bytes[32 + 8 + 32 + 40 + 8..][..32]; // after item, counter, previous, ACL, epoch
    let mut context = item.as_bytes().to_vec();
    context.extend_from_slice(&2u64.to_le_bytes()); // epoch
    context.extend_from_slice(&1u64.to_le_bytes()); // counter
    context.extend_from_slice(writer.party().as_bytes());
    context.extend_from_slice(salt);
    let epoch_key = Keyring::open(&second, &writer).unwrap().key(2).unwrap();
    let content_key = epoch_key.derive(Domain::new("dt/acl/content/v1"), &context);
    let sealed_under = content_key.derive(Domain::new("dt/acl/content-blob/v1"), &[]);
    assert_eq!(dt_dht::seal::open(&sealed_under, &[], &ciphertext).unwrap().as_slice(), content);
    let blinding = content_key.derive(Domain::new("dt/acl/blinding/v1"), &[]);
    let hash = ContentHash::of(content);
    let parts: [&[u8]; 3] = [blinding.expose(), hash.as_bytes(), &14u64.to_le_bytes()];
    assert_eq!(data.commitment(), Domain::new("dt/acl/content-commitment/v1").blake3(&parts));
}

#[test]
fn limits_are_part_of_the_format() {
    assert_eq!((dt_acl::MAX_ACL_BYTES, dt_acl::MAX_EPOCHS, MAX_ENTRIES), (1_572_808, 1024, 10_582));
}

#[test]
fn names_and_ids_are_shown_plainly() {
    let party = identity(1);
    let grantee = Grantee::new(party.party(), EncryptionKey::from([1; 32]), Rights::WRITE);
    assert_eq!(grantee.rights.to_string(), "read, write");
    assert_eq!(ItemId::from([0xab; 32]).to_string(), "ab".repeat(32));
    let names = [ItemName::from("a"), ItemName::from(b"a"), ItemName::from(Digest::ZERO)];
    assert!(names[0] == names[1] && names[0] != names[2]);
}
