//! Wrapping a key for readers, and opening a wrap, beside the X25519 operations that they cannot do without, and beside age, which is
//! what one would take otherwise: a file of the key, encrypted to the same number of readers.
//!
//! age draws its keys from the system; what it does with them takes the same time for all keys.
#![expect(clippy::expect_used, reason = "a benchmark reports by panicking")]

use core::hint::black_box;
use core::iter;
use std::io::{Read as _, Write as _};

use age::x25519::Identity as AgeIdentity;
use age::{Decryptor, Encryptor};
use criterion::{BatchSize, Criterion, Throughput};
use dt_acl::{AclRecord, Grantee, ItemName, Keyring, Rights};
use dt_model::testing::{SeedRng, identity};
use dt_model::{Signer as _, Timestamp};
use x25519_dalek::{PublicKey, StaticSecret};

/// Readers on the list: a bilateral exchange, the parties of one machine, a consortium.
const READERS: [u64; 3] = [1, 10, 100];

fn main() {
    let mut criterion = benches::criterion();
    for readers in READERS {
        wrap(&mut criterion, readers);
    }
    for readers in READERS {
        open(&mut criterion, readers);
    }
    criterion.final_summary();
}

fn grantees(readers: u64) -> Vec<Grantee> {
    (1..=readers)
        .map(identity)
        .map(|reader| Grantee::new(reader.party(), reader.encryption_key(), Rights::READ))
        .collect()
}

fn list(readers: u64) -> AclRecord {
    let rng = &mut SeedRng::new(7);
    AclRecord::first(&identity(0), ItemName::from("manual"), &grantees(readers), Timestamp::default(), rng)
        .expect("a list")
}

/// As many age identities.
fn age_identities(count: u64) -> Vec<AgeIdentity> {
    (0..count).map(|_| AgeIdentity::generate()).collect()
}

/// A key in an age file for all of `recipients`.
fn age_encrypt(recipients: &[age::x25519::Recipient]) -> Vec<u8> {
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(recipients).expect("somebody to encrypt to");
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).expect("a header");
    writer.write_all(black_box(&[7; 32])).expect("memory");
    writer.finish().expect("memory");
    file
}

/// The key in an age file.
fn age_decrypt(file: &[u8], identity: &AgeIdentity) -> Vec<u8> {
    let decryptor = Decryptor::new_buffered(file).expect("a header");
    let mut key = Vec::new();
    let mut reader = decryptor.decrypt(iter::once(identity as &dyn age::Identity)).expect("a recipient");
    reader.read_to_end(&mut key).expect("sound");
    key
}

fn wrap(criterion: &mut Criterion, readers: u64) {
    let (owner, grantees, name) = (identity(0), grantees(readers), ItemName::from("manual"));
    // The owner stands on the list, too.
    let keys: Vec<PublicKey> = grantees
        .iter()
        .map(|grantee| grantee.encryption_key)
        .chain([owner.encryption_key()])
        .map(|key| PublicKey::from(*key.as_bytes()))
        .collect();
    let mut group = criterion.benchmark_group(format!("acl/wrap for {readers} readers"));
    group.throughput(Throughput::Elements(readers + 1));
    group.bench_function("peer: X25519, one key and an agreement with each", |b| {
        b.iter(|| {
            let secret = StaticSecret::from(black_box([7; 32]));
            let agreed: Vec<_> = keys.iter().map(|key| secret.diffie_hellman(key)).collect();
            (PublicKey::from(&secret), agreed)
        });
    });
    let recipients: Vec<_> = age_identities(readers + 1).iter().map(AgeIdentity::to_public).collect();
    group.bench_function("peer: age, encrypting to each", |b| b.iter(|| age_encrypt(&recipients)));
    group.bench_function("ours: AclRecord::first", |b| {
        b.iter_batched_ref(
            || SeedRng::new(7),
            |rng| AclRecord::first(&owner, name, &grantees, Timestamp::default(), rng).expect("a list"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn open(criterion: &mut Criterion, readers: u64) {
    let (list, reader) = (list(readers), identity(1));
    let (secret, ephemeral) = (StaticSecret::from([7; 32]), PublicKey::from(*list.ephemeral().as_bytes()));
    let mut group = criterion.benchmark_group(format!("acl/open as one of {readers} readers"));
    group.bench_function("peer: X25519, one agreement", |b| {
        b.iter(|| secret.diffie_hellman(black_box(&ephemeral)));
    });
    let identities = age_identities(readers);
    let recipients: Vec<_> = identities.iter().map(AgeIdentity::to_public).collect();
    // In age a reader is not named, and tries one after the other.
    let (file, last) = (age_encrypt(&recipients), identities.last().expect("a reader"));
    group.bench_function("peer: age, decrypting as the last", |b| {
        b.iter(|| age_decrypt(black_box(&file), last));
    });
    group.bench_function("ours: Keyring::open", |b| {
        b.iter(|| Keyring::open(black_box(&list), &reader).expect("on the list"));
    });
    group.finish();
}
