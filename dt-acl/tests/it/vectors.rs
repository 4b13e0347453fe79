//! Golden bytes: what other implementations have to produce and read. They are kept in `tests/golden/wire.txt`; each value is read back
//! from its bytes, and from none near them ([`Golden::value`]).

use std::path::Path;

use dt_acl::testing::{member, role, sign_acl, write};
use dt_acl::{
    Acl, AclRecord, Change, Data, Grant, Grantee, Group, History, ItemId, ItemName, Keyring, MAX_ACL_BYTES,
    MAX_DATA_BYTES, MAX_ENTRIES, Mandate, Rights,
};
use dt_model::testing::{Golden, SeedRng, check_formats, identity};
use dt_model::{ContentHash, Digest, Domain, EncryptionKey, Secret, Signer, Timestamp, codec};

use crate::common::{at, grantee};

const HEAD: &str = "\
# Golden bytes of dt-acl. Made by tests/it/vectors.rs; do not edit.
#
# One line is one value: its canonical (borsh) bytes in hex. Parties, keys and signatures come from the seeds of
# dt_model::testing::identity, the owner's is 0; what is random comes from dt_model::testing::SeedRng.
";

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
fn formats_are_what_they_were() {
    let mut golden = Golden::new(HEAD);
    let [first, second] = lists();
    let third = third(&second);
    let fourth = fourth(&third);
    add_lists(&mut golden, [&first, &second, &third, &fourth]);
    add_parts(&mut golden, &third, &fourth);
    add_data(&mut golden, &second);
    golden.section("Keys");
    let keys = Keyring::open(&third, &identity(0)).unwrap();
    for epoch in 1..=3 {
        golden.add(&format!("key {epoch}"), keys.key(epoch).unwrap().expose());
    }
    golden.check(Path::new(FILE), "DT_ACL_WRITE_GOLDEN");
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.txt");

/// A new type or domain is to be given golden bytes, and a line here.
#[test]
fn every_format_has_golden_bytes() {
    let formats = [
        ("AclRecord", "fourth list: a group"),
        ("AclRef", "reference to a list"),
        ("Context", "ciphertext"),
        ("DataRecord", "data"),
        ("DataRef", "reference to data"),
        ("Entry", "entry by name and group"),
        ("Epoch", "epoch with a link"),
        ("Grant", "grant"),
        ("Group", "group"),
        ("GroupGrant", "entry by group"),
        ("ItemId", "item"),
        ("ItemName", "name"),
        ("Link", "epoch with a link"),
        ("Mandate", "mandate"),
        ("Place", "first list"),
        ("Rights", "rights: read"),
        ("Role", "role"),
        ("Salt", "data"),
        ("SealedHash", "data"),
        ("dt/acl/blinding/v1", "data"),
        ("dt/acl/ciphertext/v1", "data"),
        ("dt/acl/content-blob/v1", "ciphertext"),
        ("dt/acl/content-commitment/v1", "data"),
        ("dt/acl/content-hash/v1", "data"),
        ("dt/acl/content/v1", "ciphertext"),
        ("dt/acl/item-name/v1", "name"),
        ("dt/acl/item/v1", "item"),
        ("dt/acl/key-commitment/v1", "first epoch"),
        ("dt/acl/link/v1", "epoch with a link"),
        ("dt/acl/mandate/v1", "mandate"),
        ("dt/acl/wrap/v1", "first list"),
    ];
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    check_formats(sources, &formats, Path::new(FILE));
}

fn add_lists(golden: &mut Golden, lists: [&Acl; 4]) {
    golden.section("Lists");
    golden.add("item", lists[0].item().as_bytes());
    golden.add("name", lists[0].name().digest().as_bytes());
    let names = ["first list", "second list: a fence", "third list: a link", "fourth list: a group"];
    for (acl, name) in lists.into_iter().zip(names) {
        golden.value(name, acl.record(), MAX_ACL_BYTES);
        golden.add(&format!("digest of the {name}"), acl.reference().digest.as_bytes());
    }
    golden.add("first list as a signed record", &codec::encode(lists[0].signed().envelope()));
}

/// What a list is made of.
fn add_parts(golden: &mut Golden, third: &Acl, fourth: &Acl) {
    golden.section("Parts of a list");
    let manager = identity(1).party();
    golden.value("entry by name, of a manager", third.entry(&manager).unwrap(), 1024);
    golden.value("entry by name and group", fourth.entry(&manager).unwrap(), 1024);
    golden.value("entry by group", fourth.entry(&identity(4).party()).unwrap(), 1024);
    golden.value("grant", &Grant { rights: Rights::WRITE, not_after: at(7) }, 16);
    for rights in [Rights::READ, Rights::WRITE, Rights::MANAGE, Rights::ALL] {
        golden.value(&format!("rights: {rights}"), &rights, 2);
    }
    golden.value("group", &fourth.groups()[0], 1024);
    golden.value("role", &fourth.groups()[0].role, 1024);
    golden.value("first epoch", third.epoch_at(1).unwrap(), 256);
    golden.value("epoch with a link", third.epoch_at(3).unwrap(), 256);
    golden.value("reference to a list", &third.reference(), 64);
    let mandate = Mandate { item: third.item(), manager, not_after: Timestamp::MAX };
    golden.add("mandate", &mandate.message());
}

fn add_data(golden: &mut Golden, acl: &Acl) {
    golden.section("Data");
    let (time, mut rng) = (at(1_700_000_000_000), SeedRng::new(4));
    let (signed, ciphertext) = write(acl, &identity(3), None, b"golden content", time, &mut rng);
    let data = Data::open(&signed).unwrap();
    golden.value("data", data.record(), MAX_DATA_BYTES);
    golden.add("data's digest", data.reference().digest.as_bytes());
    golden.value("reference to data", &data.reference(), 64);
    golden.add("data as a signed record", &codec::encode(signed.envelope()));
    golden.add("ciphertext", &ciphertext);
    let (signed, _) = write(acl, &identity(3), Some(data.reference()), b"", time, &mut rng);
    golden.value("data after it, of nothing", Data::open(&signed).unwrap().record(), MAX_DATA_BYTES);
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
    assert_eq!(key[..], Keyring::open(&first, &owner).unwrap().key(1).unwrap().expose()[..]);

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
