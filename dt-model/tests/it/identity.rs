//! Identity files: what goes in comes out, and nothing else does.

use std::fs;
use std::path::Path;

use dt_model::{
    EncryptionKey, Identity, IdentityError, PartyId, Protection, Secret, Signature, Signer, SignerError,
    testing,
};

use crate::sample::{
    ALICE, ALICE_PUBLIC, BOB, BOB_PUBLIC, PARTY, SIGNING, identity_of, owner_only_file, private_file,
    set_mode, unhex, write_private,
};

/// The keys of RFC 8032's test 1 and of RFC 7748's Alice and Bob under the passphrase "cheap", at the lowest Argon2id cost there
/// is (8 KiB, one pass), made with OpenSSL: damage to a file can be tried many times.
const CHEAP_FILE: &str = "0108000000010000005a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a740000005558f465f9cbe6d11553fa294f2aefeb737451ec30068ac272e73e30586cee7cc12a54f4ea6ba3a49a8250160c661278e3621307f8e82872e3c2dbdf845e1d73acabe227b6da83200a8c90abd712c4c2007ee1a488523f38f89d1f2667dad35613f24aeeeaf62c2e14c290677c8e867baba17ae6";
const CHEAP: Protection<'static> = Protection::Passphrase("cheap");
/// Where the cost stands in a passphrase file: after the tag.
const KIB: usize = 1;
const PASSES: usize = 5;
/// The most that a file may ask for.
const MOST_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 12;

fn load(bytes: &[u8], protection: Protection<'_>) -> Result<Identity, IdentityError> {
    let (_folder, path) = private_file(bytes);
    Identity::load(&path, protection)
}

fn save(identity: &Identity, path: &Path) -> Result<(), IdentityError> {
    identity.save(path, Protection::OwnerOnly, &mut testing::SeedRng::new(1))
}

#[track_caller]
fn assert_damaged(loaded: Result<Identity, IdentityError>) {
    assert!(matches!(loaded, Err(IdentityError::Damaged(_))), "{loaded:?}");
}

#[test]
fn signers_keep_their_contract() {
    let (mut one, two) = (testing::identity(1), testing::identity(2));
    testing::signer_suite(&one, &two);
    one.rotate_encryption_key(&mut testing::SeedRng::new(3));
    testing::signer_suite(&one, &two);
    testing::signer_suite(&two, &one);
    testing::signer_suite(&load(&unhex(CHEAP_FILE), CHEAP).unwrap(), &two);
}

/// What implementers get wrong, one at a time; the suite must notice each.
struct Wrong {
    honest: Identity,
    prefixes: bool,
    agrees_for_any_key: bool,
    takes_weak_keys: bool,
    salts_the_secret: bool,
}

impl Signer for Wrong {
    fn party(&self) -> PartyId {
        self.honest.party()
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.honest.encryption_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        let prefix: &[u8] = if self.prefixes { b"prefix" } else { b"" };
        self.honest.sign(&[prefix, message].concat())
    }

    fn agree(&self, own: &EncryptionKey, peer: &EncryptionKey) -> Result<Secret, SignerError> {
        let own = if self.agrees_for_any_key { &self.encryption_key() } else { own };
        match self.honest.agree(own, peer) {
            Err(SignerError::NonContributory) if self.takes_weak_keys => Ok(Secret::from_bytes([0; 32])),
            Ok(secret) if self.salts_the_secret => {
                Ok(secret.derive(dt_model::Domain::new("dt/model/test-salt/v1"), own.as_bytes()))
            }
            other => other,
        }
    }
}

#[test]
fn the_suite_notices_wrong_signers() {
    type Fault = (&'static str, fn(&mut Wrong));
    let faults: [Fault; 4] = [
        ("prefixes", |signer| signer.prefixes = true),
        ("agrees for any key", |signer| signer.agrees_for_any_key = true),
        ("takes weak keys", |signer| signer.takes_weak_keys = true),
        ("salts the secret", |signer| signer.salts_the_secret = true),
    ];
    let right = || Wrong {
        honest: testing::identity(1),
        prefixes: false,
        agrees_for_any_key: false,
        takes_weak_keys: false,
        salts_the_secret: false,
    };
    testing::signer_suite(&right(), &testing::identity(2));
    for (fault, inflict) in faults {
        let mut signer = right();
        inflict(&mut signer);
        let suite = std::panic::AssertUnwindSafe(|| testing::signer_suite(&signer, &testing::identity(2)));
        assert!(std::panic::catch_unwind(suite).is_err(), "a signer that {fault}");
    }
}

#[test]
fn generated_from_the_random_source_alone() {
    let generate = |seed| Identity::generate(&mut testing::SeedRng::new(seed));
    assert_eq!(generate(1).party(), generate(1).party());
    assert_eq!(generate(1).encryption_key(), generate(1).encryption_key());
    assert_ne!(generate(1).party(), generate(2).party());
    assert_ne!(generate(1).encryption_key(), generate(2).encryption_key());
    assert_ne!(generate(1).party().as_bytes(), generate(1).encryption_key().as_bytes());
}

#[test]
fn rotation_keeps_former_keys() {
    let mut identity = testing::identity(1);
    let (party, peer) = (identity.party(), testing::identity(2));
    let mut rng = testing::SeedRng::new(3);
    let mut keys = vec![identity.encryption_key()];
    for _ in 0..3 {
        let fresh = identity.rotate_encryption_key(&mut rng);
        assert_eq!(identity.encryption_key(), fresh);
        assert!(!keys.contains(&fresh));
        keys.push(fresh);
    }
    let (folder, path) = private_file(b"");
    save(&identity, &path).unwrap();
    for identity in [identity, Identity::load(&path, Protection::OwnerOnly).unwrap()] {
        assert_eq!(identity.party(), party);
        assert_eq!(Some(&identity.encryption_key()), keys.last());
        for key in &keys {
            let ours = identity.agree(key, &peer.encryption_key()).unwrap();
            assert!(ours == peer.agree(&peer.encryption_key(), key).unwrap());
        }
    }
    drop(folder);
}

#[test]
fn only_own_keys_agree() {
    let alice = identity_of(SIGNING, &[ALICE]);
    let bob = BOB_PUBLIC.parse().unwrap();
    let refused = alice.agree(&bob, &alice.encryption_key());
    assert!(matches!(refused, Err(SignerError::UnknownEncryptionKey(key)) if key == bob));
}

/// The golden bytes of both files are in `vectors`; the costly default is tried there, too.
#[test]
fn files_of_other_makers_are_read() {
    let from_passphrase = load(&unhex(CHEAP_FILE), CHEAP).unwrap();
    let from_owner_only = load(&owner_only_file(SIGNING, &[ALICE, BOB]), Protection::OwnerOnly).unwrap();
    for identity in [from_passphrase, from_owner_only] {
        assert_eq!(identity.party().to_string(), PARTY);
        assert_eq!(identity.encryption_key().to_string(), ALICE_PUBLIC, "the first key is the current one");
        let bob: EncryptionKey = BOB_PUBLIC.parse().unwrap();
        assert!(
            identity.agree(&bob, &testing::identity(1).encryption_key()).is_ok(),
            "the second still agrees"
        );
    }
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    for passphrase in ["", "Cheap", "cheap ", "cheap\0", "another"] {
        let refused = load(&unhex(CHEAP_FILE), Protection::Passphrase(passphrase));
        assert!(matches!(refused, Err(IdentityError::WrongPassphrase(_))), "{passphrase:?}: {refused:?}");
    }
}

#[test]
fn the_other_protection_is_named() {
    let refused = load(&unhex(CHEAP_FILE), Protection::OwnerOnly);
    assert!(matches!(refused, Err(IdentityError::OtherProtection(_))), "{refused:?}");
    let refused = load(&owner_only_file(SIGNING, &[ALICE]), CHEAP);
    assert!(matches!(refused, Err(IdentityError::OtherProtection(_))), "{refused:?}");
}

#[test]
fn no_bit_of_an_owner_only_file_can_be_changed() {
    let file = owner_only_file(SIGNING, &[ALICE]);
    let (_folder, path) = private_file(&file);
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        write_private(&path, &damaged);
        // One bit of the tag makes it a passphrase file, a malformed one.
        assert_damaged(Identity::load(&path, Protection::OwnerOnly));
    }
}

#[test]
fn no_bit_of_a_passphrase_file_can_be_changed() {
    let file = unhex(CHEAP_FILE);
    let (_folder, path) = private_file(&file);
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        write_private(&path, &damaged);
        let refused = Identity::load(&path, CHEAP);
        let named = matches!(refused, Err(IdentityError::Damaged(_) | IdentityError::WrongPassphrase(_)));
        assert!(named, "bit {bit}: {refused:?}");
    }
}

#[test]
fn truncated_and_extended_files_are_damaged() {
    for (file, protection) in
        [(owner_only_file(SIGNING, &[ALICE]), Protection::OwnerOnly), (unhex(CHEAP_FILE), CHEAP)]
    {
        let (_folder, path) = private_file(b"");
        for length in 0..file.len() {
            write_private(&path, &file[..length]);
            assert_damaged(Identity::load(&path, protection));
        }
        write_private(&path, &[file.as_slice(), b"\n"].concat());
        assert_damaged(Identity::load(&path, protection));
    }
}

#[test]
fn an_unknown_version_is_damaged() {
    let mut file = owner_only_file(SIGNING, &[ALICE]);
    for tag in 2..=u8::MAX {
        file[0] = tag;
        assert_damaged(load(&file, Protection::OwnerOnly));
        assert_damaged(load(&file, CHEAP));
    }
}

#[test]
fn an_identity_has_an_encryption_key() {
    assert_damaged(load(&owner_only_file(SIGNING, &[]), Protection::OwnerOnly));
}

/// One MiB that would otherwise be in order: it is the size that is refused.
#[test]
fn a_huge_file_is_damaged() {
    let keys = vec![ALICE; (1 << 20) / 32];
    assert_damaged(load(&owner_only_file(SIGNING, &keys), Protection::OwnerOnly));
    assert!(
        load(&owner_only_file(SIGNING, &keys[..2000]), Protection::OwnerOnly).is_ok(),
        "64 KiB are in order"
    );
}

/// Were the cost paid, the verdict would be a wrong passphrase, after minutes or for want of memory.
#[test]
fn a_forged_cost_is_refused() {
    let file = unhex(CHEAP_FILE);
    let forged = |kib: u32, passes: u32| {
        let mut forged = file.clone();
        forged[KIB..KIB + 4].copy_from_slice(&kib.to_le_bytes());
        forged[PASSES..PASSES + 4].copy_from_slice(&passes.to_le_bytes());
        load(&forged, CHEAP)
    };
    assert!(forged(8, 1).is_ok(), "nothing forged");
    for (kib, passes) in
        [(MOST_KIB + 1, 1), (u32::MAX, 1), (8, MOST_PASSES + 1), (8, u32::MAX), (u32::MAX, u32::MAX)]
    {
        assert_damaged(forged(kib, passes));
    }
    for (kib, passes) in [(0, 1), (7, 1), (8, 0), (0, 0)] {
        assert_damaged(forged(kib, passes));
    }
    let within = forged(8, MOST_PASSES);
    assert!(
        matches!(within, Err(IdentityError::WrongPassphrase(_))),
        "the cost is authenticated: {within:?}"
    );
}

#[test]
fn a_missing_file_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nobody");
    let missing = Identity::load(&path, Protection::OwnerOnly);
    let Err(IdentityError::Io { path: named, source }) = missing else { panic!("{missing:?}") };
    assert_eq!((named, source.kind()), (path, std::io::ErrorKind::NotFound));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused() {
    let (_folder, path) = private_file(&owner_only_file(SIGNING, &[ALICE]));
    for mode in [0o644, 0o640, 0o604, 0o660, 0o601, 0o610, 0o602, 0o620, 0o777] {
        set_mode(&path, mode);
        let refused = Identity::load(&path, Protection::OwnerOnly);
        let Err(IdentityError::Exposed { mode: named, .. }) = refused else {
            panic!("{mode:o}: {refused:?}")
        };
        assert_eq!(named, mode);
    }
    for mode in [0o600, 0o400, 0o700] {
        set_mode(&path, mode);
        assert!(Identity::load(&path, Protection::OwnerOnly).is_ok(), "{mode:o}");
    }
}

#[cfg(unix)]
#[test]
fn a_saved_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, path) = private_file(b"a former file, open to all");
    set_mode(&path, 0o666);
    save(&testing::identity(1), &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn saving_replaces_the_former_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    for seed in [1, 2] {
        save(&testing::identity(seed), &path).unwrap();
        let loaded = Identity::load(&path, Protection::OwnerOnly).unwrap();
        assert_eq!(loaded.party(), testing::identity(seed).party());
    }
    assert_eq!(entries(folder.path()), ["identity"]);
}

/// Files of one stem are different files.
#[test]
fn saving_spares_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["plant", "plant.key", "plant.new", "plant.old"];
    for (seed, name) in (0..).zip(names) {
        save(&testing::identity(seed), &folder.path().join(name)).unwrap();
    }
    assert_eq!(entries(folder.path()), names);
    for (seed, name) in (0..).zip(names) {
        let loaded = Identity::load(&folder.path().join(name), Protection::OwnerOnly).unwrap();
        assert_eq!(loaded.party(), testing::identity(seed).party(), "{name}");
    }
}

#[test]
fn a_failing_save_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    // The target is a folder, which a file cannot replace.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), b"kept").unwrap();
    let refused = save(&testing::identity(1), &path);
    assert!(matches!(&refused, Err(IdentityError::Io { path: named, .. }) if *named == path), "{refused:?}");
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
    assert_eq!(entries(folder.path()), ["identity"], "no keys are left lying about");
    // The target is in no folder.
    let nowhere = folder.path().join("nowhere").join("identity");
    assert!(matches!(save(&testing::identity(1), &nowhere), Err(IdentityError::Io { .. })));
}

/// The place of the temporary file is taken by a folder, so that the new file cannot even be begun.
#[test]
fn a_failing_save_keeps_the_former_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.key");
    save(&testing::identity(1), &path).unwrap();
    fs::create_dir(folder.path().join("identity.key.saving")).unwrap();
    assert!(matches!(save(&testing::identity(2), &path), Err(IdentityError::Io { .. })));
    let kept = Identity::load(&path, Protection::OwnerOnly).unwrap();
    assert_eq!(kept.party(), testing::identity(1).party());
}

/// What a crash left of an earlier attempt is in nobody's way.
#[test]
fn a_leftover_temporary_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    fs::write(folder.path().join("identity.saving"), b"half of a").unwrap();
    save(&testing::identity(1), &path).unwrap();
    assert_eq!(entries(folder.path()), ["identity"]);
}

/// What could not be loaded again must not replace what can.
#[test]
fn an_identity_too_large_to_load_is_not_saved() {
    let (folder, path) = private_file(b"");
    let most = (64 * 1024 - owner_only_file(SIGNING, &[]).len()) / 32;
    let mut identity = identity_of(SIGNING, &vec![ALICE; most]);
    save(&identity, &path).unwrap();
    identity.rotate_encryption_key(&mut testing::SeedRng::new(1));
    assert!(matches!(save(&identity, &path), Err(IdentityError::Io { .. })));
    let kept = Identity::load(&path, Protection::OwnerOnly).unwrap();
    assert_eq!(kept.encryption_key().to_string(), ALICE_PUBLIC);
    assert_eq!(entries(folder.path()), ["identity"]);
}

#[test]
fn paths_that_name_no_file_are_refused() {
    assert!(matches!(save(&testing::identity(1), Path::new("")), Err(IdentityError::Io { .. })));
    assert!(matches!(save(&testing::identity(1), Path::new("/")), Err(IdentityError::Io { .. })));
}

#[test]
fn debug_shows_no_secret() {
    let identity = identity_of(SIGNING, &[ALICE, BOB]);
    assert_eq!(format!("{identity:?}"), format!("Identity({PARTY})"));
    assert_eq!(format!("{identity:#?}"), format!("Identity({PARTY})"));
    let secret = Secret::from_bytes([0xa5; 32]);
    assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
}

#[test]
fn errors_name_the_file_and_no_secret() {
    let (_folder, path) = private_file(&unhex(CHEAP_FILE));
    let error = Identity::load(&path, Protection::Passphrase("hunter2")).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: the passphrase does not open it", path.display()));
    assert!(!format!("{error:?}").contains("hunter2"));
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
