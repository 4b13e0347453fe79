//! A party's keys in memory, and in a file that only its owner can use.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::{Signer as _, SigningKey};
use rand_core::CryptoRng;
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{Domain, EncryptionKey, PartyId, Secret, Signature, Signer, SignerError, codec, file};

/// A party's secrets: one signing key, and its encryption keys, the current one first.
///
/// Secrets are wiped from memory when the value is dropped, and `Debug` shows only the public key.
pub struct Identity {
    party: PartyId,
    signing: SigningKey,
    encryption: Vec<EncryptionPair>,
}

/// A secret and its public key, which is not computed anew at each use.
struct EncryptionPair {
    public: EncryptionKey,
    secret: StaticSecret,
}

impl From<StaticSecret> for EncryptionPair {
    fn from(secret: StaticSecret) -> Self {
        Self { public: EncryptionKey::from(PublicKey::from(&secret).to_bytes()), secret }
    }
}

impl Identity {
    /// A new identity.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_keys(SigningKey::from_bytes(&seed), vec![StaticSecret::random_from_rng(rng).into()])
    }

    #[expect(clippy::expect_used, reason = "a clamped secret scalar never gives a point of small order")]
    fn from_keys(signing: SigningKey, encryption: Vec<EncryptionPair>) -> Self {
        let party = PartyId::from_bytes(signing.verifying_key().to_bytes())
            .expect("the key of a secret is a valid key");
        Self { party, signing, encryption }
    }

    /// Makes a new encryption key the current one. Former keys stay, so that what was wrapped for them still opens.
    ///
    /// Returns the new public key, which must be registered on the ledger before anybody wraps for it.
    pub fn rotate_encryption_key(&mut self, rng: &mut (impl CryptoRng + ?Sized)) -> EncryptionKey {
        self.encryption.insert(0, StaticSecret::random_from_rng(rng).into());
        self.encryption_key()
    }

    /// The seed of the signing key (RFC 8032, section 5.1.5), for the handshakes of a network engine that takes keys and no [`Signer`].
    ///
    /// Whoever has it *is* the party. It MUST NOT be stored or sent, and an engine that is given it MUST sign nothing but its own,
    /// domain-separated handshakes: they are then no signature of anything else.
    #[must_use]
    pub fn handshake_seed(&self) -> Secret {
        Secret::from_bytes(self.signing.to_bytes())
    }
}

impl Signer for Identity {
    fn party(&self) -> PartyId {
        self.party
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.encryption[0].public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        #[cfg(feature = "testing")]
        crate::testing::note_signature();
        let signature = Signature::from(self.signing.sign(message).to_bytes());
        #[cfg(feature = "testing")]
        crate::testing::note_own_signature(&self.party, message, &signature);
        Ok(signature)
    }

    fn agree(&self, own: &EncryptionKey, peer: &EncryptionKey) -> Result<Secret, SignerError> {
        let pair = self.encryption.iter().find(|pair| pair.public == *own);
        let pair = pair.ok_or(SignerError::UnknownEncryptionKey(*own))?;
        let shared = pair.secret.diffie_hellman(&PublicKey::from(*peer.as_bytes()));
        if !shared.was_contributory() {
            return Err(SignerError::NonContributory);
        }
        Ok(Secret::from_bytes(shared.to_bytes()))
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({})", self.party())
    }
}

/// How an identity's file is guarded.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// Encrypted under a passphrase: Argon2id (RFC 9106, first recommended low-memory setting), then ChaCha20-Poly1305.
    Passphrase(&'a str),
    /// In the clear, readable by its owner alone: mode 0600, checked again when it is loaded. Unix only.
    OwnerOnly,
}

/// Why an identity was not saved or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an identity's, is of an unknown version, or was damaged.
    #[error("{}: not an intact identity file", .0.display())]
    Damaged(PathBuf),
    /// The passphrase does not open the file (or the sealed part was damaged: the two look the same).
    #[error("{}: the passphrase does not open it", .0.display())]
    WrongPassphrase(PathBuf),
    /// The file is guarded in the other way than the caller said.
    #[error("{}: it is guarded in another way", .0.display())]
    OtherProtection(PathBuf),
    /// Others than the owner can read the file.
    #[error("{}: mode {mode:o} lets others read it, 600 would be right", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// An identity file is some hundred bytes; each rotated encryption key adds 32. Neither written nor read beyond this.
const MAX_FILE_BYTES: usize = 64 * 1024;
/// The checksum of an unencrypted file.
const CHECKSUM: Domain = Domain::new("dt/model/identity-file/v1");
/// Argon2id cost in KiB and passes: 64 MiB, three passes, one lane.
const ARGON2_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
/// A file may ask for at most four times our cost, so that a forged one cannot exhaust memory.
const MAX_ARGON2_KIB: u32 = 4 * ARGON2_KIB;
const MAX_ARGON2_PASSES: u32 = 4 * ARGON2_PASSES;

/// What an identity file holds.
#[derive(BorshSerialize, BorshDeserialize)]
enum File {
    OwnerOnlyV1 { keys: Keys, checksum: [u8; 32] },
    PassphraseV1 { kdf: Kdf, sealed: Vec<u8> },
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Kdf {
    kib: u32,
    passes: u32,
    salt: [u8; 16],
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Keys {
    signing: Secret,
    encryption: Vec<Secret>,
}

impl Identity {
    /// Writes the identity to `path`, replacing what is there in one step, readable by its owner alone.
    ///
    /// # Errors
    /// [`IdentityError::Io`], also for an identity with more encryption keys (about 2000) than [`Identity::load`] would read. The
    /// former file, if any, is then still in place, unless all that failed was to flush its folder to disk.
    pub fn save(
        &self,
        path: &Path,
        protection: Protection<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(), IdentityError> {
        let keys = Keys {
            signing: Secret::from_bytes(self.signing.to_bytes()),
            encryption: self
                .encryption
                .iter()
                .map(|pair| Secret::from_bytes(pair.secret.to_bytes()))
                .collect(),
        };
        let file = match protection {
            #[cfg(not(unix))]
            Protection::OwnerOnly => {
                return Err(IdentityError::Io {
                    path: path.into(),
                    source: io::ErrorKind::Unsupported.into(),
                });
            }
            #[cfg(unix)]
            Protection::OwnerOnly => {
                let checksum = keys.checksum();
                File::OwnerOnlyV1 { keys, checksum }
            }
            Protection::Passphrase(passphrase) => {
                let mut salt = [0; 16];
                rng.fill_bytes(&mut salt);
                let kdf = Kdf { kib: ARGON2_KIB, passes: ARGON2_PASSES, salt };
                let keys = Zeroizing::new(codec::encode(&keys));
                let key = kdf.derive(passphrase).ok_or_else(|| IdentityError::Damaged(path.into()))?;
                let sealed = key.seal_once(&codec::encode(&kdf), &keys);
                File::PassphraseV1 { kdf, sealed }
            }
        };
        let bytes = Zeroizing::new(codec::encode(&file));
        if bytes.len() > MAX_FILE_BYTES {
            return Err(IdentityError::Io { path: path.into(), source: io::ErrorKind::FileTooLarge.into() });
        }
        file::write_private(path, &bytes).map_err(|source| IdentityError::Io { path: path.into(), source })
    }

    /// Reads an identity that [`Identity::save`] wrote.
    ///
    /// # Errors
    /// Every variant of [`IdentityError`]; a damaged or foreign file is never taken for an identity.
    pub fn load(path: &Path, protection: Protection<'_>) -> Result<Self, IdentityError> {
        let damaged = || IdentityError::Damaged(path.into());
        let bytes = read_private(path)?;
        let keys = match (codec::decode(&bytes, MAX_FILE_BYTES).map_err(|_| damaged())?, protection) {
            (File::OwnerOnlyV1 { keys, checksum }, Protection::OwnerOnly) => {
                if keys.checksum() != checksum {
                    return Err(damaged());
                }
                keys
            }
            (File::PassphraseV1 { kdf, sealed }, Protection::Passphrase(passphrase)) => {
                let key = kdf.derive(passphrase).ok_or_else(damaged)?;
                let opened = key
                    .open_once(&codec::encode(&kdf), &sealed)
                    .map_err(|_| IdentityError::WrongPassphrase(path.into()))?;
                codec::decode(&opened, MAX_FILE_BYTES).map_err(|_| damaged())?
            }
            _ => return Err(IdentityError::OtherProtection(path.into())),
        };
        if keys.encryption.is_empty() {
            return Err(damaged());
        }
        let encryption =
            keys.encryption.iter().map(|secret| StaticSecret::from(*secret.expose()).into()).collect();
        Ok(Self::from_keys(SigningKey::from_bytes(keys.signing.expose()), encryption))
    }
}

impl Keys {
    fn checksum(&self) -> [u8; 32] {
        *CHECKSUM.blake3(&[&Zeroizing::new(codec::encode(self))]).as_bytes()
    }
}

impl Kdf {
    /// The key for `passphrase`, or `None` if the parameters are out of bounds.
    fn derive(&self, passphrase: &str) -> Option<Secret> {
        if self.kib > MAX_ARGON2_KIB || self.passes > MAX_ARGON2_PASSES {
            return None;
        }
        let params = Params::new(self.kib, self.passes, 1, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key)
            .ok()?;
        Some(Secret::from_bytes(*key))
    }
}

/// Reads at most [`MAX_FILE_BYTES`] (and one byte more, which the codec then refuses) of a file that only its owner may read.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let io = |source| IdentityError::Io { path: path.into(), source };
    let file = fs::File::open(path).map_err(io)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().map_err(io)?.permissions());
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.into(), mode: mode & 0o777 });
        }
    }
    // Its full size at once: a buffer that grows leaves copies of the keys behind it, which nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}
