//! Known answers of key wrapping, in the manner of RFC 9180's appendix A: from fixed secrets, every value on the way to a wrap, a commitment
//! and a link. They are kept in `tests/golden/wraps.txt`, and `tests/wraps.py` comes to the same ones by the specifications alone.

use core::convert::Infallible;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use dt_acl::testing::sign_acl;
use dt_acl::{Acl, AclRecord, Change, Entry, Grantee, History, ItemName, Keyring, Rights};
use dt_model::testing::Golden;
use dt_model::{Domain, Identity, Secret, Signer};
use rand_core::{TryCryptoRng, TryRng};

use crate::common::at;

const HEAD: &str = "\
# Known answers of dt-acl's key wrapping. Made by tests/it/wraps.rs; do not edit.
#
# One line is one value in hex; numbers are 8 bytes, little-endian. KDF(domain, secret, context) is BLAKE3's key derivation: the domain is
# the context string, the key material is secret and context, one after the other. Seal(key, plain) is ChaCha20-Poly1305 (RFC 8439) under
# the nonce of zeros, without associated data. X25519 is RFC 7748.
#
#   item:         BLAKE3(len ‖ \"dt/acl/item/v1\" ‖ owner ‖ name), where name is BLAKE3(len ‖ \"dt/acl/item-name/v1\" ‖ text); len is one byte
#   shared:       X25519(recipient secret, ephemeral key) = X25519(ephemeral secret, recipient key)
#   context:      item ‖ version ‖ epoch ‖ party ‖ recipient key ‖ ephemeral key
#   wrap key:     KDF(\"dt/acl/wrap/v1\", shared, context)
#   wrap:         Seal(wrap key, keys): the current epoch's key, then the last one before each fence, newest first
#   commitment:   KDF(\"dt/acl/key-commitment/v1\", key, item ‖ epoch)
#   link key:     KDF(\"dt/acl/link/v1\", key, item ‖ epoch)
#   link:         Seal(link key, former key)
";

/// The private keys of RFC 7748, section 6.1.
const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";

/// A random source that says what it was told to, and no more.
struct Script(VecDeque<[u8; 32]>);

impl Script {
    fn new(values: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self(values.into_iter().collect())
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("only secrets are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("only secrets are drawn")
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        destination.copy_from_slice(&self.0.pop_front().expect("no more is drawn than was scripted"));
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// A party with a known secret.
struct Reader {
    name: &'static str,
    secret: [u8; 32],
    identity: Identity,
}

impl Reader {
    fn new(name: &'static str, signing: u8, secret: [u8; 32]) -> Self {
        Self { name, secret, identity: Identity::generate(&mut Script::new([[signing; 32], secret])) }
    }

    fn grantee(&self) -> Grantee {
        Grantee::new(self.identity.party(), self.identity.encryption_key(), Rights::READ)
    }
}

fn unhex(text: &str) -> [u8; 32] {
    core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

/// The secrets that version and epoch `number` draw.
const fn ephemeral(number: u8) -> [u8; 32] {
    [0xe0 + number; 32]
}

fn key(epoch: u8) -> [u8; 32] {
    core::array::from_fn(|at| epoch << 6 | at.to_le_bytes()[0])
}

struct Story {
    readers: [Reader; 3],
    lists: Vec<Acl>,
}

/// Version 1 for owner and reader; 2 adds one who is not given the past (a fence, epoch 2); 3 takes the reader off (a link, epoch 3);
/// 4 puts it on again, in the same epoch.
fn story() -> Story {
    let readers = [
        Reader::new("the owner", 0xa0, unhex(ALICE)),
        Reader::new("the reader", 0xb0, unhex(BOB)),
        Reader::new("the newcomer", 0xc0, [0xc1; 32]),
    ];
    let [owner, reader, newcomer] = &readers;
    let (author, name) = (&owner.identity, ItemName::from("wraps"));
    let mut rng = Script::new([key(1), ephemeral(1)]);
    let first = AclRecord::first(author, name, &[reader.grantee()], at(0), &mut rng).unwrap();
    let mut lists = vec![Acl::open(&sign_acl(&first, author)).unwrap()];
    let (late, again) = ([newcomer.grantee()], [reader.grantee()]);
    let changes = [
        (Change::Grant { grantees: &late, history: History::Omitted }, vec![key(2), ephemeral(2)]),
        (Change::Revoke { party: reader.identity.party() }, vec![key(3), ephemeral(3)]),
        (Change::Grant { grantees: &again, history: History::Full }, vec![ephemeral(4)]),
    ];
    for (change, drawn) in changes {
        let last = lists.last().unwrap();
        let keys = Keyring::open(last, author).unwrap();
        let next = last.change(author, &keys, &change, at(0), &mut Script::new(drawn)).unwrap();
        lists.push(Acl::open(&sign_acl(&next, author)).unwrap());
    }
    Story { readers, lists }
}

fn add_wrap(golden: &mut Golden, acl: &Acl, entry: &Entry, reader: &Reader) {
    let party = &reader.identity;
    golden.section(&format!("Version {} for {}", acl.version(), reader.name));
    let shared = party.agree(&entry.encryption_key, &acl.ephemeral()).unwrap();
    let (item, ephemeral_key) = (acl.item(), acl.ephemeral());
    let context = [
        &item.as_bytes()[..],
        &acl.version().to_le_bytes(),
        &acl.epoch().to_le_bytes(),
        entry.party.as_bytes(),
        entry.encryption_key.as_bytes(),
        ephemeral_key.as_bytes(),
    ]
    .concat();
    let wrap_key = shared.derive(Domain::new("dt/acl/wrap/v1"), &context);
    let keys = wrap_key.open_once(&[], &entry.wrap).unwrap();
    let ring = Keyring::open(acl, party).unwrap();
    assert_eq!(keys[..32], ring.key(acl.epoch()).unwrap().expose()[..]);
    assert_eq!(keys[..32], key(acl.epoch().to_le_bytes()[0]));
    golden.add("item", acl.item().as_bytes());
    golden.add("version", &acl.version().to_le_bytes());
    golden.add("epoch", &acl.epoch().to_le_bytes());
    golden.add("party", entry.party.as_bytes());
    golden.add("recipient secret", &reader.secret);
    golden.add("recipient key", entry.encryption_key.as_bytes());
    golden.add("ephemeral secret", &ephemeral(acl.version().to_le_bytes()[0]));
    golden.add("ephemeral key", acl.ephemeral().as_bytes());
    golden.add("shared", shared.expose());
    golden.add("context", &context);
    golden.add("wrap key", wrap_key.expose());
    golden.add("keys", &keys);
    golden.add("wrap", &entry.wrap);
}

fn add_epoch(golden: &mut Golden, acl: &Acl, number: u64, keys: &Keyring) {
    golden.section(&format!("Epoch {number}"));
    let (key, epoch) = (keys.key(number).unwrap(), acl.epoch_at(number).unwrap());
    let place = [&acl.item().as_bytes()[..], &number.to_le_bytes()].concat();
    golden.add("item", acl.item().as_bytes());
    golden.add("epoch", &number.to_le_bytes());
    golden.add("key", key.expose());
    let commitment: Secret = key.derive(Domain::new("dt/acl/key-commitment/v1"), &place);
    assert_eq!(commitment.expose(), epoch.commitment.as_bytes());
    golden.add("commitment", epoch.commitment.as_bytes());
    if let Some(link) = epoch.link {
        let link_key = key.derive(Domain::new("dt/acl/link/v1"), &place);
        golden.add("former key", &link_key.open_once(&[], link.as_bytes()).unwrap());
        golden.add("link key", link_key.expose());
        golden.add("link", link.as_bytes());
    }
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wraps.txt");

#[test]
fn wraps_are_what_they_were() {
    let Story { readers, lists } = story();
    let mut golden = Golden::new(HEAD);
    golden.section("The item");
    golden.add("text", b"wraps");
    golden.add("owner", readers[0].identity.party().as_bytes());
    golden.add("name", lists[0].name().digest().as_bytes());
    golden.add("item", lists[0].item().as_bytes());
    for acl in &lists {
        for reader in &readers {
            if let Some(entry) = acl.entry(&reader.identity.party()) {
                add_wrap(&mut golden, acl, entry, reader);
            }
        }
    }
    let last = lists.last().unwrap();
    let keys = Keyring::open(last, &readers[0].identity).unwrap();
    (1..=last.epoch()).for_each(|epoch| add_epoch(&mut golden, last, epoch, &keys));
    golden.check(Path::new(FILE), "DT_ACL_WRITE_GOLDEN");
}

#[test]
fn python_comes_to_the_same() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wraps.py");
    let output = match Command::new("python3").args([script, FILE]).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("NOT CHECKED: there is no python3 to run {script}");
            return;
        }
        output => output.unwrap(),
    };
    let said = [output.stdout, output.stderr].concat();
    println!("{}", String::from_utf8_lossy(&said));
    assert!(output.status.success());
}
