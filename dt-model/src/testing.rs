//! For those who test against these types: the conformance suite of [`Signer`], golden files, proptest strategies, what fuzz targets have in
//! common, and a count of signatures.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

mod formats;
mod fuzzing;
mod golden;
mod own_signatures;

pub use formats::check_formats;
pub use fuzzing::{Choices, corpus};
pub use golden::Golden;
pub use own_signatures::trust_own_signatures;
pub(crate) use own_signatures::{is_own_signature, note_own_signature};

use core::cell::Cell;

use proptest::prelude::*;

use crate::merkle::Tree;
use crate::{
    ComponentId, ContentHash, DataClass, Digest, EncryptionKey, Identity, Operation, PartyId, Permission,
    Signer, SignerError, Text, Timestamp, TwinId,
};

/// Checks a [`Signer`] against its contract. It needs only a signer, and leaves it as it was.
///
/// # Panics
/// With a sentence, where the signer breaks the contract.
pub fn signer_suite(signer: &dyn Signer, other: &dyn Signer) {
    let message = b"dt/model/testing/v1 message";
    let party = signer.party();
    assert_eq!(party, signer.party(), "a signer's party is constant");
    let signature = signer.sign(message).expect("a working signer signs");
    assert_eq!(party.verify(message, &signature), Ok(()), "plain Ed25519 over the message as given");
    assert!(party.verify(b"another message", &signature).is_err(), "a signature is for one message");
    assert!(other.party().verify(message, &signature).is_err(), "a signature is by one party");
    assert!(signer.sign(b"").is_ok(), "the empty message can be signed");

    let (own, peer) = (signer.encryption_key(), other.encryption_key());
    let ours = signer.agree(&own, &peer).expect("agreement with a proper key");
    let theirs = other.agree(&peer, &own).expect("agreement with a proper key");
    assert!(ours == theirs, "both sides agree on one secret");
    let zero = EncryptionKey::from([0; 32]);
    assert!(
        matches!(signer.agree(&own, &zero), Err(SignerError::NonContributory)),
        "a low-order key is refused"
    );
    let unknown = signer.agree(&peer, &own);
    assert!(matches!(unknown, Err(SignerError::UnknownEncryptionKey(_))), "only own keys agree");
}

/// An identity that depends on `seed` alone. For tests: a secret from a number is no secret.
#[must_use]
pub fn identity(seed: u64) -> Identity {
    Identity::generate(&mut SeedRng(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof()))
}

/// How many Ed25519 operations something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ed25519Count {
    /// What an [`Identity`] signed.
    pub signatures: usize,
    /// What [`PartyId::verify`] judged.
    pub verifications: usize,
}

thread_local! {
    static COUNT: Cell<Ed25519Count> = const { Cell::new(Ed25519Count { signatures: 0, verifications: 0 }) };
}

/// Does `work`, and counts the Ed25519 operations that it takes on this thread.
pub fn count_ed25519<T>(work: impl FnOnce() -> T) -> (T, Ed25519Count) {
    let before = COUNT.get();
    let done = work();
    let after = COUNT.get();
    let (signatures, verifications) =
        (after.signatures - before.signatures, after.verifications - before.verifications);
    (done, Ed25519Count { signatures, verifications })
}

pub(crate) fn note_signature() {
    COUNT.set(Ed25519Count { signatures: COUNT.get().signatures + 1, ..COUNT.get() });
}

pub(crate) fn note_verification() {
    COUNT.set(Ed25519Count { verifications: COUNT.get().verifications + 1, ..COUNT.get() });
}

/// Any party, out of a thousand.
pub fn party() -> impl Strategy<Value = PartyId> {
    (0u64..1000).prop_map(|seed| identity(seed).party())
}

/// Any digest.
pub fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from)
}

/// Any content hash.
pub fn content_hash() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 32]>().prop_map(ContentHash::from)
}

/// Any twin.
pub fn twin() -> impl Strategy<Value = TwinId> {
    any::<[u8; 32]>().prop_map(TwinId::from)
}

/// Any time, the extremes included.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

/// Any valid text of at most 24 characters.
pub fn text<const MAX: usize>() -> impl Strategy<Value = Text<MAX>> {
    "[a-zA-Z0-9 \\[\\]{}_./äß-]{1,24}".prop_filter_map("a valid text", |text| Text::new(text).ok())
}

/// Any component ID.
pub fn component() -> impl Strategy<Value = ComponentId> {
    text()
}

/// Any permission.
pub fn permission() -> impl Strategy<Value = Permission> {
    let operation = prop::sample::select(vec![
        Operation::Read,
        Operation::Write,
        Operation::Execute,
        Operation::Administer,
    ]);
    (operation, prop::sample::select(DataClass::ALL.to_vec()))
        .prop_map(|(operation, class)| Permission::new(operation, class))
}

/// The shape of a log's tree of any size, the largest included, over hashes that are none.
pub fn tree() -> impl Strategy<Value = Tree> {
    (any::<u64>(), digest()).prop_filter_map("one peak for each bit that is set", |(size, peak)| {
        Tree::new(size, vec![peak; size.count_ones() as usize])
    })
}

/// A deterministic random source for tests: BLAKE3's output stream.
#[derive(Clone, Debug)]
pub struct SeedRng(blake3::OutputReader);

impl SeedRng {
    /// The source that `seed` gives.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new_derive_key("dt/model/testing/rng/v1")
                .update(&seed.to_le_bytes())
                .finalize_xof(),
        )
    }
}

impl rand_core::TryRng for SeedRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(destination);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for SeedRng {}
