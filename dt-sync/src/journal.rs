//! What a device agent must remember across a crash: how far it followed the ledger, and whether it may have actuated.

use std::io;
use std::path::{Path, PathBuf};

use borsh::{BorshDeserialize, BorshSerialize};
use dt_ledger::CallResult;
use dt_model::{Domain, TwinId, codec};
use thiserror::Error;

/// Why the journal was not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file could not be read or written.
    #[error("the agent's journal {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no journal of this twin, or is damaged.
    #[error("the agent's journal {} is damaged or another twin's", .0.display())]
    Damaged(PathBuf),
}

/// What the agent remembers.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Memory {
    /// The twin.
    pub twin: TwinId,
    /// The last block whose events it has dealt with.
    pub height: u64,
    /// The call on which it was at work, if any.
    pub in_flight: Option<InFlight>,
}

/// A call between its start on the ledger and its result there.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InFlight {
    /// Its number.
    pub call: u64,
    /// Whether the asset showed the values that the call asks for before anything was done: then seeing them later proves nothing.
    pub shown_before: bool,
    /// What came of it; `None` while nobody knows: then it may or may not have been actuated.
    pub result: Option<CallResult>,
}

/// A small file that is replaced as a whole, durably, or (without a path) memory for tests.
#[derive(Debug)]
pub struct Journal {
    path: Option<PathBuf>,
    memory: Memory,
}

const CHECKSUM: Domain = Domain::new("dt/sync/journal/v1");
/// One call's result and a few numbers.
const MAX_BYTES: usize = 16 * 1024;

impl Journal {
    /// The journal in `path`, or a new one that begins after block `height`.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged journal is never taken for a new one.
    pub fn open(path: &Path, twin: TwinId, height: u64) -> Result<Self, JournalError> {
        let damaged = || JournalError::Damaged(path.into());
        let memory = match std::fs::read(path) {
            Ok(bytes) => {
                let (memory, checksum): (Memory, [u8; 32]) =
                    codec::decode(&bytes, MAX_BYTES).map_err(|_| damaged())?;
                if CHECKSUM.blake3_of(&memory).as_bytes() != &checksum || memory.twin != twin {
                    return Err(damaged());
                }
                memory
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory { twin, height, in_flight: None },
            Err(source) => return Err(JournalError::Io { path: path.into(), source }),
        };
        Ok(Self { path: Some(path.into()), memory })
    }

    /// A journal that is forgotten with the process: for tests, and for assets that cannot be actuated.
    #[must_use]
    pub const fn in_memory(twin: TwinId, height: u64) -> Self {
        Self { path: None, memory: Memory { twin, height, in_flight: None } }
    }

    /// What is remembered.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Remembers that all up to block `height` was dealt with.
    ///
    /// # Errors
    /// [`JournalError::Io`]; what was remembered before still is.
    pub fn followed(&mut self, height: u64) -> Result<(), JournalError> {
        self.replace(Memory { height, ..self.memory.clone() })
    }

    /// Remembers how it stands with the call at hand, before anything else is done about it.
    ///
    /// # Errors
    /// [`JournalError::Io`]; what was remembered before still is.
    pub fn in_flight(&mut self, in_flight: Option<InFlight>) -> Result<(), JournalError> {
        self.replace(Memory { in_flight, ..self.memory.clone() })
    }

    fn replace(&mut self, memory: Memory) -> Result<(), JournalError> {
        if let Some(path) = &self.path {
            let checksum = *CHECKSUM.blake3_of(&memory).as_bytes();
            dt_model::file::write_private(path, &codec::encode(&(&memory, checksum)))
                .map_err(|source| JournalError::Io { path: path.clone(), source })?;
        }
        self.memory = memory;
        Ok(())
    }
}
