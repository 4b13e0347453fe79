//! The folder of a node, in which everything of it lies.
//!
//! ```text
//! F/config.toml       how it is set up
//! F/NAME.card         the party's card, for the others
//! F/founding.json     what the organisations found together; put there by the operator
//! F/keys/*.key        identities, mode 0600: party, authority, validator, node, agent
//! F/token             what requests on loopback have to carry, mode 0600
//! F/lock              held by the process that runs
//! F/ledger/           the replica's store, the engine's journal
//! F/storage.redb      what the DHT node stores
//! F/device/           the simulated device, the agent's journal
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_ledger_malachite::Keypair;
use dt_model::{Identity, Protection, Secret, file};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::failure::{Failure, Kind, at};

/// A node's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// Whose keys there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// The party's, and its DHT node's.
    Party,
    /// The organisation's authority.
    Authority,
    /// What votes on blocks.
    Validator,
    /// What the consensus engine's network knows the node by.
    Node,
    /// The device agent's.
    Agent,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    pub(crate) fn founding(&self) -> PathBuf {
        self.0.join("founding.json")
    }

    pub(crate) fn card(&self, name: &str) -> PathBuf {
        let safe = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
        self.0.join(format!("{}.card", name.chars().map(safe).collect::<String>()))
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.0.join("storage.redb")
    }

    pub(crate) fn device(&self) -> PathBuf {
        self.0.join("device")
    }

    fn token_file(&self) -> PathBuf {
        self.0.join("token")
    }

    fn key_file(&self, key: Key) -> PathBuf {
        let name = match key {
            Key::Party => "party",
            Key::Authority => "authority",
            Key::Validator => "validator",
            Key::Node => "node",
            Key::Agent => "agent",
        };
        self.0.join("keys").join(format!("{name}.key"))
    }

    /// Makes the folders and a token.
    pub(crate) fn create(&self, rng: &mut ChaCha20Rng) -> Result<(), Failure> {
        for folder in [self.0.join("keys"), self.ledger()] {
            fs::create_dir_all(&folder).map_err(|error| at(&folder, error))?;
        }
        let token = dt_model::Digest::from(*Secret::generate(rng).expose());
        let path = self.token_file();
        file::write_private(&path, token.to_string().as_bytes()).map_err(|error| at(&path, error))
    }

    /// Draws new keys.
    pub(crate) fn create_key(&self, key: Key, rng: &mut ChaCha20Rng) -> Result<Identity, Failure> {
        let identity = Identity::generate(rng);
        identity.save(&self.key_file(key), Protection::OwnerOnly, rng).map_err(Failure::bad_input)?;
        Ok(identity)
    }

    pub(crate) fn key(&self, key: Key) -> Result<Arc<Identity>, Failure> {
        let path = self.key_file(key);
        Ok(Arc::new(Identity::load(&path, Protection::OwnerOnly).map_err(Failure::bad_input)?))
    }

    pub(crate) fn has_key(&self, key: Key) -> bool {
        self.key_file(key).exists()
    }

    /// What requests have to carry.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        let path = self.token_file();
        Ok(fs::read_to_string(&path).map_err(|error| at(&path, error))?.trim().to_owned())
    }

    /// The folder for this process alone, until the lock is dropped or the process ends, however it does.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let path = self.0.join("lock");
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(|error| at(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let message = format_args!("another process runs on {}", self.0.display());
                Err(Failure::new(Kind::InUse, message))
            }
            Err(TryLockError::Error(error)) => Err(at(&path, error)),
        }
    }
}

/// The identity as the consensus engine's network takes it.
pub(crate) fn keypair(identity: &Identity) -> Result<Keypair, Failure> {
    Keypair::ed25519_from_bytes(*identity.handshake_seed().expose())
        .map_err(|error| Failure::internal(&error))
}

/// A random source, seeded by the system.
pub(crate) fn rng() -> Result<ChaCha20Rng, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::internal(&error))?;
    Ok(ChaCha20Rng::from_seed(seed))
}
